//! Why a picture gave no thumbnail.

use std::fmt;

use super::Format;

/// Why a picture gave no thumbnail. The message is one line and leaves out the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PictureError {
    /// The content is of none of the formats that are read.
    NotAPicture {
        /// The first bytes of the content, at most eight.
        begins: Vec<u8>,
    },
    /// The file ends before the picture does.
    Truncated {
        /// The format it is in.
        format: Format,
    },
    /// The picture has more pixels than are allowed.
    TooLarge {
        /// Width in pixels, as the file states it.
        width: u32,
        /// Height in pixels, as the file states it.
        height: u32,
        /// The number of pixels allowed.
        limit: u64,
    },
    /// The thumbnail would have more pixels than are allowed.
    ThumbnailTooLarge {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// The number of pixels allowed.
        limit: u64,
    },
    /// A valid picture of a kind that is not read.
    Unsupported {
        /// The format it is in.
        format: Format,
        /// What is not supported.
        what: String,
    },
    /// The content contradicts its format.
    Damaged {
        /// The format it is in.
        format: Format,
        /// What the decoder found.
        detail: String,
    },
    /// The thumbnail could not be written in the wanted format.
    Encode {
        /// The wanted format.
        format: Format,
        /// Why not.
        detail: String,
    },
    /// The options ask for something impossible.
    Options(String),
}

impl std::error::Error for PictureError {}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPicture { begins } if begins.is_empty() => f.write_str("the file is empty"),
            Self::NotAPicture { begins } => {
                write!(
                    f,
                    "not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF picture: it begins with \"{}\"",
                    begins.escape_ascii()
                )
            }
            Self::Truncated { format } => {
                write!(f, "the {format} picture is cut off: the file ends too early")
            }
            Self::TooLarge { width, height, limit } => write!(
                f,
                "the picture has {width} x {height} = {} pixels, more than the limit of {limit}",
                u64::from(*width) * u64::from(*height)
            ),
            Self::ThumbnailTooLarge { width, height, limit } => write!(
                f,
                "the thumbnail would have {width} x {height} = {} pixels, more than the limit of {limit}",
                u64::from(*width) * u64::from(*height)
            ),
            Self::Unsupported { format, what } => {
                write!(f, "{format} with {what} is not supported")
            }
            Self::Damaged { format, detail } => {
                write!(f, "the {format} picture is damaged: {detail}")
            }
            Self::Encode { format, detail } => {
                write!(f, "the thumbnail cannot be written as {format}: {detail}")
            }
            Self::Options(detail) => f.write_str(detail),
        }
    }
}
