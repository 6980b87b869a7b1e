//! The files of a run, and how they are handed to the pool.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use procpool::{Kind, Pool, SharedFile};

use super::keep::Keep;
use super::layout::Slice;
use super::merge;
use super::plan::{Content, GroupMade, MAX_OPEN, Pack, Part, SMALL, Spec, Syntax, Task};
use super::sample::{Glance, Look, LookTask, Seen, look};
use super::work::shape;
use super::{TablePlan, syntax_by_name};
use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::{self, Stamp};
use crate::frame::interrupt::Interrupts;
use crate::frame::names;
use crate::frame::reader::Packing;
use crate::frame::report::Reporter;

/// No file is believed to be longer.
const MOST_PROMISED: u64 = 1 << 48;

/// One input.
pub(crate) struct Input {
    /// Its path.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// What was seen of it, or why it can give no records.
    pub seen: Result<Seen, JobError>,
    /// The column of each of its fields.
    pub fields: Vec<Option<u32>>,
    /// What it was when it was looked at first.
    pub stamp: Cell<Option<Stamp>>,
}

impl Input {
    fn packing(&self) -> Option<Pack> {
        Packing::by_name(&self.path).map(Pack::from)
    }

    /// Whether it can be read from the middle.
    pub(crate) fn divisible(&self) -> bool {
        let lines = |seen: &Seen| matches!(seen.syntax, Syntax::Csv { .. } | Syntax::Lines);
        self.packing().is_none() && self.seen.as_ref().is_ok_and(lines)
    }

    /// Whether it travels as an open file.
    pub(crate) fn travels_open(&self) -> bool {
        self.len > SMALL || self.packing().is_some()
    }

    /// Whether it may give more than what can be returned at once: how much is packed is not known before, and a large document
    /// cannot be cut.
    pub(crate) fn may_overflow(&self, spec: &Spec) -> bool {
        self.packing().is_some() || (self.len > spec.whole() && !self.divisible())
    }

    /// How much is to be read of it, as far as that is known. What a file promises is not always true, but always the same.
    pub(crate) fn unpacked_len(&self) -> u64 {
        let promised = self.seen.as_ref().ok().and_then(|seen| seen.promised).unwrap_or(0);
        self.len.max(promised.min(MOST_PROMISED))
    }

    /// Opens it, as long as it is what it was.
    fn open(&self) -> Result<File, JobError> {
        let file = inputs::open(&self.path)?;
        let now = Stamp::of(&file.metadata().map_err(|error| JobError::unreadable(&error))?);
        match self.stamp.replace(Some(now)) {
            Some(then) if then != now => {
                self.stamp.set(Some(then));
                Err(changed())
            }
            _ => Ok(file),
        }
    }

    /// A part of it, ready to travel.
    pub(crate) fn part(&self, slice: &Slice, exact: bool) -> Result<Part, JobError> {
        let seen = self.seen.as_ref().map_err(Clone::clone)?;
        let mut file = self.open()?;
        let mut bytes = Vec::new();
        if !self.travels_open() {
            bytes.reserve_exact(self.len as usize + 1);
            (&mut file).take(SMALL + 1).read_to_end(&mut bytes).map_err(|error| JobError::unreadable(&error))?;
            if bytes.len() as u64 != self.len {
                return Err(changed());
            }
        }
        Ok(Part {
            content: if self.travels_open() { Content::File(file.into()) } else { Content::Bytes(bytes) },
            name: names::show(&self.path),
            syntax: seen.syntax,
            packing: self.packing(),
            fields: self.fields.clone(),
            from: slice.from,
            to: slice.to,
            exact: exact || slice.from == 0,
            stamp: self.stamp.get(),
        })
    }

    /// Finds out which column each of its fields belongs to.
    pub(crate) fn find_fields(&mut self, by_path: &HashMap<&[String], usize>) {
        if let Ok(seen) = &self.seen
            && let Syntax::Csv { .. } = seen.syntax
        {
            self.fields = merge::fields(seen, by_path);
        }
    }
}

/// The run was stopped.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Looks at all inputs for their records or columns, as far as it is not known from an earlier run what is seen there.
pub(crate) fn look_at(
    (pool, interrupts): (&Pool, &Interrupts),
    inputs: &mut [Input],
    plan: &TablePlan,
    (for_what, spec): (Look, &Spec),
    (mut keep, report): (Option<&mut Keep>, &Reporter),
) -> Result<(), Stopped> {
    let task = |files: Vec<Glance>| LookTask {
        files,
        look: for_what,
        len: plan.sample,
        separator: plan.separator,
        no_header: plan.no_header,
        json_path: spec.json_path.clone(),
        xml_pattern: spec.xml_pattern.clone(),
    };
    let glance = |input: &Input| {
        let syntax = plan.syntax.or_else(|| syntax_by_name(&input.path));
        Ok::<_, JobError>(Glance { file: input.open()?.into(), packing: input.packing(), syntax })
    };
    // What opens is sent; what does not is known already.
    let opened = std::cell::RefCell::new(std::collections::VecDeque::new());
    let shared: &[Input] = inputs;
    let mut all: Vec<usize> = (0..shared.len()).filter(|&number| shared[number].seen.is_ok()).collect();
    let mut known: Vec<(usize, Seen)> = Vec::new();
    if let Some(keep) = &mut keep {
        all.retain(|&number| match keep.seen(number, &shared[number], for_what, spec) {
            Some(seen) => {
                known.push((number, seen));
                false
            }
            None => true,
        });
    }
    let feed = all.chunks(MAX_OPEN).map_while(|numbers| {
        if interrupts.stopping() {
            return None;
        }
        let glances: Vec<Result<Glance, JobError>> = numbers.iter().map(|&number| glance(&shared[number])).collect();
        let errors: Vec<Option<JobError>> = glances.iter().map(|glance| glance.as_ref().err().cloned()).collect();
        opened.borrow_mut().push_back((numbers.to_vec(), errors));
        Some(task(glances.into_iter().flatten().collect()))
    });
    let mut found: Vec<(usize, Result<Seen, JobError>)> = Vec::new();
    for outcome in pool.map(look, feed).chunk_size(1) {
        let Some((numbers, errors)) = opened.borrow_mut().pop_front() else { break };
        if interrupts.stopping() {
            return Err(Stopped);
        }
        let mut seen = match outcome {
            Ok(seen) => seen.into_iter(),
            // One of them is to blame: each by itself.
            Err(_) => {
                let mut seen = Vec::new();
                for (&number, error) in numbers.iter().zip(&errors) {
                    if error.is_none() {
                        let alone = glance(&shared[number]).and_then(|glance| {
                            let outcome = pool.submit(look, task(vec![glance])).and_then(|future| future.wait());
                            outcome.map_err(|error| JobError::from(&error))?.pop().unwrap_or_else(|| Err(breach()))
                        });
                        seen.push(alone);
                    }
                }
                seen.into_iter()
            }
        };
        for (number, error) in numbers.into_iter().zip(errors) {
            let seen = match error {
                Some(error) => Err(error),
                None => seen.next().unwrap_or_else(|| Err(breach())),
            };
            found.push((number, seen));
        }
    }
    interrupts.exit_if_aborting();
    if interrupts.stopping() {
        return Err(Stopped);
    }
    if let Some(keep) = keep {
        let seen = found.iter().filter_map(|(number, seen)| Some((&shared[*number], seen.as_ref().ok()?)));
        if let Err(message) = keep.keep_seen(seen, for_what, spec) {
            report.note(&format!("procpool: {message}"));
        }
    }
    found.extend(known.into_iter().map(|(number, seen)| (number, Ok(seen))));
    for (number, seen) in found {
        let input = &mut inputs[number];
        input.seen = seen;
        // From now on it must stay as it is.
        input.len = input.stamp.get().map_or(input.len, |stamp| stamp.size);
    }
    Ok(())
}

/// A file is not what it was when it was looked at.
pub(crate) fn changed() -> JobError {
    JobError::new(Cause::Unreadable, "was changed after it was looked at; try again when nobody writes to it")
}

/// A worker's answer has another shape than its task.
pub(crate) fn breach() -> JobError {
    JobError::new(Cause::Pool, "a worker has answered something else than it was asked")
}

/// What is wrong with a task as a whole.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The run was stopped.
    Stopped,
    /// This.
    With(JobError),
}

/// The outcome of a task of [`shape`].
pub(crate) fn outcome(outcome: procpool::Result<Result<Vec<GroupMade>, JobError>>) -> Result<Vec<GroupMade>, Failed> {
    match outcome {
        Ok(made) => made.map_err(Failed::With),
        Err(error) if error.kind() == Kind::Cancelled => Err(Failed::Stopped),
        Err(error) => Err(Failed::With(JobError::from(&error))),
    }
}

/// Reads one group at once.
pub(crate) fn read_now(
    pool: &Pool,
    spec: &Spec,
    parts: Vec<Part>,
    scratch: Option<SharedFile>,
) -> Result<GroupMade, Failed> {
    let expected = parts.len();
    let task = Task { spec: spec.clone(), groups: vec![parts], scratch };
    let mut made = outcome(pool.submit(shape, task).and_then(|future| future.wait()))?;
    match made.pop() {
        Some(group) if made.is_empty() && group.parts.len() == expected && adds_up(&group) => Ok(group),
        _ => Err(Failed::With(breach())),
    }
}

/// Whether the parts of a group have as many records as its groups of rows have rows.
pub(crate) fn adds_up(made: &GroupMade) -> bool {
    let records: u128 = made.parts.iter().map(|part| u128::from(part.records)).sum();
    records == made.rows.iter().map(|rows| u128::from(rows.rows)).sum()
}
