//! From planes of samples to pixels.

use crate::layout::Layout;
use crate::marker::Coding;
use crate::simd::vectorised;
use crate::upsample;

/// 2^16ths: libjpeg's factors, by which red and blue differ from the luma, and green from it, for each step of a colour channel.
const RED: i32 = 91_881;
const BLUE: i32 = 116_130;
const GREEN_OF_RED: i32 = -46_802;
const GREEN_OF_BLUE: i32 = -22_554;
const HALF: i32 = 1 << 15;

#[inline(always)]
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let [luma, blue, red] = [i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128];
    let differences = [RED * red, GREEN_OF_RED * red + GREEN_OF_BLUE * blue, BLUE * blue];
    differences.map(|difference| (luma + ((difference + HALF) >> 16)).clamp(0, 255) as u8)
}

/// The pixels of a row.
#[inline(always)]
fn all_rgb(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    for (((out, &luma), &blue), &red) in out.as_chunks_mut().0.iter_mut().zip(luma).zip(blue).zip(red) {
        *out = rgb(luma, blue, red);
    }
}

/// The pixels of the reduced picture, channels interleaved.
pub(crate) fn pixels(planes: Vec<Vec<u8>>, layout: &Layout, coding: Coding) -> Vec<u8> {
    let (width, height) = layout.size;
    let mut out = vec![0; width * height * planes.len()];
    let mut rows: Vec<Vec<u8>> = planes.iter().map(|_| vec![0; width]).collect();
    for (y, out) in out.chunks_exact_mut(width * planes.len()).enumerate() {
        for ((row, plane), blocks) in rows.iter_mut().zip(&planes).zip(&layout.blocks) {
            upsample::row(row, plane, blocks, layout.smooth, y);
        }
        match (coding, &rows[..]) {
            (Coding::YCbCr, [luma, blue, red]) => {
                vectorised(
                    #[inline(always)]
                    || all_rgb(luma, blue, red, out),
                );
            }
            (Coding::Ycck, [luma, blue, red, black]) => {
                let rows = luma.iter().zip(blue).zip(red).zip(black);
                for (out, (((&luma, &blue), &red), &black)) in out.as_chunks_mut().0.iter_mut().zip(rows) {
                    let [r, g, b] = rgb(luma, blue, red);
                    *out = [!r, !g, !b, black];
                }
            }
            (_, rows) => {
                for (channel, row) in rows.iter().enumerate() {
                    out.iter_mut().skip(channel).step_by(rows.len()).zip(row).for_each(|(out, &sample)| *out = sample);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primary_colours() {
        assert_eq!(rgb(76, 85, 255), [254, 0, 0]);
        assert_eq!(rgb(255, 128, 128), [255; 3]);
        assert_eq!(rgb(0, 128, 128), [0; 3]);
        assert_eq!(rgb(29, 255, 107), [0, 0, 254]);
    }
}
