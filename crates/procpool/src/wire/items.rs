//! Frames hold items one after the other, each with its length. Results also carry a status.
//!
//! ```text
//! task item    = length (LEB128) bytes
//! result item  = status (1 byte) length (LEB128) bytes
//! ```

/// How a task came out, as the worker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// The bytes are the encoded output.
    Ok = 0,
    /// The function panicked; the bytes are an encoded [`super::control::PanicReport`].
    Panicked = 1,
    /// The output could not be encoded; the bytes say why.
    EncodeFailed = 2,
    /// The input could not be decoded in the worker; the bytes say why.
    DecodeFailed = 3,
    /// The output is elsewhere, or refers to descriptors; the bytes are an [`Attached`].
    Attached = 4,
}

impl Status {
    /// Whether there is no output. What is attached says so for itself, and is not looked at here.
    pub(crate) fn is_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::Attached)
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Ok,
            1 => Self::Panicked,
            2 => Self::EncodeFailed,
            3 => Self::DecodeFailed,
            4 => Self::Attached,
            _ => return None,
        })
    }
}

/// The most bytes a length takes.
const LENGTH_MAX: usize = 10;

/// Appends a length.
fn put_length(mut n: usize, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads a length; returns it and what follows.
#[inline]
fn get_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    if let Some((&byte, rest)) = bytes.split_first()
        && byte < 0x80
    {
        return Some((usize::from(byte), rest));
    }
    let mut n = 0u64;
    for (k, &byte) in bytes.iter().take(LENGTH_MAX).enumerate() {
        n |= u64::from(byte & 0x7f).checked_shl(7 * k as u32)?;
        if byte & 0x80 == 0 {
            return Some((usize::try_from(n).ok()?, &bytes[k + 1..]));
        }
    }
    None
}

/// A range of a segment of shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Place {
    /// How many bytes it takes to say one.
    pub(crate) const SIZE: usize = 24;

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let words = [self.segment, self.offset, self.len].map(u64::to_le_bytes);
        std::array::from_fn(|k| words[k / 8][k % 8])
    }

    /// Splits a place off the start of `bytes`.
    pub(crate) fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (segment, bytes) = split_word(bytes)?;
        let (offset, bytes) = split_word(bytes)?;
        let (len, bytes) = split_word(bytes)?;
        Some((Self { segment, offset, len }, bytes))
    }
}

fn split_word(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*word), rest))
}

/// Where a result is that is not simply in its item, and whether a control message with its number brings descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attached<'a> {
    /// The whole result item is in the memfd that is the message's first descriptor.
    Memfd,
    /// The output is at this place of the worker's own segments, and given back by this flag of the segment.
    Placed { place: Place, flag: u32, with_fds: bool },
    /// The output is here; the message brings what it refers to.
    Inline(&'a [u8]),
}

impl<'a> Attached<'a> {
    /// Appends the body of an item.
    pub(crate) fn put(self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&number.to_le_bytes());
        match self {
            Self::Memfd => out.push(0),
            Self::Placed { place, flag, with_fds } => {
                out.push(1 + u8::from(with_fds));
                out.extend_from_slice(&place.to_bytes());
                out.extend_from_slice(&flag.to_le_bytes());
            }
            Self::Inline(bytes) => {
                out.push(3);
                out.extend_from_slice(bytes);
            }
        }
    }

    /// The number and the rest of an item's body.
    pub(crate) fn parse(body: &'a [u8]) -> Option<(u64, Self)> {
        let (number, rest) = split_word(body)?;
        let (&kind, rest) = rest.split_first()?;
        let attached = match kind {
            0 if rest.is_empty() => Self::Memfd,
            1 | 2 => {
                let (place, flag) = Place::split(rest)?;
                Self::Placed { place, flag: u32::from_le_bytes(flag.try_into().ok()?), with_fds: kind == 2 }
            }
            3 => Self::Inline(rest),
            _ => return None,
        };
        Some((number, attached))
    }
}

/// Appends a task item.
pub(crate) fn put_task(bytes: &[u8], out: &mut Vec<u8>) {
    put_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends a result item.
pub(crate) fn put_result(status: Status, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(status as u8);
    put_task(bytes, out);
}

/// Begins a task item: what is appended to `out` next is its bytes, until [`end_task`] with what this returns.
#[inline]
pub(crate) fn begin_task(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.push(0);
    start
}

/// Ends the task item that began at `start`, in place: large inputs are not copied again.
#[inline]
pub(crate) fn end_task(start: usize, out: &mut Vec<u8>) {
    let len = out.len() - start - 1;
    if len < 0x80 {
        out[start] = len as u8;
        return;
    }
    // The length takes more than the byte that was left for it.
    let end = out.len();
    put_length(len, out);
    let head = out.len() - end;
    out[start..].rotate_right(head);
    out.remove(start + head);
}

/// Begins a result item at the start of `out`; whatever was in there is forgotten.
#[inline]
pub(crate) fn begin_result(out: &mut Vec<u8>) {
    out.clear();
    out.push(0);
    begin_task(out);
}

/// What was appended to `out` since [`begin_result`].
#[inline]
pub(crate) fn begun_result(out: &[u8]) -> &[u8] {
    out.get(2..).unwrap_or_default()
}

/// Makes what was appended to `out` since [`begin_result`] a result item.
#[inline]
pub(crate) fn end_result(status: Status, out: &mut Vec<u8>) {
    out[0] = status as u8;
    end_task(1, out);
}

/// Splits the first task item off.
#[inline]
pub(crate) fn split_task(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = get_length(bytes)?;
    rest.split_at_checked(len)
}

/// Splits the first result item off.
#[inline]
pub(crate) fn split_result(bytes: &[u8]) -> Option<(Status, &[u8], &[u8])> {
    let (&status, rest) = bytes.split_first()?;
    let (item, rest) = split_task(rest)?;
    Some((Status::from_byte(status)?, item, rest))
}

/// How many bytes the first `count` result items take, and how many of them failed; `None` if they are not well-formed.
pub(crate) fn survey(bytes: &[u8], count: u32) -> Option<(usize, u32)> {
    let mut rest = bytes;
    let mut failed = 0;
    for _ in 0..count {
        let (status, _, after) = split_result(rest)?;
        failed += u32::from(status.is_failure());
        rest = after;
    }
    Some((bytes.len() - rest.len(), failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_as_they_were() {
        let mut bytes = Vec::new();
        let long = vec![7; 300];
        put_result(Status::Ok, b"", &mut bytes);
        put_result(Status::Panicked, &long, &mut bytes);
        assert_eq!(survey(&bytes, 2), Some((bytes.len(), 1)));
        let (status, first, rest) = split_result(&bytes).unwrap();
        assert_eq!((status, first), (Status::Ok, &b""[..]));
        assert_eq!(split_result(rest), Some((Status::Panicked, long.as_slice(), &b""[..])));
        let mut tasks = Vec::new();
        put_task(&long, &mut tasks);
        put_task(b"x", &mut tasks);
        let (first, rest) = split_task(&tasks).unwrap();
        assert_eq!((first, split_task(rest)), (long.as_slice(), Some((&b"x"[..], &b""[..]))));
    }

    #[test]
    fn items_made_in_place_are_the_same() {
        for len in [0, 1, 127, 128, 300, 20_000] {
            let bytes = vec![7; len];
            let (mut put, mut wrapped) = (b"before".to_vec(), b"before".to_vec());
            put_task(&bytes, &mut put);
            let start = begin_task(&mut wrapped);
            wrapped.extend_from_slice(&bytes);
            end_task(start, &mut wrapped);
            assert_eq!(wrapped, put);
            let (mut put, mut wrapped) = (Vec::new(), b"whatever".to_vec());
            put_result(Status::DecodeFailed, &bytes, &mut put);
            begin_result(&mut wrapped);
            wrapped.extend_from_slice(&bytes);
            end_result(Status::DecodeFailed, &mut wrapped);
            assert_eq!(wrapped, put);
        }
    }

    #[test]
    fn what_is_elsewhere_is_named_and_nothing_else_is_believed() {
        let place = Place { segment: 1, offset: u64::MAX, len: 1 << 40 };
        let some = [
            Attached::Memfd,
            Attached::Placed { place, flag: 7, with_fds: true },
            Attached::Placed { place, flag: u32::MAX, with_fds: false },
            Attached::Inline(b""),
            Attached::Inline(b"abc"),
        ];
        for attached in some {
            let mut body = Vec::new();
            attached.put(9, &mut body);
            assert_eq!(Attached::parse(&body), Some((9, attached)));
            if !matches!(attached, Attached::Inline(_)) {
                assert_eq!(Attached::parse(&body[..body.len() - 1]), None);
                assert_eq!(Attached::parse(&[&body[..], &[0]].concat()), None);
            }
        }
        assert_eq!(Attached::parse(&[0, 0, 0, 0, 0, 0, 0, 0, 4]), None);
    }

    #[test]
    fn anything_else_is_refused() {
        let mut bytes = Vec::new();
        put_result(Status::Ok, b"abc", &mut bytes);
        assert_eq!(survey(&bytes, 0), Some((0, 0)));
        assert!(survey(&bytes, 2).is_none(), "too few items");
        assert!(survey(&bytes, u32::MAX).is_none(), "a count that cannot be");
        assert!(survey(&bytes[..3], 1).is_none(), "cut off");
        assert!(survey(&[9, 0], 1).is_none(), "no such status");
        assert!(survey(&[0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], 1).is_none(), "endless length");
        assert!(survey(&[0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], 1).is_none(), "length past the end");
    }
}
