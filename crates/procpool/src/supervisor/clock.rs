//! The clock of a pool: it does not run while the pool is paused, nor while the whole program stood still.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::sched::{Nanos, nanos};

/// Counts from 0. Read and changed under the engine's lock only.
#[derive(Debug)]
pub(super) struct Clock {
    epoch: Instant,
    /// How long it has not run, in nanoseconds.
    stood: AtomicU64,
    /// The time at which it stands; `RUNNING` if it does not.
    stands_at: AtomicU64,
}

const RUNNING: u64 = u64::MAX;

impl Clock {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), stood: AtomicU64::new(0), stands_at: AtomicU64::new(RUNNING) }
    }

    /// Nanoseconds that it has run.
    pub(super) fn now(&self) -> Nanos {
        match self.stands_at.load(Relaxed) {
            RUNNING => nanos(self.epoch.elapsed()).saturating_sub(self.stood.load(Relaxed)),
            stands_at => stands_at,
        }
    }

    /// How many nanoseconds it has not run, up to the last time that it went on.
    pub(super) fn stood(&self) -> Nanos {
        self.stood.load(Relaxed)
    }

    /// Stands still from now on.
    pub(super) fn stop(&self) {
        self.stands_at.store(self.now(), Relaxed);
    }

    /// Goes on where it stood.
    pub(super) fn go(&self) {
        let stands_at = self.stands_at.swap(RUNNING, Relaxed);
        if stands_at != RUNNING {
            self.stood.store(nanos(self.epoch.elapsed()).saturating_sub(stands_at), Relaxed);
        }
    }

    /// Puts it back: so long it should not have run.
    pub(super) fn forget(&self, time: Duration) {
        self.stood.fetch_add(nanos(time), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_while_it_is_stopped_and_goes_on_from_there() {
        let clock = Clock::new();
        clock.stop();
        let at = clock.now();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(clock.now(), at);
        // Twice is once.
        clock.stop();
        clock.go();
        assert!(clock.stood() >= 20_000_000);
        let later = clock.now();
        assert!(later >= at);
        clock.go();
        assert!(clock.now() >= later);
    }

    #[test]
    fn what_is_forgotten_was_not() {
        let clock = Clock::new();
        std::thread::sleep(Duration::from_millis(20));
        let before = clock.now();
        clock.forget(Duration::from_millis(20));
        assert_eq!(clock.stood(), 20_000_000);
        assert!(clock.now() + 20_000_000 >= before);
    }
}
