//! How many frames a worker should hold: enough to hide the hand-over, not so many that a slow one keeps others waiting.

use std::collections::BTreeMap;

use super::Nanos;

/// Work that a worker should have in hand, as far as it can be told: so much that the parent need not be woken for each
/// frame. What has not begun can be taken back, so it is nobody's loss if it comes otherwise.
const WINDOW: Nanos = 1_000_000;
/// Work that travels together.
const GROUP: Nanos = 200_000;
/// The most frames in hand.
const DEEPEST: usize = 32;
/// Before anything is known, and for long tasks: one to run and one to begin right after it.
const SHALLOW: usize = 2;

/// Run times, learnt per function: a worker that gets little work must not look slow.
#[derive(Debug, Default)]
pub(super) struct LookAhead {
    /// A handful of functions, looked up for every task: no hashing.
    per_task: BTreeMap<u64, f64>,
}

impl LookAhead {
    /// A task of this function took `task_ns`.
    pub(super) fn learn(&mut self, function: u64, task_ns: Nanos) {
        let one = task_ns as f64;
        self.per_task.entry(function).and_modify(|average| *average += (one - *average) / 8.0).or_insert(one);
    }

    /// How long so many tasks of this function will take one after another, if that can be told.
    pub(super) fn expected(&self, function: u64, tasks: u32) -> Option<Nanos> {
        self.per_task.get(&function).map(|one| (one * f64::from(tasks)) as Nanos)
    }

    /// How many tasks of this function, submitted one by one, may travel together: as many as a worker should have in hand.
    pub(super) fn group(&self, function: u64) -> u32 {
        self.per_task.get(&function).map_or(1, |one| (GROUP as f64 / one.max(1.0)) as u32)
    }

    /// How many frames of `items` tasks each a worker should hold. One that `grows` waits for others unless a worker has too
    /// little to do: else short tasks that are submitted one by one would never travel together.
    pub(super) fn depth(&self, function: u64, items: u32, grows: bool) -> usize {
        let Some(one) = self.per_task.get(&function).filter(|_| !grows) else { return SHALLOW };
        let frame = (one * f64::from(items)).max(1.0);
        ((WINDOW as f64 / frame) as usize).saturating_add(1).clamp(SHALLOW, DEEPEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tasks_are_queued_deep_and_long_ones_shallow() {
        let mut look_ahead = LookAhead::default();
        assert_eq!(look_ahead.depth(1, 1, false), SHALLOW);
        assert_eq!(look_ahead.group(1), 1);
        look_ahead.learn(1, 1_000);
        assert_eq!(look_ahead.depth(1, 1, false), DEEPEST);
        assert_eq!((look_ahead.depth(1, 200, false), look_ahead.group(1)), (6, 200));
        assert_eq!(look_ahead.depth(1, 1, true), SHALLOW, "it waits for others");
        for _ in 0..100 {
            look_ahead.learn(1, 5_000_000);
        }
        assert_eq!(look_ahead.depth(1, 1, false), SHALLOW);
        assert_eq!(look_ahead.group(1), 0);
        assert_eq!(look_ahead.depth(2, 1, false), SHALLOW, "another function is unknown");
    }
}
