//! How the supervisor thread learns of results while many come. Being woken for each is best as long as they are few. When
//! they are many, it and the thread that submits tasks wait for each other's lock all the time, every task goes to a worker
//! alone, and so the next result comes soon. Then it is not to be woken at all, and looks from time to time, as drivers of
//! network cards do; meanwhile tasks gather, and travel together.

use std::time::Duration;

use crate::sched::Nanos;

/// How long it lets results come in between two looks, at first.
const INTERVAL: Duration = Duration::from_micros(100);
/// And if many come again and again: still less than what a worker has in hand then.
const LONGEST: Duration = Duration::from_micros(800);
/// To be woken sooner than this after the last time is often.
const SOON: Nanos = 50_000;
/// So many times in a row, and it is not to be woken any more.
const OFTEN: u32 = 8;
/// And as many as this if that was in vain again and again.
const MOST_OFTEN: u32 = 4096;
/// Whoever has submitted a task so short a time ago is at it.
const JUST_NOW: Nanos = 5_000;
/// With fewer results than this between two looks it is to be woken again.
const FEW: u64 = 4;

/// How it stands when the supervisor thread looks for results.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) now: Nanos,
    /// How many tasks have ended in all.
    pub(super) ended: u64,
    /// How many have not.
    pub(super) left: u64,
    /// When the last one was submitted.
    pub(super) submitted_at: Nanos,
    /// Whether a thread that waits for a result takes those of others, too; then it is not for the supervisor to do.
    pub(super) is_led: bool,
}

/// How often the supervisor thread has looked for results lately.
#[derive(Debug)]
pub(super) struct Pace {
    /// When it looked last, and how many tasks had ended then.
    last: (Nanos, u64),
    /// How many times it was woken for results since it last slept for long.
    often: u32,
    /// So many are needed.
    needed: u32,
    interval: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { last: (0, 0), often: 0, needed: OFTEN, interval: None }
    }
}

impl Pace {
    /// Notes a look. Returns how long to wait before the next; `None`: until it is woken.
    ///
    /// If most tasks have ended meanwhile and none was submitted just now, whoever submits them perhaps waits for some to end before
    /// he submits more, and nobody may keep him waiting. That shows at the first look after an interval only; so this is tried less
    /// and less often if it is in vain.
    pub(super) fn look(&mut self, look: Look) -> Option<Duration> {
        let soon = look.now.saturating_sub(self.last.0) < SOON;
        let ended = look.ended - self.last.1;
        let Some(interval) = self.interval.filter(|_| !look.is_led) else {
            self.last = (look.now, look.ended);
            self.often = if soon { self.often + u32::from(ended > 0) } else { 0 };
            self.interval = (self.often >= self.needed && !look.is_led).then_some(INTERVAL);
            return self.interval;
        };
        if soon {
            // It was woken for something else.
            return self.interval;
        }
        self.last = (look.now, look.ended);
        self.often = 0;
        let submits = look.now.saturating_sub(look.submitted_at) < JUST_NOW;
        if !submits && look.left < ended {
            self.needed = (2 * self.needed).min(MOST_OFTEN);
            self.interval = None;
        } else {
            self.needed = OFTEN;
            let much = submits || look.left / 4 >= ended;
            let interval = if much { (2 * interval).min(LONGEST) } else { INTERVAL };
            self.interval = (ended >= FEW).then_some(interval);
        }
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left and how long ago a task was submitted: with a queue, with workers that keep up with who submits, and with
    /// one who submits only when results are there.
    const BEHIND: (u64, Nanos) = (4 * FEW, JUST_NOW);
    const KEEP_UP: (u64, Nanos) = (0, 0);
    const TURNS: (u64, Nanos) = (FEW - 1, JUST_NOW);

    #[derive(Default)]
    struct Test {
        pace: Pace,
        now: Nanos,
        ended: u64,
        is_led: bool,
    }

    impl Test {
        /// Looks `after` the last time, when so many tasks more have ended. Returns the interval in microseconds.
        fn look(&mut self, after: Nanos, ended: u64, (left, ago): (u64, Nanos)) -> Option<u128> {
            self.now += after;
            self.ended += ended;
            let submitted_at = self.now.saturating_sub(ago);
            let look = Look { now: self.now, ended: self.ended, left, submitted_at, is_led: self.is_led };
            self.pace.look(look).map(|interval| interval.as_micros())
        }

        /// Looks again and again, each time so long after the time before. Returns how often until it polls.
        fn until_it_polls(&mut self, after: Nanos, ended: u64, how: (u64, Nanos)) -> Option<u32> {
            (1..=3 * MOST_OFTEN).find(|_| self.look(after, ended, how).is_some())
        }
    }

    #[test]
    fn it_is_woken_for_few_results_and_looks_by_itself_for_many() {
        let mut test = Test::default();
        assert_eq!(test.until_it_polls(SOON, FEW, BEHIND), None, "they are far apart");
        assert_eq!(test.until_it_polls(SOON / 2, 0, BEHIND), None, "it was woken for something else");
        assert_eq!(test.until_it_polls(SOON / 2, FEW, TURNS), Some(OFTEN));
        let behind: Vec<_> = (0..5).map(|_| test.look(150_000, FEW, BEHIND)).collect();
        assert_eq!(behind, [Some(200), Some(400), Some(800), Some(800), Some(800)]);
        assert_eq!(test.look(SOON / 2, 0, TURNS), Some(800), "it was woken for something else");
        assert_eq!(test.look(SOON, FEW, (FEW, JUST_NOW)), Some(100), "hardly behind");
        assert_eq!(test.look(SOON, FEW, KEEP_UP), Some(200));
        assert_eq!(test.look(SOON, FEW - 1, KEEP_UP), None);
        assert_eq!(test.until_it_polls(SOON / 2, 1, TURNS), Some(OFTEN));
        test.is_led = true;
        assert_eq!(test.look(150_000, FEW, BEHIND), None, "others take them");
        assert_eq!(test.until_it_polls(SOON / 2, FEW, BEHIND), None);
    }

    #[test]
    fn where_submitter_and_pool_take_turns_it_tries_less_and_less_often() {
        let mut test = Test::default();
        let tries = (0..12).map(|_| {
            let after = test.until_it_polls(SOON / 2, FEW, TURNS);
            assert_eq!(test.look(150_000, FEW, TURNS), None);
            after.unwrap_or(0)
        });
        let tries: Vec<u32> = tries.collect();
        assert_eq!(tries, [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096, 4096]);
        // It was worth it: from the beginning.
        assert_eq!(test.until_it_polls(SOON / 2, FEW, TURNS), Some(MOST_OFTEN));
        assert_eq!(test.look(150_000, FEW, BEHIND), Some(200));
        assert_eq!(test.look(150_000, FEW, TURNS), None);
        assert_eq!(test.until_it_polls(SOON / 2, FEW, TURNS), Some(2 * OFTEN));
    }
}
