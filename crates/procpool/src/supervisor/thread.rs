//! The supervisor thread: the only one that starts workers; hears of their deaths, their messages, deadlines and limits,
//! and of results when nobody waits for one.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::link::{Link, Word};
use super::pace::{Look, Pace};
use super::pause::BEAT;
use super::{Core, Engine, Outbox, WATCH, Wear, nanos};
use crate::error::{Blame, Error, Kind, Result};
use crate::events::Event;
use crate::os::fail::{Call, point};
use crate::os::{cgroup::Home, poller::Poller, process, signals};
use crate::ring::Breach;
use crate::sandbox::SandboxReport;
use crate::sched::{Doom, Nanos, WorkerId};

const BELL: u64 = u64::MAX;
/// When to try again what the system was short of something for.
const AGAIN: Duration = Duration::from_millis(1);

/// Starts the supervisor thread of `engine`.
pub(super) fn spawn(engine: Arc<Engine>) -> Result<std::thread::JoinHandle<()>> {
    let poller = Poller::new().map_err(|e| Error::os("cannot make an epoll", &e))?;
    poller.add(&engine.supervisor_bell, BELL).map_err(|e| Error::os("cannot watch an eventfd", &e))?;
    let refused = |e: &std::io::Error| Error::os("cannot start the supervisor thread", e);
    point(Call::Thread).map_err(|e| refused(&e.into()))?;
    std::thread::Builder::new()
        .name("procpool".into())
        .spawn(move || {
            // The host's signal handlers belong to its own threads.
            let _ = signals::block_all();
            supervise(&engine, &poller);
        })
        .map_err(|e| refused(&e))
}

fn supervise(engine: &Engine, poller: &Poller) {
    let mut pace = Pace::default();
    loop {
        let mut out = Outbox::default();
        let (starts, litter) = {
            let mut core = engine.lock();
            let now = engine.now();
            // Results first: what has finished is not late, however late we look (after a Ctrl-Z, say).
            core.drain(now, &mut out);
            let (ended, left) = (core.tasks.ended(), core.pending());
            let (submitted_at, is_led) = (core.submitted_at, core.leader.is_some());
            let interval = pace.look(Look { now, ended, left, submitted_at, is_led });
            core.set_interval(interval);
            if !core.paused {
                core.check_limits(now, engine.launch.start_timeout());
                core.check_wear(&engine.wear);
            }
            core.tell_the_untold();
            let Core { sched, links, .. } = &mut *core;
            sched.tick(now, |worker| links.get(&worker).map_or(0, Link::progress));
            core.pump(now, &mut out);
            let starts = if core.paused { Vec::new() } else { std::mem::take(&mut core.starts) };
            (starts, std::mem::take(&mut core.litter))
        };
        engine.flush(out);
        drop(litter);
        start_workers(engine, poller, starts);

        let (unused, next_tidy) = engine.arena.tidy(std::time::Instant::now());
        let (timeout, over) = {
            let mut core = engine.lock();
            core.drop_segments(&unused);
            let next_drop = core.drop_memories().then_some(Duration::from_secs(1));
            if core.leader.is_none() {
                core.leave_to_supervisor();
            }
            let starts = !core.starts.is_empty() && !core.paused || !core.litter.is_empty();
            let busy = core.has_results() && core.leader.is_none() && core.interval.is_none() || starts;
            let plan = core.plan(engine.now(), busy, engine);
            let timeout = [plan, next_tidy, next_drop].into_iter().flatten().min();
            (timeout, core.sched.is_over() && core.litter.is_empty())
        };
        if over {
            if let Some(printer) = &engine.printer {
                printer.close();
            }
            engine.lock().over = true;
            engine.tell_bystanders();
            if engine.leader_sleeps.load(SeqCst) {
                engine.leader_bell.ring();
            }
            return;
        }
        let asleep = Instant::now();
        let woken = poller.wait(timeout);
        engine.note_sleep(timeout, asleep.elapsed());
        let ready = match woken {
            Ok(tokens) => tokens,
            // Only a bug of ours makes epoll fail; do not spin on it.
            Err(_) => {
                std::thread::yield_now();
                continue;
            }
        };
        for token in ready {
            if token == BELL {
                engine.supervisor_bell.clear();
            } else {
                attend(engine, poller, WorkerId((token / 2) as u32), token % 2 == 0);
            }
        }
    }
}

fn start_workers(engine: &Engine, poller: &Poller, starts: Vec<WorkerId>) {
    if starts.is_empty() {
        return;
    }
    let limited = engine.lock().limits_memory;
    let home = if limited { engine.home.get_or_init(|| Home::find().ok()).as_ref() } else { None };
    for worker in starts {
        let link = engine
            .launch
            .start(
                worker.0,
                &engine.leader_bell,
                &engine.supervisor_bell,
                engine.printer.as_deref(),
                home,
                engine.results,
            )
            .and_then(|link| {
                let token = u64::from(worker.0) * 2;
                let watched = poller.add(link.socket(), token + 1).and_then(|()| match link.pidfd() {
                    Some(pidfd) => poller.add(pidfd, token),
                    None => Ok(()),
                });
                match watched {
                    Ok(()) => Ok(link),
                    Err(e) => {
                        link.kill();
                        Err(Error::os("cannot watch a worker", &e))
                    }
                }
            });
        engine.with_outbox(|core, now, out| match link {
            Ok(mut link) => {
                let pid = link.pid();
                link.since = now;
                if core.paused {
                    link.stop();
                }
                core.log.note(now, out, || Event::WorkerStarted { worker: worker.0, pid });
                if core.sched.is_doomed(worker) {
                    // That was decided while its process was being started.
                    link.kill();
                }
                core.links.insert(worker, link);
            }
            Err(error) => {
                let reason = || error.message().to_string();
                core.log.note(now, out, || Event::WorkerUnable { worker: worker.0, reason: reason() });
                core.start_error = Some(error);
                core.sched.died(worker, false, now);
            }
        });
    }
}

/// Looks after one worker that has said something or has ended.
pub(super) fn attend(engine: &Engine, poller: &Poller, worker: WorkerId, ended: bool) {
    let mut out = Outbox::default();
    {
        let mut core = engine.lock();
        let now = engine.now();
        let Some(link) = core.links.get_mut(&worker) else { return };
        let (words, breach) = match link.listen() {
            Ok(words) => (words, None),
            Err(Breach(what)) => (Vec::new(), Some(what)),
        };
        let is_thread = link.pidfd().is_none();
        let mut closed = false;
        for word in words {
            match word {
                Word::Ready(sandbox) => {
                    core.note_sandbox(sandbox);
                    let sandbox = sandbox.map(SandboxReport::from);
                    core.log.note(now, &mut out, || Event::WorkerReady { worker: worker.0, sandbox });
                    core.sched.ready(worker, now);
                }
                Word::Unable(reason) => {
                    let told = || Event::WorkerUnable { worker: worker.0, reason: reason.clone() };
                    core.log.note(now, &mut out, told);
                    let text = format!("a worker cannot start: {reason}");
                    core.start_error = Some(Error::new(Kind::Start, Blame::Caller, text));
                }
                Word::Closed => closed = true,
                Word::Nothing => {}
            }
        }
        if let Some(what) = breach {
            core.sched.doom(worker, Doom::Breach(what));
        }
        if let Some(link) = core.links.get(&worker) {
            if closed || ended {
                poller.remove(link.socket());
            }
            if closed && !is_thread && !ended {
                // A worker without its socket is no worker: end it, and the pidfd tells the rest.
                link.kill();
            }
            if let Some(pidfd) = link.pidfd().filter(|_| ended) {
                poller.remove(pidfd.as_fd());
            }
        }
        if ended || (closed && is_thread) {
            core.bury(worker, now, &mut out);
        }
        core.pump(now, &mut out);
    }
    if let Some(printer) = engine.printer.as_ref().filter(|_| ended) {
        printer.look();
    }
    engine.flush(out);
}

impl Core {
    /// Tells a worker to end once it has done what it was given.
    pub(super) fn retire(&mut self, worker: WorkerId) {
        if self.links.get_mut(&worker).is_some_and(|link| !link.retire()) {
            self.sched.doom(worker, Doom::Breach("it does not read its messages"));
        }
    }

    /// Tries again what the system was short of something for.
    fn tell_the_untold(&mut self) {
        let untold: Vec<WorkerId> =
            self.links.iter().filter(|(_, link)| link.is_untold()).map(|(&worker, _)| worker).collect();
        for worker in untold {
            self.retire(worker);
        }
    }

    /// How long the supervisor thread may sleep, noted for those who bring new deadlines.
    fn plan(&mut self, now: Nanos, busy: bool, engine: &Engine) -> Option<Duration> {
        if busy {
            return Some(Duration::ZERO);
        }
        if self.paused {
            // Nothing comes of time alone.
            self.planned_wake = None;
            return None;
        }
        let start_timeout = engine.launch.start_timeout();
        let starting = self.links.values().filter(|link| link.is_starting());
        let age = |link: &Link| Duration::from_nanos(now.saturating_sub(link.since));
        let start_deadline = starting.map(|link| start_timeout.saturating_sub(age(link))).min();
        let wear = self.next_wear(&engine.wear);
        let watch = (self.watched().next().is_some() || self.has_unnoticed()).then_some(WATCH);
        let tick = self.sched.next_tick(now).map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let peek = self.links.values().filter_map(Link::peek_at).min();
        let peek = peek.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let grace = self.links.values().filter_map(Link::until).min();
        // Once it has passed the worker is being killed, and its death wakes us.
        let grace = grace.filter(|until| *until > now).map(|until| Duration::from_nanos(until - now));
        let untold = self.links.values().any(Link::is_untold).then_some(AGAIN);
        let deadline = [start_deadline, watch, tick, grace, peek, untold, self.interval].into_iter().flatten().min();
        let beat = deadline.map(|_| BEAT);
        let timeout = [deadline, beat, wear].into_iter().flatten().min();
        self.planned_wake = timeout.map(|t| now.saturating_add(nanos(t)));
        timeout
    }

    /// The workers whose present task has a limit that must be watched.
    fn watched(&self) -> impl Iterator<Item = WorkerId> + '_ {
        let watched = |worker: &WorkerId| self.sched.front(*worker).is_some_and(|(_, _, frame)| frame.is_watched());
        self.links.keys().copied().filter(watched)
    }

    /// Lets workers go that are too old or too large.
    fn check_wear(&mut self, wear: &Wear) {
        if wear.age.is_none() && wear.memory.is_none() {
            return;
        }
        let worn = |link: &Link| {
            let large = |limit| link.resident_bytes().is_some_and(|bytes| bytes > limit);
            !link.is_starting()
                && (wear.age.is_some_and(|age| link.started.elapsed() >= age) || wear.memory.is_some_and(large))
        };
        let worn: Vec<WorkerId> = self.links.iter().filter(|(_, link)| worn(link)).map(|(&worker, _)| worker).collect();
        for worker in worn {
            self.sched.recycle(worker);
        }
    }

    /// When to look at the workers' age and size again.
    fn next_wear(&self, wear: &Wear) -> Option<Duration> {
        let fit = || self.links.iter().filter(|(worker, _)| self.sched.is_fit(**worker));
        let of_age = wear.age.and_then(|age| fit().map(|(_, link)| age.saturating_sub(link.started.elapsed())).min());
        let of_size = wear.memory.and_then(|_| fit().any(|(_, link)| link.is_busy()).then_some(WATCH));
        [of_age, of_size].into_iter().flatten().min()
    }

    /// What the worker's present task has too much of.
    fn excess(&mut self, worker: WorkerId) -> Option<Doom> {
        let (frame, next, payload) = self.sched.front(worker)?;
        let (cpu_time, memory_limit) = (payload.cpu_time, payload.memory_limit);
        let link = self.links.get_mut(&worker)?;
        let pid = link.pid()?;
        if let (Some(limit), Some(used)) = (cpu_time, process::cpu_time(pid))
            && link.cpu_time_since((frame, next), used) > limit
        {
            return Some(Doom::CpuTime);
        }
        let shared = link.shared_bytes();
        let limiter = link.limiter()?;
        let seen = limiter.look(pid, shared)?;
        if memory_limit.is_none_or(|limit| seen <= limit || limiter.is_kept(limit)) {
            return None;
        }
        limiter.look_back(pid);
        Some(Doom::Memory(seen))
    }

    fn check_limits(&mut self, now: Nanos, start_timeout: Duration) {
        for link in self.links.values().filter(|link| link.until().is_some_and(|until| now >= until)) {
            link.kill();
        }
        let watched: Vec<WorkerId> = self.watched().collect();
        let over: Vec<_> = watched.into_iter().filter_map(|worker| Some((worker, self.excess(worker)?))).collect();
        let late = self
            .links
            .iter()
            .filter(|(_, link)| link.is_starting() && now.saturating_sub(link.since) >= nanos(start_timeout));
        let late: Vec<_> = late.map(|(&worker, _)| (worker, Doom::Breach("it did not start in time"))).collect();
        for (worker, doom) in over.into_iter().chain(late) {
            match (doom, self.sched.front(worker).map(|(frame, ..)| frame)) {
                (Doom::Memory(_) | Doom::CpuTime, Some(frame)) => {
                    let progress = self.links.get(&worker).map_or(0, Link::progress);
                    self.sched.doom_for(worker, frame, progress, doom);
                }
                _ => self.sched.doom(worker, doom),
            }
        }
    }
}
