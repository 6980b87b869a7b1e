//! Decodes JPEG pictures at an eighth, a quarter or half of their width and height, with the pixels that libjpeg-turbo gives
//! at that scale (`scale_num = 1`, `scale_denom = 8`, 4 or 2, the accurate integer transform), at an eighth in less than half
//! of its time.
//!
//! ```no_run
//! let file = std::fs::read("photo.jpg")?;
//! let limits = procpool_jpeg::Limits::default();
//! let picture = procpool_jpeg::Decoder::new().decode(&file, procpool_jpeg::Scale::Eighth, &limits)?;
//! println!("{} x {} pixels", picture.width, picture.height);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! At an eighth, a block of 64 pixels becomes one, its mean, which is the first of its coefficients. The other
//! coefficients are nearly all of the file; they are skipped, several with one look-up. Progressive files have them in
//! scans of their own, which are not looked at. At a quarter and half, most coefficients make a difference. README.md beside
//! the sources says more.
//!
//! Decoded are baseline, extended sequential and progressive pictures with 8 bits per sample and Huffman coding: grey,
//! YCbCr, RGB, CMYK and YCCK, whatever the resolutions of their channels, as long as one is a multiple of the other.
//! [`Error::Unsupported`] says that a file may be valid but needs a complete decoder.
//!
//! Damage is refused where libjpeg would warn and guess: codes that do not exist, data that ends early, missing restart
//! markers. What cannot be noticed is damage that leaves valid codes, and damage in the scans that are not looked at.
//!
//! Nothing here allocates more than the reduced picture takes several times over, and no input makes it panic.

#![forbid(unsafe_code)]

mod bits;
mod block;
mod colour;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod huffman;
mod lanes;
mod layout;
mod marker;
mod part;
mod progressive;
mod restart;
mod rounds;
mod sequential;
mod simd;
mod transform;
mod upsample;
mod walk;
mod wide;

pub use error::Error;

use bits::{BUFFER, Buffer, Feed, MCU_BYTES};
use huffman::Cache;
use layout::Layout;
use marker::{Coding, Parser};

/// libjpeg refuses pictures that are wider or higher.
const MAX_SIDE: u32 = 65_500;

/// What a file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pictures of more pixels, at full size, are refused before memory is set aside for them.
    pub max_pixels: u64,
    /// Files with more scans are refused: each may cost a walk over the whole picture.
    pub max_scans: usize,
}

impl Default for Limits {
    /// 500 megapixels and 500 scans.
    fn default() -> Self {
        Self { max_pixels: 500_000_000, max_scans: 500 }
    }
}

/// The size of the decoded picture by that of the whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// An eighth of the width and height.
    Eighth,
    /// A quarter.
    Quarter,
    /// Half.
    Half,
}

impl Scale {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Eighth, Self::Quarter, Self::Half];

    /// Pixels of the whole picture by those of the decoded one, in each direction: 8, 4 or 2.
    pub fn denominator(self) -> u32 {
        match self {
            Self::Eighth => 8,
            Self::Quarter => 4,
            Self::Half => 2,
        }
    }

    /// Pixels that a block of 8 x 8 becomes, in each direction.
    fn block(self) -> usize {
        8 / self.denominator() as usize
    }
}

/// What the channels of a pixel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Grey.
    Gray,
    /// Red, green, blue.
    Rgb,
    /// Cyan, magenta, yellow, black, as the file has them: by Adobe's convention, 255 is no ink.
    Cmyk,
}

impl Colours {
    /// Bytes per pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Cmyk => 4,
        }
    }
}

/// What a file says before its first scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Width and height at full size, in pixels.
    pub full_size: (u32, u32),
    /// What the channels of a pixel will be.
    pub colours: Colours,
    /// Whether the file is progressive.
    pub progressive: bool,
    /// Bytes up to the data of the first scan: all metadata that decoders look at lies within them.
    pub length: usize,
}

/// A picture made smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels: that part of the full width, rounded up.
    pub width: u32,
    /// Height in pixels: that part of the full height, rounded up.
    pub height: u32,
    /// Width and height at full size, in pixels.
    pub full_size: (u32, u32),
    /// The channels of a pixel.
    pub colours: Colours,
    /// Rows from top to bottom without padding, channels interleaved, one byte each.
    pub pixels: Vec<u8>,
}

/// How sequential data is decoded, which makes no difference to what comes out.
#[derive(Clone, Copy, Debug)]
struct Ways {
    /// In so many threads,
    threads: usize,
    /// where so many bytes follow up to the next restart marker, or the end.
    threads_least: usize,
    /// Lanes find the blocks first, where so many bytes follow.
    least: usize,
    /// Each lane has so many bits, where there are several.
    part: usize,
    /// So many bytes are looked at at a time.
    chunk: usize,
    /// Lanes are worth it at an eighth, where they are most of what there is to do, and for threads; or at every scale.
    all_scales: bool,
}

impl Ways {
    /// The most that `chunk` may be.
    const MOST: usize = BUFFER - 2 * MCU_BYTES;

    /// Whether threads are worth it for so many bytes.
    fn in_threads(&self, bytes: usize) -> bool {
        self.threads > 1 && bytes >= self.threads_least
    }

    /// Whether lanes are worth it for so many bytes, in one thread.
    fn in_lanes(&self, layout: &Layout, bytes: usize) -> bool {
        bytes >= self.least && (layout.is_eighth() || self.all_scales)
    }
}

impl Default for Ways {
    fn default() -> Self {
        Self { threads: 1, threads_least: 1 << 20, least: 8 << 10, part: 8 << 10, chunk: Self::MOST, all_scales: false }
    }
}

/// Decodes one picture after the other, and remembers the tables of the latest.
#[derive(Default)]
pub struct Decoder {
    cache: Cache,
    buffer: Option<Box<Buffer>>,
    scratch: sequential::Scratch,
    ways: Ways,
}

impl Decoder {
    /// A decoder that has not met any tables yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets it decode a sequential picture in several threads, up to so many, the one that calls it included: 1 if this is not
    /// called. They begin and end with the picture; if the system refuses them, there are fewer. Progressive pictures are
    /// decoded in one.
    pub fn set_threads(&mut self, threads: usize) {
        self.ways.threads = threads.max(1);
    }

    /// What the file says before its first scan.
    ///
    /// # Errors
    /// As [`Self::decode`], as far as it can be seen there.
    pub fn header(&mut self, input: &[u8], limits: &Limits) -> Result<Header, Error> {
        let mut parser = Parser::new(input, &mut self.cache)?;
        begin(&mut parser, limits).map(|begun| begun.header)
    }

    /// Decodes the picture at that part of its width and height.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for kinds of JPEG that are left to a complete decoder, [`Error::TooLarge`] and
    /// [`Error::TooManyScans`] beyond the limits, the others for content that is not a whole JPEG.
    pub fn decode(&mut self, input: &[u8], scale: Scale, limits: &Limits) -> Result<Picture, Error> {
        let mut parser = Parser::new(input, &mut self.cache)?;
        let Begun { header, frame, coding, scan } = begin(&mut parser, limits)?;
        let layout = Layout::of(&frame, scale)?;
        let mut feed = Feed::new(input, self.buffer.get_or_insert_with(bits::buffer));
        let planes = if frame.progressive {
            progressive::decode(&mut feed, input, &mut parser, &frame, &layout, scan, limits)?
        } else {
            let frame = sequential::Frame { channels: &frame.channels, layout: &layout, limits, ways: &self.ways };
            sequential::decode(&mut feed, &mut parser, &frame, scan, &mut self.scratch)?
        };
        Ok(Picture {
            width: layout.size.0 as u32,
            height: layout.size.1 as u32,
            full_size: header.full_size,
            colours: header.colours,
            pixels: colour::pixels(planes, &layout, coding),
        })
    }
}

/// A file read up to its first scan.
struct Begun {
    header: Header,
    frame: marker::Frame,
    coding: Coding,
    scan: marker::Scan,
}

fn begin(parser: &mut Parser, limits: &Limits) -> Result<Begun, Error> {
    let scan = parser.next_scan()?;
    let (Some(frame), Some(scan)) = (parser.frame.clone(), scan) else {
        return Err(Error::Damaged { what: "it contains no picture", at: 0 });
    };
    let (width, height) = (frame.width, frame.height);
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(Error::TooLarge { width, height });
    }
    if width.max(height) > MAX_SIDE {
        return Err(Error::Unsupported("more than 65500 pixels in a row or column"));
    }
    let coding = parser.coding(&frame.channels);
    let colours = match coding {
        Coding::Gray => Colours::Gray,
        Coding::YCbCr | Coding::Rgb => Colours::Rgb,
        Coding::Cmyk | Coding::Ycck => Colours::Cmyk,
    };
    let header = Header { full_size: (width, height), colours, progressive: frame.progressive, length: scan.data };
    Ok(Begun { header, frame, coding, scan })
}
