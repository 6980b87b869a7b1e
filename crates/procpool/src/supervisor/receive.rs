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
use crate::error::{Error, Result};
use crate::ring::Listener;

/// How long the leader looks by itself before it sleeps.
const LOOK: Duration = Duration::from_micros(50);
const POLLS_PER_YIELD: u32 = 32;

/// Something that a thread can wait for.
pub trait Waiting {
    /// Whether it has come.
    fn is_done(&self) -> bool;
    /// Whom to unpark when it comes.
    fn set_waiter(&self, waiter: Option<Thread>);
}

impl Engine {
    /// Waits until `waiting` is done or `deadline` has passed; returns whether it is done.
    ///
    /// # Errors
    /// On the supervisor thread, which would wait for itself.
    pub(crate) fn wait(&self, waiting: &dyn Waiting, deadline: Option<Instant>) -> Result<bool> {
        loop {
            if waiting.is_done() {
                return Ok(true);
            }
            if past(deadline) {
                return Ok(false);
            }
            if self.is_supervisor_thread() {
                return Err(Error::usage(
                    "this waker runs on the pool's own thread and must not wait for the pool; let another thread wait",
                ));
            }
            let me = thread::current().id();
            let mut core = self.lock();
            match core.leader {
                Some(leader) if leader != me => {}
                None => {
                    core.leader = Some(me);
                    core.listen(Listener::Awake);
                    let deferred = core.interval.is_some();
                    drop(core);
                    if deferred {
                        self.with(|core, now| core.sched.hand_out_deferred(now));
                    }
                    let done = self.lead(waiting, deadline);
                    self.step_down();
                    return Ok(done || waiting.is_done());
                }
                Some(_) => {
                    // A waker that this thread has called while it leads: it goes on leading in here.
                    drop(core);
                    return Ok(self.lead(waiting, deadline));
                }
            }
            core.followers.push(thread::current());
            drop(core);
            self.follow(waiting, deadline);
        }
    }

    fn follow(&self, waiting: &dyn Waiting, deadline: Option<Instant>) {
        waiting.set_waiter(Some(thread::current()));
        // The token that `unpark` leaves makes this safe against everything that happens before it.
        while !waiting.is_done() && !past(deadline) && self.lock().leader.is_some() {
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
        let mut polls = 0u32;
        loop {
            let Looked { taken, is_crowded } = self.look();
            if waiting.is_done() {
                return true;
            }
            if taken {
                since = Instant::now();
            }
            if past(deadline) {
                return false;
            }
            polls = polls.wrapping_add(1);
            if is_crowded {
                self.sleep_as_leader(waiting, deadline);
            } else if !polls.is_multiple_of(POLLS_PER_YIELD) {
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
    pub(crate) fn drain(&self) -> bool {
        self.look().taken
    }

    fn look(&self) -> Looked {
        let mut out = Outbox::default();
        let looked = {
            let mut core = self.lock();
            let taken = core.has_results();
            if taken {
                let now = self.now();
                core.drain(now, &mut out);
            }
            // On a single CPU it is whoever looks that gives way to the others, without going to sleep.
            Looked { taken, is_crowded: self.cpus > 1 && core.busy_links() >= self.cpus }
        };
        if looked.taken {
            self.flush(out);
        }
        looked
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
            core.leader = None;
            // Also with an heir: its own result may have come, and then it does not lead.
            core.leave_to_supervisor();
            if core.has_results() && core.interval.is_none() {
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

/// What a look for results has found.
struct Looked {
    /// Whether there were any.
    taken: bool,
    /// Whether workers need all CPUs: then looking again only delays them.
    is_crowded: bool,
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
        self.engine.set_bystander(waiter);
    }
}

/// Waits until nothing is left of a closed pool.
struct End<'e>(&'e Engine);

impl Waiting for End<'_> {
    fn is_done(&self) -> bool {
        self.0.lock().over
    }

    fn set_waiter(&self, waiter: Option<Thread>) {
        self.0.set_bystander(waiter);
    }
}

impl Engine {
    /// Waits until fewer than `most` tasks are pending.
    pub(crate) fn wait_for_room(&self, most: u64) -> Result<()> {
        self.wait(&Room { engine: self, most }, None).map(drop)
    }

    /// Waits until nothing is left of a closed pool; not on a thread of the pool.
    pub(super) fn wait_for_end(&self) {
        let _ = self.wait(&End(self), None);
    }

    fn set_bystander(&self, waiter: Option<Thread>) {
        let mut bystanders = self.bystanders.lock().unwrap_or_else(PoisonError::into_inner);
        match waiter {
            Some(waiter) => bystanders.push(waiter),
            None => bystanders.retain(|waiter| waiter.id() != thread::current().id()),
        }
    }

    /// Wakes those who wait for something other than a result, to look again.
    pub(super) fn tell_bystanders(&self) {
        for waiter in &*self.bystanders.lock().unwrap_or_else(PoisonError::into_inner) {
            waiter.unpark();
        }
    }
}

fn past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}
