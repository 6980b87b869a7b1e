//! What a worker does with one picture.

use procpool::SharedFile;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::stats::Sums;
use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs;
use crate::jobs::thumbs::{MAX_INPUT, job_error};
use procpool_cli::picture::{self, Format, SampleOptions};

/// How pictures are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// The pixels.
    pub sample: SampleOptions,
    /// What they are written as.
    pub encoding: Encoding,
    /// Quality of JPEG and WebP, 1 to 100.
    pub quality: u8,
    /// The smallest width and height of a picture that is taken, upright.
    pub min_size: (u32, u32),
    /// How many times as long one side may be as the other.
    pub max_aspect: Option<f64>,
    /// Whether a perceptual hash is wanted.
    pub look: bool,
}

/// A format of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    Jpeg,
    Png,
    WebP,
}

impl Encoding {
    /// The end of the file name, without the dot.
    pub(crate) fn extension(self) -> &'static str {
        picture::extension(self.format())
    }

    fn format(self) -> Format {
        match self {
            Encoding::Jpeg => Format::Jpeg,
            Encoding::Png => Format::Png,
            Encoding::WebP => Format::WebP,
        }
    }
}

/// One picture to prepare.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The picture, open.
    pub input: SharedFile,
    /// What to do with it.
    pub recipe: Recipe,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Made {
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Width and height of the original, upright; zero if it is no picture.
    pub source_size: (u32, u32),
    /// The picture.
    pub outcome: Result<Sample, Refusal>,
}

/// A picture that is ready.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The content of its file.
    pub bytes: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Sums over its pixels.
    pub sums: Sums,
    /// Its perceptual hash, if that was wanted.
    pub look: u64,
}

/// Why there is none.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// It has too few pixels.
    TooSmall,
    /// One side is too many times as long as the other.
    TooLong,
    /// It cannot be read.
    Failed(JobError),
}

/// Reads, decodes, and makes the picture.
pub(crate) fn prepare(task: Task) -> Result<Made, JobError> {
    let bytes = inputs::read_open(task.input.into_file(), MAX_INPUT)?;
    let mut made = Made { sha256: Sha256::digest(&bytes).into(), source_size: (0, 0), outcome: Err(Refusal::TooSmall) };
    made.outcome = sample(&bytes, &task.recipe, &mut made.source_size);
    Ok(made)
}

fn sample(bytes: &[u8], recipe: &Recipe, source_size: &mut (u32, u32)) -> Result<Sample, Refusal> {
    let failed = |error| Refusal::Failed(job_error(&error));
    let sample = picture::sample(bytes, &recipe.sample).map_err(failed)?;
    *source_size = sample.source_size;
    let (width, height) = sample.source_size;
    if width < recipe.min_size.0 || height < recipe.min_size.1 {
        return Err(Refusal::TooSmall);
    }
    let aspect = f64::from(width.max(height)) / f64::from(width.min(height));
    if recipe.max_aspect.is_some_and(|most| aspect > most) {
        return Err(Refusal::TooLong);
    }
    let pixels = &sample.pixels;
    let encoded = picture::encode_pixels(pixels, recipe.encoding.format(), recipe.quality).map_err(failed)?;
    Ok(Sample {
        bytes: encoded,
        width: pixels.width,
        height: pixels.height,
        sums: Sums::over(&pixels.data),
        look: if recipe.look { picture::difference_hash(pixels) } else { 0 },
    })
}

impl Made {
    /// What a worker may not have said.
    ///
    /// # Errors
    /// It says what no picture is.
    pub(crate) fn check(&self, recipe: &Recipe) -> Result<(), JobError> {
        let Ok(sample) = &self.outcome else { return Ok(()) };
        let begins: &[u8] = match recipe.encoding {
            Encoding::Jpeg => b"\xff\xd8\xff",
            Encoding::Png => b"\x89PNG",
            Encoding::WebP => b"RIFF",
        };
        let pixels = u64::from(sample.width) * u64::from(sample.height);
        let fits = pixels > 0
            && sample.sums.pixels == pixels
            && sample.sums.are_possible()
            && sample.bytes.starts_with(begins)
            && self.source_size.0 > 0
            && self.source_size.1 > 0;
        if fits {
            return Ok(());
        }
        Err(JobError::new(Cause::Pool, "a worker has answered something else than it was asked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_no_picture_gives_are_refused() {
        let recipe = Recipe {
            sample: SampleOptions::default(),
            encoding: Encoding::Png,
            quality: 90,
            min_size: (1, 1),
            max_aspect: None,
            look: false,
        };
        let check = |spoil: &dyn Fn(&mut Made)| {
            let sums = Sums::over(&[1, 2, 3]);
            let sample = Sample { bytes: b"\x89PNG".into(), width: 1, height: 1, sums, look: 0 };
            let mut made = Made { sha256: [0; 32], source_size: (1, 1), outcome: Ok(sample) };
            spoil(&mut made);
            made.check(&recipe).is_ok()
        };
        let sample = |made: &mut Made, spoil: &dyn Fn(&mut Sample)| made.outcome.iter_mut().for_each(spoil);
        assert!(check(&|_| {}));
        assert!(!check(&|made| made.source_size.0 = 0));
        assert!(!check(&|made| sample(made, &|sample| sample.width = 2)));
        assert!(!check(&|made| sample(made, &|sample| sample.height = 0)));
        assert!(!check(&|made| sample(made, &|sample| sample.bytes = b"<html>".into())));
        assert!(!check(&|made| sample(made, &|sample| sample.sums.of[0] = u64::MAX)));
        assert!(check(&|made| made.outcome = Err(Refusal::TooSmall)));
    }
}
