//! Reads the records of a document of which only a window is in memory.
//!
//! What [`Scanner::descend`] does by calling itself is done here step by step, with the open lists and objects on a stack: so a
//! step for which the window has not enough text can be taken back, and done again when there is more of it. A record is a step.

use super::scan::{Scanner, TOO_DEEP};
use super::{MAX_DEPTH, Read, Visit, Wrong, values};
use crate::frame::failure::JobError;

/// A list or an object that has been entered.
#[derive(Clone, Copy, Debug)]
struct Level {
    list: bool,
    /// How many steps of the path have led here; none if nobody wants what is in it.
    path: Option<usize>,
    /// Nothing of it has been read.
    first: bool,
}

/// The way through a document.
#[derive(Debug)]
pub(crate) struct Walk<'p> {
    path: &'p [String],
    levels: Vec<Level>,
}

/// Why a walk has stopped for good.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This is not JSON as we take it, at a byte of the text.
    Wrong(Wrong),
    /// A record of more than the length that is allowed begins at this byte of the text.
    TooLong(usize),
    /// What was made of the records could not be kept.
    Failed(JobError),
}

impl From<Wrong> for Stop {
    fn from(wrong: Wrong) -> Stop {
        Stop::Wrong(wrong)
    }
}

impl<'p> Walk<'p> {
    /// At the start of a document whose records lie at `path`.
    pub(crate) fn new(path: &'p [String]) -> Walk<'p> {
        Walk { path, levels: Vec::new() }
    }

    /// Goes on through `text`, which begins at byte `base` of the file, and is the `last` of it or not. Returns up to where it
    /// has come; the rest has to come again with more behind it.
    pub(crate) fn go_on<V: Visit<Node = usize>>(
        &mut self,
        (text, base, last): (&str, u64, bool),
        most: usize,
        visit: &mut V,
    ) -> Result<usize, Stop> {
        let mut steps = Steps { scanner: Scanner::new(text, 0), base, end: (!last).then_some(text.len()), most, visit };
        loop {
            let start = steps.scanner.at();
            if self.levels.is_empty() && steps.scanner.is_at_end() {
                return Ok(text.len());
            }
            let before = self.levels.last().copied();
            match self.step(&mut steps) {
                Ok(()) => {}
                Err(Stop::Wrong(wrong)) if !last && steps.scanner.is_cut_off(&wrong) => {
                    // The last thing that a step does is to open a level or to close one.
                    if let (Some(before), Some(level)) = (before, self.levels.last_mut()) {
                        *level = before;
                    }
                    return Ok(start);
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    fn step<V: Visit<Node = usize>>(&mut self, steps: &mut Steps<'_, V>) -> Result<(), Stop> {
        let Some(level) = self.levels.last_mut() else { return self.value(steps, 0, true) };
        let Level { list, path, first } = *level;
        level.first = false;
        if list {
            if !steps.scanner.more(first)? {
                self.levels.pop();
                return Ok(());
            }
            return match path {
                Some(path) => self.value(steps, path, false),
                None => self.skip(steps),
            };
        }
        let Some(key) = steps.scanner.next_key(first)? else {
            self.levels.pop();
            return Ok(());
        };
        match path.filter(|&path| self.path.get(path).is_some_and(|step| *step == key)) {
            Some(path) => self.value(steps, path + 1, true),
            None => self.skip(steps),
        }
    }

    fn depth(&self) -> u32 {
        self.levels.len() as u32
    }

    /// Begins what lies `path` steps down the path.
    fn value<V: Visit<Node = usize>>(&mut self, steps: &mut Steps<'_, V>, path: usize, open: bool) -> Result<(), Stop> {
        let first = steps.scanner.space();
        if self.depth() >= MAX_DEPTH {
            return Err(Wrong { at: steps.scanner.at(), what: TOO_DEEP }.into());
        }
        let records_here = path == self.path.len();
        match first {
            b'[' if open || !records_here => self.enter(steps, Some(path)),
            _ if records_here => steps.record(self.depth()),
            b'{' => self.enter(steps, Some(path)),
            _ => self.skip(steps),
        }
    }

    /// Passes a value; one that is not all there is entered.
    fn skip<V: Visit<Node = usize>>(&mut self, steps: &mut Steps<'_, V>) -> Result<(), Stop> {
        let container = matches!(steps.scanner.space(), b'{' | b'[');
        let start = steps.scanner.at();
        match steps.skip(self.depth()) {
            Err(wrong) if container && steps.end.is_some() && steps.scanner.is_cut_off(&wrong) => {
                steps.scanner.go_back(start);
                self.enter(steps, None)
            }
            skipped => Ok(skipped?),
        }
    }

    fn enter<V>(&mut self, steps: &mut Steps<'_, V>, path: Option<usize>) -> Result<(), Stop> {
        let list = steps.scanner.space() == b'[';
        if list {
            steps.scanner.enter_list()?;
        } else {
            steps.scanner.enter_object()?;
        }
        self.levels.push(Level { list, path, first: true });
        Ok(())
    }
}

/// The text that is there.
struct Steps<'t, V> {
    scanner: Scanner<'t>,
    base: u64,
    /// Where it ends, if the document goes on there.
    end: Option<usize>,
    most: usize,
    visit: &'t mut V,
}

impl<V: Visit<Node = usize>> Steps<'_, V> {
    fn record(&mut self, depth: u32) -> Result<(), Stop> {
        let start = self.scanner.at();
        self.visit.begin_record(self.base + start as u64).map_err(Stop::Failed)?;
        let read = values(&mut self.scanner, self.visit, depth).and_then(|()| self.is_whole());
        if let Err(wrong) = read {
            self.visit.forget_record();
            return Err(wrong.into());
        }
        if self.scanner.at() - start > self.most {
            return Err(Stop::TooLong(start));
        }
        self.visit.end_record();
        Ok(())
    }

    fn skip(&mut self, depth: u32) -> Read<()> {
        self.scanner.skip(depth)?;
        self.is_whole()
    }

    /// A value that ends where the text does may go on behind it, if it is a number or a word.
    fn is_whole(&self) -> Read<()> {
        let at = self.scanner.at();
        if self.end == Some(at) && !self.scanner.is_closed() {
            return Err(Wrong { at, what: "is cut off" });
        }
        Ok(())
    }
}
