//! Bytes that move between processes without a copy.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

use bytemuck::{AnyBitPattern, NoUninit};
use serde::de::{Error as _, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attach::{self, Owner, Sealed};
use crate::bulk::{self, Lent};
use crate::error::{Error, Result};
use crate::os::memory::{self, Draft};

/// Bytes in shared memory, which can never change again. As part of the input or output of a task or process they are not
/// copied: the receiver gets to see the same memory, in microseconds whatever its size.
///
/// A buffer is filled once, by [`Buffer::build`], [`Buffer::copy_from`] or a [`BufferBuilder`], and then read like a slice.
/// Clones and slices are views of the same memory, also in other processes; a task may return a view of its input.
///
/// ```
/// # fn main() -> procpool::Result<()> {
/// # procpool::init();
/// use procpool::{Buffer, Pool};
///
/// fn sum((numbers, from): (Buffer, usize)) -> f64 {
///     numbers.cast::<f64>().unwrap()[from..from + 500].iter().sum()
/// }
///
/// let numbers = Buffer::build(8_000, |bytes| {
///     for (k, number) in bytes.chunks_exact_mut(8).enumerate() {
///         number.copy_from_slice(&(k as f64).to_ne_bytes());
///     }
/// })?;
/// let pool = Pool::builder().workers(2).build()?;
/// let sums: procpool::Result<Vec<f64>> = pool.map(sum, [0, 500].map(|from| (numbers.clone(), from))).collect();
/// assert_eq!(sums?, [124_750.0, 374_750.0]);
/// # Ok(())
/// # }
/// ```
///
/// Each buffer that is not a view of another one holds a descriptor, in every process that has it. A worker that was sent a
/// buffer keeps it until nobody has it here, so sending it again costs nothing but the number that names it.
#[derive(Clone, Default)]
pub struct Buffer {
    /// `None` if there are no bytes.
    memory: Option<Memory>,
    start: usize,
    len: usize,
}

/// Where the bytes are.
#[derive(Clone)]
enum Memory {
    /// In shared memory that can never change again.
    Sealed(Arc<Sealed>),
    /// In this process.
    Own(Arc<Vec<u8>>),
    /// Where the program keeps the inputs of tasks.
    Lent(Arc<Lent>),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sealed(memory) => memory.bytes(),
            Self::Own(bytes) => bytes,
            Self::Lent(memory) => memory.bytes(),
        }
    }
}

impl Buffer {
    /// Makes a buffer of `len` bytes, which are zero until `fill` has written them in place.
    ///
    /// # Errors
    /// [`Kind::Os`](crate::Kind::Os) if the system is out of memory or descriptors, or for more than half of its memory.
    pub fn build(len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Self> {
        Self::draft(len, |draft| fill(draft.bytes_mut()))
    }

    /// Makes a buffer that holds a copy of these bytes.
    ///
    /// # Errors
    /// As [`Buffer::build`].
    pub fn copy_from(bytes: &[u8]) -> Result<Self> {
        Self::draft(bytes.len(), |draft| draft.write(bytes))
    }

    /// Makes a buffer that holds a copy of these numbers, or of anything else that is plain bytes; [`Buffer::cast`] gives them
    /// back.
    ///
    /// # Errors
    /// As [`Buffer::build`].
    pub fn copy_of<T: NoUninit>(values: &[T]) -> Result<Self> {
        Self::copy_from(bytemuck::cast_slice(values))
    }

    fn draft(len: usize, fill: impl FnOnce(&mut Draft)) -> Result<Self> {
        if len == 0 {
            fill(&mut Draft::new("procpool-buffer", 0).map_err(refused)?);
            return Ok(Self::default());
        }
        let mut draft = Draft::new("procpool-buffer", len).map_err(refused)?;
        fill(&mut draft);
        let memory = draft.freeze().and_then(Sealed::map).map_err(refused)?;
        Ok(Self { memory: Some(Memory::Sealed(memory)), start: 0, len })
    }

    /// A view of a part of it.
    ///
    /// # Panics
    /// If it has no such part, as a slice would.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len,
        };
        let len = self[start..end].len();
        Self { memory: self.memory.clone(), start: self.start + start, len }
    }

    /// The bytes as values of a type that any bytes are, such as the numbers; nothing is copied.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) if their length is no multiple of the type's size, or if a view begins in the
    /// middle of such a value.
    pub fn cast<T: AnyBitPattern>(&self) -> Result<&[T]> {
        bytemuck::try_cast_slice(self)
            .map_err(|e| Error::usage(format!("{} bytes are no {}: {e}", self.len, std::any::type_name::<&[T]>())))
    }
}

fn refused(e: io::Error) -> Error {
    Error::os("cannot make a buffer", &e)
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = self.memory.as_ref().map_or(&[][..], Memory::bytes);
        all.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The bytes are not copied here, but once when the buffer is sent: into shared memory that is there already, where a worker
/// looks at them in place. That is quicker than [`Buffer::copy_from`] for what is sent once, and slower for what is sent often.
impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self { memory: (len > 0).then(|| Memory::Own(Arc::new(bytes))), start: 0, len }
    }
}

/// A buffer as it travels.
#[derive(Serialize, Deserialize)]
enum Form<B> {
    /// A view of memory whose descriptor travels beside the bytes, if there are any.
    Shared { name: Option<(Owner, u64)>, start: u64, len: u64 },
    /// The bytes.
    Bytes(B),
}

/// Bytes that may be looked at where they arrive.
struct InPlace<'a>(&'a [u8]);

impl Serialize for InPlace<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        struct Bytes<'a>(&'a [u8]);
        impl Serialize for Bytes<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        serializer.serialize_newtype_struct(bulk::IN_PLACE, &Bytes(self.0))
    }
}

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (name, start, len) = match Form::<Arrived>::deserialize(deserializer)? {
            Form::Bytes(Arrived(buffer)) => return Ok(buffer),
            Form::Shared { name, start, len } => (name, start, len),
        };
        let refused = |sentence: &str| {
            attach::complain(sentence);
            D::Error::custom(sentence)
        };
        let memory = match name {
            None => None,
            Some((owner, id)) => Some(
                attach::find_memory(owner, id).ok_or_else(|| refused("a buffer's memory did not arrive with it"))?,
            ),
        };
        let size = memory.as_deref().map_or(0, |memory| memory.bytes().len());
        match (usize::try_from(start), usize::try_from(len)) {
            (Ok(start), Ok(len)) if start <= size && len <= size - start => {
                Ok(Self { memory: memory.map(Memory::Sealed), start, len })
            }
            _ => Err(refused("a buffer is larger than its memory")),
        }
    }
}

/// Bytes that came, in their place or in a vector.
struct Arrived(Buffer);

impl<'de> Deserialize<'de> for Arrived {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Take;
        impl Visitor<'_> for Take {
            type Value = Arrived;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<Arrived, E> {
                let view = bulk::take_view().ok_or_else(|| E::custom("they are not in their place"))?;
                let len = view.bytes().len();
                Ok(Arrived(Buffer { memory: Some(Memory::Lent(Arc::new(view))), start: 0, len }))
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> std::result::Result<Arrived, E> {
                Ok(Arrived(bytes.into()))
            }
        }
        deserializer.deserialize_newtype_struct(bulk::IN_PLACE, Take)
    }
}

/// Only inside the input or output of a task or process.
impl Serialize for Buffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let refused = || {
            let sentence = "a buffer can only travel inside the input or output of a task or process";
            attach::complain(sentence);
            S::Error::custom(sentence)
        };
        let name = match &self.memory {
            None => None,
            Some(Memory::Sealed(memory)) => Some(attach::put_memory(memory).ok_or_else(refused)?),
            Some(Memory::Own(_) | Memory::Lent(_)) if !attach::is_shipping() => return Err(refused()),
            Some(Memory::Own(_) | Memory::Lent(_)) => return Form::Bytes(InPlace(self)).serialize(serializer),
        };
        Form::<InPlace<'_>>::Shared { name, start: self.start as u64, len: self.len as u64 }.serialize(serializer)
    }
}

/// Writes a [`Buffer`] whose length is not known before.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::Write;
///
/// let mut builder = procpool::BufferBuilder::new()?;
/// for n in 0..3 {
///     write!(builder, "{n};")?;
/// }
/// assert_eq!(&*builder.finish()?, b"0;1;2;");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BufferBuilder(BufWriter<File>);

impl BufferBuilder {
    /// Nothing so far.
    ///
    /// # Errors
    /// If the system is out of memory or descriptors.
    pub fn new() -> io::Result<Self> {
        let file = File::from(memory::create_growing("procpool-buffer")?);
        Ok(Self(BufWriter::with_capacity(64 * 1024, file)))
    }

    /// The buffer of everything that was written.
    ///
    /// # Errors
    /// If the system is out of memory, or for more than half of its memory.
    pub fn finish(self) -> io::Result<Buffer> {
        let file = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        let memory = Sealed::map(memory::freeze(file.into())?)?;
        let len = memory.bytes().len();
        Ok(Buffer { memory: (len > 0).then_some(Memory::Sealed(memory)), start: 0, len })
    }
}

impl Write for BufferBuilder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_slices_of_what_was_put_in() {
        let buffer = Buffer::copy_from(b"hello world").unwrap();
        assert_eq!(
            (&*buffer, &*buffer.slice(6..), &*buffer.slice(..=4)),
            (&b"hello world"[..], &b"world"[..], &b"hello"[..])
        );
        assert_eq!(&*buffer.slice(3..).slice(1..3), b"o ");
        assert_eq!(buffer.clone(), Buffer::build(11, |bytes| bytes.copy_from_slice(b"hello world")).unwrap());
        assert_eq!(Buffer::build(3, |_| ()).unwrap().as_ref(), [0; 3]);
        assert_eq!(Buffer::copy_from(b"").unwrap(), Buffer::default());
        assert!(BufferBuilder::new().unwrap().finish().unwrap().is_empty());
        assert!(std::panic::catch_unwind(|| buffer.slice(5..12)).is_err());
        assert!(std::panic::catch_unwind(|| buffer.slice(usize::MAX..)).is_err());
    }

    #[test]
    fn numbers_come_back_as_numbers() {
        let buffer = Buffer::copy_of(&[1.5f64, -2.0]).unwrap();
        assert_eq!(buffer.cast::<f64>().unwrap(), [1.5, -2.0]);
        assert_eq!(buffer.slice(8..).cast::<f64>().unwrap(), [-2.0]);
        assert!(buffer.slice(1..9).cast::<f64>().is_err());
        assert!(buffer.slice(..12).cast::<f64>().is_err());
    }

    #[test]
    fn outside_of_tasks_there_is_no_way_to_send_one() {
        let buffer = Buffer::copy_from(b"x").unwrap();
        let mut bytes = Vec::new();
        assert!(crate::call::encode(&buffer, &mut bytes).unwrap_err().contains("inside the input or output"));
        let (sent, attached) = attach::collect(|| crate::call::encode(&(buffer.slice(..0), buffer), &mut bytes));
        assert!(sent.is_ok());
        assert_eq!(attached.len(), 1, "both are views of one memory");
        assert!(crate::call::decode::<(Buffer, Buffer)>(&bytes).unwrap_err().contains("did not arrive"));
    }
}
