//! A channel's samples for each pixel of a row, where it has fewer samples than there are pixels: as in libjpeg's `jdsample.c`.

use crate::layout::Blocks;

/// The samples of a plane for row `y` of the picture.
pub(crate) fn row(out: &mut [u8], plane: &[u8], blocks: &Blocks, smooth: bool, y: usize) {
    let line = |y: usize| &plane[y * blocks.stride()..][..blocks.stride()];
    match blocks.cover {
        (1, 1) => out.copy_from_slice(&line(y)[..out.len()]),
        // Of two samples or fewer, libjpeg makes no slope.
        (2, 1) if smooth && blocks.size.0 > 2 => twice_across(out, &line(y)[..blocks.size.0]),
        (1, 2) if smooth => {
            // Beyond the picture, its first and last rows are meant.
            let (near, far, round) = match y % 2 {
                0 => (y / 2, (y / 2).saturating_sub(1), 1),
                _ => (y / 2, (y / 2 + 1).min(blocks.size.1 - 1), 2),
            };
            for ((out, &near), &far) in out.iter_mut().zip(line(near)).zip(line(far)) {
                *out = ((3 * u16::from(near) + u16::from(far) + round) >> 2) as u8;
            }
        }
        (1, down) => out.copy_from_slice(&line(y / down)[..out.len()]),
        (across, down) => {
            out.chunks_mut(across).zip(line(y / down)).for_each(|(out, &sample)| out.fill(sample));
        }
    }
}

/// Two pixels for each of three samples or more: each lies a quarter of the way to the neighbour on its side, which the first
/// and the last do not have.
fn twice_across(out: &mut [u8], samples: &[u8]) {
    let between = |near: u8, far: u8, round: u16| ((3 * u16::from(near) + u16::from(far) + round) >> 2) as u8;
    let ([first, .., last], Some((out_first, out))) = (samples, out.split_first_mut()) else { return };
    *out_first = *first;
    // From here on, the pairs lie between one sample and the next.
    let (pairs, rest) = out.as_chunks_mut::<2>();
    for ((pair, &left), &right) in pairs.iter_mut().zip(samples).zip(&samples[1..]) {
        *pair = [between(left, right, 2), between(right, left, 1)];
    }
    if let [after] = rest {
        *after = *last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(size: (usize, usize), cover: (usize, usize)) -> Blocks {
        Blocks { in_mcu: (1, 1), used: size, all: size, samples: 1, size, cover }
    }

    #[test]
    fn missing_samples_are_repeated() {
        let blocks = blocks((3, 2), (2, 3));
        let mut out = [0; 5];
        row(&mut out, &[1, 2, 3, 4, 5, 6], &blocks, false, 5);
        assert_eq!(out, [4, 4, 5, 5, 6]);
    }

    #[test]
    fn slopes_across() {
        let blocks = blocks((3, 1), (2, 1));
        let mut out = [0; 6];
        row(&mut out, &[0, 100, 40], &blocks, true, 0);
        assert_eq!(out, [0, 25, 75, 85, 55, 40]);
        let mut out = [0; 5];
        row(&mut out, &[0, 100, 40], &blocks, true, 0);
        assert_eq!(out, [0, 25, 75, 85, 55]);
    }

    #[test]
    fn slopes_down() {
        let blocks = blocks((1, 2), (1, 2));
        let down: Vec<u8> = (0..4)
            .map(|y| {
                let mut out = [0];
                row(&mut out, &[0, 102], &blocks, true, y);
                out[0]
            })
            .collect();
        assert_eq!(down, [0, 26, 76, 102]);
    }
}
