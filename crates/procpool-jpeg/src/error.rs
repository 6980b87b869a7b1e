//! Why a file was not decoded.

use std::fmt;

/// Why a file was not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The content does not begin like a JPEG.
    NotJpeg,
    /// The file, or the data of a restart interval in it, ends before the picture does.
    Truncated,
    /// The content contradicts the format.
    Damaged {
        /// What was found.
        what: &'static str,
        /// Byte of the file at or before which it was found.
        at: usize,
    },
    /// The picture has more pixels than [`Limits::max_pixels`](crate::Limits::max_pixels).
    TooLarge {
        /// Width in pixels, as the file states it.
        width: u32,
        /// Height in pixels, as the file states it.
        height: u32,
    },
    /// The file has more scans than [`Limits::max_scans`](crate::Limits::max_scans).
    TooManyScans,
    /// A kind of JPEG that is left to a complete decoder: it may well be valid.
    Unsupported(&'static str),
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJpeg => f.write_str("not a JPEG: it does not begin with the marker FF D8"),
            Self::Truncated => f.write_str("the data ends too early"),
            Self::Damaged { what, at } => write!(f, "{what}, near byte {at}"),
            Self::TooLarge { width, height } => write!(f, "{width} x {height} pixels are more than allowed"),
            Self::TooManyScans => f.write_str("it has more scans than allowed"),
            Self::Unsupported(what) => write!(f, "JPEG with {what} is not decoded here"),
        }
    }
}
