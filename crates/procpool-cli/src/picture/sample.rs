//! Pictures for training: of one size, in RGB.

use super::{Bounds, Exactness, Filter, Fit, Layout, Options, PictureError, Pixels, alpha, make};

/// What to make of a picture.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SampleOptions {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// How the picture is made to fit them.
    pub fit: Fit,
    /// How pixels are weighed when the size changes.
    pub filter: Filter,
    /// Whether to apply the orientation noted in the file.
    pub rotate: bool,
    /// Pictures of more pixels than this are refused, before memory is set aside for them.
    pub max_pixels: u64,
}

impl Default for SampleOptions {
    fn default() -> Self {
        let Options { rotate, max_pixels, .. } = Options::default();
        Self { size: (224, 224), fit: Fit::Cover, filter: Filter::Bicubic, rotate, max_pixels }
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

/// Makes the pixels of the picture file whose content is `input`, in the colours of sRGB.
///
/// A JPEG file is decoded at a half, a quarter or an eighth of its size as long as twice the size remains, and a larger picture
/// is first reduced by whole factors as long as twice the size remains: Pillow's `draft` and `reducing_gap=2`.
///
/// # Errors
/// As [`thumbnail`](super::thumbnail).
pub fn sample(input: &[u8], options: &SampleOptions) -> Result<Sample, PictureError> {
    let options = Options {
        bounds: Bounds::both(options.size.0, options.size.1),
        fit: options.fit,
        filter: options.filter,
        exactness: Exactness::Draft,
        rotate: options.rotate,
        max_pixels: options.max_pixels,
        ..Options::default()
    };
    let made = make(input, &options)?;
    Ok(Sample { pixels: rgb(made.pixels), source_size: made.source_size })
}

/// Lays the picture on white, and makes three channels of one.
fn rgb(pixels: Pixels) -> Pixels {
    let flat = if pixels.layout.has_alpha() { alpha::flatten(&pixels, [255; 3]) } else { pixels };
    if flat.layout != Layout::Gray {
        return flat;
    }
    let data = flat.data.iter().flat_map(|&grey| [grey; 3]).collect();
    Pixels { layout: Layout::Rgb, data, ..flat }
}
