//! Sequential pictures, segment by segment, in one of two ways: block after block, or the beginnings of blocks first.

use crate::bits::{Bits, CHUNK, Feed, Short};
use crate::block::BadCode;
use crate::lanes::Lanes;
use crate::layout::{Grid, Layout};
use crate::marker::{Channel, Parser, Scan};
use crate::part::{Kind, Mcu, Part, Starts};
use crate::restart::Restarts;
use crate::rounds::{self, Window};
use crate::walk::Route;
use crate::{Error, Limits, Ways};

/// What all scans have to do with.
pub(crate) struct Frame<'f> {
    pub(crate) channels: &'f [Channel],
    pub(crate) layout: &'f Layout,
    pub(crate) limits: &'f Limits,
    pub(crate) ways: &'f Ways,
}

/// Decodes the scans, of which `scan` is the first, into a plane of samples per channel.
pub(crate) fn decode(
    feed: &mut Feed,
    parser: &mut Parser,
    frame: &Frame,
    scan: Scan,
    scratch: &mut Scratch,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut planes = vec![Vec::new(); frame.channels.len()];
    let mut scan = scan;
    for _ in 0..frame.limits.max_scans {
        decode_scan(feed, parser, frame, &scan, scratch, &mut planes)?;
        if planes.iter().all(|plane| !plane.is_empty()) {
            return Ok(planes);
        }
        parser.jump(feed.marker());
        scan = parser.next_scan()?.ok_or(Error::Unsupported("no data for a channel"))?;
    }
    Err(Error::TooManyScans)
}

fn decode_scan(
    feed: &mut Feed,
    parser: &Parser,
    frame: &Frame,
    scan: &Scan,
    scratch: &mut Scratch,
    planes: &mut [Vec<u8>],
) -> Result<(), Error> {
    let missing = Error::Damaged { what: "a Huffman table is missing", at: scan.data };
    let grid = frame.layout.grid(scan)?;
    let mut kinds = Vec::with_capacity(scan.parts.len());
    for (part, &in_mcu) in scan.parts.iter().zip(&grid.in_mcu) {
        let (Some(dc), Some(ac)) = (&part.dc, &part.ac) else { return Err(missing) };
        if !dc.is_for_dc() {
            return Err(Error::Damaged { what: "a Huffman table has sizes that are too large", at: scan.data });
        }
        if !planes[part.channel].is_empty() {
            return Err(Error::Unsupported("a channel that comes twice"));
        }
        let quant = parser.quant(frame.channels[part.channel])?;
        kinds.push(Kind::new(dc, ac, &quant, in_mcu, frame.layout.blocks[part.channel]));
    }
    let mut samples: Vec<Vec<u8>> = kinds.iter().map(|kind| vec![0; kind.samples()]).collect();
    let parts = kinds.iter().zip(&mut samples).map(|(kind, plane)| Part { kind, last: 0, plane });
    let mut segments = Segments { feed, scan, grid: &grid, parts: parts.collect() };

    let mut bytes = segments.feed.left_from(scan.data);
    if scan.restart > 0 {
        // About so many in a segment.
        bytes = bytes * scan.restart / (grid.mcus.0 * grid.mcus.1).max(scan.restart);
    }
    let (in_threads, in_lanes) = (frame.ways.in_threads(bytes), frame.ways.in_lanes(frame.layout, bytes));
    let route = if in_threads || in_lanes { route(scan, &grid) } else { None };
    let mut search = route.map(|route| Search { route, ways: frame.ways, in_threads, in_lanes, scratch });
    // Where anything is wrong with blocks that were found first, what that is comes out in the plain way.
    if search.is_none() || segments.decode(search.as_mut()).is_err() {
        segments.decode(None)?;
    }
    for (plane, scanned) in samples.into_iter().zip(&scan.parts) {
        planes[scanned.channel] = plane;
    }
    Ok(())
}

/// The codes of the blocks of an MCU, if lanes can find these.
fn route(scan: &Scan, grid: &Grid) -> Option<Route> {
    let mut codes = Vec::new();
    for (part, (across, down)) in scan.parts.iter().zip(&grid.in_mcu) {
        codes.extend(std::iter::repeat_n([part.dc.clone()?, part.ac.clone()?], across * down));
    }
    Route::new(codes)
}

/// What is needed to find where blocks begin.
struct Search<'s> {
    route: Route,
    ways: &'s Ways,
    /// Whether threads do it; or else lanes in this one, if these are worth it.
    in_threads: bool,
    in_lanes: bool,
    scratch: &'s mut Scratch,
}

/// What is kept from picture to picture.
#[derive(Default)]
pub(crate) struct Scratch {
    lanes: Option<Box<Lanes>>,
    windows: Vec<Window>,
}

/// The entropy-coded data of a scan, from one restart marker to the next.
struct Segments<'s, 't, 'a, 'b> {
    feed: &'s mut Feed<'a, 'b>,
    scan: &'s Scan,
    grid: &'s Grid,
    parts: Vec<Part<'s, 't>>,
}

impl Segments<'_, '_, '_, '_> {
    /// Decodes all of them.
    fn decode(&mut self, mut search: Option<&mut Search>) -> Result<(), Error> {
        let mut restarts = Restarts::new(self.scan.restart);
        let mut mcu = Mcu { x: 0, y: 0, across: self.grid.mcus.0 };
        let mut left = self.grid.mcus.0 * self.grid.mcus.1;
        let bytes = self.feed.left_from(self.scan.data);
        self.feed.set_chunk(match &search {
            None => CHUNK,
            Some(search) if search.in_threads => rounds::chunk(search.ways, bytes),
            Some(search) => search.ways.chunk,
        });
        self.feed.start(self.scan.data);
        loop {
            self.parts.iter_mut().for_each(|part| part.last = 0);
            let count = left.min(restarts.interval());
            let (bytes, whole) = self.feed.extent();
            match &mut search {
                Some(search) if search.in_threads && !whole => {
                    let Search { route, ways, scratch, .. } = &mut **search;
                    rounds::decode(self.feed, &mut self.parts, &mut scratch.windows, route, ways, &mut mcu, count)?;
                }
                Some(search) if search.in_lanes && bytes >= search.ways.least => {
                    self.found(&mut mcu, count, search)?;
                }
                _ => self.plain(&mut mcu, count)?,
            }
            left -= count;
            if left == 0 {
                return Ok(());
            }
            restarts.next(self.feed)?;
        }
    }

    /// Decodes MCUs one after the other.
    fn plain(&mut self, mcu: &mut Mcu, count: usize) -> Result<(), Error> {
        let mut bits = Bits::NONE;
        for _ in 0..count {
            bits = self.feed.ready(bits).map_err(|Short| Error::Truncated)?;
            let buffer = self.feed.buffer();
            for part in &mut self.parts {
                bits = part.mcu(bits, buffer, *mcu).map_err(|BadCode| self.feed.invalid())?;
            }
            mcu.step();
        }
        self.feed.ready(bits).map(|_| ()).map_err(|Short| Error::Truncated)
    }

    /// Decodes MCUs whose blocks are found first.
    fn found(&mut self, mcu: &mut Mcu, mut count: usize, search: &mut Search) -> Result<(), Error> {
        let Search { route, ways, scratch, .. } = search;
        let lanes = scratch.lanes.get_or_insert_with(|| Box::new(Lanes::new()));
        let in_mcu = route.blocks();
        let mut position = 0;
        loop {
            let (end, whole) = self.feed.extent();
            let (buffer, stop) = (self.feed.buffer(), self.feed.stop());
            lanes.walk(route, buffer, position, stop, ways.part);
            let starts = lanes.settle(route, buffer, position, stop, count * in_mcu);
            let found = (starts.len() - 1) / in_mcu;
            let mut first = 0;
            for part in &mut self.parts {
                let blocks = first..first + part.kind.in_mcu();
                first = blocks.end;
                let starts = Starts::new(&starts[..found * in_mcu], in_mcu, blocks);
                part.known(buffer, starts, *mcu).map_err(|BadCode| self.feed.invalid())?;
            }
            (0..found).for_each(|_| mcu.step());
            count -= found;
            position = starts[found * in_mcu] as usize;
            if count == 0 && position <= 8 * end {
                return Ok(());
            }
            if whole || found == 0 {
                return Err(Error::Truncated);
            }
            position = self.feed.advance(position);
        }
    }
}
