//! The file's segments: what they say about the picture, and the way from scan to scan.

use std::sync::Arc;

use memchr::memchr;

use crate::Error;
use crate::huffman::{Cache, Huffman};

/// A quantization table in zig-zag order.
pub(crate) type Quant = [u16; 64];

/// A colour channel, as the frame header states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) id: u8,
    /// Sampling factors, 1 to 4, across and down.
    pub(crate) sampling: (u8, u8),
    /// Which quantization table it uses.
    pub(crate) quant: usize,
}

/// The frame header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: Vec<Channel>,
    pub(crate) progressive: bool,
}

/// One channel of a scan.
#[derive(Clone)]
pub(crate) struct ScanPart {
    /// Which channel of the frame.
    pub(crate) channel: usize,
    pub(crate) dc: Option<Arc<Huffman>>,
    pub(crate) ac: Option<Arc<Huffman>>,
}

/// A scan header, with the tables in force.
#[derive(Clone)]
pub(crate) struct Scan {
    pub(crate) parts: Vec<ScanPart>,
    /// First and last coefficient, in zig-zag order.
    pub(crate) band: (u8, u8),
    /// The bit position that the coefficients were known to, and that to which they become known.
    pub(crate) high: u8,
    pub(crate) low: u8,
    /// MCUs between restart markers; 0 for none.
    pub(crate) restart: usize,
    /// Where its data begins.
    pub(crate) data: usize,
}

/// How colours are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gray,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

/// Reads segments one after the other.
pub(crate) struct Parser<'a, 'c> {
    input: &'a [u8],
    at: usize,
    cache: &'c mut Cache,
    pub(crate) frame: Option<Frame>,
    quants: [Option<Quant>; 4],
    dc: [Option<Arc<Huffman>>; 4],
    ac: [Option<Arc<Huffman>>; 4],
    restart: usize,
    jfif: bool,
    /// The colour transform that an Adobe segment states.
    adobe: Option<u8>,
}

impl<'a, 'c> Parser<'a, 'c> {
    /// Begins after the first marker.
    pub(crate) fn new(input: &'a [u8], cache: &'c mut Cache) -> Result<Self, Error> {
        if !input.starts_with(&[0xFF, 0xD8]) {
            return Err(Error::NotJpeg);
        }
        Ok(Self {
            input,
            at: 2,
            cache,
            frame: None,
            quants: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart: 0,
            jfif: false,
            adobe: None,
        })
    }

    /// Goes on at this byte of the input.
    pub(crate) fn jump(&mut self, at: usize) {
        self.at = at;
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::Damaged { what, at: self.at }
    }

    /// The next marker. Bytes that belong to none are skipped, as in libjpeg.
    fn marker(&mut self) -> Result<u8, Error> {
        loop {
            let rest = self.input.get(self.at..).unwrap_or_default();
            let ff = memchr(0xFF, rest).ok_or(Error::Truncated)?;
            let run = rest[ff..].iter().position(|&byte| byte != 0xFF).ok_or(Error::Truncated)?;
            self.at += ff + run + 1;
            match rest[ff + run] {
                0 => {}
                marker => return Ok(marker),
            }
        }
    }

    /// The content of the segment that begins here.
    fn segment(&mut self) -> Result<&'a [u8], Error> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let length =
            rest.first_chunk().map(|&length| usize::from(u16::from_be_bytes(length))).ok_or(Error::Truncated)?;
        if length < 2 {
            return Err(self.damaged("a segment is shorter than its own length field"));
        }
        let content = rest.get(2..length).ok_or(Error::Truncated)?;
        self.at += length;
        Ok(content)
    }

    /// Reads up to the data of the next scan; nothing if the picture ends before.
    pub(crate) fn next_scan(&mut self) -> Result<Option<Scan>, Error> {
        loop {
            match self.marker()? {
                marker @ 0xC0..=0xC2 => self.frame_header(marker == 0xC2)?,
                0xC3 | 0xC5..=0xC7 => return Err(Error::Unsupported("lossless or hierarchical coding")),
                0xC9..=0xCB | 0xCD..=0xCF => return Err(Error::Unsupported("arithmetic coding")),
                0xC4 => self.huffman_tables()?,
                0xDB => self.quant_tables()?,
                0xDD => {
                    let content = self.segment()?;
                    let interval =
                        content.first_chunk().ok_or_else(|| self.damaged("a restart interval is missing"))?;
                    self.restart = usize::from(u16::from_be_bytes(*interval));
                }
                0xDA => return self.scan_header().map(Some),
                0xDC => return Err(Error::Unsupported("its height after the first scan")),
                0xD9 => return Ok(None),
                0xD8 => return Err(self.damaged("a picture begins within the picture")),
                0xE0 => self.jfif |= self.segment()?.starts_with(b"JFIF\0"),
                0xEE => {
                    let content = self.segment()?;
                    if content.starts_with(b"Adobe") && content.len() >= 12 {
                        self.adobe = Some(content[11]);
                    }
                }
                // These stand alone.
                0x01 | 0xD0..=0xD7 => {}
                _ => {
                    self.segment()?;
                }
            }
        }
    }

    fn frame_header(&mut self, progressive: bool) -> Result<(), Error> {
        if self.frame.is_some() {
            return Err(self.damaged("there is a second frame header"));
        }
        let content = self.segment()?;
        let Some((&[precision, h1, h2, w1, w2, count], channels)) = content.split_first_chunk() else {
            return Err(self.damaged("the frame header is too short"));
        };
        if precision != 8 {
            return Err(Error::Unsupported("more than 8 bits per sample"));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(Error::Unsupported("a number of channels other than 1, 3 and 4"));
        }
        let size = [u16::from_be_bytes([w1, w2]), u16::from_be_bytes([h1, h2])];
        if size.contains(&0) {
            return Err(Error::Unsupported("a width or height of 0"));
        }
        let channels = channels.as_chunks::<3>().0;
        if channels.len() != usize::from(count) {
            return Err(self.damaged("the frame header has a wrong length"));
        }
        let channels = channels.iter().map(|&[id, sampling, quant]| {
            let sampling = (sampling >> 4, sampling & 15);
            let valid = (1..=4).contains(&sampling.0) && (1..=4).contains(&sampling.1) && quant < 4;
            valid.then_some(Channel { id, sampling, quant: usize::from(quant) })
        });
        let channels = channels
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| self.damaged("the frame header has impossible sampling factors or tables"))?;
        let [width, height] = size.map(u32::from);
        self.frame = Some(Frame { width, height, channels, progressive });
        Ok(())
    }

    fn huffman_tables(&mut self) -> Result<(), Error> {
        let mut content = self.segment()?;
        while let Some((&[class], rest)) = content.split_first_chunk() {
            let found = rest.split_first_chunk::<16>().and_then(|(counts, rest)| {
                let total = counts.iter().map(|&count| usize::from(count)).sum();
                rest.split_at_checked(total).map(|(symbols, rest)| (*counts, symbols, rest))
            });
            let Some((counts, symbols, rest)) = found else {
                return Err(self.damaged("a Huffman table is cut off"));
            };
            let invalid = self.damaged("a Huffman table is impossible");
            let place = match (class >> 4, &mut self.dc, &mut self.ac) {
                (0, tables, _) | (1, _, tables) => tables.get_mut(usize::from(class & 15)),
                _ => None,
            };
            let place = place.ok_or(invalid.clone())?;
            *place = Some(self.cache.get(counts, symbols).ok_or(invalid)?);
            content = rest;
        }
        Ok(())
    }

    fn quant_tables(&mut self) -> Result<(), Error> {
        let mut content = self.segment()?;
        while let Some((&[class], rest)) = content.split_first_chunk() {
            let table = match class >> 4 {
                0 => rest.split_first_chunk::<64>().map(|(values, rest)| (values.map(u16::from), rest)),
                _ => rest.split_first_chunk::<128>().map(|(values, rest)| {
                    let values = values.as_chunks::<2>().0;
                    (std::array::from_fn(|index| u16::from_be_bytes(values[index])), rest)
                }),
            };
            let (values, rest) = table.ok_or_else(|| self.damaged("a quantization table is cut off"))?;
            let damaged = self.damaged("a quantization table has an impossible number");
            *self.quants.get_mut(usize::from(class & 15)).ok_or(damaged)? = Some(values);
            content = rest;
        }
        Ok(())
    }

    fn scan_header(&mut self) -> Result<Scan, Error> {
        let content = self.segment()?;
        let frame = self.frame.as_ref().ok_or_else(|| self.damaged("a scan comes before the frame header"))?;
        let found = content.split_first().and_then(|(&count, rest)| {
            let (parts, band) = rest.split_at_checked(2 * usize::from(count))?;
            Some((parts.as_chunks::<2>().0, <[u8; 3]>::try_from(band).ok()?))
        });
        // Also one that is too long, as for libjpeg: what of it are data cannot be told.
        let Some((parts, [first, last, bits])) = found else {
            return Err(self.damaged("a scan header has a wrong length"));
        };
        if parts.is_empty() || parts.len() > frame.channels.len() {
            return Err(self.damaged("a scan has an impossible number of channels"));
        }
        let mut from = 0;
        let mut listed = Vec::with_capacity(parts.len());
        for &[id, tables] in parts {
            // In the order of the frame, which also rules out that one comes twice.
            let found = frame.channels[from..].iter().position(|channel| channel.id == id);
            let channel = from + found.ok_or_else(|| self.damaged("a scan has channels that are not in the frame"))?;
            from = channel + 1;
            let table =
                |tables: &[Option<Arc<Huffman>>; 4], index: u8| tables.get(usize::from(index)).cloned().flatten();
            listed.push(ScanPart { channel, dc: table(&self.dc, tables >> 4), ac: table(&self.ac, tables & 15) });
        }
        Ok(Scan {
            parts: listed,
            band: (first, last),
            high: bits >> 4,
            low: bits & 15,
            restart: self.restart,
            data: self.at,
        })
    }

    /// The quantization table that a channel uses now.
    pub(crate) fn quant(&self, channel: Channel) -> Result<Quant, Error> {
        self.quants[channel.quant].ok_or_else(|| self.damaged("a quantization table is missing"))
    }

    /// How colours are coded, by libjpeg's rules.
    pub(crate) fn coding(&self, channels: &[Channel]) -> Coding {
        match channels {
            [_] => Coding::Gray,
            [_, _, _, _] => match self.adobe {
                None | Some(0) => Coding::Cmyk,
                Some(_) => Coding::Ycck,
            },
            _ => match (self.jfif, self.adobe) {
                (true, _) => Coding::YCbCr,
                (false, Some(0)) => Coding::Rgb,
                (false, Some(_)) => Coding::YCbCr,
                (false, None) if channels.iter().map(|channel| channel.id).eq(*b"RGB") => Coding::Rgb,
                (false, None) => Coding::YCbCr,
            },
        }
    }
}
