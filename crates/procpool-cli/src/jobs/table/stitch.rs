//! Has the groups read in the pool, and puts what comes back behind each other in the order of the inputs.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;

use procpool::{Pool, SharedFile};

use super::feed::{Failed, Input, Stopped, adds_up, breach, outcome, read_now};
use super::keep::Keep;
use super::layout::{self, Slice};
use super::misfits::{self, Misfits};
use super::plan::{GroupMade, Spec, Task};
use super::results::{Origin, Results};
use super::sink::{self, Sink};
use super::work::shape;
use crate::frame::failure::JobError;
use crate::frame::interrupt::Interrupts;
use crate::frame::kept::Key;
use crate::frame::outputs::{self, Output, Pending};
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
#[derive(Clone, Debug)]
struct Large {
    file: usize,
    /// Where its next record begins.
    position: u64,
    /// How many came before.
    records: u64,
    /// A part of it was read in this run.
    was_read: bool,
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
    pub output: &'a Output,
    /// The output.
    pub sink: Sink<'a>,
    /// What is not in it.
    pub misfits: Misfits,
    /// What is kept for a later run.
    pub keep: Option<&'a mut Keep>,
    large: Option<Large>,
}

/// A task that is in the pool: the number of its first group; the slices of its groups, without those whose files could not be
/// opened; and the file for what the worker cannot return at once.
type Sent = (usize, Vec<Vec<Slice>>, Option<File>);

/// A group of rows as it came, and what it may be kept as.
struct Come<'a> {
    made: GroupMade,
    /// The file in which parts of it lie.
    scratch: Option<&'a File>,
    key: Option<Key>,
    origin: Origin,
}

impl<'a> Stitch<'a> {
    /// Begins an output.
    pub(crate) fn begin(
        (pool, interrupts): (&'a Pool, &'a Interrupts),
        (spec, inputs): (&'a Spec, &'a [Input]),
        results: &'a mut Results,
        (pending, output): (&'a Pending, &'a Output),
        misfits: Misfits,
    ) -> Result<Stitch<'a>, Ended> {
        let sink = Sink::begin(pending.file(), spec).map_err(|error| pending.failure(&error))?;
        let large = None;
        Ok(Stitch { pool, interrupts, spec, inputs, results, pending, output, sink, misfits, keep: None, large })
    }

    /// Reads all groups, several in a task that has up to `chunk` bytes. What an earlier run has kept is taken over; if not all
    /// of it can be that is told, unless `quiet`.
    pub(crate) fn read(&mut self, groups: &[(Vec<Slice>, u64)], chunk: u64, quiet: bool) -> Result<(), Ended> {
        let mut keys = vec![None; groups.len()];
        let mut known = vec![false; groups.len()];
        if let Some(keep) = &self.keep {
            keys = Keep::keys(self.spec, self.inputs, groups);
            let (found, note) = keep.known(&keys, self.inputs);
            known = found;
            if let Some(note) = note.filter(|_| !quiet) {
                self.results.report.note(&format!("procpool: {note}"));
            }
        }
        let tasks = layout::tasks(groups, chunk, |number| known[number]);
        // The next group whose turn it is.
        let mut next = 0;
        // Without a file that could not be opened it is not the group that a later run looks for.
        let key = |number: usize, slices: &[Slice]| keys[number].filter(|_| *slices == *groups[number].0);
        let sent: RefCell<VecDeque<Sent>> = RefCell::default();
        let no_scratch: RefCell<Option<JobError>> = RefCell::default();
        let refused: RefCell<Vec<(usize, JobError)>> = RefCell::default();
        let (pool, interrupts, spec, inputs, output) =
            (self.pool, self.interrupts, self.spec, self.inputs, self.output);
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
            match scratch_for(all_slices.iter().flatten(), inputs, spec, output) {
                Ok((ours, scratch)) => {
                    sent.borrow_mut().push_back((task.start, all_slices, ours));
                    Some(Task { spec: spec.clone(), groups: all_parts, scratch })
                }
                Err(error) => {
                    *no_scratch.borrow_mut() = Some(error);
                    None
                }
            }
        });
        let mut outcomes = pool.map(shape, feed).chunk_size(1);
        loop {
            let made = outcomes.next();
            interrupts.exit_if_aborting();
            if interrupts.stopping() {
                self.keep_rest(made.into_iter().chain(outcomes), &sent, key);
                return Err(Ended::Stopped);
            }
            for (file, error) in refused.borrow_mut().drain(..) {
                self.fail(file, error)?;
            }
            let Some(made) = made else { break };
            let Some((first, slices, scratch)) = sent.borrow_mut().pop_front() else { break };
            // Only those that are known lie between.
            for number in next..first {
                self.take_over(&groups[number].0, keys[number])?;
            }
            next = first + slices.len();
            let of_task: Vec<Option<Key>> =
                (first..).zip(&slices).map(|(number, slices)| key(number, slices)).collect();
            match outcome(made) {
                Ok(made) if fits(&made, &slices) => {
                    for ((made, slices), key) in made.into_iter().zip(&slices).zip(of_task) {
                        let origin = Origin::Reading;
                        self.accept(Come { made, scratch: scratch.as_ref(), key, origin }, slices)?;
                    }
                }
                Ok(_) => self.one_by_one(&slices, &of_task, &breach())?,
                Err(Failed::With(error)) => self.one_by_one(&slices, &of_task, &error)?,
                Err(Failed::Stopped) => return Err(Ended::Stopped),
            }
            self.results.tell(self.inputs)?;
        }
        if let Some(error) = no_scratch.take() {
            return Err(error.into());
        }
        for number in next..groups.len() {
            self.take_over(&groups[number].0, keys[number])?;
        }
        Ok(self.results.tell(self.inputs)?)
    }

    /// Keeps what the workers have finished when the run is stopped.
    fn keep_rest(
        &mut self,
        outcomes: impl Iterator<Item = procpool::Result<Result<Vec<GroupMade>, JobError>>>,
        sent: &RefCell<VecDeque<Sent>>,
        key: impl Fn(usize, &[Slice]) -> Option<Key>,
    ) {
        if self.keep.is_none() {
            return;
        }
        for made in outcomes {
            let Some((first, slices, scratch)) = sent.borrow_mut().pop_front() else { return };
            let Ok(made) = outcome(made) else { continue };
            if !fits(&made, &slices) {
                continue;
            }
            for (number, (made, slices)) in made.iter().zip(&slices).enumerate() {
                // Whether a part of a file begins where it should is known only when those before it have ended.
                if slices.iter().all(|slice| slice.from == 0) {
                    self.keep(key(first + number, slices), made, scratch.as_ref());
                }
            }
        }
    }

    fn keep(&mut self, key: Option<Key>, made: &GroupMade, scratch: Option<&File>) {
        if let (Some(keep), Some(key)) = (&mut self.keep, key)
            && let Err(message) = keep.group(key, made, scratch)
        {
            self.results.report.note(&format!("procpool: {message}"));
        }
    }

    /// Appends a group that an earlier run has kept.
    fn take_over(&mut self, slices: &[Slice], key: Option<Key>) -> Result<(), Ended> {
        if self.interrupts.stopping() {
            return Err(Ended::Stopped);
        }
        let Some((keep, key)) = self.keep.as_ref().zip(key) else { return Ok(()) };
        let data = keep.data();
        let found = keep.find(key).map(|made| vec![made]).filter(|made| fits(made, &[slices.to_vec()]));
        match found.and_then(|mut made| made.pop()) {
            Some(made) => {
                let come = Come { made, scratch: Some(&data), key: None, origin: Origin::Before };
                self.accept(come, slices)?;
            }
            None => self.read_anew(slices, key)?,
        }
        Ok(self.results.tell(self.inputs)?)
    }

    /// Reads a group again that was kept and is spoilt.
    fn read_anew(&mut self, slices: &[Slice], key: Key) -> Result<(), Ended> {
        let position = |slice: &Slice| match &self.large {
            Some(large) if large.file == slice.file && slice.from > 0 => large.position,
            _ => slice.from,
        };
        let wanted: Vec<Slice> = slices.iter().map(|slice| Slice { from: position(slice), ..slice.clone() }).collect();
        let is_over = |slice: &Slice| slice.from >= slice.to || self.results.has_ended(slice.file);
        if wanted.iter().all(is_over) {
            return Ok(());
        }
        match self.read_again(&wanted)? {
            Ok((made, scratch)) => {
                let come = Come { made, scratch: scratch.as_ref(), key: Some(key), origin: Origin::Reading };
                self.accept(come, slices)
            }
            Err(error) => self.one_by_one(&[slices.to_vec()], &[Some(key)], &error),
        }
    }

    fn end(&mut self, file: usize, result: Result<u64, JobError>, origin: Origin) {
        self.results.end(file, &self.inputs[file].path, self.output.path(), (result, origin));
    }

    /// A file gives no records: what was written of it is taken back.
    fn fail(&mut self, file: usize, error: JobError) -> Result<(), Ended> {
        if let Some(large) = self.large.take_if(|large| large.file == file) {
            self.sink.back_to(large.sink).map_err(|error| self.pending.failure(&error))?;
            self.misfits.back_to(large.misfits)?;
        }
        self.end(file, Err(error), Origin::Reading);
        Ok(())
    }

    /// Appends a group that was made of these slices.
    fn accept(&mut self, come: Come<'_>, slices: &[Slice]) -> Result<(), Ended> {
        if let [slice] = slices
            && slice.partial
        {
            return self.accept_slice(come, slice);
        }
        let Come { made, scratch, key, origin } = come;
        if !self.write(&made, scratch, |part| Some((slices.get(part as usize)?.file, 0)))? {
            return slices.iter().try_for_each(|slice| self.fail(slice.file, breach()));
        }
        self.keep(key, &made, scratch);
        for (part, slice) in made.parts.into_iter().zip(slices) {
            self.end(slice.file, part.failed.map_or(Ok(part.records), Err), origin);
        }
        Ok(())
    }

    /// Appends a group that was made of a slice of a large file, if it begins where the slice before has ended.
    fn accept_slice(&mut self, come: Come<'_>, slice: &Slice) -> Result<(), Ended> {
        let Come { made, scratch, key, origin } = come;
        let file = slice.file;
        if self.results.has_ended(file) {
            return Ok(());
        }
        if slice.from == 0 {
            let (sink, misfits) = (self.sink.mark(), self.misfits.mark());
            self.large = Some(Large { file, position: 0, records: 0, was_read: false, sink, misfits });
        }
        let Some((position, records)) =
            self.large.as_ref().filter(|large| large.file == file).map(|large| (large.position, large.records))
        else {
            return self.fail(file, breach());
        };
        let began = made.parts.first().and_then(|part| part.began);
        let again;
        let (made, scratch) = if began == Some(position) {
            (made, scratch)
        } else {
            if position >= slice.to {
                // No record begins in it.
                return Ok(());
            }
            match self.read_again(&[Slice { from: position, ..slice.clone() }])? {
                Ok(read) => again = read,
                Err(error) => return self.fail(file, error),
            }
            (again.0, again.1.as_ref())
        };
        let Some(part) = made.parts.first() else { return self.fail(file, breach()) };
        if let Some(error) = &part.failed {
            self.keep(key, &made, scratch);
            return self.fail(file, error.clone());
        }
        if !self.write(&made, scratch, |_| Some((file, records)))? {
            return self.fail(file, breach());
        }
        self.keep(key, &made, scratch);
        let records = records.saturating_add(part.records);
        let was_read = origin == Origin::Reading || self.large.as_ref().is_some_and(|large| large.was_read);
        if slice.to == u64::MAX {
            self.large = None;
            self.end(file, Ok(records), if was_read { Origin::Reading } else { Origin::Before });
        } else if let Some(large) = &mut self.large {
            (large.position, large.records, large.was_read) = (part.next, records, was_read);
        }
        Ok(())
    }

    /// Writes what was made of a group. `place` says of a part which file it is and how many records came before. False if that is
    /// nothing that can be written; then nothing is.
    fn write(
        &mut self,
        made: &GroupMade,
        scratch: Option<&File>,
        place: impl Fn(u32) -> Option<(usize, u64)>,
    ) -> Result<bool, Ended> {
        let (sink, misfits) = (self.sink.mark(), self.misfits.mark());
        let inputs = self.inputs;
        let input = |part| place(part).map(|(file, before)| (inputs[file].path.as_path(), before));
        for rows in &made.rows {
            let taken = match self.sink.push(rows, scratch) {
                Ok(()) => match self.misfits.push(&rows.misfits, scratch, input) {
                    Ok(()) => true,
                    Err(misfits::NotTaken::Refused) => false,
                    Err(misfits::NotTaken::Failed(error)) => return Err(error.into()),
                },
                Err(sink::NotTaken::Refused) => false,
                Err(sink::NotTaken::Failed(error)) => return Err(self.pending.failure(&error).into()),
            };
            if !taken {
                self.sink.back_to(sink).map_err(|error| self.pending.failure(&error))?;
                self.misfits.back_to(misfits)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads slices that begin where a record does as one group, at once.
    fn read_again(&self, slices: &[Slice]) -> Result<Result<(GroupMade, Option<File>), JobError>, Ended> {
        let parts = slices.iter().map(|slice| self.inputs[slice.file].part(slice, true)).collect::<Result<Vec<_>, _>>();
        let parts = match parts {
            Ok(parts) => parts,
            Err(error) => return Ok(Err(error)),
        };
        let (ours, scratch) = scratch_for(slices.iter(), self.inputs, self.spec, self.output)?;
        let made = read_now(self.pool, self.spec, parts, scratch);
        self.interrupts.exit_if_aborting();
        match made {
            Ok(made) => Ok(Ok((made, ours))),
            Err(Failed::With(error)) => Ok(Err(error)),
            Err(Failed::Stopped) => Err(Ended::Stopped),
        }
    }

    /// A task has failed as a whole: its files each for itself, to find the one that is to blame, and then the others.
    fn one_by_one(&mut self, groups: &[Vec<Slice>], keys: &[Option<Key>], error: &JobError) -> Result<(), Ended> {
        if let [slices] = groups
            && let [slice] = slices.as_slice()
        {
            return self.fail(slice.file, error.clone());
        }
        for (slices, key) in groups.iter().zip(keys) {
            let mut good = Vec::new();
            let mut last = None;
            for slice in slices {
                if self.results.has_ended(slice.file) {
                    continue;
                }
                let from = match &self.large {
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
            // A group that has lost a file to its worker is not what it should be; a later run tries again.
            let key = key.filter(|_| good.len() == slices.len());
            let origin = Origin::Reading;
            match (last, good.as_slice()) {
                (Some((made, scratch)), [_]) => {
                    self.accept(Come { made, scratch: scratch.as_ref(), key, origin }, &good)?;
                }
                (_, []) => {}
                _ => match self.read_again(&good)? {
                    Ok((made, scratch)) => self.accept(Come { made, scratch: scratch.as_ref(), key, origin }, &good)?,
                    Err(error) => good.iter().try_for_each(|slice| self.fail(slice.file, error.clone()))?,
                },
            }
        }
        Ok(())
    }
}

/// Whether what came back has the shape of what was sent.
fn fits(made: &[GroupMade], slices: &[Vec<Slice>]) -> bool {
    made.len() == slices.len()
        && made.iter().zip(slices).all(|(made, slices)| made.parts.len() == slices.len() && adds_up(made))
}

/// An empty file for what a worker cannot return at once, ours and the worker's; none if no file can have so much.
fn scratch_for<'s>(
    mut slices: impl Iterator<Item = &'s Slice>,
    inputs: &[Input],
    spec: &Spec,
    output: &Output,
) -> Result<(Option<File>, Option<SharedFile>), JobError> {
    if !slices.any(|slice| inputs[slice.file].may_overflow(spec)) {
        return Ok((None, None));
    }
    let ours = outputs::scratch(output)?;
    let theirs = ours.try_clone().map_err(|error| JobError::unreadable(&error))?;
    Ok((Some(ours), Some(theirs.into())))
}
