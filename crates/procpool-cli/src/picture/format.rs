//! The picture formats, told apart by content.

use std::fmt;

use super::PictureError;

/// A picture format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG, also the first picture of an MPO file.
    Jpeg,
    /// PNG; of an animation the still picture.
    Png,
    /// WebP; of an animation the first frame.
    WebP,
    /// GIF; of an animation the first frame.
    Gif,
    /// TIFF; of several pages the first.
    Tiff,
}

impl Format {
    /// The format of a file's content.
    ///
    /// # Errors
    /// [`PictureError::NotAPicture`] if it is none of these.
    pub fn of(input: &[u8]) -> Result<Self, PictureError> {
        match input {
            [0xFF, 0xD8, 0xFF, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Self::Tiff),
            _ => Err(PictureError::NotAPicture { begins: input[..input.len().min(8)].to_vec() }),
        }
    }

    /// The usual file name extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Tiff => "tif",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
        })
    }
}

/// The format wanted for thumbnails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum OutFormat {
    /// As the original: JPEG, PNG and WebP stay what they are. GIF and TIFF become PNG, because a
    /// GIF would be cut to 256 colours and browsers do not show TIFF; PNG loses nothing.
    #[default]
    Same,
    /// JPEG, colour at half resolution (4:2:0). Transparency is laid on white.
    Jpeg,
    /// PNG.
    Png,
    /// WebP, lossy. Transparency is kept.
    WebP,
}

impl OutFormat {
    /// The format of the thumbnail of an original in format `source`.
    pub fn resolve(self, source: Format) -> Format {
        match self {
            Self::Jpeg => Format::Jpeg,
            Self::Png => Format::Png,
            Self::WebP => Format::WebP,
            Self::Same => match source {
                Format::Gif | Format::Tiff => Format::Png,
                other => other,
            },
        }
    }
}
