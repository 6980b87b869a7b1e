//! Contact sheets: pages with all thumbnails side by side, in the order of the inputs, and their names below.
//!
//! A page has at most [`PER_PAGE`] of them and is written before the next is begun, so that there is never more than one page in
//! memory, of about twenty megabytes, however many pictures there are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use procpool_cli::picture::{Bounds, Layout, Pixels};

use super::text::Text;
use crate::frame::names;

/// How many thumbnails a page has.
pub(super) const PER_PAGE: usize = 100;

/// The largest width and height of a thumbnail on a sheet; larger ones are made smaller for it.
const CELL: u32 = 200;

/// The space between thumbnails, and around the page.
const GAP: u32 = 14;

/// The height of a line of text.
const LINE: u32 = 16;

/// The proportions of a page, width to height, that the number of columns comes closest to.
const PROPORTIONS: f64 = 4.0 / 3.0;

const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [38, 44, 52];
const FAILED: [u8; 3] = [176, 32, 32];
const FAILED_PAPER: [u8; 3] = [250, 240, 239];

/// The width and height that a thumbnail has at most on a sheet.
pub(super) fn cell(bounds: Bounds) -> (u32, u32) {
    let side = |own: Option<u32>, other: Option<u32>| own.or(other).unwrap_or(CELL).min(CELL);
    (side(bounds.width, bounds.height), side(bounds.height, bounds.width))
}

/// The name of a page: `sheet.jpg`, `sheet-page-2.jpg`, `sheet-page-3.jpg`.
pub(super) fn page_path(first: &Path, page: usize) -> PathBuf {
    if page == 0 {
        return first.to_owned();
    }
    let mut name: OsString = first.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-page-{}", page + 1));
    if let Some(extension) = first.extension() {
        name.push(".");
        name.push(extension);
    }
    first.with_file_name(name)
}

/// A picture to draw on: white, red, green and blue.
pub(super) struct Canvas(Pixels);

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Self {
        let data = PAPER.repeat(width as usize * height as usize);
        Canvas(Pixels { width, height, layout: Layout::Rgb, data })
    }

    pub(super) fn pixels(&self) -> &Pixels {
        &self.0
    }

    /// Lays a colour over a pixel, as far as `cover` (0 to 1) says. There are no pixels outside.
    pub(super) fn blend(&mut self, x: i64, y: i64, colour: [u8; 3], cover: f32) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x >= self.0.width || y >= self.0.height {
            return;
        }
        let at = (y as usize * self.0.width as usize + x as usize) * 3;
        for (sample, colour) in self.0.data[at..at + 3].iter_mut().zip(colour) {
            let mixed = f32::from(*sample) + (f32::from(colour) - f32::from(*sample)) * cover.clamp(0.0, 1.0);
            *sample = mixed.round() as u8;
        }
    }

    /// Fills a rectangle.
    fn fill(&mut self, (left, top): (u32, u32), (width, height): (u32, u32), colour: [u8; 3]) {
        for y in top..top + height {
            for x in left..left + width {
                self.blend(i64::from(x), i64::from(y), colour, 1.0);
            }
        }
    }

    /// Draws the edges of a rectangle.
    pub(super) fn frame(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), colour: [u8; 3]) {
        let (left, top) = (x.round() as i64, y.round() as i64);
        let (right, bottom) = ((x + width).round() as i64, (y + height).round() as i64);
        for x in left..=right {
            self.blend(x, top, colour, 1.0);
            self.blend(x, bottom, colour, 1.0);
        }
        for y in top + 1..bottom {
            self.blend(left, y, colour, 1.0);
            self.blend(right, y, colour, 1.0);
        }
    }

    /// Puts a picture of three channels there.
    fn paste(&mut self, tile: &Tile, (left, top): (u32, u32)) {
        let stride = tile.width as usize * 3;
        if stride == 0 || left + tile.width > self.0.width {
            return;
        }
        for (row, y) in tile.rgb.chunks_exact(stride).zip(top as usize..self.0.height as usize) {
            let at = (y * self.0.width as usize + left as usize) * 3;
            self.0.data[at..at + stride].copy_from_slice(row);
        }
    }
}

/// A thumbnail in the size it has on a sheet.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Tile {
    pub(super) width: u32,
    pub(super) rgb: Vec<u8>,
}

impl Tile {
    /// What is seen of a picture on the paper of a sheet.
    pub(super) fn of(pixels: &Pixels) -> Self {
        let on_paper = |sample: u8, alpha: u8| {
            let (sample, alpha) = (u32::from(sample), u32::from(alpha));
            ((sample * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        let rgb = pixels.data.chunks_exact(pixels.layout.channels()).flat_map(|pixel| match *pixel {
            [grey] => [grey; 3],
            [grey, alpha] => [on_paper(grey, alpha); 3],
            [red, green, blue] => [red, green, blue],
            [red, green, blue, alpha, ..] => [red, green, blue].map(|sample| on_paper(sample, alpha)),
            [] => PAPER,
        });
        Tile { width: pixels.width, rgb: rgb.collect() }
    }

    fn height(&self) -> u32 {
        (self.rgb.len() / (self.width.max(1) as usize * 3)) as u32
    }
}

/// Where things are on the pages of a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    cell: (u32, u32),
    columns: usize,
}

impl Grid {
    /// For `count` thumbnails in all, each `cell` large at most.
    pub(super) fn new(cell: (u32, u32), count: usize) -> Self {
        let count = count.clamp(1, PER_PAGE);
        let (width, height) = Self::step(cell);
        let columns = (count as f64 * f64::from(height) / f64::from(width) * PROPORTIONS).sqrt().ceil() as usize;
        Grid { cell, columns: columns.clamp(1, count) }
    }

    /// From one thumbnail to the next.
    fn step(cell: (u32, u32)) -> (u32, u32) {
        (cell.0 + GAP, cell.1 + LINE + GAP)
    }

    /// The upper left corner of the cell of a thumbnail of a page.
    fn corner(&self, number: usize) -> (u32, u32) {
        let (width, height) = Self::step(self.cell);
        (GAP + (number % self.columns) as u32 * width, GAP + (number / self.columns) as u32 * height)
    }

    /// The size of a page with `count` thumbnails.
    fn size(&self, count: usize) -> (u32, u32) {
        let (width, height) = Self::step(self.cell);
        (GAP + self.columns as u32 * width, GAP + count.div_ceil(self.columns) as u32 * height)
    }
}

/// A page that is being filled.
pub(super) struct Page<'a> {
    canvas: Canvas,
    grid: Grid,
    text: &'a Text,
    filled: usize,
}

impl<'a> Page<'a> {
    /// A page that will have `count` thumbnails.
    pub(super) fn new(grid: Grid, text: &'a Text, count: usize) -> Self {
        let (width, height) = grid.size(count);
        Page { canvas: Canvas::new(width, height), grid, text, filled: 0 }
    }

    /// Puts the next thumbnail there, or says why there is none.
    pub(super) fn add(&mut self, input: &Path, tile: Result<&Tile, &str>) {
        let corner = self.grid.corner(self.filled);
        let cell = self.grid.cell;
        self.filled += 1;
        match tile {
            Ok(tile) => {
                let left = corner.0 + cell.0.saturating_sub(tile.width) / 2;
                // On the line of their names, as on a shelf.
                let top = corner.1 + cell.1.saturating_sub(tile.height());
                self.canvas.paste(tile, (left, top));
            }
            Err(message) => {
                self.canvas.fill(corner, cell, FAILED_PAPER);
                let margin = (cell.0 / 20).min(6);
                let most = (cell.1.saturating_sub(2 * margin) / LINE) as usize;
                let room = (cell.0 - 2 * margin) as f32;
                let lines = if most > 0 { self.text.wrapped(message, room, most) } else { Vec::new() };
                for (number, line) in (0..).zip(&lines) {
                    let place = ((corner.0 + margin) as f32, (corner.1 + margin + number * LINE) as f32);
                    self.text.draw(&mut self.canvas, line, place, FAILED);
                }
            }
        }
        let name = names::show(Path::new(input.file_name().unwrap_or(input.as_os_str())));
        let name = self.text.shortened(&name, (cell.0 + GAP - 4) as f32);
        let indent = ((cell.0 as f32 - self.text.width(&name)) / 2.0).floor();
        let place = (corner.0 as f32 + indent, (corner.1 + cell.1 + 3) as f32);
        self.text.draw(&mut self.canvas, &name, place, if tile.is_ok() { INK } else { FAILED });
    }

    /// The page as it is.
    pub(super) fn pixels(&self) -> &Pixels {
        self.canvas.pixels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_names_of_their_own() {
        let page = |number| page_path(Path::new("out/sheet.v1.jpg"), number).display().to_string();
        assert_eq!(
            [page(0), page(1), page(9)],
            ["out/sheet.v1.jpg", "out/sheet.v1-page-2.jpg", "out/sheet.v1-page-10.jpg"]
        );
    }

    #[test]
    fn cells_are_as_large_as_the_thumbnails_but_not_larger_than_fits_a_page() {
        assert_eq!(cell(Bounds::square(128)), (128, 128));
        assert_eq!(cell(Bounds::both(100, 4000)), (100, 200));
        assert_eq!(cell(Bounds { width: Some(90), height: None }), (90, 90));
    }

    #[test]
    fn columns_come_close_to_a_page_in_landscape() {
        let columns = |cell, count| Grid::new(cell, count).columns;
        assert_eq!([1, 2, 5, 24, 100, 100_000].map(|count| columns((128, 128), count)), [1, 2, 3, 6, 13, 13]);
        assert_eq!(columns((1, 200), 100), 46);
        assert_eq!(columns((200, 1), 100), 5);
        for cell in [(1, 1), (200, 200), (200, 1), (1, 200)] {
            let (width, height) = Grid::new(cell, PER_PAGE).size(PER_PAGE);
            assert!(width * height < 7_000_000, "{cell:?}: {width} x {height}");
        }
    }

    #[test]
    fn thumbnails_and_failures_are_side_by_side() {
        let text = Text::new(13.0).expect("the font is whole");
        let mut page = Page::new(Grid::new((40, 30), 2), &text, 2);
        let tile = Tile { width: 20, rgb: [10, 200, 30].repeat(200) };
        page.add(Path::new("a.jpg"), Ok(&tile));
        page.add(Path::new("b.jpg"), Err("is empty"));
        let pixels = page.pixels();
        let at = |x: u32, y: u32| &pixels.data[(y * pixels.width + x) as usize * 3..][..3];
        assert_eq!((pixels.width, pixels.height), (GAP + 2 * (40 + GAP), GAP + 30 + LINE + GAP));
        assert_eq!((at(GAP + 9, GAP + 29), at(GAP + 10, GAP + 29)), (&PAPER[..], &[10, 200, 30][..]));
        assert_eq!((at(GAP + 29, GAP + 20), at(GAP + 29, GAP + 19)), (&[10, 200, 30][..], &PAPER[..]));
        assert_eq!(at(2 * GAP + 40, GAP), FAILED_PAPER);
        // The names.
        let dark = |left: u32| (left..left + 40).any(|x| (GAP + 30..GAP + 30 + LINE).any(|y| at(x, y)[1] < 100));
        assert!(dark(GAP) && dark(2 * GAP + 40));
    }

    #[test]
    fn clear_pixels_are_as_paper() {
        let tile =
            |layout: Layout, data: &[u8]| Tile::of(&Pixels { width: 1, height: 1, layout, data: data.to_vec() }).rgb;
        assert_eq!(tile(Layout::Rgba, &[9, 9, 9, 0]), [255; 3]);
        assert_eq!(tile(Layout::Rgba, &[9, 8, 7, 255]), [9, 8, 7]);
        assert_eq!(tile(Layout::GrayAlpha, &[0, 128]), [127; 3]);
        assert_eq!(tile(Layout::Gray, &[5]), [5; 3]);
    }
}
