//! Pixels in memory.

/// What the channels of a pixel mean. Every channel is 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Grey.
    Gray,
    /// Grey and alpha (not premultiplied).
    GrayAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue and alpha (not premultiplied).
    Rgba,
    /// Cyan, magenta, yellow, black: 255 is full ink. Thumbnails are never in this layout.
    Cmyk,
}

impl Layout {
    /// Bytes per pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    /// Whether the last channel is alpha.
    pub fn has_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }
}

/// A picture in memory: rows from top to bottom, without padding, channels interleaved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// The channels of a pixel.
    pub layout: Layout,
    /// `width * height * layout.channels()` bytes.
    pub data: Vec<u8>,
}

impl Pixels {
    /// Bytes per row.
    pub(super) fn stride(&self) -> usize {
        self.width as usize * self.layout.channels()
    }

    /// The rows from top to bottom.
    pub(super) fn rows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.data.chunks_exact(self.stride())
    }
}

/// Calls `$function::<C>($arguments)` with the number of channels as a constant, so that the
/// compiler can unroll the work on one pixel.
macro_rules! with_channels {
    ($channels:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $channels {
            1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            _ => $function::<4>($($argument),*),
        }
    };
}
pub(super) use with_channels;
