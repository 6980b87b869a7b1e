//! Values of many bytes that take no memory themselves, so that a test measures what the pool makes of them.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// So many bytes in pieces, each of which says which one it is; or in a single one that is all zero.
#[derive(Debug, PartialEq, Eq)]
pub struct Zeros {
    len: u64,
    in_one_piece: bool,
}

const PIECE: usize = 16 << 20;

impl Zeros {
    pub fn new(len: u64) -> Self {
        Self { len, in_one_piece: false }
    }

    pub fn in_one_piece(len: u64) -> Self {
        Self { len, in_one_piece: true }
    }

    pub fn count(self) -> u64 {
        self.len
    }

    /// Whether a pool takes them: half of memory is the most for a value.
    pub fn fits_in_memory(&self) -> bool {
        self.len < memory() / 2
    }
}

/// The memory of this machine in bytes.
pub fn memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    total.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Bytes that serde sees as one thing.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for Zeros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.in_one_piece {
            // Mapped, and not touched by anybody who does not copy it.
            let zeros = crate::sys::Untouched::new(usize::try_from(self.len).unwrap());
            let mut seq = serializer.serialize_seq(Some(1))?;
            seq.serialize_element(&Bytes(zeros.bytes()))?;
            return seq.end();
        }
        let piece = PIECE as u64;
        let pieces = self.len.div_ceil(piece);
        let mut seq = serializer.serialize_seq(Some(pieces as usize))?;
        let mut bytes = vec![0u8; PIECE];
        for number in 0..pieces {
            let len = piece.min(self.len - number * piece) as usize;
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            seq.serialize_element(&Bytes(&bytes[..len]))?;
        }
        seq.end()
    }
}

/// A piece as it is read: its number and how many bytes it has.
struct Piece(u64, u64);

impl<'de> Deserialize<'de> for Piece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Piece;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Piece, E> {
                // The last one may be shorter than its number.
                let (head, rest) = bytes.split_at(bytes.len().min(8));
                if rest.chunks(4096).any(|chunk| chunk != &[0; 4096][..chunk.len()]) {
                    return Err(E::custom("a piece was changed on its way"));
                }
                let mut number = [0; 8];
                number[..head.len()].copy_from_slice(head);
                Ok(Piece(u64::from_le_bytes(number), bytes.len() as u64))
            }
        }
        deserializer.deserialize_bytes(Read)
    }
}

impl<'de> Deserialize<'de> for Zeros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Zeros;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pieces")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Zeros, A::Error> {
                let mut zeros = Zeros::new(0);
                let mut expected = 0;
                while let Some(Piece(number, len)) = seq.next_element()? {
                    let known = u64::MAX >> (64 - 8 * len.clamp(1, 8));
                    if number != expected & known {
                        return Err(serde::de::Error::custom("the pieces came out of order"));
                    }
                    expected += 1;
                    zeros.len += len;
                }
                Ok(zeros)
            }
        }
        deserializer.deserialize_seq(Read)
    }
}
