//! Blur and reduction in one step: the mean of a cell of the blurred picture, straight from the picture.
//!
//! Three passes of a box and a mean over a cell are, rounding aside, one weighted mean: of a line of pixels, those well
//! inside the cell count in full, and those around its ends, as far as the blur reaches, in part. So each pixel is added up
//! once, and only those around the ends of cells are multiplied, where the plain way does six passes over all of them.
//!
//! The plain way rounds to 8 bits after each pass; here nothing is rounded before the end, so the two differ by up to one
//! level, which README.md says more about. At the picture's edges, each pass of the plain way repeats what the pass
//! before made of the edge, which is no weighted mean of this kind: the cells there are made the plain way.

use std::ops::{Range, RangeInclusive};

use super::blur::{self, ExtendedBox};
use super::reduce::{Mean, Reducer};
use super::{Layout, Pixels};
use crate::simd::vectorised;

/// Weights are fractions of 2^12: over a cell, what is lost by that is a small part of a level.
const FRACTION: u32 = 12;
const ONE: u32 = 1 << FRACTION;

/// With other radii, thumbnails were seen to differ by two levels.
const RADII: RangeInclusive<f32> = 1.5..=3.0;

/// In smaller cells, what the plain way rounds does not always even out to less than a level.
const MIN_SIDE: usize = 12;

/// With cells of up to this side, the sums of a column fit into 32 bits.
const MAX_SIDE: usize = 4096;

/// So many rows of bytes can be added up in 16 bits.
const MAX_ROWS: usize = 257;

/// The picture blurred and reduced; nothing where this is not known to come out within a level of the plain way: for other
/// radii than those of [`RADII`], and if the cells are too small, or too large, or too few.
pub(super) fn reduced(source: &Pixels, sigma: f32, factors: (u32, u32)) -> Option<Pixels> {
    if !RADII.contains(&sigma) {
        return None;
    }
    let weights = Weights::of_gaussian(sigma);
    let across = Axis::new(source.width, factors.0, weights.reach())?;
    let down = Axis::new(source.height, factors.1, weights.reach())?;
    let mut made = Pixels {
        width: across.cells as u32,
        height: down.cells as u32,
        layout: source.layout,
        data: vec![0; across.cells * down.cells * source.layout.channels()],
    };
    for cells in across.edges() {
        let strip = plain(source, sigma, factors, across.pixels(&cells), 0..down.length, weights.reach());
        paste(&mut made, &strip, cells.start, 0);
    }
    for cells in down.edges() {
        let strip = plain(source, sigma, factors, 0..across.length, down.pixels(&cells), weights.reach());
        paste(&mut made, &strip, 0, cells.start);
    }
    Inside { source, weights: &weights, across: &across, down: &down }.fill(&mut made);
    Some(made)
}

/// One direction of the picture, cut into cells.
struct Axis {
    /// Pixels of the picture.
    length: usize,
    /// Pixels of a cell.
    side: usize,
    /// Cells, of which the last may be shorter.
    cells: usize,
    /// The cells that the blur reaches from without leaving the picture.
    inside: Range<usize>,
}

impl Axis {
    fn new(length: u32, side: u32, reach: usize) -> Option<Self> {
        let (length, side) = (length as usize, side as usize);
        let fits = ((2 * reach).max(MIN_SIDE)..=MAX_SIDE).contains(&side) && length > reach;
        let inside = 1..fits.then(|| (length - reach) / side)?;
        (!inside.is_empty()).then(|| Self { length, side, cells: length.div_ceil(side), inside })
    }

    /// The cells at both ends that are made the plain way.
    fn edges(&self) -> [Range<usize>; 2] {
        [0..self.inside.start, self.inside.end..self.cells]
    }

    /// The pixels of some cells.
    fn pixels(&self, cells: &Range<usize>) -> Range<usize> {
        cells.start * self.side..(cells.end * self.side).min(self.length)
    }
}

/// How much the pixels around the end of a cell count.
struct Weights {
    /// For each pixel from `reach` before the end of a cell to `reach` after it, its weight in that cell. In the next cell
    /// it counts for the rest.
    before: Vec<u32>,
}

impl Weights {
    fn of_gaussian(sigma: f32) -> Self {
        let single = ExtendedBox::of_gaussian(sigma).taps();
        let mut kernel = vec![1.0];
        for _ in 0..blur::PASSES {
            let mut wider = vec![0.0; kernel.len() + single.len() - 1];
            for (at, &weight) in kernel.iter().enumerate() {
                for (wider, &tap) in wider[at..].iter_mut().zip(&single) {
                    *wider += weight * tap;
                }
            }
            kernel = wider;
        }
        let sum: f64 = kernel.iter().sum();
        // A pixel spreads into the cell with the part of the kernel that lies beyond the distance between them.
        let mut left = sum;
        let before = kernel[..kernel.len() - 1].iter().map(|weight| {
            left -= weight;
            (left / sum * f64::from(ONE)).round() as u32
        });
        Self { before: before.collect() }
    }

    /// How far the blur reaches, in pixels.
    fn reach(&self) -> usize {
        self.before.len() / 2
    }
}

/// A part of the picture, blurred and reduced the plain way. It begins and ends with cells, or with the picture.
fn plain(
    source: &Pixels,
    sigma: f32,
    factors: (u32, u32),
    across: Range<usize>,
    down: Range<usize>,
    reach: usize,
) -> Pixels {
    let channels = source.layout.channels();
    let with_reach =
        |range: &Range<usize>, length: u32| range.start.saturating_sub(reach)..(range.end + reach).min(length as usize);
    let (wide, high) = (with_reach(&across, source.width), with_reach(&down, source.height));
    let mut data = Vec::with_capacity(wide.len() * high.len() * channels);
    for row in source.data[high.start * source.stride()..high.end * source.stride()].chunks_exact(source.stride()) {
        data.extend_from_slice(&row[wide.start * channels..wide.end * channels]);
    }
    let part = Pixels { width: wide.len() as u32, height: high.len() as u32, layout: source.layout, data };
    let mut reducer = Reducer::new(source.layout, (across.len() as u32, down.len() as u32), factors);
    let first = (across.start - wide.start) * channels;
    let mut y = high.start;
    blur::for_each_blurred_row(&part, sigma, |row| {
        if down.contains(&y) {
            reducer.push(&row[first..first + across.len() * channels]);
        }
        y += 1;
    });
    reducer.finish()
}

/// Copies a picture into another.
fn paste(into: &mut Pixels, from: &Pixels, x: usize, y: usize) {
    let first = x * into.layout.channels();
    let stride = into.stride();
    for (row, from) in into.data.chunks_exact_mut(stride).skip(y).zip(from.rows()) {
        row[first..first + from.len()].copy_from_slice(from);
    }
}

/// The cells away from the edges.
struct Inside<'p> {
    source: &'p Pixels,
    weights: &'p Weights,
    across: &'p Axis,
    down: &'p Axis,
}

/// Sums over the rows around the end of a row of cells, for each sample of a row.
struct Border {
    /// All rows in full.
    all: Vec<u16>,
    /// The rows as they count in the cells before.
    before: Vec<u32>,
}

impl Inside<'_> {
    fn fill(&self, made: &mut Pixels) {
        let (stride, made_stride) = (self.source.stride(), made.stride());
        let border = || Border { all: vec![0; stride], before: vec![0; stride] };
        let (mut above, mut below) = (border(), border());
        let mut rows = vec![0u16; stride];
        let mut columns = vec![0u32; stride];
        let reach = self.weights.reach();
        self.add_border(self.down.inside.start * self.down.side, &mut below);
        for cell in self.down.inside.clone() {
            std::mem::swap(&mut above, &mut below);
            let (begin, end) = (cell * self.down.side, (cell + 1) * self.down.side);
            self.add_border(end, &mut below);
            for ((sum, above), below) in columns.iter_mut().zip(above.all.iter().zip(&above.before)).zip(&below.before)
            {
                *sum = (u32::from(*above.0) << FRACTION) - above.1 + below;
            }
            for rows_from in (begin + reach..end - reach).step_by(MAX_ROWS) {
                rows.fill(0);
                self.add_rows(rows_from..(rows_from + MAX_ROWS).min(end - reach), &mut rows);
                for (sum, &rows) in columns.iter_mut().zip(&rows) {
                    *sum += u32::from(rows) << FRACTION;
                }
            }
            let out = &mut made.data[cell * made_stride..][..made_stride];
            match self.source.layout {
                Layout::Gray => self.means::<1>(&columns, out),
                Layout::Rgb => self.means::<3>(&columns, out),
                _ => self.means::<4>(&columns, out),
            }
        }
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.source.data[y * self.source.stride()..][..self.source.stride()]
    }

    fn add_rows(&self, rows: Range<usize>, sums: &mut [u16]) {
        for y in rows {
            let row = self.row(y);
            vectorised(
                #[inline(always)]
                || sums.iter_mut().zip(row).for_each(|(sum, &sample)| *sum += u16::from(sample)),
            );
        }
    }

    /// Adds up the rows around the row `end`, with which the next cells begin.
    fn add_border(&self, end: usize, border: &mut Border) {
        border.all.fill(0);
        border.before.fill(0);
        let reach = self.weights.reach();
        for (y, &weight) in (end - reach..end + reach).zip(&self.weights.before) {
            let (row, all, before) = (self.row(y), &mut border.all[..], &mut border.before[..]);
            vectorised(
                #[inline(always)]
                || {
                    for ((all, before), &sample) in all.iter_mut().zip(before).zip(row) {
                        *all += u16::from(sample);
                        *before += u32::from(sample) * weight;
                    }
                },
            );
        }
    }

    /// The means of a row of cells, from the weighted sums of their columns.
    fn means<const C: usize>(&self, columns: &[u32], out: &mut [u8]) {
        let (columns, out) = (columns.as_chunks::<C>().0, out.as_chunks_mut::<C>().0);
        let reach = self.weights.reach();
        let mean = Mean::of((self.across.side * self.down.side) as u64);
        // Of the columns around the end of a cell, the part that counts in it, and the part that counts in the next.
        let around = |end: usize| {
            let mut sums = [[0u64; C]; 2];
            for (column, &weight) in columns[end - reach..end + reach].iter().zip(&self.weights.before) {
                for (channel, &sum) in column.iter().enumerate() {
                    sums[0][channel] += u64::from(sum) * u64::from(weight);
                    sums[1][channel] += u64::from(sum) * u64::from(ONE - weight);
                }
            }
            sums
        };
        let mut left = around(self.across.inside.start * self.across.side)[1];
        for cell in self.across.inside.clone() {
            let (begin, end) = (cell * self.across.side, (cell + 1) * self.across.side);
            let [right, next] = around(end);
            let mut full = [0u64; C];
            for column in &columns[begin + reach..end - reach] {
                for (sum, &column) in full.iter_mut().zip(column) {
                    *sum += u64::from(column);
                }
            }
            out[cell] = std::array::from_fn(|channel| {
                let sum = left[channel] + (full[channel] << FRACTION) + right[channel];
                mean.of_sum((sum + (1 << (2 * FRACTION - 1))) >> (2 * FRACTION))
            });
            left = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(layout: Layout, width: u32, height: u32) -> Pixels {
        let mut state = 7u32;
        let length = width as usize * height as usize * layout.channels();
        let data = (0..length).map(|index| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Noise, with a slope and hard edges.
            let edge = if (index / 97) % 3 == 0 { 120 } else { 0 };
            ((state >> 26) as usize + index / (length / 70) + edge) as u8
        });
        Pixels { width, height, layout, data: data.collect() }
    }

    fn plainly(source: &Pixels, sigma: f32, factors: (u32, u32)) -> Pixels {
        plain(source, sigma, factors, 0..source.width as usize, 0..source.height as usize, 0)
    }

    #[test]
    fn within_one_level_inside_and_equal_at_the_edges() {
        for layout in [Layout::Gray, Layout::Rgb, Layout::Cmyk] {
            for (size, factors, sigma) in [
                ((200, 170), (12, 12), 2.0),
                ((203, 171), (15, 17), 2.0),
                ((131, 257), (40, 12), 2.0),
                ((100, 100), (30, 30), 3.0),
                ((90, 1300), (20, 600), 1.5),
            ] {
                let source = picture(layout, size.0, size.1);
                let made = reduced(&source, sigma, factors).expect("the cells are large enough");
                let expected = plainly(&source, sigma, factors);
                assert_eq!((made.width, made.height), (expected.width, expected.height));
                let difference = |index: usize| made.data[index].abs_diff(expected.data[index]);
                let worst = (0..made.data.len()).map(difference).max();
                assert!(worst <= Some(1), "{layout:?} {size:?} {factors:?} {sigma}: {worst:?}");
                let channels = layout.channels();
                let (stride, width) = (made.stride(), made.width as usize);
                let edge = |index: usize| {
                    let (x, y) = (index % stride / channels, index / stride);
                    x == 0 || y == 0 || x == width - 1 || y == made.height as usize - 1
                };
                assert!((0..made.data.len()).filter(|&index| edge(index)).all(|index| difference(index) == 0));
            }
        }
    }

    #[test]
    fn white_stays_white() {
        for layout in [Layout::Gray, Layout::Rgb, Layout::Cmyk] {
            let source = Pixels { width: 100, height: 99, layout, data: vec![255; 9900 * layout.channels()] };
            let made = reduced(&source, 2.0, (13, 14)).expect("the cells are large enough");
            assert!(made.data.iter().all(|&sample| sample == 255));
        }
    }

    #[test]
    fn the_largest_sums_fit() {
        let source = Pixels { width: 40, height: 13_000, layout: Layout::Gray, data: vec![255; 40 * 13_000] };
        let made = reduced(&source, 2.0, (12, 4096)).expect("the cells are large enough");
        assert!(made.data.iter().all(|&sample| sample == 255));
    }

    #[test]
    fn small_cells_small_pictures_and_other_radii_are_left_to_the_plain_way() {
        let source = picture(Layout::Gray, 100, 100);
        assert_eq!(reduced(&source, 2.0, (11, 12)), None);
        assert_eq!(reduced(&source, 2.0, (12, 4097)), None);
        assert_eq!(reduced(&source, 2.0, (60, 12)), None);
        assert_eq!(reduced(&source, 1.4, (12, 12)), None);
        assert_eq!(reduced(&source, 3.1, (24, 24)), None);
    }

    #[test]
    fn weights_add_up() {
        for sigma in [0.3, 1.0, 2.0, 5.0, 12.5] {
            let weights = Weights::of_gaussian(sigma).before;
            for (early, late) in weights.iter().zip(weights.iter().rev()) {
                assert!((ONE - 1..=ONE + 1).contains(&(early + late)), "{sigma}");
            }
            assert!(weights.is_sorted_by(|early, late| early >= late));
        }
        assert_eq!(Weights::of_gaussian(2.0).reach(), 6);
    }
}
