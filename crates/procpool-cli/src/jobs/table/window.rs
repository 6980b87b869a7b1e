//! The part of a file that is in memory while it is read.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;

use super::plan::{HEAD, MAX_RECORD};
use crate::frame::failure::{Cause, JobError};
use crate::frame::reader::{Contents, read_failure};

/// How much is read at once of what is read piece by piece.
pub(crate) const STEP: usize = 1 << 20;

/// Where the bytes come from.
pub(crate) enum Source {
    /// Memory.
    Bytes(Vec<u8>),
    /// A file as it is.
    Plain(File),
    /// A file that is unpacked.
    Packed(Contents),
}

/// The bytes of a file from `base` on, as far as they have been read.
pub(crate) struct Window {
    /// Longer than what is filled of it: clearing it for every part costs as much as reading the part.
    buffer: Vec<u8>,
    filled: usize,
    /// Where in the file, unpacked, the bytes begin.
    pub base: u64,
    /// There are no more.
    pub ended: bool,
    /// Where the first record begins, if that is known.
    pub began: Option<u64>,
    /// It can be read in order only, and nobody knows how much there is: it is read piece by piece.
    pub in_order: bool,
    step: usize,
}

impl Window {
    /// On a file from `base` on, with the memory of an earlier window. What is read piece by piece is read `step` bytes at once.
    pub(crate) fn new(buffer: Vec<u8>, base: u64, step: usize) -> Window {
        Window { buffer, filled: 0, base, ended: false, began: None, in_order: false, step }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Its memory, for another one.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Reads on up to `len` bytes in all.
    pub(crate) fn read_to(&mut self, source: &mut Source, len: usize) -> Result<(), JobError> {
        while !self.ended && self.filled < len {
            if self.buffer.len() == self.filled {
                let more = self.filled.clamp(1 << 20, 16 << 20);
                self.buffer.resize(self.filled + more, 0);
            }
            let end = self.buffer.len().min(len);
            let room = &mut self.buffer[self.filled..end];
            let read = match source {
                Source::Bytes(bytes) => {
                    let from = usize::try_from(self.base).unwrap_or(usize::MAX).saturating_add(self.filled);
                    let piece = bytes.get(from..).unwrap_or_default();
                    let len = piece.len().min(room.len());
                    room[..len].copy_from_slice(&piece[..len]);
                    Ok(len)
                }
                Source::Plain(file) => file.read_at(room, self.base + self.filled as u64),
                Source::Packed(contents) => contents.read(room),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(read_failure(&error)),
                Ok(read) => {
                    self.ended = read == 0;
                    self.filled += read;
                }
            }
        }
        Ok(())
    }

    /// Reads a step further.
    pub(crate) fn step(&mut self, source: &mut Source) -> Result<(), JobError> {
        self.read_to(source, self.filled + self.step)
    }

    /// Reads a step, and at least what shows how the text begins.
    pub(crate) fn head(&mut self, source: &mut Source) -> Result<(), JobError> {
        self.read_to(source, self.step.max(HEAD as usize))
    }

    /// Reads on, since a record that begins at `begun` does not end here.
    pub(crate) fn more(&mut self, source: &mut Source, begun: usize) -> Result<(), JobError> {
        if self.filled - begun > MAX_RECORD {
            return Err(too_long(self.base + begun as u64));
        }
        self.read_to(source, self.filled + (self.filled - begun).max(self.step))
    }

    /// Forgets what is before `at`.
    pub(crate) fn drop_before(&mut self, at: usize) {
        let at = at.min(self.filled);
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        self.base += at as u64;
    }

    /// The bytes as far as they are text, and what is wrong behind that. A character that is not all there yet is not wrong.
    pub(crate) fn text(&self) -> (&str, Option<JobError>) {
        let bytes = self.bytes();
        text(if self.ended { bytes } else { &bytes[..whole_characters(bytes)] }, self.base)
    }
}

/// How long a record is that is too long.
pub(crate) fn too_long(at: u64) -> JobError {
    let limit = MAX_RECORD >> 20;
    JobError::new(
        Cause::TooLarge,
        format!("has a record of more than {limit} MiB at byte {at}, or one that does not end"),
    )
}

/// The bytes as text, which they must be.
pub(crate) fn check(bytes: &[u8], base: u64) -> Result<&str, JobError> {
    match text(bytes, base) {
        (text, None) => Ok(text),
        (_, Some(wrong)) => Err(wrong),
    }
}

/// The text that the bytes begin with, and what is wrong behind it.
pub(crate) fn text(bytes: &[u8], base: u64) -> (&str, Option<JobError>) {
    let nul = memchr::memchr(0, bytes);
    let before = &bytes[..nul.unwrap_or(bytes.len())];
    if let Ok(text) = simdutf8::basic::from_utf8(before) {
        let wrong = |at| {
            let message = format!("is not text: there is a NUL byte at byte {}", base + at as u64);
            JobError::new(Cause::NotUtf8, message)
        };
        return (text, nul.map(wrong));
    }
    // The slower check says where.
    let valid = std::str::from_utf8(before).map_or_else(|error| error.valid_up_to(), str::len);
    let message = format!("is not UTF-8 text (first at byte {})", base + valid as u64);
    (std::str::from_utf8(&before[..valid]).unwrap_or_default(), Some(JobError::new(Cause::NotUtf8, message)))
}

/// The length without a last character of which only the beginning is there.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let needs = match bytes[bytes.len() - back] {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        return if needs > back { bytes.len() - back } else { bytes.len() };
    }
    bytes.len()
}

/// Refuses what begins with the mark of UTF-16 or UTF-32.
pub(crate) fn refuse_utf16(bytes: &[u8], base: u64) -> Result<(), JobError> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] if base == 0 => {
            Err(JobError::new(Cause::NotUtf8, "is written in UTF-16, which is not read; convert it to UTF-8"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_as_far_as_it_is_whole_and_right() {
        let shown = |bytes: &[u8]| {
            let mut window = Window::new(Vec::new(), 0, STEP);
            window.read_to(&mut Source::Bytes(bytes.to_vec()), bytes.len()).expect("read");
            let (text, wrong) = window.text();
            (text.to_owned(), wrong.map(|wrong| wrong.message))
        };
        let right = |text: &str| (text.to_owned(), None);
        for (len, text) in [(1, "a"), (2, "a"), (3, "aé"), (4, "aé"), (6, "aé"), (7, "aé🦦")] {
            assert_eq!(shown(&"aé🦦".as_bytes()[..len]), right(text), "{len}");
        }
        let wrong = |text: &str, message: &str| (text.to_owned(), Some(message.to_owned()));
        assert_eq!(shown(b"ab\xff\xffcd\0e"), wrong("ab", "is not UTF-8 text (first at byte 2)"));
        assert_eq!(shown(b"ab\0\xff"), wrong("ab", "is not text: there is a NUL byte at byte 2"));
        assert_eq!(shown(b"ab\x80\x80\x80\x80"), wrong("ab", "is not UTF-8 text (first at byte 2)"));
        assert_eq!(
            check(b"a\xc3", 10).map_err(|wrong| wrong.message),
            Err("is not UTF-8 text (first at byte 11)".into())
        );
    }

    #[test]
    fn what_is_before_a_place_is_forgotten() {
        let mut source = Source::Packed(Contents::Plain({
            let mut file = tempfile::tempfile().expect("file");
            std::io::Write::write_all(&mut file, b"0123456789").expect("write");
            std::io::Seek::rewind(&mut file).expect("rewind");
            file
        }));
        let mut window = Window::new(Vec::new(), 0, 3);
        window.step(&mut source).expect("read");
        window.drop_before(2);
        window.step(&mut source).expect("read");
        assert_eq!((window.bytes(), window.base, window.ended), (&b"2345"[..], 2, false));
        window.more(&mut source, 0).expect("read");
        window.more(&mut source, 0).expect("read");
        assert_eq!((window.bytes(), window.base, window.ended), (&b"23456789"[..], 2, true));
    }
}
