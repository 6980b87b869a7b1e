//! Shrinking by whole factors: each cell of pixels becomes its mean, as in Pillow's
//! `Image.reduce`.

use super::pixels::with_channels;
use super::{Layout, Pixels};
use crate::simd::vectorised;

/// So many rows of bytes can be added up in 16 bits.
const MAX_ROWS: usize = 257;

/// Beyond this many pixels in a cell, Pillow's 32-bit arithmetic would overflow.
const MAX_CELL: u64 = (1 << 24) - 1;

/// Takes the rows of a picture from top to bottom and gathers the reduced picture.
pub(super) struct Reducer {
    layout: Layout,
    /// Width and height of a cell.
    factors: (usize, usize),
    /// Size of the picture that is reduced.
    size: (usize, usize),
    /// Rows taken in so far.
    rows: usize,
    /// Per sample of a row, the sum over `summed` rows.
    columns: Vec<u16>,
    summed: usize,
    /// Per sample of a reduced row, the sum over the cell.
    cells: Vec<u64>,
    data: Vec<u8>,
}

impl Reducer {
    pub(super) fn new(layout: Layout, size: (u32, u32), factors: (u32, u32)) -> Self {
        let (width, height) = (size.0 as usize, size.1 as usize);
        let factors = (factors.0 as usize, factors.1 as usize);
        let channels = layout.channels();
        let out_stride = width.div_ceil(factors.0) * channels;
        Self {
            layout,
            factors,
            size: (width, height),
            rows: 0,
            columns: vec![0; width * channels],
            summed: 0,
            cells: vec![0; out_stride],
            data: Vec::with_capacity(out_stride * height.div_ceil(factors.1)),
        }
    }

    /// Takes the next row in.
    pub(super) fn push(&mut self, row: &[u8]) {
        if self.factors == (1, 1) {
            self.data.extend_from_slice(row);
            return;
        }
        let columns = &mut self.columns[..];
        vectorised(
            #[inline(always)]
            || add_row(columns, row),
        );
        self.summed += 1;
        self.rows += 1;
        let cell_rows = (self.rows - 1) % self.factors.1 + 1;
        let complete = cell_rows == self.factors.1 || self.rows == self.size.1;
        if complete || self.summed == MAX_ROWS {
            with_channels!(self.layout.channels(), add_to_cells(&self.columns, &mut self.cells, self.factors.0));
            self.columns.fill(0);
            self.summed = 0;
        }
        if complete {
            self.finish_row(cell_rows);
        }
    }

    fn finish_row(&mut self, cell_rows: usize) {
        let channels = self.layout.channels();
        let whole = self.size.0 / self.factors.0 * channels;
        let mean = Mean::of((self.factors.0 * cell_rows) as u64);
        let rest = Mean::of((self.size.0 % self.factors.0 * cell_rows) as u64);
        let begin = self.data.len();
        self.data.resize(begin + self.cells.len(), 0);
        let (inside, edge) = self.cells.split_at(whole);
        let (inside_out, edge_out) = self.data[begin..].split_at_mut(whole);
        vectorised(
            #[inline(always)]
            || mean.of_all(inside, inside_out),
        );
        rest.of_all(edge, edge_out);
        self.cells.fill(0);
    }

    /// The reduced picture, once all rows are in.
    pub(super) fn finish(self) -> Pixels {
        Pixels {
            width: self.size.0.div_ceil(self.factors.0) as u32,
            height: self.size.1.div_ceil(self.factors.1) as u32,
            layout: self.layout,
            data: self.data,
        }
    }
}

#[inline(always)]
fn add_row(columns: &mut [u16], row: &[u8]) {
    for (sum, &sample) in columns.iter_mut().zip(row) {
        *sum += u16::from(sample);
    }
}

fn add_to_cells<const C: usize>(columns: &[u16], cells: &mut [u64], factor: usize) {
    // The compiler makes a copy for each of the usual ones.
    match factor {
        2 => add_columns::<C>(columns, cells, 2),
        3 => add_columns::<C>(columns, cells, 3),
        _ => add_columns::<C>(columns, cells, factor),
    }
}

#[inline(always)]
fn add_columns<const C: usize>(columns: &[u16], cells: &mut [u64], factor: usize) {
    let (cells, _) = cells.as_chunks_mut::<C>();
    let add = |cell: &mut [u64; C], columns: &[u16]| {
        let mut sums = [0u64; C];
        for column in columns.as_chunks::<C>().0 {
            for (sum, &sample) in sums.iter_mut().zip(column) {
                *sum += u64::from(sample);
            }
        }
        for (cell, sum) in cell.iter_mut().zip(sums) {
            *cell += sum;
        }
    };
    let whole = columns.chunks_exact(factor * C);
    let rest = whole.remainder();
    cells.iter_mut().zip(whole).for_each(|(cell, columns)| add(cell, columns));
    if let (false, Some(last)) = (rest.is_empty(), cells.last_mut()) {
        add(last, rest);
    }
}

/// Division by the number of pixels of a cell, as a multiplication by a fraction of 2^24.
#[derive(Clone, Copy)]
pub(super) struct Mean {
    count: u64,
    multiplier: u32,
}

impl Mean {
    pub(super) fn of(count: u64) -> Self {
        let multiplier =
            if (1..=MAX_CELL).contains(&count) { (4_294_967_296.0f32 / (256 * count) as f32) as u32 } else { 0 };
        Self { count, multiplier }
    }

    #[inline(always)]
    pub(super) fn of_sum(self, sum: u64) -> u8 {
        if self.count <= MAX_CELL { self.of_usual(sum) } else { ((sum + self.count / 2) / self.count) as u8 }
    }

    /// For up to [`MAX_CELL`] pixels.
    #[inline(always)]
    fn of_usual(self, sum: u64) -> u8 {
        (((sum + self.count / 2) as u32).wrapping_mul(self.multiplier) >> 24) as u8
    }

    #[inline(always)]
    fn of_all(self, sums: &[u64], out: &mut [u8]) {
        let each = out.iter_mut().zip(sums);
        if self.count <= MAX_CELL {
            each.for_each(|(out, &sum)| *out = self.of_usual(sum));
        } else {
            each.for_each(|(out, &sum)| *out = self.of_sum(sum));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduce(layout: Layout, size: (u32, u32), factors: (u32, u32), data: &[u8]) -> Pixels {
        let mut reducer = Reducer::new(layout, size, factors);
        for row in data.chunks_exact(size.0 as usize * layout.channels()) {
            reducer.push(row);
        }
        reducer.finish()
    }

    #[test]
    fn edge_cells_have_their_own_mean() {
        let data = [10, 20, 30, 30, 40, 50, 1, 2, 3];
        let reduced = reduce(Layout::Gray, (3, 3), (2, 2), &data);
        assert_eq!((reduced.width, reduced.height), (2, 2));
        assert_eq!(reduced.data, [25, 40, 2, 3]);
    }

    #[test]
    fn channels_stay_apart() {
        let data = [0, 100, 200, 10, 110, 210];
        let reduced = reduce(Layout::Rgb, (2, 1), (2, 1), &data);
        assert_eq!(reduced.data, [5, 105, 205]);
    }

    #[test]
    fn white_stays_white() {
        // Cells of more than 2^15 pixels lose a level to the short multiplier, as in Pillow.
        for count in 1..=1 << 15 {
            assert_eq!(Mean::of(count).of_sum(255 * count), 255, "{count}");
        }
        for count in [MAX_CELL + 1, 1 << 40] {
            assert_eq!(Mean::of(count).of_sum(255 * count), 255, "{count}");
            assert_eq!(Mean::of(count).of_sum(0), 0, "{count}");
        }
    }

    #[test]
    fn tall_cells_do_not_overflow() {
        let reduced = reduce(Layout::Gray, (2, 1000), (2, 1000), &[255; 2000]);
        assert_eq!(reduced.data, [255]);
    }
}
