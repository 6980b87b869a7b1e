//! Whether what a JPEG decoder made of a picture at a part of its size is enough for [`Exactness::Close`](super::Exactness).
//!
//! The pixels of a block are guessed from what the decoder keeps of it (`coarse.rs`), and the guess is a good one, but for two
//! kinds of pictures:
//! - with a thin frame: of a line that is thinner than a sample nothing tells that it lies at the very edge, where a blur counts it
//!   for all beyond. A frame of one pixel made thumbnails up to 15 levels wrong at the sides and 29 in the corners;
//! - with hard edges between black and white, as in drawings and letters: at a half and a quarter of the size the decoder's waves
//!   go beyond what a sample can hold and are cut off, which made up to 21 levels.
//!
//! Both can be seen in the samples, and then the picture is decoded in full.

use super::Pixels;

/// So far may the means of neighbouring lines at an edge be from each other where an eighth is kept, twice as far where a quarter
/// is: they tell twice as much. The less the farther a blur reaches, and the fewer samples become a pixel.
fn limit(shrink: u32, cell: f64, blur: f64) -> f64 {
    let by_blur = 2.0 / (blur / (cell * f64::from(shrink)));
    8.0 / f64::from(shrink) * by_blur.min(3.2 * cell).min(16.0)
}

/// So many parts of a side are looked at, each for itself.
const PARTS: usize = 4;

/// A wave that is cut off has at most this part of the height of the step that it belongs to.
const WAVE: f64 = 0.1;

/// So much may be cut off of the samples that become a pixel, in the mean.
const CUT: f64 = 2.5;

/// Whether the picture, shrunk by `shrink`, tells enough. Of it `across` x `down` samples become one pixel, and it is to be blurred as
/// if with this standard deviation, in pixels of the whole picture.
pub(super) fn is_enough(shrunk: &Pixels, shrink: u32, (across, down): (f64, f64), blur: f64) -> bool {
    let channels = shrunk.layout.channels();
    let (width, height) = (shrunk.width as usize, shrunk.height as usize);
    let stride = shrunk.stride();
    let mean = |points: &mut dyn Iterator<Item = usize>| {
        let (count, sum) = points.fold((0u32, 0u64), |(count, sum), at| (count + 1, sum + u64::from(shrunk.data[at])));
        sum as f64 / f64::from(count.max(1))
    };
    let limit = limit(shrink, across.min(down), blur);
    // Two blocks: the last one may hold but a few pixels of the picture.
    let lines = 2 * (8 / shrink as usize);
    let framed = |length: usize, breadth: usize, at: &dyn Fn(usize, usize) -> usize| {
        (0..channels).any(|channel| {
            (0..PARTS.min(length)).any(|part| {
                let part = part * length / PARTS.min(length)..(part + 1) * length / PARTS.min(length);
                let line = |line: usize| mean(&mut part.clone().map(|along| at(along, line) + channel));
                let means: Vec<f64> = (0..=lines.min(breadth - 1)).map(line).collect();
                means.windows(2).any(|pair| (pair[0] - pair[1]).abs() > limit)
            })
        })
    };
    let is_framed = framed(width, height, &|x, y| y * stride + x * channels)
        || framed(width, height, &|x, y| (height - 1 - y) * stride + x * channels)
        || framed(height, width, &|y, x| y * stride + x * channels)
        || framed(height, width, &|y, x| y * stride + (width - 1 - x) * channels);
    // At an eighth the decoder makes means, which are never cut off.
    !is_framed && (shrink == 8 || !is_cut(shrunk, (across, down)))
}

/// Whether in any cell of samples too much may have been cut off.
fn is_cut(shrunk: &Pixels, (across, down): (f64, f64)) -> bool {
    let channels = shrunk.layout.channels();
    let (width, stride) = (shrunk.width as usize, shrunk.stride());
    let rows: Vec<&[u8]> = shrunk.rows().collect();
    let columns = (width as f64 / across).ceil() as usize;
    let limit = CUT * across * down / WAVE;
    let mut sums = vec![0u32; columns * channels];
    let mut cell = 0;
    for (y, row) in rows.iter().enumerate() {
        let this = (y as f64 / down) as usize;
        if this != cell {
            cell = this;
            sums.fill(0);
        }
        let (above, below) = (rows[y.saturating_sub(1)], rows.get(y + 1).unwrap_or(row));
        for (at, &sample) in row.iter().enumerate() {
            // 0 and 255 alone.
            if sample.wrapping_add(1) > 1 {
                continue;
            }
            let left = row[at.checked_sub(channels).unwrap_or(at)];
            let right = row[if at + channels < stride { at + channels } else { at }];
            let step = [left, right, above[at], below[at]].map(|other| other.abs_diff(sample)).into_iter().max();
            let sum = &mut sums[((at / channels) as f64 / across) as usize * channels + at % channels];
            *sum += u32::from(step.unwrap_or(0));
            if f64::from(*sum) > limit {
                return true;
            }
        }
    }
    false
}
