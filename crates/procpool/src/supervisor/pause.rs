//! A pool that stands still: on request, or because the whole program was stopped.

use std::time::Duration;

use super::link::Link;
use super::{Core, Engine};
use crate::sched::{Nanos, nanos};

/// How often the supervisor looks at the clock while a deadline is running, to notice that the program stood still. At most so
/// much of each stop counts.
pub(super) const BEAT: Duration = Duration::from_millis(100);

/// Sleeping longer than asked by no more than this is a busy machine.
const TOLERANCE: Duration = Duration::from_millis(50);

impl Engine {
    /// Stops the workers and the clock, until [`Engine::resume`].
    pub(crate) fn pause(&self) {
        let core = &mut *self.lock();
        if core.paused || core.sched.is_over() {
            return;
        }
        core.paused = true;
        self.clock.stop();
        for link in core.links.values() {
            link.stop();
        }
    }

    /// Lets everything go on.
    pub(crate) fn resume(&self) {
        self.unfreeze(&mut self.lock(), true);
        self.supervisor_bell.ring();
    }

    /// Lets the clock go on, and the workers if they are to.
    pub(super) fn unfreeze(&self, core: &mut Core, workers: bool) {
        if core.paused {
            core.paused = false;
            self.clock.go();
            core.log.set_stood(self.clock.stood());
            for worker in std::mem::take(&mut core.postponed) {
                core.sched.end_gently(worker);
            }
            if workers {
                core.links.values().for_each(Link::go_on);
            }
        }
    }

    /// The supervisor wanted to sleep for `wanted` and slept for `slept`. If that is far too long, the program was stopped (or
    /// the machine is so busy that it might as well have been), and that time does not count.
    pub(super) fn note_sleep(&self, wanted: Option<Duration>, slept: Duration) {
        let Some(stood) = wanted.and_then(|wanted| slept.checked_sub(wanted)).filter(|stood| *stood > TOLERANCE) else {
            return;
        };
        let mut core = self.lock();
        if core.paused {
            // The clock stands anyway.
            return;
        }
        self.clock.forget(stood);
        core.log.set_stood(self.clock.stood());
        let now = self.clock.now();
        core.forget_the_future(now);
    }
}

impl Core {
    /// The clock was put back to `now`. What others noted before that was noticed is not in the future.
    fn forget_the_future(&mut self, now: Nanos) {
        self.sched.forget_the_future(now);
        let grace = nanos(self.grace);
        for link in self.links.values_mut() {
            link.forget_the_future(now, grace);
        }
    }
}
