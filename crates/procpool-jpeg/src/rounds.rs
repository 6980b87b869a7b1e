//! Sequential data in several threads: each finds the beginnings of blocks in some windows of it, and then decodes some rows.
//!
//! Between these two, what was found is joined in one thread, which takes no time worth mentioning. A block tells its first
//! coefficient by the difference to that of the block before, so each thread sums up the differences in its rows, and then
//! those after it know where to begin.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::bits::{BUFFER, Buffer, Feed, MCU_BYTES};
use crate::block::BadCode;
use crate::lanes::Lanes;
use crate::part::{Kind, Mcu, Part, Starts};
use crate::walk::Route;
use crate::{Error, Ways, bits};

/// Windows overlap by so many bytes. The last MCUs that begin in one, and so do not lie in it for certain, are left to the next;
/// what comes before them is for the lanes of the next one, to fall in step.
pub(crate) const OVERLAP: usize = 2 * MCU_BYTES + (2 << 10);

/// So many windows for each thread at a time. More would need fewer rounds, but new memory takes more time than a round.
const WINDOWS: usize = 2;

/// A piece of the data.
pub(crate) struct Window {
    buffer: Box<Buffer>,
    /// So many bits are there.
    end: usize,
    /// Blocks that begin before this bit are there as a whole.
    stop: usize,
    /// In bits, where the next window begins; nothing if this is the last.
    next: Option<usize>,
    lanes: Lanes,
    /// MCUs that begin in it, counted from the first of the round.
    mcus: Range<usize>,
}

impl Window {
    fn new() -> Self {
        let lanes = Lanes::new();
        Self { buffer: bits::buffer(), end: 0, stop: 0, next: None, lanes, mcus: 0..0 }
    }

    /// Takes what the feed has.
    fn take(&mut self, feed: &Feed) {
        let (end, whole) = feed.extent();
        // What lies beyond is zeros, or is not looked at.
        let taken = (end + MCU_BYTES).min(BUFFER);
        self.buffer[..taken].copy_from_slice(&feed.buffer()[..taken]);
        (self.end, self.stop, self.mcus) = (8 * end, feed.stop(), 0..0);
        self.next = if whole { None } else { Some(8 * (end - OVERLAP)) };
    }
}

/// So many bytes at a time, where so many are left: each thread gets two windows, if these are not too small or too large.
pub(crate) fn chunk(ways: &Ways, left: usize) -> usize {
    left.div_ceil(WINDOWS * ways.threads).clamp(ways.chunk.min(4 * OVERLAP), ways.chunk)
}

/// Decodes `count` MCUs from `mcu` on. The segment begins with them, and nothing of it has been read.
pub(crate) fn decode(
    feed: &mut Feed,
    parts: &mut [Part],
    windows: &mut Vec<Window>,
    route: &Route,
    ways: &Ways,
    mcu: &mut Mcu,
    mut count: usize,
) -> Result<(), Error> {
    let mut position = 0;
    loop {
        let used = fill(feed, windows, ways.threads * WINDOWS);
        let windows = &mut windows[..used];
        in_threads(ways.threads, windows.iter_mut().enumerate().collect(), |(index, window)| {
            let position = if index == 0 { position } else { 0 };
            window.lanes.walk(route, &window.buffer, position, window.stop, ways.part);
        });
        let found = join(windows, route, &mut position, count)?;
        decode_rows(windows, parts, route, ways.threads, *mcu, found).map_err(|BadCode| feed.invalid())?;
        (0..found).for_each(|_| mcu.step());
        count -= found;
        if count == 0 {
            return Ok(());
        }
        match windows.last() {
            Some(&Window { next: Some(next), .. }) => feed.advance(next),
            _ => return Err(Error::Truncated),
        };
    }
}

/// Fills windows from the feed, up to so many. Returns how many are in use.
fn fill(feed: &mut Feed, windows: &mut Vec<Window>, most: usize) -> usize {
    for used in 1.. {
        if windows.len() < used {
            windows.push(Window::new());
        }
        windows[used - 1].take(feed);
        match windows[used - 1].next {
            Some(next) if used < most => feed.advance(next),
            _ => return used,
        };
    }
    0
}

/// Joins what the lanes have found from the start of an MCU at `position` in the first window on. Returns how many MCUs that
/// are, at most `count`; the position of the next is left.
fn join(windows: &mut [Window], route: &Route, position: &mut usize, count: usize) -> Result<usize, Error> {
    let in_mcu = route.blocks();
    let mut found = 0;
    for window in windows {
        let Window { buffer, stop, lanes, .. } = window;
        let starts = lanes.settle(route, buffer, *position, *stop, (count - found) * in_mcu);
        let mcus = (starts.len() - 1) / in_mcu;
        let after = starts[mcus * in_mcu] as usize;
        window.mcus = found..found + mcus;
        found += mcus;
        if found == count {
            return if after <= window.end { Ok(found) } else { Err(Error::Truncated) };
        }
        // If there is no valid code, the next MCU does not lie where the next window begins.
        *position = window.next.and_then(|next| after.checked_sub(next)).ok_or(Error::Truncated)?;
    }
    Ok(found)
}

/// Decodes so many MCUs from `mcu` on, some rows in each thread.
fn decode_rows(
    windows: &[Window],
    parts: &mut [Part],
    route: &Route,
    threads: usize,
    mcu: Mcu,
    count: usize,
) -> Result<(), BadCode> {
    let kinds: Vec<&Kind> = parts.iter().map(|part| part.kind).collect();
    let bands = bands(mcu, count, threads);
    let sums = in_threads(threads, bands[..bands.len() - 1].iter().collect(), |band| {
        let mut sums = vec![0i16; kinds.len()];
        for piece in pieces(windows, route, band) {
            for ((sum, kind), blocks) in sums.iter_mut().zip(&kinds).zip(blocks(&kinds)) {
                *sum = sum.wrapping_add(kind.differences(piece.buffer, piece.each(route, blocks))?);
            }
        }
        Ok(sums)
    });

    let mut last: Vec<i16> = parts.iter().map(|part| part.last).collect();
    let mut planes: Vec<&mut [u8]> = parts.iter_mut().map(|part| &mut part.plane[part.kind.row() * mcu.y..]).collect();
    let mut tasks = Vec::new();
    let sums = sums.into_iter().map(Some).chain([None]);
    for (band, sums) in bands.iter().zip(sums) {
        let from = mcu.x + band.start;
        let rows = (mcu.x + band.end).div_ceil(mcu.across) - from / mcu.across;
        let parts = kinds.iter().zip(&mut planes).zip(&last).map(|((&kind, plane), &last)| {
            let rows = std::mem::take(plane).split_at_mut(kind.row() * rows);
            *plane = rows.1;
            Part { kind, last, plane: rows.0 }
        });
        tasks.push((band, parts.collect::<Vec<_>>(), Mcu { x: from % mcu.across, y: 0, across: mcu.across }));
        if let Some(sums) = sums {
            last.iter_mut().zip(sums?).for_each(|(last, sum)| *last = last.wrapping_add(sum));
        }
    }
    let done = in_threads(threads, tasks, |(band, mut parts, mut mcu)| {
        for piece in pieces(windows, route, band) {
            for (part, blocks) in parts.iter_mut().zip(blocks(&kinds)) {
                part.known(piece.buffer, piece.each(route, blocks), mcu)?;
            }
            (0..piece.count(route)).for_each(|_| mcu.step());
        }
        Ok(parts.iter().map(|part| part.last).collect::<Vec<_>>())
    });
    let done = done.into_iter().collect::<Result<Vec<_>, BadCode>>()?;
    if let Some(last) = done.last() {
        parts.iter_mut().zip(last).for_each(|(part, &last)| part.last = last);
    }
    Ok(())
}

/// Which of `count` MCUs from `mcu` on each thread decodes: one band at least, which all but the first begin with a row. Only the
/// last may be empty.
fn bands(mcu: Mcu, count: usize, threads: usize) -> Vec<Range<usize>> {
    let mut bands = Vec::with_capacity(threads);
    let mut begin = 0;
    for thread in 1..threads {
        let row = (mcu.x + count * thread / threads) / mcu.across;
        let end = (row * mcu.across).saturating_sub(mcu.x);
        if end > begin {
            bands.push(begin..end);
            begin = end;
        }
    }
    bands.push(begin..count);
    bands
}

/// Which blocks of an MCU belong to each channel.
fn blocks(kinds: &[&Kind]) -> impl Iterator<Item = Range<usize>> {
    kinds.iter().scan(0, |end, kind| {
        let begin = *end;
        *end += kind.in_mcu();
        Some(begin..*end)
    })
}

/// MCUs that begin in the same window.
struct Piece<'w> {
    buffer: &'w Buffer,
    /// Where their blocks begin.
    starts: &'w [u32],
}

impl<'w> Piece<'w> {
    /// Where those blocks of each MCU begin.
    fn each(&self, route: &Route, blocks: Range<usize>) -> Starts<'w> {
        Starts::new(self.starts, route.blocks(), blocks)
    }

    fn count(&self, route: &Route) -> usize {
        self.starts.len() / route.blocks()
    }
}

/// Where some of the MCUs of a round lie.
fn pieces<'w>(windows: &'w [Window], route: &Route, mcus: &Range<usize>) -> impl Iterator<Item = Piece<'w>> {
    windows.iter().filter_map(move |window| {
        let (begin, end) = (mcus.start.max(window.mcus.start), mcus.end.min(window.mcus.end));
        if begin >= end {
            return None;
        }
        let in_window = |mcu: usize| (mcu - window.mcus.start) * route.blocks();
        Some(Piece { buffer: &window.buffer, starts: &window.lanes.starts()[in_window(begin)..in_window(end)] })
    })
}

/// Does the tasks in so many threads, this one included, or fewer if there cannot be as many. Returns what came of each.
fn in_threads<T: Send, R: Send>(threads: usize, tasks: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let mut done: Vec<Option<R>> = tasks.iter().map(|_| None).collect();
    let count = threads.min(tasks.len());
    let queue = Mutex::new(tasks.into_iter().zip(&mut done));
    let all = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((task, done)) = next else { return };
            *done = Some(work(task));
        }
    };
    thread::scope(|scope| {
        for _ in 1..count {
            if thread::Builder::new().spawn_scoped(scope, all).is_err() {
                break;
            }
        }
        all();
    });
    done.into_iter().flatten().collect()
}
