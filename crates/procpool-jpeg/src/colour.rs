//! From planes of samples to pixels.

use crate::layout::Layout;
use crate::marker::Coding;
use crate::upsample;

/// What red, green and blue differ from the luma by, for each value of a colour channel: libjpeg's tables, in 2^16ths for
/// green and whole numbers for the others.
struct Tables {
    red: [i16; 256],
    blue: [i16; 256],
    green_of_red: [i32; 256],
    green_of_blue: [i32; 256],
}

static TABLES: Tables = {
    let mut tables = Tables { red: [0; 256], blue: [0; 256], green_of_red: [0; 256], green_of_blue: [0; 256] };
    let mut value = 0;
    while value < 256 {
        let centred = value as i32 - 128;
        tables.red[value] = ((91_881 * centred + 32_768) >> 16) as i16;
        tables.blue[value] = ((116_130 * centred + 32_768) >> 16) as i16;
        tables.green_of_red[value] = -46_802 * centred;
        tables.green_of_blue[value] = -22_554 * centred + 32_768;
        value += 1;
    }
    tables
};

#[inline(always)]
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let (luma, blue, red) = (i32::from(luma), usize::from(blue), usize::from(red));
    let green = (TABLES.green_of_blue[blue] + TABLES.green_of_red[red]) >> 16;
    [luma + i32::from(TABLES.red[red]), luma + green, luma + i32::from(TABLES.blue[blue])]
        .map(|value| value.clamp(0, 255) as u8)
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
                for (((out, &luma), &blue), &red) in out.as_chunks_mut().0.iter_mut().zip(luma).zip(blue).zip(red) {
                    *out = rgb(luma, blue, red);
                }
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
