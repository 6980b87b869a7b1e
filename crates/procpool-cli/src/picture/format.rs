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
    /// BMP, of Windows or OS/2.
    Bmp,
    /// AVIF; of an animation the still picture.
    Avif,
}

/// Whether what follows the letters BM of a file is a header of a length that there is: two letters alone are also the
/// beginning of a text.
fn is_bmp(rest: &[u8]) -> bool {
    matches!(rest.get(12..16), Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
}

/// Whether a file says that it can be read as AVIF: its first box names the kinds of file that it is.
fn is_avif(input: &[u8]) -> bool {
    let Some((length, rest)) = input.split_first_chunk::<4>() else {
        return false;
    };
    let brands =
        usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|length| input.get(8..length.min(input.len())));
    rest.starts_with(b"ftyp")
        && brands.is_some_and(|brands| {
            brands.as_chunks::<4>().0.iter().take(64).any(|brand| matches!(brand, b"avif" | b"avis"))
        })
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
            [b'B', b'M', rest @ ..] if is_bmp(rest) => Ok(Self::Bmp),
            _ if is_avif(input) => Ok(Self::Avif),
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
            Self::Bmp => "bmp",
            Self::Avif => "avif",
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
            Self::Bmp => "BMP",
            Self::Avif => "AVIF",
        })
    }
}

/// The format wanted for thumbnails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum OutFormat {
    /// As the original: JPEG, PNG, WebP and AVIF stay what they are. GIF, TIFF and BMP become PNG, because a
    /// GIF would be cut to 256 colours and browsers do not show TIFF; PNG loses nothing.
    #[default]
    Same,
    /// JPEG, colour at half resolution (4:2:0). Transparency is laid on white.
    Jpeg,
    /// PNG.
    Png,
    /// WebP. Transparency is kept.
    WebP,
    /// AVIF. Transparency is kept.
    Avif,
}

impl OutFormat {
    /// The format of the thumbnail of an original in format `source`.
    pub fn resolve(self, source: Format) -> Format {
        match self {
            Self::Jpeg => Format::Jpeg,
            Self::Png => Format::Png,
            Self::WebP => Format::WebP,
            Self::Avif => Format::Avif,
            Self::Same => match source {
                Format::Gif | Format::Tiff | Format::Bmp => Format::Png,
                other => other,
            },
        }
    }
}
