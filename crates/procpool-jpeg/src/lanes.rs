//! Where the blocks of a sequential scan begin, found from several places of its data on.
//!
//! A lane that begins anywhere with a guess finds blocks where there are none, until it finds, by chance, the start of one
//! that is there, with the codes that this has: from then on, everything is right. The lane before it knows where blocks
//! begin, and goes on until it meets one that the other has found. README.md beside the sources says how soon that is.

use crate::bits::Buffer;
use crate::walk::{Lane, Route, position, walk};

/// So many lanes go on at once in a thread.
const LANES: usize = 4;

/// A lane that is to be met goes on for so many bits at a time: enough for any block.
const STEP: usize = 2048;

/// What finding blocks needs, kept from picture to picture.
pub(crate) struct Lanes {
    lanes: [Lane; LANES],
    /// So many are in use.
    used: usize,
    /// One that goes on where those have ended.
    more: Lane,
    starts: Vec<u32>,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        let lanes = std::array::from_fn(|_| Lane::new());
        Self { lanes, used: 0, more: Lane::new(), starts: Vec::new() }
    }

    /// Lets the lanes go from `position`, in bits, to `stop`, each over its part, which has so many bits at least. An MCU begins
    /// at `position` if [`Self::settle`] is to be told so.
    pub(crate) fn walk(&mut self, route: &Route, buffer: &Buffer, position: usize, stop: usize, least: usize) {
        let bits = stop.saturating_sub(position);
        self.used = (bits / least).clamp(1, LANES);
        let part = bits / self.used;
        let lanes = &mut self.lanes[..self.used];
        for (index, lane) in lanes.iter_mut().enumerate() {
            let begin = position + index * part;
            lane.guess(route, begin, begin + part);
        }
        walk(route, buffer, lanes);
    }

    /// Where, in bits, blocks begin from the start of an MCU at `position` on, and where the last of them ends: `count`
    /// blocks, or fewer if no more begin before `stop`, or if the data contains no valid code. The lanes have been there.
    pub(crate) fn settle(
        &mut self,
        route: &Route,
        buffer: &Buffer,
        position: usize,
        stop: usize,
        count: usize,
    ) -> &[u32] {
        self.starts.clear();
        self.starts.push(position as u32);
        let mut found = Found { route, buffer, more: &mut self.more, starts: &mut self.starts, stop, count };
        for lane in &self.lanes[..self.used] {
            found.meet(lane.found());
        }
        while found.go_on() {}
        self.starts.truncate(count + 1);
        &self.starts
    }

    /// What [`Self::settle`] has found.
    pub(crate) fn starts(&self) -> &[u32] {
        &self.starts
    }
}

/// What is known for certain.
struct Found<'l> {
    route: &'l Route,
    buffer: &'l Buffer,
    more: &'l mut Lane,
    starts: &'l mut Vec<u32>,
    stop: usize,
    count: usize,
}

impl Found<'_> {
    /// Finds some more blocks, if that is possible.
    fn go_on(&mut self) -> bool {
        let Some(&last) = self.starts.last() else { return false };
        if self.starts.len() > self.count || last as usize >= self.stop {
            return false;
        }
        let number = (self.starts.len() - 1) % self.route.blocks();
        self.more.begin(self.route, number, last as usize, last as usize + STEP);
        walk(self.route, self.buffer, std::slice::from_mut(self.more));
        let [_, more @ ..] = self.more.found() else { return false };
        self.starts.extend(more.iter().map(|&found| position(found)));
        !more.is_empty()
    }

    /// Goes on to a block that another lane has found, too, and takes over what that one has found from there on.
    fn meet(&mut self, mut others: &[u32]) {
        let all = others.len();
        // Before the other lane begins, only the last few can lie beyond that.
        let mut at = self.starts.len().saturating_sub(4);
        loop {
            while let Some(&start) = self.starts.get(at) {
                let before = others.iter().take_while(|&&other| position(other) < start).count();
                others = &others[before..];
                match others.first() {
                    None => return,
                    Some(&other) if position(other) == start && self.route.alike(at, all - others.len()) => {
                        self.starts.truncate(at);
                        self.starts.extend(others.iter().map(|&found| position(found)));
                        return;
                    }
                    Some(_) => at += 1,
                }
            }
            if !self.go_on() {
                return;
            }
        }
    }
}
