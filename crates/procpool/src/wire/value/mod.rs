//! How values travel: serde's data model as bytes that say nothing about themselves. Whoever reads knows the type.
//!
//! ```text
//! bool                  1 byte, 0 or 1
//! u8 .. u128, i8 ..     as wide as the type, little endian; usize and isize as 64 bits
//! f32, f64              the bits, little endian
//! char                  its number, 4 bytes
//! length, variant       LEB128, at most 10 bytes
//! str, bytes            length, bytes
//! option                1 byte, 0 or 1, then the value if there is one
//! unit, unit struct     nothing
//! newtype struct        its value
//! enum                  variant, then what it holds
//! seq                   length, elements
//! map                   length, key, value, key, value ..
//! tuple, struct         elements or fields, in order
//! ```
//!
//! A sequence of numbers lies there as it lies in memory, so a `Vec` or slice of numbers is copied as a whole, both ways
//! (`crate::bulk` knows them). Of a sequence whose length its maker did not know, the length is written afterwards, in the ten
//! bytes that were kept free for it. A map without a length is refused: `#[serde(flatten)]` writes one, and could not be
//! read again, because it wants to be told what comes.
//!
//! The reader trusts nothing: it allocates for no more elements than there are bytes left, and copies out of memory that
//! somebody else may change before it looks at anything.

mod de;
mod output;
mod ser;
#[cfg(test)]
mod tests;

pub(crate) use de::Source;
pub(crate) use output::{Output, Spill};

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

/// Why a value cannot be written or read.
pub(crate) struct Error(Box<Why>);

enum Why {
    /// What the type's own code says, or what the format refuses.
    Said(String),
    /// The bytes are at an end before the value is.
    End,
    /// The bytes are none of such a value.
    Not(&'static str),
}

impl Error {
    #[cold]
    fn end() -> Self {
        Self(Box::new(Why::End))
    }

    #[cold]
    fn not(what: &'static str) -> Self {
        Self(Box::new(Why::Not(what)))
    }

    #[cold]
    fn refused(sentence: &str) -> Self {
        Self(Box::new(Why::Said(sentence.to_string())))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Why::Said(sentence) => f.write_str(sentence),
            Why::End => f.write_str("there are fewer bytes than it needs"),
            Why::Not(what) => write!(f, "its bytes are not {what}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl serde::ser::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(sentence: T) -> Self {
        Self(Box::new(Why::Said(sentence.to_string())))
    }
}

impl serde::de::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(sentence: T) -> Self {
        Self(Box::new(Why::Said(sentence.to_string())))
    }
}

/// Appends the encoding of `value`. If that fails, a part of it may have been written.
pub(crate) fn write<T: Serialize>(value: &T, output: &mut Output<'_>) -> Result<(), Error> {
    value.serialize(&mut ser::Writer(output))
}

/// The value that is next in `source`.
pub(crate) fn read<T: DeserializeOwned>(source: &mut Source<'_>) -> Result<T, Error> {
    T::deserialize(&mut de::Reader::new(source))
}
