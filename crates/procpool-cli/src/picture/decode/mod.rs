//! From a file's content to pixels.

mod avif;
mod bmp;
mod gif;
mod jpeg;
mod png;
mod tiff;
mod webp;

use super::orient::Orientation;
use super::profile::fits;
use super::{Format, PictureError, Pixels};

/// What is wanted of a decoder.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    /// Pictures of more pixels are refused before memory is set aside for them.
    pub(super) max_pixels: u64,
    /// Whether the orientation noted in the file will be applied.
    pub(super) rotate: bool,
    /// If the decoder may shrink the picture on the way: by how much (1, 2, 4 or 8), for its size as it is stored and for how it
    /// will be turned.
    pub(super) shrink: Option<Shrink<'a>>,
    /// Whether parts of the file that make no difference to the shrunk picture are to be looked at.
    pub(super) verify: bool,
    /// Whether damaged pictures are to be tried a second time, for what can be read of them.
    pub(super) lenient: bool,
    /// In so many threads it may be decoded.
    pub(super) threads: usize,
    /// This is that second time: pixels that cannot be read stay as they are.
    pub(super) keep_going: bool,
}

#[cfg(test)]
impl Request<'_> {
    /// A whole picture of up to so many pixels, with nothing special asked for.
    pub(super) const fn up_to(max_pixels: u64) -> Self {
        Request { max_pixels, rotate: true, shrink: None, verify: false, lenient: false, threads: 1, keep_going: false }
    }
}

/// By how much a picture of this size, to be turned so, may be shrunk while it is decoded.
pub(super) type Shrink<'a> = &'a dyn Fn((u32, u32), Orientation) -> u32;

/// A decoded picture.
pub(super) struct Decoded {
    pub(super) pixels: Pixels,
    /// Width and height as the file states them.
    pub(super) full_size: (u32, u32),
    /// By how much it was shrunk on the way; 1 if not at all. It may then end within the last column and row of `pixels`.
    pub(super) shrink: u32,
    /// How the pixels are still to be turned.
    pub(super) orientation: Orientation,
    /// The colour profile, if it is for `pixels`.
    pub(super) icc: Option<Vec<u8>>,
    /// What is wrong with it, if not all of it could be read.
    pub(super) warning: Option<String>,
}

impl Decoded {
    /// A picture decoded at full size.
    fn whole(pixels: Pixels, orientation: Orientation, icc: Option<Vec<u8>>) -> Self {
        let full_size = (pixels.width, pixels.height);
        Self {
            icc: icc.filter(|profile| fits(profile, pixels.layout)),
            pixels,
            full_size,
            shrink: 1,
            orientation,
            warning: None,
        }
    }
}

/// Decodes a file's content. If it is damaged and the request is lenient, what can be read of it is a picture too.
pub(super) fn decode(input: &[u8], format: Format, request: &Request) -> Result<Decoded, PictureError> {
    let error = match decode_once(input, format, request) {
        Err(error @ (PictureError::Truncated { .. } | PictureError::Damaged { .. })) if request.lenient => error,
        result => return result,
    };
    match decode_once(input, format, &Request { keep_going: true, ..*request }) {
        Ok(decoded) if decoded.pixels.data.iter().any(|&sample| sample != 0) => {
            Ok(Decoded { warning: Some(format!("{error}; the rest was kept")), ..decoded })
        }
        _ => Err(error),
    }
}

fn decode_once(input: &[u8], format: Format, request: &Request) -> Result<Decoded, PictureError> {
    match format {
        Format::Jpeg => jpeg::decode(input, request),
        Format::Png => png::decode(input, request),
        Format::WebP => webp::decode(input, request),
        Format::Gif => gif::decode(input, request),
        Format::Tiff => tiff::decode(input, request),
        Format::Bmp => bmp::decode(input, request),
        Format::Avif => avif::decode(input, request),
    }
}

/// What takes the frames of an animation: each as it is to be seen, and for how many milliseconds.
pub(super) type EachFrame<'a> = &'a mut dyn FnMut(Decoded, u32) -> Result<(), PictureError>;

/// Decodes all frames of an animation and returns how often it is shown, 0 for ever; `None`, and nothing decoded, for a picture of one
/// frame and for formats without animations.
pub(super) fn frames(
    input: &[u8],
    format: Format,
    request: &Request,
    each: EachFrame<'_>,
) -> Result<Option<u16>, PictureError> {
    match format {
        Format::Gif => gif::frames(input, request, each),
        Format::WebP => webp::frames(input, request, each),
        _ => Ok(None),
    }
}

impl Request<'_> {
    /// The error of reading pixels, unless what was read before it is enough.
    fn complain(&self, read: Result<(), PictureError>) -> Result<(), PictureError> {
        if self.keep_going { Ok(()) } else { read }
    }

    /// The number of pixels of a picture, if it may be decoded.
    fn check_size(&self, width: u32, height: u32, format: Format) -> Result<usize, PictureError> {
        if width == 0 || height == 0 {
            return Err(PictureError::Damaged {
                format,
                detail: format!("it states a size of {width} x {height} pixels"),
            });
        }
        let pixels = u64::from(width) * u64::from(height);
        match usize::try_from(pixels) {
            Ok(count) if pixels <= self.max_pixels => Ok(count),
            _ => Err(PictureError::TooLarge { width, height, limit: self.max_pixels }),
        }
    }
}

fn damaged(format: Format, detail: impl ToString) -> PictureError {
    PictureError::Damaged { format, detail: detail.to_string() }
}

fn io_error(format: Format, error: &std::io::Error) -> PictureError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => PictureError::Truncated { format },
        _ => damaged(format, error),
    }
}
