//! Reads what gzip or zstd has packed as if it were not packed.
//!
//! What is packed is told by name and by content: a file called `.gz` that does not begin as gzip is read as it is, and so is
//! gzip data under another name, so that nothing is unpacked that nobody calls packed. Unpacking needs a bounded amount of
//! memory whatever is in the file; how much comes out is for the reader to bound.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::bufread::GzDecoder;
use serde::{Deserialize, Serialize};

use super::failure::{Cause, JobError};
use super::inputs::rewind;

/// Bytes that are read from a packed file at a time.
const PIECE: usize = 1 << 16;
/// The largest window, as a power of two, with which zstd data is unpacked: what `zstd` itself does without `--long`.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How the contents of a file are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Packing {
    /// One or more members as RFC 1952 has them.
    Gzip,
    /// One or more frames as RFC 8878 has them.
    Zstd,
}

impl Packing {
    /// What a name promises: `.gz` and `.tgz`, or `.zst`, in any case of letters.
    pub(crate) fn by_name(path: &Path) -> Option<Packing> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "gz" | "tgz" => Some(Packing::Gzip),
            "zst" => Some(Packing::Zstd),
            _ => None,
        }
    }

    /// What the first bytes of a file show.
    pub(crate) fn by_content(head: &[u8]) -> Option<Packing> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
            // A frame, or one that is to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Packing::Zstd),
            _ => None,
        }
    }
}

/// How the files of a run are read as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextPlan {
    /// Read what is packed as if it were not.
    pub unpack: bool,
    /// How many bytes of a file a worker is given at a time; `None` for whole files.
    pub chunk: Option<u64>,
}

impl TextPlan {
    /// How the name of a file promises that it is packed.
    pub(crate) fn packing(&self, path: &Path) -> Option<Packing> {
        Packing::by_name(path).filter(|_| self.unpack)
    }

    /// The length of the pieces of a file. What is packed can only be read from its start.
    pub(crate) fn piece_len(&self, packing: Option<Packing>) -> Option<u64> {
        self.chunk.filter(|_| packing.is_none())
    }
}

/// A name without what it says about packing: `a.csv.gz` is an `a.csv`.
pub(crate) fn without_packing(path: &Path) -> &Path {
    match Packing::by_name(path) {
        Some(_) => Path::new(path.file_stem().unwrap_or_default()),
        None => path,
    }
}

/// The contents of a file from its start. Whatever goes wrong is an [`io::Error`] that [`read_failure`] puts into words.
pub(crate) enum Contents {
    /// As it is.
    Plain(File),
    /// Out of gzip.
    Gzip(Gzip),
    /// Out of zstd.
    Zstd(Box<zstd::Decoder<'static, BufReader<File>>>),
}

impl Contents {
    /// The contents of an open file whose name promises that they are packed as `named`, or not at all.
    pub(crate) fn of(mut file: File, named: Option<Packing>) -> Result<Contents, JobError> {
        rewind(&mut file)?;
        if named.is_none() {
            return Ok(Contents::Plain(file));
        }
        let head = head(&mut file).map_err(|error| JobError::unreadable(&error))?;
        rewind(&mut file)?;
        match Packing::by_content(&head).filter(|packing| Some(*packing) == named) {
            None => Ok(Contents::Plain(file)),
            Some(Packing::Gzip) => Ok(Contents::Gzip(Gzip::new(file))),
            Some(Packing::Zstd) => {
                let decoder =
                    zstd::Decoder::with_buffer(BufReader::with_capacity(PIECE, file)).and_then(|mut decoder| {
                        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                        Ok(decoder)
                    });
                Ok(Contents::Zstd(Box::new(decoder.map_err(|error| JobError::unreadable(&error))?)))
            }
        }
    }
}

fn head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(4);
    file.take(4).read_to_end(&mut head)?;
    Ok(head)
}

impl Read for Contents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Contents::Plain(file) => file.read(buffer),
            Contents::Gzip(gzip) => gzip.read(buffer),
            Contents::Zstd(decoder) => decoder.read(buffer).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => damage("the zstd data is cut off"),
                // The decoder has no other kind for what zstd says of the data.
                ErrorKind::Other => damage(format!("the zstd data is damaged: {error}")),
                _ => error,
            }),
        }
    }
}

/// Gzip members one after the other, as `gzip -d` and Python's `gzip` take them: zeros behind the last one are passed over,
/// anything else there is damage.
pub(crate) struct Gzip {
    /// Between two calls there is none at the end and after damage only.
    state: Option<Member>,
}

enum Member {
    Inside(Box<GzDecoder<BufReader<File>>>),
    Behind(BufReader<File>),
}

impl Gzip {
    fn new(file: File) -> Gzip {
        let reader = BufReader::with_capacity(PIECE, file);
        Gzip { state: Some(Member::Inside(Box::new(GzDecoder::new(reader)))) }
    }
}

impl Read for Gzip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = self.state.take() {
            match member {
                Member::Inside(mut decoder) => match decoder.read(buffer) {
                    Ok(0) => self.state = Some(Member::Behind(decoder.into_inner())),
                    Ok(read) => {
                        self.state = Some(Member::Inside(decoder));
                        return Ok(read);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {
                        self.state = Some(Member::Inside(decoder));
                        return Err(error);
                    }
                    Err(error) => return Err(gzip_damage(error)),
                },
                Member::Behind(reader) => self.state = next_member(reader)?.map(Member::Inside),
            }
        }
        Ok(0)
    }
}

fn next_member(mut reader: BufReader<File>) -> io::Result<Option<Box<GzDecoder<BufReader<File>>>>> {
    loop {
        let ahead = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            ahead => ahead?,
        };
        match ahead.iter().position(|byte| *byte != 0) {
            None if ahead.is_empty() => return Ok(None),
            None => {
                let zeros = ahead.len();
                reader.consume(zeros);
            }
            Some(zeros) if ahead[zeros] == 0x1f => {
                reader.consume(zeros);
                return Ok(Some(Box::new(GzDecoder::new(reader))));
            }
            Some(_) => return Err(damage("something else follows the gzip data")),
        }
    }
}

fn gzip_damage(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => damage("the gzip data is cut off"),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => damage(format!("the gzip data is damaged: {error}")),
        _ => error,
    }
}

/// What is wrong with the data, not with reading it.
#[derive(Debug)]
struct Damage(String);

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damage {}

fn damage(message: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, Damage(message.into()))
}

/// How long a packed file says that its contents are. It need not be true, nor all of it: gzip says it of its last member, in 32
/// bits, and zstd of its first frame, if at all.
pub(crate) fn promised_len(file: &File, packing: Packing) -> Option<u64> {
    let mut head = [0; 18];
    let len = file.metadata().ok()?.len();
    let known = head.len().min(usize::try_from(len).ok()?);
    file.read_exact_at(&mut head[..known], 0).ok()?;
    match Packing::by_content(&head[..known]).filter(|found| *found == packing)? {
        Packing::Gzip => {
            let mut last = [0; 4];
            file.read_exact_at(&mut last, len.checked_sub(4)?).ok()?;
            Some(u64::from(u32::from_le_bytes(last)))
        }
        Packing::Zstd => zstd::zstd_safe::get_frame_content_size(&head[..known]).ok().flatten(),
    }
}

/// The failure of an input whose [`Contents`] could not be read to the end.
pub(crate) fn read_failure(error: &io::Error) -> JobError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Damage>()) {
        Some(Damage(message)) => JobError::new(Cause::Damaged, message),
        None => JobError::unreadable(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn read(bytes: &[u8], named: Option<Packing>) -> Result<Vec<u8>, String> {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(bytes).expect("write");
        let mut contents = Contents::of(file, named).map_err(|error| error.message)?;
        let mut read = Vec::new();
        contents.read_to_end(&mut read).map_err(|error| read_failure(&error).message)?;
        Ok(read)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("pack");
        encoder.finish().expect("pack")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).expect("pack")
    }

    #[test]
    fn names_promise_and_contents_decide() {
        let name = |name: &str| Packing::by_name(Path::new(name));
        assert_eq!(name("a/b.log.GZ"), Some(Packing::Gzip));
        assert_eq!(name("b.tgz"), Some(Packing::Gzip));
        assert_eq!(name("b.zst"), Some(Packing::Zstd));
        assert_eq!([name("gz"), name(".gz"), name("b.gz.old"), name("")], [None; 4]);
        assert_eq!(without_packing(Path::new("x/a.csv.gz")), Path::new("a.csv"));
        assert_eq!(without_packing(Path::new("x/a.csv")), Path::new("x/a.csv"));
        assert_eq!(read(b"plain", Some(Packing::Gzip)), Ok(b"plain".to_vec()));
        assert_eq!(read(b"", Some(Packing::Zstd)), Ok(vec![]));
        let packed = gzip(b"text");
        assert_eq!(read(&packed, None), Ok(packed.clone()));
        assert_eq!(read(&packed, Some(Packing::Zstd)), Ok(packed.clone()));
    }

    #[test]
    fn members_and_frames_are_read_one_after_the_other() {
        let text = b"0123456789\n".repeat(50_000);
        for (pack, packing) in
            [(gzip as fn(&[u8]) -> Vec<u8>, Packing::Gzip), (zstd as fn(&[u8]) -> Vec<u8>, Packing::Zstd)]
        {
            let mut packed = pack(b"first ");
            packed.extend(pack(b""));
            packed.extend(pack(&text));
            assert_eq!(read(&packed, Some(packing)), Ok([b"first ", text.as_slice()].concat()));
        }
        let padded = [gzip(b"a"), vec![0; 100_000], gzip(b"b"), vec![0; 512]].concat();
        assert_eq!(read(&padded, Some(Packing::Gzip)), Ok(b"ab".to_vec()));
    }

    #[test]
    fn packed_files_say_how_long_they_are() {
        let promised = |bytes: &[u8], packing| {
            let mut file = tempfile::tempfile().expect("file");
            file.write_all(bytes).expect("write");
            promised_len(&file, packing)
        };
        let text = b"0123456789\n".repeat(50_000);
        assert_eq!(promised(&gzip(&text), Packing::Gzip), Some(550_000));
        assert_eq!(promised(&zstd::bulk::compress(&text, 3).expect("pack"), Packing::Zstd), Some(550_000));
        assert_eq!(promised(&zstd(&text), Packing::Zstd), None);
        assert_eq!(promised(&text, Packing::Gzip), None);
        assert_eq!(promised(b"\x1f\x8b\x08", Packing::Gzip), None);
        assert_eq!(promised(b"", Packing::Zstd), None);
    }

    #[test]
    fn damage_is_told() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let (gz, zst) = (gzip(&text), zstd(&text));
        let read = |bytes: &[u8], packing| read(bytes, Some(packing)).map(|read| read.len());
        for cut in [4, 9, 11, 100, gz.len() / 2, gz.len() - 1] {
            assert_eq!(read(&gz[..cut], Packing::Gzip), Err("the gzip data is cut off".into()), "{cut}");
        }
        for cut in [5, 100, zst.len() / 2, zst.len() - 1] {
            assert_eq!(read(&zst[..cut], Packing::Zstd), Err("the zstd data is cut off".into()), "{cut}");
        }
        let mut flipped = gz.clone();
        let end = gz.len() - 6;
        flipped[end] ^= 1;
        let message = read(&flipped, Packing::Gzip).expect_err("a wrong checksum");
        assert!(message.starts_with("the gzip data is damaged: "), "{message}");
        let mut spoilt = zstd(&b"some words, and more words\n".repeat(1000));
        let end = spoilt.len();
        spoilt[8..end].fill(0xff);
        let message = read(&spoilt, Packing::Zstd).expect_err("no zstd data");
        assert!(message.starts_with("the zstd data is damaged: "), "{message}");
        let garbage = [gz.as_slice(), b"rest"].concat();
        assert_eq!(read(&garbage, Packing::Gzip), Err("something else follows the gzip data".into()));
    }
}
