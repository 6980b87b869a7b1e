//! Where the blocks and samples of each channel lie.

use crate::Error;
use crate::bits::MAX_BLOCKS;
use crate::marker::{Channel, Frame, Scan};

/// The blocks of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Blocks of an MCU, across and down.
    pub(crate) in_mcu: (usize, usize),
    /// Blocks that hold parts of the picture: so many has a scan of this channel alone.
    pub(crate) used: (usize, usize),
    /// Blocks in all, MCUs being whole.
    pub(crate) all: (usize, usize),
    /// Samples that a block becomes, in each direction: 1 or 2.
    pub(crate) samples: usize,
    /// Pixels that a sample covers, across and down.
    pub(crate) cover: (usize, usize),
}

impl Blocks {
    /// Samples in a row of the channel.
    pub(crate) fn stride(&self) -> usize {
        self.all.0 * self.samples
    }

    pub(crate) fn count(&self) -> usize {
        self.all.0 * self.all.1
    }
}

/// The layout of a picture.
pub(crate) struct Layout {
    /// Size of the reduced picture in pixels.
    pub(crate) size: (usize, usize),
    /// MCUs of a scan with several channels, across and down.
    pub(crate) mcus: (usize, usize),
    pub(crate) blocks: Vec<Blocks>,
}

impl Layout {
    /// At an eighth, a block becomes one sample, or 2 x 2 where the channel has half the resolution in both directions (as
    /// in libjpeg's `jpeg_calc_output_dimensions`), and what resolution is then still missing is made up by repetition
    /// (`jinit_upsampler`: it does not smooth at this scale).
    pub(crate) fn of(frame: &Frame) -> Result<Self, Error> {
        let most = |part: fn(&Channel) -> u8| usize::from(frame.channels.iter().map(part).max().unwrap_or(1));
        let most = (most(|channel| channel.sampling.0), most(|channel| channel.sampling.1));
        let size = (frame.width as usize, frame.height as usize);
        let mcus = (size.0.div_ceil(8 * most.0), size.1.div_ceil(8 * most.1));
        let blocks = frame.channels.iter().map(|channel| {
            let in_mcu = (usize::from(channel.sampling.0), usize::from(channel.sampling.1));
            let mut samples = 1;
            while samples < 8
                && most.0.is_multiple_of(in_mcu.0 * samples * 2)
                && most.1.is_multiple_of(in_mcu.1 * samples * 2)
            {
                samples *= 2;
            }
            let given = (in_mcu.0 * samples, in_mcu.1 * samples);
            if samples > 2 || !most.0.is_multiple_of(given.0) || !most.1.is_multiple_of(given.1) {
                return Err(Error::Unsupported("channels of unusual resolutions"));
            }
            Ok(Blocks {
                in_mcu,
                used: ((size.0 * in_mcu.0).div_ceil(8 * most.0), (size.1 * in_mcu.1).div_ceil(8 * most.1)),
                all: (mcus.0 * in_mcu.0, mcus.1 * in_mcu.1),
                samples,
                cover: (most.0 / given.0, most.1 / given.1),
            })
        });
        Ok(Self { size: (size.0.div_ceil(8), size.1.div_ceil(8)), mcus, blocks: blocks.collect::<Result<_, _>>()? })
    }

    /// The grid of MCUs of a scan, and for each of its channels the blocks of an MCU. A scan of one channel has MCUs of one
    /// block, and none that are all padding.
    pub(crate) fn grid(&self, scan: &Scan) -> Result<Grid, Error> {
        let blocks = |part: &crate::marker::ScanPart| self.blocks[part.channel];
        match &scan.parts[..] {
            [part] => Ok(Grid { mcus: blocks(part).used, in_mcu: vec![(1, 1)] }),
            parts => {
                let in_mcu: Vec<_> = parts.iter().map(|part| blocks(part).in_mcu).collect();
                if in_mcu.iter().map(|(across, down)| across * down).sum::<usize>() > MAX_BLOCKS {
                    return Err(Error::Damaged { what: "an MCU has more than ten blocks", at: scan.data });
                }
                Ok(Grid { mcus: self.mcus, in_mcu })
            }
        }
    }
}

/// The MCUs of a scan.
pub(crate) struct Grid {
    /// MCUs across and down.
    pub(crate) mcus: (usize, usize),
    /// For each channel of the scan, blocks of an MCU across and down.
    pub(crate) in_mcu: Vec<(usize, usize)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: (u32, u32), sampling: &[(u8, u8)]) -> Result<Layout, Error> {
        let channel = |&sampling| Channel { id: 0, sampling, ..Channel::default() };
        let channels = sampling.iter().map(channel).collect();
        Layout::of(&Frame { width: size.0, height: size.1, channels, progressive: false })
    }

    #[test]
    fn colour_of_half_the_resolution_gets_two_samples_a_block() {
        let layout = layout((100, 50), &[(2, 2), (1, 1), (1, 1)]).expect("the resolutions are usual");
        assert_eq!((layout.size, layout.mcus), ((13, 7), (7, 4)));
        let [luma, colour, _] = layout.blocks[..] else { panic!("three channels") };
        let of_luma = Blocks { in_mcu: (2, 2), used: (13, 7), all: (14, 8), samples: 1, cover: (1, 1) };
        let of_colour = Blocks { in_mcu: (1, 1), used: (7, 4), all: (7, 4), samples: 2, cover: (1, 1) };
        assert_eq!((luma, colour), (of_luma, of_colour));
    }

    #[test]
    fn other_resolutions_are_made_up_by_repetition() {
        let colour = |most, colour| {
            layout((64, 64), &[most, colour, colour]).map(|layout| (layout.blocks[1].samples, layout.blocks[1].cover))
        };
        assert_eq!(colour((2, 1), (1, 1)), Ok((1, (2, 1))));
        assert_eq!(colour((1, 2), (1, 1)), Ok((1, (1, 2))));
        assert_eq!(colour((1, 1), (1, 1)), Ok((1, (1, 1))));
        assert_eq!(colour((4, 1), (1, 1)), Ok((1, (4, 1))));
        assert_eq!(colour((4, 2), (1, 1)), Ok((2, (2, 1))));
        assert_eq!(colour((4, 2), (2, 1)), Ok((2, (1, 1))));
        assert!(colour((3, 1), (2, 1)).is_err());
        assert!(colour((4, 4), (1, 1)).is_err());
    }

    #[test]
    fn a_single_channel_covers_the_picture_whatever_its_factors() {
        let layout = layout((100, 50), &[(2, 2)]).expect("the resolution is usual");
        assert_eq!((layout.blocks[0].samples, layout.blocks[0].cover), (1, (1, 1)));
        assert_eq!(layout.blocks[0].used, (13, 7));
    }
}
