//! A pool's worker: claims frames from its ring, runs their tasks, writes the results item by item.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use super::once::{send_with, ship};
use super::telling::{Shown, Telling};
use super::{EXIT_UNABLE, Place, confine, input_of, parent_is_gone, run_in_original, send, unable};
use crate::arena::Shelf;
use crate::attach::{self, Memories};
use crate::call::{self, Invocation, SharedState, Trampoline};
use crate::os::bell::{Bell, futex_wait};
use crate::os::fork::Original;
use crate::os::lent::{Lendable, Views};
use crate::os::memory::{Mapping, Part};
use crate::os::socket::Socket;
use crate::ring::{FULL, INLINE_MAX, Listener, Region, ResultProducer, SLEEPING, TaskConsumer, TaskHeader};
use crate::wire::control::{CallMessage, PanicReport, SandboxRules, ToParent};
use crate::wire::items::{
    Attached, Place as InArena, Status, begin_result, begun_result, end_result, put_result, split_task,
};
use crate::wire::value::Source;

/// How long to look for the next task before sleeping, at most: about what a futex wake-up costs.
const LOOK: Duration = Duration::from_micros(50);
/// And at least, when looking was in vain the last times.
const LEAST_LOOK: Duration = Duration::from_micros(2);
/// Polls between two offers of the CPU to others, the parent first of all.
const POLLS_PER_YIELD: u32 = 32;
/// After so long without a task a worker gives memory back.
const IDLE: Duration = Duration::from_secs(1);

/// Serves until told to end.
pub(super) fn serve(
    socket: Socket,
    fds: Vec<OwnedFd>,
    initializer: Option<CallMessage>,
    sandbox: Option<SandboxRules>,
    results: u64,
    place: Place,
) {
    let mut fds = fds.into_iter();
    let (Some(region), Some(leader), Some(supervisor)) = (fds.next(), fds.next(), fds.next()) else {
        return unable(&socket, "a descriptor did not arrive".into());
    };
    let region = match Mapping::writable(&region, Region::SIZE).map(Region::new) {
        Ok(Some(region)) => region,
        _ => return unable(&socket, "cannot map the memory it shares with the pool".into()),
    };
    let original = match Original::new() {
        Ok(original) => original,
        Err(e) => return unable(&socket, format!("cannot map memory: {e}")),
    };
    let socket = Arc::new(socket);
    let _hang_up = HangUp(Arc::clone(&socket), place);
    if place == Place::Process {
        // Should we be stopped when the parent ends: the thread that listens to it must get to see that.
        let _ = crate::os::process::continue_when_parent_ends();
    }
    let open_mailbox =
        || Mailbox::open(Arc::clone(&socket), region.clone(), place).map_err(|e| format!("cannot start a thread: {e}"));
    let initialize = || match &initializer {
        Some(call) => run_in_original(&original, || initialize(call, fds.collect())),
        None => Ok(()),
    };
    let prepared = match &sandbox {
        None => open_mailbox().and_then(|mailbox| initialize().map(|()| (mailbox, None))),
        // Landlock holds only threads that begin after it, so the mailbox's must not be there yet.
        Some(rules) => confine::watching(&socket, place, initializer.is_some(), initialize)
            .and_then(|()| confine::confine(rules))
            .and_then(|state| open_mailbox().map(|mailbox| (mailbox, Some(state)))),
    };
    let (mailbox, sandbox) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => return unable(&socket, reason),
    };
    send(&socket, &ToParent::Ready { sandbox }, &[]);
    let worker = Worker {
        tasks: TaskConsumer::new(&region),
        results: ResultProducer::new(&region),
        bells: [Bell::from_fd(leader), Bell::from_fd(supervisor)],
        states: HashMap::new(),
        next_attachment: 1,
        region,
        socket,
        mailbox,
        original,
        place,
        output: Vec::new(),
        shelf: Shelf::new(results),
        is_tidy: true,
        look: LOOK,
        telling: Telling::default(),
    };
    worker.work();
    // As long as the socket is open nobody thinks that this worker is gone.
    call::finish();
}

fn initialize(call: &CallMessage, mut fds: Vec<OwnedFd>) -> Result<(), String> {
    let input = input_of(call, &mut fds)?;
    let trampoline = call::find(call.function).ok_or("the initializer is not part of this program")?;
    let mut output = Vec::new();
    let mut invocation = Invocation::new(&input, &mut output);
    let memories = Memories::came(attach::map_memories(&fds, &call.memories));
    match attach::supply(fds, memories, || trampoline(&mut invocation)) {
        Status::Ok => match call::decode::<Result<(), String>>(&output)? {
            Ok(()) => Ok(()),
            Err(reason) => Err(format!("the initializer failed: {reason}")),
        },
        Status::Panicked => {
            let report: PanicReport = crate::wire::control::decode(&output).unwrap_or_default();
            let at = report.location.map(|at| format!(" at {at}")).unwrap_or_default();
            Err(format!("the initializer panicked{at}: {}", report.message))
        }
        _ => Err(format!("the initializer: {}", String::from_utf8_lossy(&output))),
    }
}

/// Ends the mailbox thread too, however the main thread ends.
struct HangUp(Arc<Socket>, Place);

impl Drop for HangUp {
    fn drop(&mut self) {
        match self.1 {
            Place::Process => self.0.shut_down(),
            // Of a thread the parent must not hear before its descriptors are closed: they are the parent's.
            Place::Thread => self.0.stop_reading(),
        }
    }
}

struct Worker {
    region: Region,
    tasks: TaskConsumer,
    results: ResultProducer,
    bells: [Bell; 2],
    socket: Arc<Socket>,
    mailbox: Arc<Mailbox>,
    original: Original,
    states: HashMap<u64, SharedState>,
    next_attachment: u64,
    place: Place,
    /// What the present task gives; kept, so that a small output allocates nothing.
    output: Vec<u8>,
    /// Where large outputs go.
    shelf: Shelf,
    /// Whether nothing was done since memory was given back.
    is_tidy: bool,
    /// How long to look for the next task before sleeping.
    look: Duration,
    telling: Telling,
}

impl Worker {
    fn work(mut self) {
        let mut payload = Vec::new();
        loop {
            // Before a frame is looked at, never between that and its end: whose state was dropped had been taken back before,
            // so that it is not shown any more; but of one that was shown already, the state is still looked for.
            self.drop_states();
            match self.tasks.next(&mut payload) {
                Some(header) => {
                    self.is_tidy = false;
                    self.run_frame(&header, &payload);
                    self.tasks.finish();
                    if self.mailbox.is_closed() {
                        return;
                    }
                }
                None if self.mailbox.is_told_to_end() => return,
                None => self.wait_for_task(),
            }
        }
    }

    fn wait_for_task(&mut self) {
        let start = Instant::now();
        loop {
            for _ in 0..POLLS_PER_YIELD {
                if !self.tasks.is_empty() {
                    self.look = LOOK;
                    self.tell();
                    return;
                }
                std::hint::spin_loop();
            }
            let looked = start.elapsed();
            if self.telling.is_holding() && self.telling.is_over(looked, self.results.are_taken()) {
                self.tell();
            }
            if looked >= self.look && !self.telling.is_holding() {
                break;
            }
            rustix::thread::sched_yield();
        }
        let idle = |worker: &Self| worker.tasks.is_empty() && !worker.mailbox.is_told_to_end();
        let timeout = (!self.is_tidy).then_some(IDLE);
        let start = Instant::now();
        self.sleep(SLEEPING, timeout, idle);
        // Where tasks come seldom, looking takes time from those who make them.
        self.look = if start.elapsed() < 2 * LOOK { LOOK } else { (self.look / 2).max(LEAST_LOOK) };
        if timeout.is_some_and(|timeout| start.elapsed() >= timeout) && idle(self) {
            self.tidy();
        }
    }

    /// Gives back memory that only a next task would need.
    fn tidy(&mut self) {
        for number in self.shelf.tidy() {
            send(&self.socket, &ToParent::DropSegment { number }, &[]);
        }
        self.output = Vec::new();
        if self.place == Place::Process {
            crate::os::heap::trim();
        }
        // Else a result that nobody has read yet still lies there.
        self.is_tidy = self.shelf.is_empty();
    }

    /// Sleeps while `needed`, until woken or for as long as `timeout`.
    fn sleep(&self, how: u32, timeout: Option<Duration>, needed: impl Fn(&Self) -> bool) {
        self.region.sleep(how, || needed(self), |word, how| futex_wait(word, how, timeout));
    }

    /// Wakes who is to be woken for what was held back, unless it was taken.
    fn tell(&mut self) {
        if self.telling.end() && !self.results.are_taken() {
            self.ring();
        }
    }

    fn ring(&self) {
        let heard = match self.region.take_listener() {
            Listener::Awake => true,
            Listener::Leader => self.bells[0].ring(),
            Listener::Supervisor => self.bells[1].ring(),
        };
        if !heard {
            // A task has closed our descriptors. The parent sleeps, and only our end can wake it.
            self.give_up();
        }
    }

    fn run_frame(&mut self, header: &TaskHeader, payload: &[u8]) {
        let Some(trampoline) = call::find(header.function) else { self.give_up() };
        let mut fds = Vec::new();
        let mut mapped = None;
        if header.attachment != 0 {
            let Some((in_memfd, arrived)) = self.mailbox.attachment(header.attachment) else { self.give_up() };
            fds = arrived;
            if in_memfd {
                let Ok(frozen) = super::first_memfd(&mut fds) else { self.give_up() };
                mapped = Some(frozen);
            }
        }
        let mut payload = mapped.as_ref().map_or(payload, |frozen| frozen.bytes());
        let mut last = None;
        if header.in_arena > 0 {
            let place = InArena::split(payload).and_then(|(place, rest)| Some((self.part(place)?, rest)));
            let Some((part, rest)) = place else { self.give_up() };
            (last, payload) = (Some(part), rest);
        }
        self.fetch_state(header.shared_state);
        let memories = Memories::cached(self.mailbox.memories());
        attach::supply(fds, memories, || self.run_items(header, trampoline, payload, last.as_ref()));
    }

    /// A large input in its place.
    fn part(&self, place: InArena) -> Option<Lendable> {
        let memory = self.mailbox.segment(place.segment)?;
        let part = Part::new(memory, usize::try_from(place.offset).ok()?, usize::try_from(place.len).ok()?)?;
        Some(Lendable::new(part))
    }

    /// Runs the tasks whose inputs are in `payload`; that of the last one may be elsewhere.
    fn run_items(&mut self, header: &TaskHeader, trampoline: Trampoline, payload: &[u8], last: Option<&Lendable>) {
        let mut items = payload;
        for _ in 0..header.first {
            let Some((_, rest)) = split_task(items) else { self.give_up() };
            items = rest;
        }
        let mut output = std::mem::take(&mut self.output);
        let mut since = Instant::now();
        self.open(header.frame, header.first);
        for number in header.first..header.end {
            let large = last.filter(|_| header.in_arena == number + 1);
            let input = match large {
                Some(part) => Source::region(part),
                None => {
                    let Some((input, rest)) = split_task(items) else { self.give_up() };
                    items = rest;
                    Source::slice(input)
                }
            };
            // Whatever the parent has taken back of this frame was at its end.
            if !self.tasks.begin() {
                break;
            }
            begin_result(&mut output);
            let state = match header.shared_state {
                0 => None,
                state => self.states.get_mut(&state),
            };
            // Both are written where they are: to hand them from call to call takes longer than a short task.
            let (mut status, mut attached) = (Status::Ok, Vec::new());
            let placed = self.shelf.write(|spill| {
                let (out, original) = (&mut output, &self.original);
                let mut call = Invocation { input, output: out, spill: Some(spill), spilled: false, state };
                status = run_in_original(original, || attach::collect_onto(&mut attached, || trampoline(&mut call)));
                call.spilled
            });
            let views = large.and_then(Lendable::views);
            let large = self.end_item(status, &mut output, &placed, &attached, views);
            if !self.results.add(&output) {
                self.show(&mut since, false);
                self.open(header.frame, number);
                self.results.add(&output);
            }
            if large && number + 1 < header.end {
                // The parent counts how many of those it has not been told of.
                self.show(&mut since, false);
                self.open(header.frame, number + 1);
            }
        }
        self.show(&mut since, true);
        if output.capacity() <= INLINE_MAX {
            self.output = output;
        }
    }

    /// Makes `output` the result item as it goes into the ring: itself, or what says where it is. Returns whether it did the
    /// latter; then it must be shown before the next one.
    fn end_item(
        &mut self,
        status: Status,
        output: &mut Vec<u8>,
        placed: &Option<(InArena, u32)>,
        attached: &[attach::Attachment],
        views: Option<&Arc<Views>>,
    ) -> bool {
        // Of a task that failed only the text matters.
        let attached = if status == Status::Ok { attached } else { &[] };
        if placed.is_none() && attached.is_empty() && views.is_none() && output.len() < INLINE_MAX / 2 {
            end_result(status, output);
            return false;
        }
        let number = self.next_attachment;
        self.next_attachment += 1;
        let sent = self.send_beside(number, status, output, *placed, attached, views.is_some());
        if let Some(views) = views {
            if sent.is_err() {
                // The parent does not know that its memory is looked at, so nobody may look any more.
                self.give_up();
            }
            let socket = Arc::clone(&self.socket);
            views.at_last(move || send(&socket, &ToParent::Release { number }, &[]));
        }
        match sent {
            Ok(body) => {
                output.clear();
                put_result(Status::Attached, &body, output);
            }
            Err(e) => {
                output.clear();
                put_result(Status::EncodeFailed, format!("cannot send the output: {e}").as_bytes(), output);
            }
        }
        true
    }

    /// Sends what of a result does not go through the ring; returns what says to the parent where to look. `holds`: its input is
    /// still looked at.
    fn send_beside(
        &mut self,
        number: u64,
        status: Status,
        output: &mut Vec<u8>,
        mut placed: Option<(InArena, u32)>,
        attached: &[attach::Attachment],
        holds: bool,
    ) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let large = output.len() >= INLINE_MAX / 2;
        if placed.is_none() && large && status == Status::Ok {
            placed = self.shelf.write(|spill| spill.append(begun_result(output), &[]));
        }
        for (number, fd) in self.shelf.news() {
            send(&self.socket, &ToParent::Segment { number }, &[fd.as_fd()]);
        }
        let with_fds = holds || !attached.is_empty();
        if let Some((place, flag)) = placed {
            if with_fds {
                send_with(&self.socket, number, None, attached, holds)?;
            }
            Attached::Placed { place, flag, with_fds }.put(number, &mut body);
        } else if !large && status == Status::Ok {
            send_with(&self.socket, number, None, attached, holds)?;
            Attached::Inline(begun_result(output)).put(number, &mut body);
        } else {
            end_result(status, output);
            ship(&self.socket, number, output, attached, holds)?;
            Attached::Memfd.put(number, &mut body);
        }
        Ok(body)
    }

    /// Publishes the open result frame and rings if somebody sleeps. `at_end`: nothing is left of its task frame.
    fn show(&mut self, since: &mut Instant, at_end: bool) {
        let now = Instant::now();
        let run_ns = u64::try_from((now - *since).as_nanos()).unwrap_or(u64::MAX);
        *since = now;
        if self.results.commit(run_ns).is_some() {
            let shown = Shown { now, is_only_one: self.results.is_only_one(), behind: self.tasks.behind(), at_end };
            if self.telling.is_due(shown, || self.region.is_listener(Listener::Supervisor)) {
                self.tell();
            }
        }
    }

    /// Opens a result frame, waiting for the parent to make room if need be.
    fn open(&mut self, frame: u64, first: u32) {
        while !self.results.open(frame, first) {
            if self.mailbox.is_closed() {
                self.give_up();
            }
            self.telling.end();
            self.ring();
            self.sleep(FULL, None, |worker| worker.results.is_stuck() && !worker.mailbox.is_closed());
        }
    }

    fn drop_states(&mut self) {
        for dropped in self.mailbox.dropped_states() {
            self.states.remove(&dropped);
        }
    }

    fn fetch_state(&mut self, number: u64) {
        if number == 0 || self.states.contains_key(&number) {
            return;
        }
        if let Some(bytes) = self.mailbox.state(number) {
            self.states.insert(number, SharedState { bytes, value: None });
        }
    }

    /// The parent is gone, or sent what an honest parent never sends.
    fn give_up(&self) -> ! {
        parent_is_gone(self.place);
        if self.place == Place::Process {
            std::process::exit(EXIT_UNABLE);
        }
        std::panic::resume_unwind(Box::new("the pool of this worker thread is gone"));
    }
}
