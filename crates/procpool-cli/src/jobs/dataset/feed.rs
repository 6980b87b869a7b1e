//! Hands the pictures to the pool and takes what comes of them, in their order.

use std::collections::VecDeque;

use procpool::{Future, Kind, Pool};
use rustix::process::Resource;

use super::keep::Keep;
use super::sources::Source;
use super::why::Out;
use super::work::{Made, Recipe, Task, prepare};
use crate::frame::failure::JobError;
use crate::frame::inputs::{self, Stamp};
use crate::frame::interrupt::Interrupts;
use crate::frame::kept::Key;
use crate::frame::stream::{self, Stream};

/// Pictures per worker that are under way or wait for one before them.
const AHEAD: usize = 32;
/// What those may take up in memory, in bytes.
const MEMORY: u64 = 256 << 20;

/// What became of a picture in the pool.
pub(crate) struct Outcome {
    /// The number of its source.
    pub number: usize,
    /// What a worker made, or why it has made nothing.
    pub made: Result<Made, Out>,
    /// An earlier run has made it.
    pub is_kept: bool,
    /// How it was worked on.
    pub task: stream::Task,
}

/// A picture that is under way.
enum Under {
    Task(usize, Option<Key>, Future<Result<Made, JobError>>),
    Kept(Made),
    Out(Out),
}

/// The pictures under way. No more than so many, so that memory is bounded if one takes long.
pub(crate) struct Feed<'a> {
    pool: &'a Pool,
    /// The signals.
    pub interrupts: &'a Interrupts,
    stream: &'a Stream,
    sources: &'a [Source],
    recipe: &'a Recipe,
    window: usize,
    /// The number of the next source.
    next: usize,
    /// How many tasks the pool has been given.
    given: usize,
    under: VecDeque<(usize, Under)>,
    /// What is kept for a later run.
    pub keep: Option<Keep>,
    /// What the user should know of that, until it is told.
    pub note: Option<String>,
}

/// The run was stopped.
#[derive(Debug)]
pub(crate) struct Stopped;

impl<'a> Feed<'a> {
    /// Nothing is under way.
    pub(crate) fn new(
        pool: &'a Pool,
        interrupts: &'a Interrupts,
        stream: &'a Stream,
        sources: &'a [Source],
        recipe: &'a Recipe,
        keep: Option<Keep>,
    ) -> Self {
        let window = window(pool.workers(), recipe.sample.size);
        let under = VecDeque::new();
        Feed { pool, interrupts, stream, sources, recipe, window, next: 0, given: 0, under, keep, note: None }
    }

    /// What became of the next picture; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Outcome>, Stopped> {
        while self.under.len() < self.window && self.next < self.sources.len() && !self.interrupts.stopping() {
            let under = self.begin(self.next);
            self.under.push_back((self.next, under));
            self.next += 1;
        }
        let under = self.under.pop_front();
        let ended = match under {
            None => None,
            Some((number, Under::Out(out))) => {
                Some(Outcome { number, made: Err(out), is_kept: false, task: stream::Task::default() })
            }
            Some((number, Under::Kept(made))) => {
                Some(Outcome { number, made: Ok(made), is_kept: true, task: stream::Task::default() })
            }
            Some((number, Under::Task(task, key, future))) => {
                let outcome = future.wait();
                self.interrupts.exit_if_aborting();
                let task = self.stream.take_task(task);
                let made = match outcome {
                    Ok(Ok(mut made)) => {
                        self.keep(key, &mut made);
                        Ok(made)
                    }
                    Ok(Err(error)) => Err(Out::Failed(error)),
                    Err(error) if error.kind() == Kind::Cancelled => return Err(self.stop()),
                    Err(error) => Err(Out::Failed(JobError::from(&error))),
                };
                Some(Outcome { number, made, is_kept: false, task })
            }
        };
        if self.interrupts.stopping() { Err(self.stop()) } else { Ok(ended) }
    }

    fn keep(&mut self, key: Option<Key>, made: &mut Made) {
        if let (Some(keep), Some(key)) = (&mut self.keep, key)
            && let Err(note) = keep.picture(key, made)
        {
            self.note = Some(note);
        }
    }

    /// Keeps what the workers have finished, since the run is stopped.
    fn stop(&mut self) -> Stopped {
        if self.keep.is_some() {
            for (_, under) in std::mem::take(&mut self.under) {
                if let Under::Task(_, key, future) = under
                    && let Ok(Ok(mut made)) = future.wait()
                {
                    self.keep(key, &mut made);
                }
            }
        }
        Stopped
    }

    fn begin(&mut self, number: usize) -> Under {
        let Source { path, class } = &self.sources[number];
        if let Err(out) = class {
            return Under::Out(out.clone());
        }
        let opened = inputs::open(path).and_then(|file| {
            let metadata = file.metadata().map_err(|error| JobError::unreadable(&error))?;
            Ok((file, Stamp::of(&metadata)))
        });
        let (file, stamp) = match opened {
            Ok(opened) => opened,
            Err(error) => return Under::Out(Out::Failed(error)),
        };
        let key = self.keep.as_ref().and_then(|_| Keep::key(path, stamp));
        if let Some(made) = self.keep.as_ref().zip(key).and_then(|(keep, key)| keep.find(key)) {
            return Under::Kept(made);
        }
        self.stream.fed(path, Some(stamp), true);
        match self.pool.submit(prepare, Task { input: file.into(), recipe: self.recipe.clone() }) {
            Ok(future) => {
                self.given += 1;
                Under::Task(self.given - 1, key, future)
            }
            Err(error) => Under::Out(Out::Failed(JobError::from(&error))),
        }
    }
}

/// How many pictures of this size may be under way.
fn window(workers: usize, size: (u32, u32)) -> usize {
    let bytes = 3 * u64::from(size.0) * u64::from(size.1);
    let fit = usize::try_from(MEMORY / bytes.max(1)).unwrap_or(usize::MAX).max(2 * workers);
    // Each has its file open.
    let files = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 4;
    let files = usize::try_from(files).unwrap_or(usize::MAX).max(1);
    (AHEAD * workers).min(fit).min(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pictures_are_few() {
        assert_eq!(window(2, (224, 224)), 64);
        assert_eq!(window(2, (2048, 2048)), 21);
        assert_eq!(window(2, (65_535, 65_535)), 4);
    }
}
