//! Large inputs in pieces, so that one of them keeps all workers busy: where they are cut, and how what comes of them is added
//! up again, whichever worker was first.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::{Cause, JobError};
use super::stream::Task;

/// A part of an input: the lines that begin in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// Its number, from 0.
    pub number: u64,
    /// The byte where it begins.
    pub start: u64,
    /// The byte before which its last line begins; of the last piece the largest number there is.
    pub end: u64,
}

impl Piece {
    /// All of an input.
    pub(crate) const WHOLE: Piece = Piece { number: 0, start: 0, end: u64::MAX };

    /// The piece of this number of an input of `len` bytes; `None` if there is no such.
    pub(crate) fn cut(number: u64, len: u64, piece_len: Option<u64>) -> Option<Piece> {
        let Some(piece_len) = piece_len.filter(|piece_len| *piece_len > 0) else {
            return (number == 0).then_some(Piece::WHOLE);
        };
        let start = number.checked_mul(piece_len).filter(|start| *start < len || number == 0)?;
        let end = start.checked_add(piece_len).filter(|end| *end < len).unwrap_or(u64::MAX);
        Some(Piece { number, start, end })
    }
}

/// What a worker hands back for one piece.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part<M> {
    /// What was made of it.
    pub made: M,
    /// How long that took.
    pub wall: Duration,
    /// And how much of the processor, of the thread that did it.
    pub cpu: Duration,
}

/// What all pieces of one input together may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    /// Time.
    pub timeout: Option<Duration>,
    /// CPU time.
    pub cpu_time: Option<Duration>,
    /// How long the workers were stopped last, which is no time that a piece took.
    pub pause: Duration,
}

/// The pieces of one input that have ended, until all have.
#[derive(Debug)]
pub(crate) struct Assembly<M> {
    /// What was made of them, added up as it came.
    sum: Option<M>,
    /// How many pieces have ended, well or not.
    ended: u64,
    /// The failure of the first piece that failed.
    error: Option<(u64, JobError)>,
    wall: Duration,
    cpu: Duration,
    /// What is known of the work on it.
    pub task: Task,
}

impl<M> Default for Assembly<M> {
    fn default() -> Self {
        Assembly { sum: None, ended: 0, error: None, wall: Duration::ZERO, cpu: Duration::ZERO, task: Task::default() }
    }
}

impl<M> Assembly<M> {
    /// Takes the outcome of a piece. `false` if the input is lost and no more of it need be begun.
    pub(crate) fn add(
        &mut self,
        number: u64,
        outcome: Result<Part<M>, JobError>,
        task: Task,
        allowance: Allowance,
        join: impl Fn(&mut M, M),
    ) -> bool {
        self.ended += 1;
        self.note(number, task);
        match outcome {
            Ok(part) => {
                // What is shorter than the pause did not go through it.
                self.wall += part.wall.checked_sub(allowance.pause).unwrap_or(part.wall);
                self.cpu += part.cpu;
                match &mut self.sum {
                    Some(sum) => join(sum, part.made),
                    None => self.sum = Some(part.made),
                }
                if let Some(error) = self.overdrawn(allowance) {
                    self.error.get_or_insert((u64::MAX, error));
                }
            }
            Err(error) => {
                if self.error.as_ref().is_none_or(|(first, _)| number < *first) {
                    self.error = Some((number, error));
                }
            }
        }
        if self.error.is_some() {
            // Nobody will ask for what was made.
            self.sum = None;
        }
        !self.is_lost()
    }

    /// A single piece is held to the limits by the pool.
    fn overdrawn(&self, allowance: Allowance) -> Option<JobError> {
        if self.ended < 2 {
            return None;
        }
        let over = |limit: Option<Duration>, used: Duration| limit.filter(|limit| used > *limit);
        let message = if let Some(limit) = over(allowance.timeout, self.wall) {
            format!("it took longer than its timeout of {limit:?}")
        } else {
            let limit = over(allowance.cpu_time, self.cpu)?;
            format!("it used more CPU time than its limit of {limit:?}")
        };
        Some(JobError::new(Cause::TimedOut, message))
    }

    fn note(&mut self, number: u64, task: Task) {
        let all = &mut self.task;
        if self.ended == 1 {
            *all = task;
            return;
        }
        // Several workers had a part in it.
        (all.worker, all.pid) = (None, None);
        all.attempt = all.attempt.max(task.attempt);
        all.peak_memory = all.peak_memory.max(task.peak_memory);
        all.run_ns = all.run_ns.zip(task.run_ns).map(|(a, b)| a.saturating_add(b));
        if number == 0 {
            (all.stamp, all.queued_ns) = (task.stamp, task.queued_ns);
        }
    }

    /// How many pieces have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    /// Whether a piece has failed.
    pub(crate) fn is_lost(&self) -> bool {
        self.error.is_some()
    }

    /// What came of it all.
    pub(crate) fn outcome(self) -> Result<M, JobError> {
        match (self.error, self.sum) {
            (Some((_, error)), _) => Err(error),
            (None, Some(made)) => Ok(made),
            (None, None) => Err(JobError::new(Cause::Pool, "came back from the workers without a result")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_an_input_without_gaps() {
        let cut = |len, piece_len| -> Vec<(u64, u64)> {
            (0..).map_while(|number| Piece::cut(number, len, piece_len)).map(|piece| (piece.start, piece.end)).collect()
        };
        const END: u64 = u64::MAX;
        assert_eq!(cut(0, Some(10)), [(0, END)]);
        assert_eq!(cut(10, Some(10)), [(0, END)]);
        assert_eq!(cut(11, Some(10)), [(0, 10), (10, END)]);
        assert_eq!(cut(30, Some(10)), [(0, 10), (10, 20), (20, END)]);
        assert_eq!(cut(1 << 40, None), [(0, END)]);
        assert_eq!(cut(5, Some(0)), [(0, END)]);
        assert!(Piece::cut(u64::MAX, u64::MAX, Some(2)).is_none());
    }

    fn part(made: u64, ms: u64) -> Result<Part<u64>, JobError> {
        let time = Duration::from_millis(ms);
        Ok(Part { made, wall: time, cpu: time / 2 })
    }

    fn assemble(parts: Vec<(u64, Result<Part<u64>, JobError>)>, allowance: Allowance) -> Result<u64, String> {
        let mut assembly = Assembly::default();
        for (number, part) in parts {
            assembly.add(number, part, Task::default(), allowance, |sum, next| *sum += next);
        }
        assembly.outcome().map_err(|error| error.message)
    }

    #[test]
    fn parts_are_added_up_whenever_they_come() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2], [2, 0, 1], [0, 2, 1]] {
            let parts = order.map(|n| (n, part([1, 10, 100][n as usize], 1)));
            assert_eq!(assemble(parts.into(), Allowance::default()), Ok(111));
        }
    }

    #[test]
    fn the_first_failure_is_the_failure_of_the_input() {
        let failed = |n: u64| (n, Err(JobError::new(Cause::Damaged, format!("piece {n}"))));
        for order in [[0, 1, 2], [2, 1, 0], [2, 0, 1]] {
            let parts = order.map(|n| if n == 0 { (0, part(1, 1)) } else { failed(n) });
            assert_eq!(assemble(parts.into(), Allowance::default()), Err("piece 1".into()));
        }
        assert!(assemble(vec![], Allowance::default()).is_err());
    }

    #[test]
    fn what_all_pieces_take_together_is_limited() {
        let parts = || (0..3).map(|n| (n, part(1, 10))).collect();
        let limits = |timeout, cpu_time| Allowance {
            timeout: Some(Duration::from_millis(timeout)),
            cpu_time: Some(Duration::from_millis(cpu_time)),
            pause: Duration::ZERO,
        };
        assert_eq!(assemble(parts(), limits(30, 15)), Ok(3));
        assert_eq!(assemble(parts(), limits(29, 15)), Err("it took longer than its timeout of 29ms".into()));
        assert_eq!(assemble(parts(), limits(30, 14)), Err("it used more CPU time than its limit of 14ms".into()));
        // What a single piece may take is for the pool to say.
        assert_eq!(assemble(vec![(0, part(1, 10))], limits(9, 4)), Ok(1));
    }
}
