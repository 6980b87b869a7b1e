//! A perceptual hash: pictures that look alike have hashes that differ in few bits.

use super::{Filter, Layout, Pixels, Region, convolve};

/// The difference hash (dHash) of a picture in RGB, by Neal Krawetz, "Kind of like that", 2013.
///
/// The picture becomes grey and 9 x 8 pixels large. Each bit says whether a pixel is darker than the one to its right, row by
/// row, the first one in the highest bit. As with Pillow: `picture.convert("L").resize((9, 8), Resampling.BICUBIC)`.
pub fn difference_hash(rgb: &Pixels) -> u64 {
    let (pixels, _) = rgb.data.as_chunks::<3>();
    let grey = |&[red, green, blue]: &[u8; 3]| {
        let weighted = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
        ((weighted + 0x8000) >> 16) as u8
    };
    let grey = Pixels { layout: Layout::Gray, data: pixels.iter().map(grey).collect(), ..*rgb };
    let small = convolve::resize(&grey, &Region::whole((rgb.width, rgb.height)), (9, 8), Filter::Bicubic);
    let darker = small.rows().flat_map(|row| row.windows(2).map(|pair| pair[0] < pair[1]));
    darker.fold(0, |hash, bit| hash << 1 | u64::from(bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 3]) -> Pixels {
        let data = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| colour(x, y)).collect();
        Pixels { width, height, layout: Layout::Rgb, data }
    }

    #[test]
    fn bits_say_where_it_gets_lighter() {
        let lighter = picture(90, 80, |x, _| [(x * 2) as u8; 3]);
        assert_eq!(difference_hash(&lighter), u64::MAX);
        let darker = picture(90, 80, |x, _| [255 - (x * 2) as u8; 3]);
        assert_eq!(difference_hash(&darker), 0);
        assert_eq!(difference_hash(&picture(5, 5, |_, _| [7, 8, 9])), 0);
        let upper = picture(90, 80, |x, y| [if y < 40 { (x * 2) as u8 } else { 0 }; 3]);
        assert_eq!(difference_hash(&upper) >> 40, 0xff_ffff);
        assert_eq!(difference_hash(&upper) & 0xff_ffff, 0);
    }
}
