//! When a worker wakes the program for its results. Waking costs both of them more than a short task does.

use std::time::{Duration, Instant};

use crate::ring::ENOUGH;

/// How long a result waits for somebody to take it by himself, when nobody waits for it and there is nothing to do: whoever has
/// submitted a short task is about to ask for it, and the supervisor need not be woken.
const PATIENCE: Duration = Duration::from_micros(10);
/// How long a result may wait for others while the program sleeps and there is enough to do.
const HOLD: Duration = Duration::from_micros(500);

/// The results for which nobody was woken yet, and how long they may wait.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// When the first of them was published.
    held: Option<Instant>,
    patience: Patience,
}

/// How it stands when a result was just published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub now: Instant,
    /// Whether all results before this one were taken.
    pub is_only_one: bool,
    /// How many frames of tasks the worker still has.
    pub behind: usize,
    /// Whether nothing is left of this frame.
    pub at_end: bool,
}

impl Telling {
    /// Notes a result. Returns whether to tell of it now. `unasked` says whether nobody waits for results.
    pub(super) fn is_due(&mut self, shown: Shown, unasked: impl FnOnce() -> bool) -> bool {
        let held = self.held.filter(|_| !shown.is_only_one).unwrap_or(shown.now);
        self.held = Some(held);
        // Should the next task be a long one, the supervisor looks for them.
        if shown.behind >= ENOUGH && shown.now - held < HOLD {
            return false;
        }
        let idle = shown.at_end && shown.behind == 0;
        !(idle && unasked() && self.patience.is_due())
    }

    /// Whether there are results of which nobody was told.
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// What to do after `looked` without a task, if results wait: whether to tell of them now. `taken`: somebody has taken them.
    pub(super) fn is_over(&mut self, looked: Duration, taken: bool) -> bool {
        if taken && self.is_holding() {
            *self = Self::default();
        }
        self.is_holding() && looked >= PATIENCE
    }

    /// Nothing waits any more. Returns whether something did.
    pub(super) fn end(&mut self) -> bool {
        self.held.take().is_some()
    }
}

/// Whether to let a result wait for somebody to take it by himself: less and less often, if nobody does.
#[derive(Debug, Default)]
struct Patience {
    /// How many results are not to wait before the next one that is.
    skip: u32,
    left: u32,
}

impl Patience {
    /// The most results that do not wait.
    const MOST: u32 = 1024;

    /// Whether this one is to wait. Whoever sees it taken begins anew.
    fn is_due(&mut self) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        self.skip = (2 * self.skip + 1).min(Self::MOST);
        self.left = self.skip;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(now: Instant, is_only_one: bool, behind: usize) -> Shown {
        Shown { now, is_only_one, behind, at_end: true }
    }

    fn unasked() -> bool {
        true
    }

    #[test]
    fn with_enough_to_do_results_wait_but_not_for_ever() {
        let (mut telling, start) = (Telling::default(), Instant::now());
        assert!(!telling.is_due(shown(start, true, ENOUGH), unasked));
        assert!(!telling.is_due(shown(start + HOLD / 2, false, ENOUGH), unasked));
        assert!(telling.is_due(shown(start + HOLD, false, ENOUGH), unasked));
        // Others were taken meanwhile: the time counts from the next.
        assert!(!telling.is_due(shown(start + HOLD, true, ENOUGH), unasked));
        assert!(telling.end() && !telling.is_holding() && !telling.end());
    }

    #[test]
    fn with_little_to_do_they_do_not_wait() {
        let (mut telling, now) = (Telling::default(), Instant::now());
        assert!(telling.is_due(shown(now, true, ENOUGH - 1), unasked));
        assert!(telling.is_due(shown(now, true, 0), || false), "somebody waits");
        assert!(telling.is_due(Shown { at_end: false, ..shown(now, true, 0) }, unasked));
    }

    #[test]
    fn with_nothing_to_do_one_waits_a_little_and_more_seldom_if_in_vain() {
        let (mut telling, now) = (Telling::default(), Instant::now());
        let waited = |telling: &mut Telling| -> Vec<usize> {
            (0..20).filter(|_| !telling.is_due(shown(now, true, 0), unasked)).collect()
        };
        assert_eq!(waited(&mut telling), [0, 2, 6, 14]);
        assert!(!telling.is_over(PATIENCE / 2, false) && telling.is_holding());
        assert!(telling.is_over(PATIENCE, false) && telling.end());
        assert!(telling.is_due(shown(now, true, 0), unasked), "the next that waits is far away");
        // Taken by somebody: the next one waits again.
        assert!(!telling.is_over(PATIENCE, true) && !telling.is_holding());
        assert_eq!(waited(&mut telling), [0, 2, 6, 14]);
    }
}
