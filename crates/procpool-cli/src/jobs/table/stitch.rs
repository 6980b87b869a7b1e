//! Has the groups read in the pool, and puts what comes back behind each other in the order of the inputs.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;

use procpool::Pool;

use super::feed::{Failed, Input, Stopped, breach, outcome, read_now};
use super::layout::Slice;
use super::misfits::{self, Misfits};
use super::plan::{GroupMade, Spec, Task};
use super::results::Results;
use super::sink::{self, Sink};
use super::work::shape;
use crate::frame::failure::JobError;
use crate::frame::interrupt::Interrupts;
use crate::frame::outputs::Pending;
use crate::frame::report::OutputError;

/// Why a run has no output.
pub(crate) enum Ended {
    /// It was stopped.
    Stopped,
    /// A message for the user, and the exit code.
    Refused(String, u8),
    /// Standard output takes no more.
    Report(OutputError),
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Ended {
        Ended::Stopped
    }
}

impl From<OutputError> for Ended {
    fn from(error: OutputError) -> Ended {
        Ended::Report(error)
    }
}

impl From<JobError> for Ended {
    fn from(error: JobError) -> Ended {
        Ended::Refused(error.message, crate::frame::exit::FAILED)
    }
}

/// A file that is read in slices.
#[derive(Clone, Copy, Debug)]
struct Large {
    file: usize,
    /// Where its next record begins.
    position: u64,
    /// How many came before.
    records: u64,
    /// What to go back to if it fails.
    sink: sink::Mark,
    misfits: misfits::Mark,
}

/// An output that is being put together.
pub(crate) struct Stitch<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// The signals.
    pub interrupts: &'a Interrupts,
    /// What is read, and what is written.
    pub spec: &'a Spec,
    /// The inputs.
    pub inputs: &'a [Input],
    /// What became of them.
    pub results: &'a mut Results,
    /// The file that is written.
    pub pending: &'a Pending,
    /// Where the output goes.
    pub output: &'a Path,
    /// The output.
    pub sink: Sink<'a>,
    /// What is not in it.
    pub misfits: Misfits,
    large: Option<Large>,
}

impl<'a> Stitch<'a> {
    /// Begins an output.
    pub(crate) fn begin(
        (pool, interrupts): (&'a Pool, &'a Interrupts),
        (spec, inputs): (&'a Spec, &'a [Input]),
        results: &'a mut Results,
        (pending, output): (&'a Pending, &'a Path),
        misfits: Misfits,
    ) -> Result<Stitch<'a>, Ended> {
        let sink = Sink::begin(pending.file(), spec).map_err(|error| pending.failure(&error))?;
        let large = None;
        Ok(Stitch { pool, interrupts, spec, inputs, results, pending, output, sink, misfits, large })
    }

    /// Reads all groups, several in a task.
    pub(crate) fn read(&mut self, groups: &[(Vec<Slice>, u64)], tasks: &[Range<usize>]) -> Result<(), Ended> {
        // Of each task that is in the pool: the slices of its groups, without those whose files could not be opened.
        let sent: RefCell<VecDeque<Vec<Vec<Slice>>>> = RefCell::default();
        let refused: RefCell<Vec<(usize, JobError)>> = RefCell::default();
        let (pool, interrupts, spec, inputs) = (self.pool, self.interrupts, self.spec, self.inputs);
        let feed = tasks.iter().map_while(|task| {
            if interrupts.stopping() {
                return None;
            }
            let (mut all_slices, mut all_parts) = (Vec::new(), Vec::new());
            for (group, _) in &groups[task.clone()] {
                let (mut slices, mut parts) = (Vec::new(), Vec::new());
                for slice in group {
                    match inputs[slice.file].part(slice, false) {
                        Ok(part) => {
                            parts.push(part);
                            slices.push(slice.clone());
                        }
                        Err(error) => refused.borrow_mut().push((slice.file, error)),
                    }
                }
                all_slices.push(slices);
                all_parts.push(parts);
            }
            sent.borrow_mut().push_back(all_slices);
            Some(Task { spec: spec.clone(), groups: all_parts })
        });
        let mut outcomes = pool.map(shape, feed).chunk_size(1);
        loop {
            let made = outcomes.next();
            if interrupts.stopping() {
                return Err(Ended::Stopped);
            }
            for (file, error) in refused.borrow_mut().drain(..) {
                self.fail(file, error)?;
            }
            let Some(made) = made else { break };
            let Some(slices) = sent.borrow_mut().pop_front() else { break };
            match outcome(made) {
                Ok(made) if fits(&made, &slices) => {
                    for (group, slices) in made.into_iter().zip(&slices) {
                        self.accept(group, slices)?;
                    }
                }
                Ok(_) => self.one_by_one(&slices, &breach())?,
                Err(Failed::With(error)) => self.one_by_one(&slices, &error)?,
                Err(Failed::Stopped) => return Err(Ended::Stopped),
            }
            self.results.tell(self.inputs)?;
        }
        Ok(self.results.tell(self.inputs)?)
    }

    fn end(&mut self, file: usize, result: Result<u64, JobError>) {
        self.results.end(file, &self.inputs[file].path, self.output, result);
    }

    /// A file gives no records: what was written of it is taken back.
    fn fail(&mut self, file: usize, error: JobError) -> Result<(), Ended> {
        if let Some(large) = self.large.take_if(|large| large.file == file) {
            self.sink.back_to(large.sink).map_err(|error| self.pending.failure(&error))?;
            self.misfits.back_to(large.misfits)?;
        }
        self.end(file, Err(error));
        Ok(())
    }

    /// Appends a group that was made of these slices.
    fn accept(&mut self, made: GroupMade, slices: &[Slice]) -> Result<(), Ended> {
        if let [slice] = slices
            && slice.partial
        {
            return self.accept_slice(made, slice);
        }
        self.write(&made, |part| Some((slices.get(part as usize)?.file, 0)))?;
        for (part, slice) in made.parts.into_iter().zip(slices) {
            self.end(slice.file, part.failed.map_or(Ok(part.records), Err));
        }
        Ok(())
    }

    /// Appends a group that was made of a slice of a large file, if it begins where the slice before has ended.
    fn accept_slice(&mut self, mut made: GroupMade, slice: &Slice) -> Result<(), Ended> {
        let file = slice.file;
        if self.results.has_ended(file) {
            return Ok(());
        }
        if slice.from == 0 {
            let (sink, misfits) = (self.sink.mark(), self.misfits.mark());
            self.large = Some(Large { file, position: 0, records: 0, sink, misfits });
        }
        let Some(mut large) = self.large.filter(|large| large.file == file) else {
            return self.fail(file, breach());
        };
        let began = made.parts.first().and_then(|part| part.began);
        if began != Some(large.position) {
            if large.position >= slice.to {
                // No record begins in it.
                return Ok(());
            }
            match self.read_again(&[Slice { from: large.position, ..slice.clone() }])? {
                Ok(again) => made = again,
                Err(error) => return self.fail(file, error),
            }
        }
        let Some(part) = made.parts.first() else { return self.fail(file, breach()) };
        if let Some(error) = &part.failed {
            return self.fail(file, error.clone());
        }
        self.write(&made, |_| Some((file, large.records)))?;
        large.position = part.next;
        large.records = large.records.saturating_add(part.records);
        self.large = Some(large);
        if slice.to == u64::MAX {
            self.large = None;
            self.end(file, Ok(large.records));
        }
        Ok(())
    }

    /// Writes a group. `place` says of a part which file it is and how many records came before.
    fn write(&mut self, made: &GroupMade, place: impl Fn(u32) -> Option<(usize, u64)>) -> Result<(), Ended> {
        self.sink.push(made).map_err(|error: io::Error| self.pending.failure(&error))?;
        let inputs = self.inputs;
        let input = |part| place(part).map(|(file, before)| (inputs[file].path.as_path(), before));
        Ok(self.misfits.push(&made.misfits, input)?)
    }

    /// Reads slices that begin where a record does as one group, at once.
    fn read_again(&self, slices: &[Slice]) -> Result<Result<GroupMade, JobError>, Ended> {
        let parts = slices.iter().map(|slice| self.inputs[slice.file].part(slice, true)).collect::<Result<Vec<_>, _>>();
        let parts = match parts {
            Ok(parts) => parts,
            Err(error) => return Ok(Err(error)),
        };
        match read_now(self.pool, self.spec, parts) {
            Ok(made) => Ok(Ok(made)),
            Err(Failed::With(error)) => Ok(Err(error)),
            Err(Failed::Stopped) => Err(Ended::Stopped),
        }
    }

    /// A task has failed as a whole: its files each for itself, to find the one that is to blame, and then the others.
    fn one_by_one(&mut self, groups: &[Vec<Slice>], error: &JobError) -> Result<(), Ended> {
        if let [slices] = groups
            && let [slice] = slices.as_slice()
        {
            return self.fail(slice.file, error.clone());
        }
        for slices in groups {
            let mut good = Vec::new();
            let mut last = None;
            for slice in slices {
                if self.results.has_ended(slice.file) {
                    continue;
                }
                let from = match self.large {
                    Some(large) if slice.partial && slice.from > 0 => large.position.max(slice.from),
                    _ => slice.from,
                };
                match self.read_again(&[Slice { from, ..slice.clone() }])? {
                    Ok(made) => {
                        last = Some(made);
                        good.push(slice.clone());
                    }
                    Err(error) => self.fail(slice.file, error)?,
                }
            }
            match (last, good.as_slice()) {
                (Some(made), [_]) => self.accept(made, &good)?,
                (_, []) => {}
                _ => match self.read_again(&good)? {
                    Ok(made) => self.accept(made, &good)?,
                    Err(error) => good.iter().try_for_each(|slice| self.fail(slice.file, error.clone()))?,
                },
            }
        }
        Ok(())
    }
}

/// Whether what came back has the shape of what was sent.
fn fits(made: &[GroupMade], slices: &[Vec<Slice>]) -> bool {
    made.len() == slices.len() && made.iter().zip(slices).all(|(made, slices)| made.parts.len() == slices.len())
}
