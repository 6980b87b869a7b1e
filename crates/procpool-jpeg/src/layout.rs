//! Where the blocks and samples of each channel lie.

use crate::bits::MAX_BLOCKS;
use crate::marker::{Channel, Frame, Scan};
use crate::{Error, Scale};

/// The blocks of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Blocks of an MCU, across and down.
    pub(crate) in_mcu: (usize, usize),
    /// Blocks that hold parts of the picture: so many has a scan of this channel alone.
    pub(crate) used: (usize, usize),
    /// Blocks in all, MCUs being whole.
    pub(crate) all: (usize, usize),
    /// Samples that a block becomes, in each direction: 1, 2, 4 or 8.
    pub(crate) samples: usize,
    /// Samples that belong to the picture, across and down.
    pub(crate) size: (usize, usize),
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
    /// Whether samples that are missing are made up smoothly where libjpeg can; otherwise by repetition.
    pub(crate) smooth: bool,
}

impl Layout {
    /// A block becomes as many samples as pixels, or twice as many in each direction where the channel has half the
    /// resolution in both (as in libjpeg's `jpeg_calc_output_dimensions`), and what resolution is then still missing is made
    /// up (`jinit_upsampler`: at an eighth by repetition).
    pub(crate) fn of(frame: &Frame, scale: Scale) -> Result<Self, Error> {
        let most = |part: fn(&Channel) -> u8| usize::from(frame.channels.iter().map(part).max().unwrap_or(1));
        let most = (most(|channel| channel.sampling.0), most(|channel| channel.sampling.1));
        let size = (frame.width as usize, frame.height as usize);
        let block = scale.block();
        let mcus = (size.0.div_ceil(8 * most.0), size.1.div_ceil(8 * most.1));
        let blocks = frame.channels.iter().map(|channel| {
            let in_mcu = (usize::from(channel.sampling.0), usize::from(channel.sampling.1));
            let wanted = (most.0 * block, most.1 * block);
            let mut samples = block;
            while samples < 8
                && wanted.0.is_multiple_of(in_mcu.0 * samples * 2)
                && wanted.1.is_multiple_of(in_mcu.1 * samples * 2)
            {
                samples *= 2;
            }
            let given = (in_mcu.0 * samples, in_mcu.1 * samples);
            let cover = (wanted.0 / given.0, wanted.1 / given.1);
            let whole = wanted.0.is_multiple_of(given.0) && wanted.1.is_multiple_of(given.1);
            // Smoothing in both directions at once would be needed with more than ten blocks in an MCU only.
            if !whole || cover == (2, 2) {
                return Err(Error::Unsupported("channels of unusual resolutions"));
            }
            Ok(Blocks {
                in_mcu,
                used: ((size.0 * in_mcu.0).div_ceil(8 * most.0), (size.1 * in_mcu.1).div_ceil(8 * most.1)),
                all: (mcus.0 * in_mcu.0, mcus.1 * in_mcu.1),
                samples,
                size: ((size.0 * given.0).div_ceil(8 * most.0), (size.1 * given.1).div_ceil(8 * most.1)),
                cover,
            })
        });
        let blocks = blocks.collect::<Result<_, _>>()?;
        let size = (size.0.div_ceil(8 / block), size.1.div_ceil(8 / block));
        Ok(Self { size, mcus, blocks, smooth: scale != Scale::Eighth })
    }

    /// Whether a block becomes one pixel.
    pub(crate) fn is_eighth(&self) -> bool {
        !self.smooth
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

    fn layout(size: (u32, u32), sampling: &[(u8, u8)], scale: Scale) -> Result<Layout, Error> {
        let channel = |&sampling| Channel { id: 0, sampling, ..Channel::default() };
        let channels = sampling.iter().map(channel).collect();
        Layout::of(&Frame { width: size.0, height: size.1, channels, progressive: false }, scale)
    }

    #[test]
    fn colour_of_half_the_resolution_gets_two_samples_for_one() {
        let sampling = [(2, 2), (1, 1), (1, 1)];
        let eighth = layout((100, 50), &sampling, Scale::Eighth).expect("the resolutions are usual");
        assert_eq!((eighth.size, eighth.mcus), ((13, 7), (7, 4)));
        let [luma, colour, _] = eighth.blocks[..] else { panic!("three channels") };
        let (all, cover) = ((14, 8), (1, 1));
        assert_eq!(luma, Blocks { in_mcu: (2, 2), used: (13, 7), all, samples: 1, size: (13, 7), cover });
        let all = (7, 4);
        assert_eq!(colour, Blocks { in_mcu: (1, 1), used: (7, 4), all, samples: 2, size: (13, 7), cover });
        for (scale, samples, size) in [(Scale::Quarter, 2, (25, 13)), (Scale::Half, 4, (50, 25))] {
            let layout = layout((100, 50), &sampling, scale).expect("the resolutions are usual");
            assert_eq!((layout.size, layout.mcus), (size, (7, 4)));
            let found = layout.blocks.iter().map(|blocks| (blocks.samples, blocks.size)).collect::<Vec<_>>();
            assert_eq!(found, [(samples, size), (2 * samples, size), (2 * samples, size)]);
        }
    }

    #[test]
    fn other_resolutions_are_made_up() {
        let colour = |most, colour| {
            let at = |scale| {
                let layout = layout((64, 64), &[most, colour, colour], scale).ok()?;
                Some((layout.blocks[1].samples, layout.blocks[1].cover))
            };
            [at(Scale::Eighth), at(Scale::Quarter), at(Scale::Half)]
        };
        let at_all = |cover| [1, 2, 4].map(|samples| Some((samples, cover)));
        assert_eq!(colour((2, 1), (1, 1)), at_all((2, 1)));
        assert_eq!(colour((1, 2), (1, 1)), at_all((1, 2)));
        assert_eq!(colour((1, 1), (1, 1)), at_all((1, 1)));
        assert_eq!(colour((4, 1), (1, 1)), at_all((4, 1)));
        let twice_at_all = |cover| [2, 4, 8].map(|samples| Some((samples, cover)));
        assert_eq!(colour((4, 2), (1, 1)), twice_at_all((2, 1)));
        assert_eq!(colour((4, 2), (2, 1)), twice_at_all((1, 1)));
        assert_eq!(colour((4, 4), (1, 1)), [Some((4, (1, 1))), Some((8, (1, 1))), None]);
        assert_eq!(colour((3, 1), (2, 1)), [None; 3]);
    }

    #[test]
    fn a_single_channel_covers_the_picture_whatever_its_factors() {
        let layout = layout((100, 50), &[(2, 2)], Scale::Eighth).expect("the resolution is usual");
        assert_eq!((layout.blocks[0].samples, layout.blocks[0].cover), (1, (1, 1)));
        assert_eq!(layout.blocks[0].used, (13, 7));
    }
}
