//! Which part of a picture is worth keeping, when a part must go.
//!
//! A picture that covers its box loses something at two opposite sides only, so there is one number to find: where along that
//! direction the part that stays begins. All places are compared on a small copy of the picture, with whole numbers but for
//! the logarithms, so that the same picture is always cut at the same place.
//!
//! Both measures are those that the smart cropping of libvips and sharp made known: the entropy of the brightness, and
//! attention, which is detail, saturated colour and the colour of skin. What is done with them is our own: libvips takes away
//! slices one after the other, or puts the brightest point of a blurred map in the middle; here every place gets a mark. Skin
//! is what Chai and Ngan found it to be ("Face segmentation using skin-color map in videophone applications", 1999): Cb from 77
//! to 127 and Cr from 133 to 173.

use super::reduce::Reducer;
use super::{Layout, Pixels, alpha};

/// The part that a picture keeps when it is to [cover](super::Fit::Cover) a box of other proportions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Crop {
    /// The middle, as Pillow does.
    #[default]
    Centre,
    /// Where brightness varies most: where its histogram has the highest entropy.
    Entropy,
    /// Where there is most to look at: detail, strong colours, skin.
    Attention,
}

/// The longest side of the copy that is looked at.
const SIDE: u32 = 192;

/// Steps of brightness that entropy tells apart.
const LEVELS: usize = 64;

/// What skin is worth beside colour and detail, which are at most 255 and 510.
const SKIN: u32 = 160;

/// Where the part that stays lies: 0 at the left or upper end, 0.5 in the middle, 1 at the other end. `kept` is how much of the
/// width and of the height stays, from 0 to 1; one of them is 1.
pub(super) fn place(source: &Pixels, crop: Crop, kept: (f64, f64)) -> f64 {
    if crop == Crop::Centre || kept.0 >= 1.0 && kept.1 >= 1.0 {
        return 0.5;
    }
    let seen = Seen::of(source, kept.0 >= 1.0);
    let share = kept.0.min(kept.1);
    let window = ((seen.lines as f64 * share).round() as usize).clamp(1, seen.lines);
    let places = seen.lines - window + 1;
    let marks: Vec<f64> = match crop {
        Crop::Entropy => entropies(&seen, window, places),
        _ => attentions(&seen, window, places),
    };
    match best(&marks) {
        Some(best) if places > 1 => best as f64 / (places - 1) as f64,
        _ => 0.5,
    }
}

/// The place with the highest mark; of several the one closest to the middle, of two the first.
fn best(marks: &[f64]) -> Option<usize> {
    // The least difference that is none of rounding.
    const MORE: f64 = 1.0 + 1e-9;
    let mut order: Vec<usize> = (0..marks.len()).collect();
    order.sort_by_key(|at| (2 * at).abs_diff(marks.len() - 1));
    order.into_iter().reduce(|best, at| if marks[at] > marks[best] * MORE { at } else { best })
}

/// A small copy of a picture, cut into the lines that a part keeps or not: its columns, or its rows.
struct Seen {
    lines: usize,
    /// Pixels of a line.
    length: usize,
    /// Red, green, blue and alpha, line by line.
    pixels: Vec<[u8; 4]>,
}

impl Seen {
    fn of(source: &Pixels, lines_are_rows: bool) -> Self {
        let size = (source.width, source.height);
        let mut reducer = Reducer::new(source.layout, size, (size.0.div_ceil(SIDE), size.1.div_ceil(SIDE)));
        source.rows().for_each(|row| reducer.push(row));
        let small = alpha::cmyk_to_rgb(reducer.finish());
        let pixel = |at: usize| match (small.layout, &small.data[at * small.layout.channels()..]) {
            (Layout::Gray, &[grey, ..]) => [grey, grey, grey, 255],
            (Layout::GrayAlpha, &[grey, alpha, ..]) => [grey, grey, grey, alpha],
            (Layout::Rgb, &[red, green, blue, ..]) => [red, green, blue, 255],
            (_, &[red, green, blue, alpha, ..]) => [red, green, blue, alpha],
            _ => [0; 4],
        };
        let (width, height) = (small.width as usize, small.height as usize);
        if lines_are_rows {
            Self { lines: height, length: width, pixels: (0..width * height).map(pixel).collect() }
        } else {
            let turned = (0..width).flat_map(|x| (0..height).map(move |y| y * width + x));
            Self { lines: width, length: height, pixels: turned.map(pixel).collect() }
        }
    }

    fn line(&self, line: usize) -> &[[u8; 4]] {
        &self.pixels[line * self.length..][..self.length]
    }

    /// Of every pixel, what is seen of it on black.
    fn brightness(&self) -> Vec<u8> {
        self.pixels.iter().map(|&pixel| brightness(pixel)).collect()
    }
}

fn brightness([red, green, blue, alpha]: [u8; 4]) -> u8 {
    let light = 77 * u32::from(red) + 150 * u32::from(green) + 29 * u32::from(blue);
    (light * u32::from(alpha) / (255 * 256)) as u8
}

/// For each place the entropy of the brightness of what would stay.
fn entropies(seen: &Seen, window: usize, places: usize) -> Vec<f64> {
    let brightness = seen.brightness();
    let mut counts = [0i64; LEVELS];
    let note = |counts: &mut [i64; LEVELS], line: usize, by: i64| {
        for &light in &brightness[line * seen.length..][..seen.length] {
            counts[usize::from(light) * LEVELS / 256] += by;
        }
    };
    (0..window - 1).for_each(|line| note(&mut counts, line, 1));
    let mark = |place: usize| {
        note(&mut counts, place + window - 1, 1);
        let here = counts;
        note(&mut counts, place, -1);
        let all = (window * seen.length) as f64;
        let parts = here.iter().filter(|&&count| count > 0).map(|&count| count as f64 / all);
        parts.map(|part| -part * part.log2()).sum()
    };
    (0..places).map(mark).collect()
}

/// For each place how much there is to look at in what would stay; what is in its middle counts most.
fn attentions(seen: &Seen, window: usize, places: usize) -> Vec<f64> {
    let brightness = seen.brightness();
    let light = |line: usize, at: usize| i32::from(brightness[line * seen.length + at]);
    let of_line = |line: usize| -> u64 {
        let pixels = seen.line(line).iter().enumerate();
        let marks = pixels.map(|(at, &pixel)| {
            // The edge of the picture is no detail of it.
            let before = |at: usize| at.saturating_sub(1);
            let (after, below) = ((at + 1).min(seen.length - 1), (line + 1).min(seen.lines - 1));
            let around = light(line, before(at)) + light(line, after) + light(before(line), at) + light(below, at);
            let detail = (4 * light(line, at) - around).unsigned_abs().min(255);
            u64::from(2 * detail + colour(pixel))
        });
        marks.sum()
    };
    let marks: Vec<u64> = (0..seen.lines).map(of_line).collect();
    let weighed = |place: usize| {
        let marks = marks[place..place + window].iter().enumerate();
        marks.map(|(at, mark)| mark * (at.min(window - 1 - at) + 1) as u64).sum::<u64>() as f64
    };
    (0..places).map(weighed).collect()
}

/// How much the colour of a pixel draws the eye: its saturation, and more if it is that of skin.
fn colour(pixel: [u8; 4]) -> u32 {
    let [red, green, blue, alpha] = pixel;
    let saturation = u32::from(red.max(green).max(blue) - red.min(green).min(blue));
    let [r, g, b] = [red, green, blue].map(i32::from);
    let cb = 128 + (-43 * r - 85 * g + 128 * b) / 256;
    let cr = 128 + (128 * r - 107 * g - 21 * b) / 256;
    let is_skin = (77..=127).contains(&cb) && (133..=173).contains(&cr) && brightness(pixel) > 40;
    (saturation + if is_skin { SKIN } else { 0 }) * u32::from(alpha) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of one colour with a square of others.
    fn with_square(size: (u32, u32), corner: (u32, u32), paint: impl Fn(u32, u32) -> [u8; 3]) -> Pixels {
        let pixel = |x: u32, y: u32| {
            let inside = (corner.0..corner.0 + 30).contains(&x) && (corner.1..corner.1 + 30).contains(&y);
            if inside { paint(x, y) } else { [120, 120, 120] }
        };
        let data = (0..size.1).flat_map(|y| (0..size.0).flat_map(move |x| pixel(x, y))).collect();
        Pixels { width: size.0, height: size.1, layout: Layout::Rgb, data }
    }

    fn speckled(x: u32, y: u32) -> [u8; 3] {
        let mixed = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 24;
        [mixed as u8; 3]
    }

    #[test]
    fn the_part_with_something_in_it_stays() {
        type Paint = fn(u32, u32) -> [u8; 3];
        let skin: Paint = |_, _| [224, 172, 140];
        let red: Paint = |_, _| [220, 20, 20];
        for (crop, paint) in [
            (Crop::Entropy, speckled as Paint),
            (Crop::Attention, speckled),
            (Crop::Attention, skin),
            (Crop::Attention, red),
        ] {
            for at in [0, 40, 85, 130, 170] {
                let wide = with_square((200, 100), (at, 30), paint);
                let place = place(&wide, crop, (0.5, 1.0)) * 100.0;
                assert!(place <= f64::from(at) && place + 100.0 >= f64::from(at + 30), "{crop:?} {at}: {place}");
                let high = with_square((100, 200), (30, at), paint);
                let place = super::place(&high, crop, (1.0, 0.5)) * 100.0;
                assert!(place <= f64::from(at) && place + 100.0 >= f64::from(at + 30), "{crop:?} {at}: {place}");
            }
        }
    }

    #[test]
    fn attention_puts_it_in_the_middle() {
        let picture = with_square((200, 100), (100, 30), speckled);
        // It is looked at in half its size, so that the middle is 32.5 of 50 places from the left.
        assert_eq!(place(&picture, Crop::Attention, (0.5, 1.0)), 33.0 / 50.0);
    }

    #[test]
    fn skin_draws_more_than_grass() {
        let mut picture = with_square((192, 96), (10, 30), |_, _| [60, 140, 40]);
        let face = with_square((192, 96), (150, 30), |_, _| [224, 172, 140]);
        for (pixel, &skin) in picture.data.iter_mut().zip(&face.data) {
            if skin != 120 {
                *pixel = skin;
            }
        }
        assert!(place(&picture, Crop::Attention, (0.5, 1.0)) * 96.0 >= 84.0);
    }

    #[test]
    fn where_nothing_stands_out_the_middle_stays() {
        let plain = Pixels { width: 31, height: 7, layout: Layout::Gray, data: vec![9; 217] };
        let clear = Pixels { width: 31, height: 1, layout: Layout::Rgba, data: [200, 0, 0, 0].repeat(31) };
        for crop in [Crop::Centre, Crop::Entropy, Crop::Attention] {
            for picture in [&plain, &clear] {
                assert_eq!(place(picture, crop, (0.36, 1.0)), 0.5, "{crop:?}");
                assert_eq!(place(picture, crop, (1.0, 1.0)), 0.5, "{crop:?}");
            }
        }
    }

    #[test]
    fn every_size_and_layout_is_taken() {
        for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba, Layout::Cmyk] {
            for (width, height) in [(1, 1), (1, 5000), (5000, 1), (7, 3), (193, 191)] {
                let length = (width * height) as usize * layout.channels();
                let data = (0..length).map(|at| (at * at / 7) as u8).collect();
                let picture = Pixels { width, height, layout, data };
                for crop in [Crop::Entropy, Crop::Attention] {
                    for kept in [(0.001, 1.0), (0.7, 1.0), (1.0, 0.3)] {
                        let place = place(&picture, crop, kept);
                        assert!((0.0..=1.0).contains(&place), "{layout:?} {width} x {height}: {place}");
                    }
                }
            }
        }
    }
}
