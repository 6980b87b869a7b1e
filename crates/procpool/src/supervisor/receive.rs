//! Leader and followers: the thread that waits for a result drains the rings itself.
//!
//! At most one waiting thread leads. It takes results for everybody, spins a little, then sleeps on its bell, which the
//! workers ring because it told them to. Other waiting threads sleep until their own result is delivered or the leader
//! leaves and one of them takes over. When nobody waits, the supervisor thread is the one that is rung.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::{Engine, Outbox};
use crate::ring::Listener;

/// How long the leader looks by itself before it sleeps.
const LOOK: Duration = Duration::from_micros(50);
const POLLS_PER_YIELD: u32 = 32;

/// Something that a thread can wait for.
pub(crate) trait Waiting {
    /// Whether it has come.
    fn is_done(&self) -> bool;
    /// Whom to unpark when it comes.
    fn set_waiter(&self, waiter: Option<Thread>);
}

impl Engine {
    /// Waits until `waiting` is done or `deadline` has passed; returns whether it is done.
    pub(crate) fn wait(&self, waiting: &dyn Waiting, deadline: Option<Instant>) -> bool {
        loop {
            if waiting.is_done() {
                return true;
            }
            if past(deadline) {
                return false;
            }
            let mut core = self.lock();
            if !core.led {
                core.led = true;
                core.listen(Listener::Awake);
                drop(core);
                return self.lead(waiting, deadline);
            }
            core.followers.push(thread::current());
            drop(core);
            self.follow(waiting, deadline);
        }
    }

    fn follow(&self, waiting: &dyn Waiting, deadline: Option<Instant>) {
        waiting.set_waiter(Some(thread::current()));
        // The token that `unpark` leaves makes this safe against everything that happens before it.
        while !waiting.is_done() && !past(deadline) && self.lock().led {
            match deadline {
                None => thread::park(),
                Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
            }
        }
        waiting.set_waiter(None);
        let me = thread::current().id();
        self.lock().followers.retain(|follower| follower.id() != me);
    }

    fn lead(&self, waiting: &dyn Waiting, deadline: Option<Instant>) -> bool {
        let mut since = Instant::now();
        let mut polls = 0;
        loop {
            let drained = self.drain();
            if waiting.is_done() {
                self.step_down();
                return true;
            }
            if drained {
                since = Instant::now();
            }
            if past(deadline) {
                self.step_down();
                return waiting.is_done();
            }
            polls += 1;
            if polls % POLLS_PER_YIELD != 0 {
                std::hint::spin_loop();
            } else if since.elapsed() < LOOK {
                rustix::thread::sched_yield();
            } else {
                self.sleep_as_leader(waiting, deadline);
                since = Instant::now();
            }
        }
    }

    /// Takes what the workers have published. Returns whether there was anything.
    fn drain(&self) -> bool {
        let mut out = Outbox::default();
        {
            let mut core = self.lock();
            if !core.has_results() {
                return false;
            }
            let now = self.now();
            core.drain(now, &mut out);
        }
        self.flush(out);
        true
    }

    fn sleep_as_leader(&self, waiting: &dyn Waiting, deadline: Option<Instant>) {
        self.leader_sleeps.store(true, SeqCst);
        let quiet = {
            let mut core = self.lock();
            core.listen(Listener::Leader);
            !core.has_results()
        };
        // Others deliver before they look at `leader_sleeps`, so one of the two sees the other.
        if quiet && !waiting.is_done() {
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.leader_bell.wait(timeout);
        }
        self.leader_sleeps.store(false, SeqCst);
        self.lock().listen(Listener::Awake);
    }

    /// Leaves the receiving to the supervisor thread, and wakes a follower that may take the lead.
    fn step_down(&self) {
        let heir = {
            let mut core = self.lock();
            core.led = false;
            // Also with an heir: its own result may have come, and then it does not lead.
            core.listen(Listener::Supervisor);
            if core.has_results() {
                // Published before the worker could know whom to ring.
                self.supervisor_bell.ring();
            }
            core.followers.pop()
        };
        if let Some(heir) = heir {
            heir.unpark();
        }
    }
}

/// Waits until fewer than `most` tasks are pending.
struct Room<'e> {
    engine: &'e Engine,
    most: u64,
}

impl Waiting for Room<'_> {
    fn is_done(&self) -> bool {
        self.engine.lock().pending() < self.most
    }

    fn set_waiter(&self, waiter: Option<Thread>) {
        let mut waiters = self.engine.room_waiters.lock().unwrap_or_else(PoisonError::into_inner);
        match waiter {
            Some(waiter) => waiters.push(waiter),
            None => waiters.retain(|waiter| waiter.id() != thread::current().id()),
        }
    }
}

impl Engine {
    /// Waits until fewer than `most` tasks are pending.
    pub(crate) fn wait_for_room(&self, most: u64) {
        self.wait(&Room { engine: self, most }, None);
    }

    pub(super) fn tell_who_waits_for_room(&self) {
        for waiter in &*self.room_waiters.lock().unwrap_or_else(PoisonError::into_inner) {
            waiter.unpark();
        }
    }
}

fn past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}
