//! The lines of a piece of a file, many at a time.
//!
//! A piece has the lines that begin in it. So a worker that gets a later piece passes over the end of a line that began
//! before, and each reads on behind its piece to the end of its last line. Memory is one buffer, however long a line is: of
//! one that does not fit, the parts are handed out one after the other.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

use memchr::{memchr, memrchr};

use super::ahead::Ahead;
use super::failure::JobError;
use super::pieces::Piece;
use super::reader::{Contents, Packing, read_failure};

/// Some bytes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// Whole lines, the last one with its end unless it is the last of the file. Or a part of a line that is too long.
    pub bytes: &'a [u8],
    /// They go on with a line whose beginning was handed out before.
    pub goes_on: bool,
    /// They are followed by more of their last line.
    pub is_cut: bool,
}

/// Where the bytes come from.
enum Source {
    Here(Contents),
    Ahead(Ahead),
}

impl Source {
    fn of(contents: Contents) -> Result<Source, JobError> {
        match contents {
            plain @ Contents::Plain(_) => Ok(Source::Here(plain)),
            packed => Ahead::of(packed).map(Source::Ahead).map_err(|error| JobError::unreadable(&error)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Source::Here(contents) => contents.read(buffer),
            Source::Ahead(ahead) => ahead.read(buffer),
        }
    }
}

/// Reads a piece of a file.
pub(crate) struct Blocks {
    source: Source,
    /// The buffer: what was handed out, what is to be handed out, and room.
    buffer: Vec<u8>,
    /// What of the buffer holds bytes.
    filled: usize,
    /// What of the buffer was handed out.
    given: usize,
    /// The place in the file of the start of the buffer.
    place: u64,
    /// The line that holds the byte before this place is the last.
    end: u64,
    /// The end of a line that began before the piece is to be passed over.
    passing_over: bool,
    goes_on: bool,
    is_cut: bool,
    at_end: bool,
}

impl Blocks {
    /// Reads `piece` of an open file in blocks of at most `len` bytes, unpacked if the name promises it. What is packed is one
    /// piece.
    pub(crate) fn new(file: File, named: Option<Packing>, piece: Piece, len: usize) -> Result<Blocks, JobError> {
        let mut contents = Contents::of(file, named)?;
        let passing_over = piece.start > 0;
        let place = piece.start.saturating_sub(1);
        if let (true, Contents::Plain(file)) = (passing_over, &mut contents) {
            file.seek(SeekFrom::Start(place)).map_err(|error| JobError::unreadable(&error))?;
        }
        // One more, to know whether a line that is cut goes on.
        let buffer = vec![0; len.max(1) + 1];
        let end = piece.end;
        Ok(Blocks {
            source: Source::of(contents)?,
            buffer,
            filled: 0,
            given: 0,
            place,
            end,
            passing_over,
            goes_on: false,
            is_cut: false,
            at_end: false,
        })
    }

    /// Goes on to the next [block](Self::block), and says where in the file it begins. `None` after the last.
    pub(crate) fn advance(&mut self) -> Result<Option<u64>, JobError> {
        loop {
            self.buffer.copy_within(self.given..self.filled, 0);
            self.place += self.given as u64;
            self.filled -= self.given;
            self.given = 0;
            if !self.at_end {
                self.fill()?;
            }
            if self.filled == 0 {
                return Ok(None);
            }
            if self.passing_over {
                // A line that begins at the end of the piece or later is none of its lines.
                let own = self.end.saturating_sub(self.place + 1).min(self.filled as u64) as usize;
                match memchr(b'\n', &self.buffer[..own]) {
                    Some(at) => {
                        self.passing_over = false;
                        self.given = at + 1;
                    }
                    None if own < self.filled => return Ok(None),
                    None => self.given = self.filled,
                }
                continue;
            }
            self.given = self.own_len();
            self.goes_on = self.is_cut;
            self.is_cut = self.buffer[self.given - 1] != b'\n' && self.given < self.filled;
            return Ok(Some(self.place));
        }
    }

    /// The block that was gone on to.
    pub(crate) fn block(&self) -> Block<'_> {
        Block { bytes: &self.buffer[..self.given], goes_on: self.goes_on, is_cut: self.is_cut }
    }

    /// How much of the buffer can be handed out, which is not empty. Notes if that is all of the piece.
    fn own_len(&mut self) -> usize {
        let filled = &self.buffer[..self.filled];
        // The last line ends at the first line feed from here on.
        let from = self.end.saturating_sub(self.place + 1);
        if let Some(from) = usize::try_from(from).ok().filter(|from| *from < filled.len())
            && let Some(at) = memchr(b'\n', &filled[from..])
        {
            self.at_end = true;
            self.filled = from + at + 1;
            return self.filled;
        }
        if self.at_end {
            return filled.len();
        }
        memrchr(b'\n', filled).map_or(filled.len() - 1, |at| at + 1)
    }

    /// Reads until the buffer is full or there is no more.
    fn fill(&mut self) -> Result<(), JobError> {
        while self.filled < self.buffer.len() {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(read_failure(&error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The blocks of all pieces of a text, and whether they go on and are cut.
    fn blocks(text: &[u8], piece_len: u64, len: usize) -> Vec<(Vec<u8>, bool, bool)> {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(text).expect("write");
        let mut all = Vec::new();
        for number in 0.. {
            let Some(piece) = Piece::cut(number, text.len() as u64, Some(piece_len)) else { break };
            let file = File::open(file.path()).expect("open");
            let mut blocks = Blocks::new(file, None, piece, len).expect("blocks");
            let mut own: Vec<(Vec<u8>, bool, bool)> = Vec::new();
            while blocks.advance().expect("read").is_some() {
                let block = blocks.block();
                own.push((block.bytes.to_vec(), block.goes_on, block.is_cut));
            }
            assert!(own.first().is_none_or(|(_, goes_on, _)| !goes_on));
            assert!(own.last().is_none_or(|(_, _, is_cut)| !is_cut));
            assert!(own.windows(2).all(|pair| pair[0].2 == pair[1].1));
            all.extend(own);
        }
        all
    }

    #[test]
    fn every_line_is_in_exactly_one_piece_whatever_the_sizes() {
        let texts: [&[u8]; 8] = [
            b"",
            b"\n",
            b"a",
            b"a\nbb\n\nccc\ndddddddddddddddd\ne",
            b"\n\n\n\n\n\n",
            b"abcdefghijklmnopqrstuvwxyz",
            b"abcdefghijklmnopqrstuvwxyz\n1\n2\n",
            b"ab\ncd\r\nef\n",
        ];
        for text in texts {
            for piece_len in 1..=text.len() as u64 + 1 {
                for len in [1, 2, 3, 7, 100] {
                    let blocks = blocks(text, piece_len, len);
                    let joined: Vec<u8> = blocks.iter().flat_map(|(bytes, ..)| bytes.clone()).collect();
                    assert_eq!(joined, text, "pieces of {piece_len}, blocks of {len}");
                    for (bytes, _, is_cut) in &blocks {
                        assert!(!bytes.is_empty() && (!is_cut || bytes.len() == len));
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let expected = [("ab\n", false, false), ("cdef", false, true), ("gh\ni", true, false)];
        let expected: Vec<_> = expected.map(|(text, on, cut)| (text.as_bytes().to_vec(), on, cut)).into();
        assert_eq!(blocks(b"ab\ncdefgh\ni", 1000, 4), expected);
    }
}
