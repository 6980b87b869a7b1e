//! A pool's worker: claims frames from its ring, runs their tasks, writes the results item by item.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use super::once::ship;
use super::{EXIT_UNABLE, Place, confine, input_of, parent_is_gone, run_in_original, send, unable};
use crate::attach;
use crate::call::{self, Invocation, SharedState, Trampoline};
use crate::os::bell::{Bell, futex_wait};
use crate::os::fork::Original;
use crate::os::memory::Mapping;
use crate::os::socket::Socket;
use crate::ring::{FULL, INLINE_MAX, Listener, Region, ResultProducer, SLEEPING, TaskConsumer, TaskHeader};
use crate::wire::control::{CallMessage, PanicReport, SandboxRules, ToParent};
use crate::wire::items::{Status, begin_result, end_result, put_result, split_task};

/// How long to look for the next task before sleeping: about what a futex wake-up costs.
const LOOK: Duration = Duration::from_micros(50);
/// Polls between two offers of the CPU to others, the parent first of all.
const POLLS_PER_YIELD: u32 = 32;

/// Serves until told to end.
pub(super) fn serve(
    socket: Socket,
    fds: Vec<OwnedFd>,
    initializer: Option<CallMessage>,
    sandbox: Option<SandboxRules>,
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
    let _hang_up = HangUp(Arc::clone(&socket));
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
    };
    worker.work();
}

fn initialize(call: &CallMessage, mut fds: Vec<OwnedFd>) -> Result<(), String> {
    let input = input_of(call, &mut fds)?;
    let trampoline = call::find(call.function).ok_or("the initializer is not part of this program")?;
    let mut output = Vec::new();
    let mut invocation = Invocation { input: &input, output: &mut output, state: None };
    match attach::supply(fds, || trampoline(&mut invocation)) {
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

/// Closes our end for the mailbox thread too, however the main thread ends.
struct HangUp(Arc<Socket>);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.shut_down();
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
}

impl Worker {
    fn work(mut self) {
        let mut payload = Vec::new();
        loop {
            match self.tasks.next(&mut payload) {
                Some(header) => {
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

    fn wait_for_task(&self) {
        let start = Instant::now();
        while start.elapsed() < LOOK {
            for _ in 0..POLLS_PER_YIELD {
                if !self.tasks.is_empty() {
                    return;
                }
                std::hint::spin_loop();
            }
            rustix::thread::sched_yield();
        }
        self.sleep(SLEEPING, |worker| worker.tasks.is_empty() && !worker.mailbox.is_told_to_end());
    }

    /// Sleeps while `needed`, until woken.
    fn sleep(&self, how: u32, needed: impl Fn(&Self) -> bool) {
        self.region.sleep(how, || needed(self), |word, how| futex_wait(word, how, None));
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
        let payload = mapped.as_ref().map_or(payload, |frozen| frozen.bytes());
        self.fetch_state(header.shared_state);
        attach::supply(fds, || self.run_items(header, trampoline, payload));
    }

    fn run_items(&mut self, header: &TaskHeader, trampoline: Trampoline, payload: &[u8]) {
        let mut items = payload;
        for _ in 0..header.first {
            let Some((_, rest)) = split_task(items) else { self.give_up() };
            items = rest;
        }
        let mut output = std::mem::take(&mut self.output);
        let mut since = Instant::now();
        self.open(header.frame, header.first);
        for number in header.first..header.end {
            let Some((input, rest)) = split_task(items) else { self.give_up() };
            items = rest;
            // Whatever the parent has taken back of this frame was at its end.
            if !self.tasks.begin() {
                break;
            }
            begin_result(&mut output);
            let state = match header.shared_state {
                0 => None,
                state => self.states.get_mut(&state),
            };
            let (status, attached) = run_in_original(&self.original, || {
                attach::collect(|| trampoline(&mut Invocation { input, output: &mut output, state }))
            });
            let large = self.end_item(status, &mut output, &attached);
            if !self.results.add(&output) {
                self.show(&mut since);
                self.open(header.frame, number);
                self.results.add(&output);
            }
            if large && number + 1 < header.end {
                // The parent counts how many of those it has not been told of.
                self.show(&mut since);
                self.open(header.frame, number + 1);
            }
        }
        self.show(&mut since);
        if output.capacity() <= INLINE_MAX {
            self.output = output;
        }
    }

    /// Makes `output` the result item as it goes into the ring: itself, or the number under which it went through the
    /// socket. Returns whether it did the latter; then it must be shown before the next one.
    fn end_item(&mut self, status: Status, output: &mut Vec<u8>, attached: &[attach::Attachment]) -> bool {
        end_result(status, output);
        if output.len() <= INLINE_MAX && attached.is_empty() {
            return false;
        }
        let number = self.next_attachment;
        self.next_attachment += 1;
        let shipped = ship(&self.socket, number, output, attached);
        output.clear();
        match shipped {
            Ok(()) => put_result(Status::Attached, &number.to_le_bytes(), output),
            Err(e) => put_result(Status::EncodeFailed, format!("cannot send the output: {e}").as_bytes(), output),
        }
        true
    }

    /// Publishes the open result frame and rings if somebody sleeps.
    fn show(&mut self, since: &mut Instant) {
        let now = Instant::now();
        let run_ns = u64::try_from((now - *since).as_nanos()).unwrap_or(u64::MAX);
        *since = now;
        if self.results.commit(run_ns).is_some() {
            self.ring();
        }
    }

    /// Opens a result frame, waiting for the parent to make room if need be.
    fn open(&mut self, frame: u64, first: u32) {
        while !self.results.open(frame, first) {
            if self.mailbox.is_closed() {
                self.give_up();
            }
            self.ring();
            self.sleep(FULL, |worker| worker.results.is_stuck() && !worker.mailbox.is_closed());
        }
    }

    fn fetch_state(&mut self, number: u64) {
        for dropped in self.mailbox.dropped_states() {
            self.states.remove(&dropped);
        }
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
