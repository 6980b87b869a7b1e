//! Pictures for training: of one size, in RGB.

use super::{Format, Layout, Options, PictureError, Pixels, alpha, encode, make};

/// What to make of a picture.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SampleOptions {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Whether to apply the orientation noted in the file.
    pub rotate: bool,
    /// Pictures of more pixels than this are refused, before memory is set aside for them.
    pub max_pixels: u64,
}

impl Default for SampleOptions {
    fn default() -> Self {
        let Options { rotate, max_pixels, .. } = Options::default();
        Self { size: (224, 224), rotate, max_pixels }
    }
}

/// A picture made for training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its pixels, in RGB.
    pub pixels: Pixels,
    /// Width and height of the original in pixels, upright if it was turned.
    pub source_size: (u32, u32),
}

/// Makes the pixels of the picture file whose content is `input`.
///
/// # Errors
/// As [`thumbnail`](super::thumbnail).
pub fn sample(input: &[u8], options: &SampleOptions) -> Result<Sample, PictureError> {
    let options = Options {
        box_size: options.size,
        rotate: options.rotate,
        max_pixels: options.max_pixels,
        ..Options::default()
    };
    let made = make(input, &options)?;
    Ok(Sample { pixels: rgb(made.pixels), source_size: made.source_size })
}

/// Lays the picture on white, and makes three channels of one.
fn rgb(pixels: Pixels) -> Pixels {
    let flat = if pixels.layout.has_alpha() { alpha::flatten_on_white(&pixels) } else { pixels };
    if flat.layout != Layout::Gray {
        return flat;
    }
    let data = flat.data.iter().flat_map(|&grey| [grey; 3]).collect();
    Pixels { layout: Layout::Rgb, data, ..flat }
}

/// Encodes pixels as JPEG, PNG or WebP, without a colour profile: sRGB, as everybody takes it then.
///
/// # Errors
/// [`PictureError::Encode`].
pub fn encode_pixels(pixels: &Pixels, format: Format, quality: u8) -> Result<Vec<u8>, PictureError> {
    encode::encode(pixels, format, quality, None)
}
