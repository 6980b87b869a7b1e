//! Does what the scheduler says, and tells it what came of it.

use super::*;

impl Core {
    /// Carries out the scheduler's actions until there are none.
    pub(super) fn pump(&mut self, now: Nanos, out: &mut Outbox) {
        loop {
            let actions = self.sched.take_actions();
            if actions.is_empty() {
                return self.wake_supervisor_at(self.sched.look_again(), out);
            }
            for action in actions {
                self.act(action, now, out);
            }
        }
    }

    fn act(&mut self, action: Action<Arc<Frame>>, now: Nanos, out: &mut Outbox) {
        match action {
            Action::Start(worker) => {
                self.starts.push(worker);
                out.ring_supervisor = true;
            }
            Action::Send { worker, frame, range, payload } => self.send(worker, frame, range, &payload, now, out),
            Action::Revoke { worker, frame, keep } => {
                let Some(link) = self.links.get_mut(&worker) else { return };
                match link.revoke(frame, keep) {
                    Ok(None) => {}
                    Ok(Some((end, progress))) => self.sched.revoked(worker, frame, end, progress, now),
                    Err(Breach(what)) => self.sched.doom(worker, Doom::Breach(what)),
                }
            }
            // A signal that finds a worker before the one that stops it would end its task without the time to clean up.
            Action::Kill { worker, gently: true } if self.paused => self.postponed.push(worker),
            Action::Kill { worker, gently } => {
                let grace = self.grace;
                let Self { links, sched, tasks, log, .. } = self;
                if let Some(link) = links.get_mut(&worker) {
                    let honest = link.peek(worker, &mut Books { sched, tasks, log, out, now }).is_ok();
                    if honest && !sched.is_guilty(worker) {
                        return sched.pardon(worker, now);
                    }
                    if link.is_busy() || log.is_listening() {
                        link.look_at_memory();
                    }
                    if gently && !grace.is_zero() {
                        link.ask_to_end(now.saturating_add(nanos(grace)));
                        out.ring_supervisor = true;
                    } else {
                        link.kill();
                    }
                } else if let Some(at) = self.starts.iter().position(|w| *w == worker) {
                    self.starts.remove(at);
                    self.sched.died(worker, false, now);
                }
            }
            Action::Retire(worker) => {
                let recycled = self.sched.is_worn(worker);
                self.log.note(now, out, || Event::WorkerRetired { worker: worker.0, recycled });
                self.retire(worker);
                // So that it notes when to try again.
                out.ring_supervisor |= self.links.get(&worker).is_some_and(Link::is_untold);
            }
            Action::Fail { payload, range, failure, worker, attempt } => {
                for item in range.0..range.1 {
                    let index = payload.index_of(item);
                    let error = self
                        .error_of(failure, worker.map(|w| (w, &*payload)), attempt)
                        .with_task(payload.function.name, index);
                    let begun = worker.and(self.obituary.as_ref()).and_then(|(_, obituary)| obituary.begun);
                    let queued_ns = self.log.end(&payload, 1, begun.unwrap_or(now));
                    self.log.note(now, out, || Event::TasksEnded {
                        function: payload.function.name.into(),
                        first: index,
                        count: 1,
                        failure: Some(error.kind()),
                        attempt,
                        worker: worker.map(|worker| worker.0),
                        pid: error.pid(),
                        queued_ns,
                        run_ns: begun.map(|begun| now.saturating_sub(begun)),
                        peak_memory: error.peak_memory(),
                    });
                    out.deliveries.push((Arc::clone(&payload), item, Delivery::Failed(error)));
                    self.tasks.failed += 1;
                }
            }
        }
    }

    fn send(
        &mut self,
        worker: WorkerId,
        frame: FrameId,
        range: (u32, u32),
        payload: &Arc<Frame>,
        now: Nanos,
        out: &mut Outbox,
    ) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        link.allow_memory(payload.memory_limit);
        match link.send(frame, range, payload, self.listener, now) {
            Ok(true) => {}
            Ok(false) => {
                self.sched.refused(worker, frame);
                // Nothing else may ever happen to this worker.
                return self.wake_supervisor_at(self.sched.next_tick(now), out);
            }
            Err(Breach(what)) => return self.sched.doom(worker, Doom::Breach(what)),
        }
        out.ring_supervisor |= link.take_news();
        let pid = link.pid();
        self.log.note(now, out, || Event::TasksSent {
            function: payload.function.name.into(),
            first: payload.index_of(range.0),
            count: range.1 - range.0,
            worker: worker.0,
            pid,
        });
        if link.region().take_worker_sleep(crate::ring::SLEEPING) {
            out.wakes.push(link.region().clone());
        }
        let watch = (payload.is_watched() || self.log.is_listening()).then_some(nanos(WATCH));
        let peek = (range.1 - range.0 > 1 || link.may_hold()).then_some(link::PEEK);
        let within = [payload.timeout, watch, peek].into_iter().flatten().min();
        self.wake_supervisor_at(within.map(|within| now.saturating_add(within)), out);
    }

    /// The supervisor thread is to look again at this time, if it does not mean to do so before.
    pub(super) fn wake_supervisor_at(&mut self, wake: Option<Nanos>, out: &mut Outbox) {
        if let Some(wake) = wake
            && self.planned_wake.is_none_or(|planned| planned > wake)
        {
            self.planned_wake = Some(wake);
            out.ring_supervisor = true;
        }
    }

    /// The worker is gone: takes what it left, then tells the scheduler.
    pub(super) fn bury(&mut self, worker: WorkerId, now: Nanos, out: &mut Outbox) {
        let Some(mut link) = self.links.remove(&worker) else { return };
        let Self { sched, tasks, log, .. } = self;
        let running = link.last_words(worker, &mut Books { sched, tasks, log, out, now });
        let present = sched.present(worker);
        let begun = present.as_ref().map(|present| present.since);
        if let Some(present) = present.filter(|_| running) {
            log.begin(worker, link.pid(), &present, present.range.0 + 1, now, out);
        }
        log.forget(worker);
        let peak_memory = link.peak_at_end();
        let exit = link.reap();
        let (signal, exit_code) = told(exit);
        let pid = link.pid();
        self.log.note(now, out, || Event::WorkerEnded {
            worker: worker.0,
            pid,
            signal,
            exit_code,
            busy: running,
            peak_memory,
        });
        let stderr = link.last_printed();
        let memory = link.memory_at_end(exit);
        if memory.by.is_some() {
            self.sched.convict(worker, Doom::Memory(memory.most));
        }
        self.litter.extend(link.limiter().and_then(|limiter| limiter.take_group()));
        if link.is_starting() && !link.is_unable() {
            self.start_error = Some(Error::new(Kind::Start, Blame::Worker, ended_before_ready(exit)));
        }
        self.obituary = Some((worker, Obituary { pid, exit, stderr, memory, peak_memory, begun }));
        self.sched.died(worker, running, now);
        self.pump(now, out);
        self.obituary = None;
    }
}
