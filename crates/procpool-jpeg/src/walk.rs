//! Finds where the blocks of a sequential scan begin, at several places of its data at once: the other hot loop.
//!
//! From one symbol to the next, a processor waits for a look-up, since that says where the next symbol begins. While one
//! lane waits, the others go on. For that, nothing may depend on a branch that cannot be foretold, since one that was
//! foretold wrongly throws away what all lanes have begun. So what happens at the end of a block, which is that, is computed
//! for every look-up and chosen without a branch.

use std::hint::select_unpredictable;
use std::sync::Arc;

use crate::bits::{BUFFER, Buffer, MAX_BLOCKS};
use crate::block::{BAD, DONE, skip_one};
use crate::huffman::{END, Huffman, LATER, SKIP_BITS};
use crate::simd::vectorised;

/// So many blocks at most are found by one lane before their places are asked for.
pub(crate) const CAPACITY: usize = 1 << 16;

/// Positions from here on lie in no buffer.
const NOWHERE: u32 = 1 << 23;

/// A lane has its position, in bits, above so many bits for the place in the zig-zag, and so records it: one addition is enough
/// for both.
const PLACE_BITS: u32 = 8;
const PLACE: u32 = (1 << PLACE_BITS) - 1;

/// The position of a block that has been found.
#[inline(always)]
pub(crate) fn position(found: u32) -> u32 {
    found >> PLACE_BITS
}

/// So often a lane that began with a guess may begin again.
const TRIES: usize = 8;

/// The way through the blocks of an MCU: which tables are next.
pub(crate) struct Route {
    /// All tables for skipping, by the place of the code in `codes`: those for differences, then those for the rest. The bits that
    /// an entry takes lie above the advance.
    tables: Box<[u16; 1 << 16]>,
    /// For each block of an MCU, the state at the start of the one after it.
    next: [u32; 16],
    /// The states at the start of each block.
    starts: [u32; MAX_BLOCKS],
    /// The codes for the difference and the rest of each block.
    codes: Vec<[Arc<Huffman>; 2]>,
    /// After so many blocks, the codes repeat themselves.
    period: usize,
}

/// In a state, the table lies in the lowest 16 bits, so that the place in it need only be added, and the number of the block
/// above.
const NUMBER: u32 = 28;
/// Added to a state after the difference.
const REST: u32 = 1 << SKIP_BITS;

impl Route {
    /// For the blocks of an MCU, the codes of the difference and the rest. Nothing if there are more codes than tables fit.
    pub(crate) fn new(codes: Vec<[Arc<Huffman>; 2]>) -> Option<Self> {
        let same =
            |a: &[Arc<Huffman>; 2], b: &[Arc<Huffman>; 2]| Arc::ptr_eq(&a[0], &b[0]) && Arc::ptr_eq(&a[1], &b[1]);
        let mut tables = vec![0; 1 << 16].into_boxed_slice();
        let mut kinds: Vec<&[Arc<Huffman>; 2]> = Vec::new();
        let mut starts = [0; MAX_BLOCKS];
        for (number, (start, code)) in starts.iter_mut().zip(&codes).enumerate() {
            let kind = kinds.iter().position(|kind| same(kind, code)).unwrap_or_else(|| {
                kinds.push(code);
                kinds.len() - 1
            });
            let place = (2 * kind) << SKIP_BITS;
            let both = tables.get_mut(place..)?.get_mut(..2 << SKIP_BITS)?;
            for (to, from) in both.chunks_exact_mut(1 << SKIP_BITS).zip([&code[0].skip_all(&code[1]), code[1].skip()]) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = from.swap_bytes());
            }
            *start = (number << NUMBER | place) as u32;
        }
        let count = codes.len();
        let repeats = |period: &usize| {
            count.is_multiple_of(*period)
                && (*period..count).all(|number| same(&codes[number], &codes[number - period]))
        };
        let period = (1..=count).find(repeats)?;
        let mut next = [0; 16];
        (0..count).for_each(|number| next[number] = starts[(number + 1) % count]);
        Some(Self { tables: tables.try_into().ok()?, next, starts, codes, period })
    }

    /// Blocks of an MCU.
    pub(crate) fn blocks(&self) -> usize {
        self.codes.len()
    }

    /// Whether blocks with these numbers, counted from the start of an MCU, have the same codes, and all after them.
    pub(crate) fn alike(&self, a: usize, b: usize) -> bool {
        a.abs_diff(b).is_multiple_of(self.period)
    }
}

/// One of the places of the data that are looked at.
pub(crate) struct Lane {
    /// The position and the place.
    at: u32,
    state: u32,
    /// How many blocks have been found after the first.
    count: usize,
    /// Where each begins: see [`position`].
    found: Box<[u32; CAPACITY]>,
    /// It goes on up to this position.
    end: u32,
    /// So often it may still begin again.
    tries: usize,
}

impl Lane {
    pub(crate) fn new() -> Self {
        let found = vec![0; CAPACITY].into_boxed_slice().try_into().unwrap_or_else(|_| Box::new([0; CAPACITY]));
        Self { at: 0, state: 0, count: 0, found, end: 0, tries: 0 }
    }

    /// Lets it begin with a block of this number within its MCU, and end with the first that begins at `end` or after it.
    pub(crate) fn begin(&mut self, route: &Route, number: usize, position: usize, end: usize) {
        (self.at, self.count, self.end, self.tries) = ((position as u32) << PLACE_BITS, 0, end as u32, 0);
        self.state = route.starts[number];
        self.found[0] = self.at;
    }

    /// Lets it begin somewhere as if an MCU began there, and again a little later if the data then contains invalid codes.
    pub(crate) fn guess(&mut self, route: &Route, position: usize, end: usize) {
        self.begin(route, 0, position, end);
        self.tries = TRIES;
    }

    /// Begins again within the last block if that contains no valid code.
    fn try_again(&mut self, route: &Route) {
        if position(self.at) >= NOWHERE && self.tries > 0 {
            let last = self.found().last().map_or(self.end, |&last| position(last));
            let tries = self.tries - 1;
            self.begin(route, 0, last as usize + 1, self.end as usize);
            self.tries = tries;
        }
    }

    /// Where the blocks begin that have been found, and the one after them: see [`position`]. There the lane has come to its end,
    /// or the data contains no valid code.
    pub(crate) fn found(&self) -> &[u32] {
        let found = &self.found[..=self.count];
        let invalid = found.iter().rev().take_while(|&&found| position(found) >= NOWHERE).count();
        &found[..found.len() - invalid]
    }

    fn is_open(&self) -> bool {
        position(self.at) < self.end && self.rounds() > 0
    }

    /// So often it may look up two entries, each of which may end a block.
    fn rounds(&self) -> usize {
        (CAPACITY - 1 - self.count) / 2
    }
}

/// Lets all lanes go on to their ends.
pub(crate) fn walk(route: &Route, buffer: &Buffer, lanes: &mut [Lane]) {
    loop {
        lanes.iter_mut().for_each(|lane| lane.try_again(route));
        let mut open = lanes.iter_mut().filter(|lane| lane.is_open());
        match [open.next(), open.next(), open.next(), open.next()] {
            [Some(a), Some(b), Some(c), Some(d)] => walk_some(route, buffer, [a, b, c, d]),
            [Some(a), Some(b), Some(c), None] => walk_some(route, buffer, [a, b, c]),
            [Some(a), Some(b), None, _] => walk_some(route, buffer, [a, b]),
            [Some(a), None, ..] => walk_some(route, buffer, [a]),
            [None, ..] => return,
        }
    }
}

/// Lets lanes go on until one of them has come to its end.
#[inline(never)]
fn walk_some<const N: usize>(route: &Route, buffer: &Buffer, lanes: [&mut Lane; N]) {
    vectorised(
        #[inline(always)]
        || walk_here(route, buffer, lanes),
    );
}

#[inline(always)]
fn walk_here<const N: usize>(route: &Route, buffer: &Buffer, lanes: [&mut Lane; N]) {
    let Route { tables, next, .. } = route;
    // Position and place have the lower half. The upper one has the number of the block that is next to be found: where that
    // begins is recorded with each look-up, and overwritten as long as the block before it goes on.
    let mut at: [u64; N] = std::array::from_fn(|lane| (lanes[lane].count as u64 + 1) << 32 | u64::from(lanes[lane].at));
    let mut state: [u32; N] = std::array::from_fn(|lane| lanes[lane].state);
    let end: [u32; N] = std::array::from_fn(|lane| lanes[lane].end << PLACE_BITS);
    let rounds = lanes.iter().map(|lane| lane.rounds()).min().unwrap_or(0);
    let mut found = lanes.map(|lane| (&mut lane.at, &mut lane.state, &mut lane.count, &mut *lane.found));

    macro_rules! look_up {
        ($lane:ident, $window:ident) => {
            let entry =
                u32::from(tables[usize::from(state[$lane] as u16 | ($window[$lane] >> (64 - SKIP_BITS)) as u16)]);
            let mut take = entry >> PLACE_BITS;
            let mut after = at[$lane] + u64::from(entry);
            if after & u64::from(LATER) != 0 {
                let rare = rare(route, buffer, at[$lane] as u32, state[$lane]);
                (take, after) = (rare.0, at[$lane] >> 32 << 32 | u64::from(rare.1));
            }
            $window[$lane] = $window[$lane].wrapping_shl(take);
            let over = after & END as u64 != 0;
            let following = next[(state[$lane] >> NUMBER) as usize];
            state[$lane] = select_unpredictable(over, following, state[$lane] | REST);
            let begun = after & !u64::from(PLACE);
            found[$lane].3[(after >> 32) as usize % CAPACITY] = begun as u32;
            at[$lane] = select_unpredictable(over, begun + (1 << 32), after);
        };
    }
    for _ in 0..rounds {
        if !(0..N).all(|lane| (at[lane] as u32) < end[lane]) {
            break;
        }
        // Of a window of 57 bits, the first look-up takes at most 31, and the second needs 13.
        let mut window: [u64; N] = std::array::from_fn(|lane| window(buffer, position(at[lane] as u32)));
        for lane in 0..N {
            look_up!(lane, window);
        }
        for lane in 0..N {
            look_up!(lane, window);
        }
    }
    for (lane, found) in found.iter_mut().enumerate() {
        (*found.0, *found.1, *found.2) = (at[lane] as u32, state[lane], (at[lane] >> 32) as usize - 1);
    }
}

/// At least 57 bits from this position on.
#[inline(always)]
fn window(buffer: &Buffer, position: u32) -> u64 {
    let at = position as usize / 8 % BUFFER;
    let bytes = buffer[at..at + 8].first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(bytes) << (position % 8)
}

/// How many bits to take, and the position and the place after them, where the tables do not say: the code is longer, or leads out
/// of the block, or there is none, which leads out of the data.
#[cold]
#[inline(never)]
fn rare(route: &Route, buffer: &Buffer, at: u32, state: u32) -> (u32, u32) {
    let window = window(buffer, position(at));
    let [difference, rest] = &route.codes[(state >> NUMBER) as usize];
    let (take, place) = if at & PLACE == 0 {
        difference.symbol(window).map_or((0, BAD), |(size, length)| (length + u32::from(size), 1))
    } else {
        skip_one(window, rest, (at & PLACE) as usize)
    };
    let after = |place: u32| (position(at) + take) << PLACE_BITS | place;
    match place {
        BAD => (0, NOWHERE << PLACE_BITS),
        DONE.. => (take, after(END as u32)),
        place => (take, after(place as u32)),
    }
}
