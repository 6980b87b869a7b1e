//! The parent's side of one worker: its body, socket and rings, and what was sent to it.

mod take;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::limiter::{Limiter, MemoryAtEnd};
use super::output::Pipe;
use super::{Beside, Frame, Large};
use crate::arena::{Arrivals, Extent};
use crate::attach::{self, Attachment, Sealed};
use crate::os::bell::futex_wake;
use crate::os::process::{Child, Exit};
use crate::os::procfs;
use crate::os::sandbox::newest_abi;
use crate::os::socket::{MAX_MESSAGE, Received, Socket};
use crate::ring::{Breach, ENOUGH, FULL, Listener, Region, ResultConsumer, SLOTS, TaskHeader, TaskProducer};
use crate::sched::{FrameId, Keep, Nanos};
use crate::wire::control::{self, BLOB_MAX, Blob, SandboxState, ToParent, ToWorker};

/// What a worker is.
#[derive(Debug)]
pub(super) enum Body {
    Process(Child, Limiter),
    Thread,
}

/// A frame in the worker's ring.
#[derive(Debug)]
pub(super) struct Sent {
    frame: FrameId,
    slot: u32,
    /// Its first task and one past its last.
    items: (u32, u32),
    /// The first task whose result was not taken.
    next: u32,
}

/// What came by the socket for a result.
#[derive(Debug)]
enum Arrived {
    Memory(Large),
    Only(Beside),
}

impl Arrived {
    fn beside(&mut self) -> &mut Beside {
        match self {
            Self::Memory(large) => large.beside(),
            Self::Only(beside) => beside,
        }
    }
}

/// What a worker said by its socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    Ready(Option<SandboxState>),
    Unable(String),
    /// Nothing that concerns the scheduler.
    Nothing,
    /// It has closed its end.
    Closed,
}

#[derive(Debug)]
pub(super) struct Link {
    body: Body,
    socket: Socket,
    region: Region,
    tasks: TaskProducer,
    results: ResultConsumer,
    sent: VecDeque<Sent>,
    /// States of `map_with` that the worker has.
    states: BTreeSet<u64>,
    next_attachment: u64,
    /// What came by the socket and was not claimed yet by a result item: the memory of a large result, or only descriptors.
    arrived: BTreeMap<u64, Arrived>,
    /// Frames that have ended and whose inputs the worker still looks at.
    held: BTreeMap<u64, Arc<Frame>>,
    /// Segments of the arena that the worker knows, by number, and their size.
    segments: BTreeMap<u64, usize>,
    /// Memories of buffers that the worker has.
    memories: BTreeMap<u64, Weak<Sealed>>,
    /// Whether it was sent the first of them, and nobody looks yet when it may be dropped.
    has_news: bool,
    /// The worker's own segments.
    arrivals: Arrivals,
    words: VecDeque<Word>,
    ready: bool,
    /// Whether it is to have given up what a sandbox forbids before it is ready.
    confined: bool,
    /// What it prints, as far as that is passed on.
    pipes: Vec<Arc<Pipe>>,
    /// The task at which its CPU time was first looked at, and what it was then.
    cpu_base: Option<((FrameId, u32), Nanos)>,
    /// It has said that it cannot start; who says so twice could go on saying it.
    unable: bool,
    /// Until when it may clean up.
    until: Option<Nanos>,
    /// It is to end and could not be told, because the system was short of something.
    untold: bool,
    /// When it last was sent something while idle, or showed something.
    shown_at: Nanos,
    peek_at: Nanos,
    /// The most resident memory that it was seen to have had.
    peak_memory: Option<u64>,
    /// When it was started.
    pub(super) started: Instant,
    /// The same by the pool's clock.
    pub(super) since: Nanos,
}

/// How long several tasks may run without a result that was told of, until one looks for those that are finished.
pub(super) const PEEK: Nanos = 2_000_000;

/// An honest worker publishes a large result before it runs another task, so those that it has sent and we have not taken
/// from its ring are as many as the ring has slots, and one.
const MAX_ARRIVED: usize = SLOTS + 1;

impl Link {
    pub(super) fn new(
        body: Body,
        socket: Socket,
        region: Region,
        pipes: Vec<Arc<Pipe>>,
        confined: bool,
        results: u64,
    ) -> Self {
        Self {
            body,
            socket,
            tasks: TaskProducer::new(&region),
            results: ResultConsumer::new(&region),
            region,
            sent: VecDeque::new(),
            states: BTreeSet::new(),
            next_attachment: 1,
            arrived: BTreeMap::new(),
            held: BTreeMap::new(),
            segments: BTreeMap::new(),
            memories: BTreeMap::new(),
            has_news: false,
            arrivals: Arrivals::new(results),
            words: VecDeque::new(),
            ready: false,
            confined,
            pipes,
            cpu_base: None,
            unable: false,
            until: None,
            shown_at: 0,
            peek_at: 0,
            peak_memory: None,
            untold: false,
            started: Instant::now(),
            since: 0,
        }
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match &self.body {
            Body::Process(child, _) => Some(child.as_fd()),
            Body::Thread => None,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match &self.body {
            Body::Process(child, _) => Some(child.pid()),
            Body::Thread => None,
        }
    }

    /// One past the last task that it says it has begun, of the frame that it is at.
    pub(super) fn begun(&self) -> Option<u32> {
        let front = self.sent.front()?;
        self.tasks.begun(front.slot, front.items).ok()
    }

    /// Looks how much memory it has had at most, before it ends.
    pub(super) fn look_at_memory(&mut self) {
        self.peak_memory = self.pid().and_then(procfs::peak_bytes).max(self.peak_memory);
    }

    /// The most resident memory in bytes that it has had, as far as it is known. For a worker that has ended and was not
    /// reaped.
    pub(super) fn peak_at_end(&self) -> Option<u64> {
        let told = match &self.body {
            Body::Process(child, _) => child.peak_at_end(),
            Body::Thread => None,
        };
        told.max(self.peak_memory)
    }

    /// Whether something was sent to it that has not ended.
    pub(super) fn is_busy(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether it has said that it cannot start.
    pub(super) fn is_unable(&self) -> bool {
        self.unable
    }

    pub(super) fn is_starting(&self) -> bool {
        !self.ready
    }

    pub(super) fn has_results(&self) -> bool {
        !self.results.is_empty()
    }

    /// How many tasks of its present frame the worker says it has finished but not shown.
    pub(super) fn progress(&self) -> u32 {
        self.results.progress()
    }

    /// How much CPU time the worker has used for this task, as far as was seen, if it has used `used` in its life.
    pub(super) fn cpu_time_since(&mut self, task: (FrameId, u32), used: Nanos) -> Nanos {
        match self.cpu_base {
            Some((of, base)) if of == task => used.saturating_sub(base),
            _ => {
                self.cpu_base = Some((task, used));
                0
            }
        }
    }

    /// Puts the tasks `range` of a frame into the ring. `false` if there is no room now.
    pub(super) fn send(
        &mut self,
        frame: FrameId,
        range: (u32, u32),
        payload: &Arc<Frame>,
        listener: Listener,
        now: Nanos,
    ) -> Result<bool, Breach> {
        let mut attachment = 0;
        let unknown = |a: &Attachment| a.memory().is_none_or(|memory| !self.memories.contains_key(&memory.id()));
        if payload.memfd.is_some() || payload.attachments.iter().any(unknown) {
            if !self.ship(payload) {
                return Ok(false);
            }
            let memories = payload.attachments.iter().filter_map(Attachment::memory);
            let had_none = self.memories.is_empty();
            self.memories.extend(memories.map(|memory| (memory.id(), Arc::downgrade(memory))));
            self.has_news |= had_none && !self.memories.is_empty();
            attachment = self.next_attachment;
            self.next_attachment += 1;
        }
        if let Some(state) = &payload.state
            && !self.states.contains(&state.number)
        {
            if !self.ship_state(state.number, &state.bytes) {
                return Ok(false);
            }
            self.states.insert(state.number);
        }
        if let Some(segment) = payload.extent.as_ref().and_then(Extent::segment)
            && !self.segments.contains_key(&segment.number())
        {
            let message = control::encode(&ToWorker::Segment { number: segment.number() });
            if self.socket.send(&message, &[segment.as_fd()], false).is_err() {
                return Ok(false);
            }
            self.segments.insert(segment.number(), segment.len());
        }
        let header = TaskHeader {
            frame: frame.0,
            function: payload.function.offset,
            first: range.0,
            end: range.1,
            shared_state: payload.state.as_ref().map_or(0, |state| state.number),
            attachment,
            in_arena: payload.extent.as_ref().map_or(0, |_| payload.items),
        };
        if !self.is_busy() {
            self.region.set_listener(listener);
            self.touch(now);
        }
        let Some(slot) = self.tasks.push(&header, &payload.payload)? else { return Ok(false) };
        self.sent.push_back(Sent { frame, slot, items: range, next: range.0 });
        Ok(true)
    }

    /// Sends what the ring cannot hold. `false` if the worker does not read its socket at present, or the system is short
    /// of something: the scheduler tries again.
    fn ship(&self, payload: &Frame) -> bool {
        let memories = attach::memory_ids(&payload.attachments);
        let message = ToWorker::Attach { number: self.next_attachment, payload: payload.memfd.is_some(), memories };
        let fresh: Result<Vec<OwnedFd>, _> = payload.attachments.iter().map(|a| a.to_send()).collect();
        let Ok(fresh) = fresh else { return false };
        let mut fds: Vec<BorrowedFd<'_>> = payload.memfd.iter().map(AsFd::as_fd).collect();
        fds.extend(fresh.iter().map(AsFd::as_fd));
        self.socket.send(&control::encode(&message), &fds, false).is_ok()
    }

    fn ship_state(&self, number: u64, bytes: &[u8]) -> bool {
        let message = |bytes| control::encode(&ToWorker::State { number, bytes });
        if bytes.len() <= BLOB_MAX {
            return self.socket.send(&message(Blob::Inline(bytes.to_vec())), &[], false).is_ok();
        }
        crate::os::memory::create_frozen("procpool-state", bytes)
            .is_ok_and(|memfd| self.socket.send(&message(Blob::Memfd), &[memfd.as_fd()], false).is_ok())
    }

    /// Tells the worker that a state is not needed any more.
    pub(super) fn drop_state(&mut self, number: u64) {
        if self.states.remove(&number) {
            // If the socket is full the worker keeps the state until it ends: memory, not correctness.
            let _ = self.socket.send(&control::encode(&ToWorker::DropState { number }), &[], false);
        }
    }

    /// Tells the worker that a segment is gone.
    pub(super) fn drop_segment(&mut self, number: u64) {
        if self.segments.remove(&number).is_some() {
            // If the socket is full the worker keeps it mapped until it ends.
            let _ = self.socket.send(&control::encode(&ToWorker::DropSegment { number }), &[], false);
        }
    }

    /// Whether it has memories since this was asked last.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Tells the worker which memories nobody here has any more. Returns whether there are others.
    pub(super) fn drop_memories(&mut self) -> bool {
        let Self { memories, socket, .. } = self;
        memories.retain(|&number, memory| {
            memory.strong_count() > 0
                || socket.send(&control::encode(&ToWorker::DropMemory { number }), &[], false).is_err()
        });
        !memories.is_empty()
    }

    /// The bytes of the segments that it has for the pool's sake.
    pub(super) fn shared_bytes(&self) -> u64 {
        (self.segments.values().sum::<usize>() + self.arrivals.total()) as u64
    }

    /// The worker's resident memory in bytes, without those.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        procfs::resident_bytes(self.pid()?, self.shared_bytes())
    }

    /// Takes back what the worker has not begun of a frame, but for what `keep` leaves. Returns where the frame ends now, and
    /// how many tasks of it the worker has finished but not shown; `None` if it is not in the ring any more.
    pub(super) fn revoke(&mut self, frame: FrameId, keep: Keep) -> Result<Option<(u32, u32)>, Breach> {
        let Some(at) = self.sent.iter().position(|sent| sent.frame == frame) else { return Ok(None) };
        let sent = &mut self.sent[at];
        let end = self.tasks.take_back(sent.slot, sent.items, |begun| keep.end(begun, sent.items.1))?;
        sent.items.1 = end;
        if end == sent.next {
            self.sent.remove(at);
        }
        Ok(Some((end, if at == 0 { self.results.progress() } else { 0 })))
    }

    /// When to look for results that the worker has not published, because it may be busy with a long task behind them.
    pub(super) fn peek_at(&self) -> Option<Nanos> {
        let front = self.sent.front()?;
        (front.items.1 - front.next > 1 || self.may_hold()).then_some(self.peek_at)
    }

    /// Whether it has so much to do that it may not wake anybody for a result.
    pub(super) fn may_hold(&self) -> bool {
        self.sent.len() > ENOUGH
    }

    /// Tells the worker to end when its ring is empty. `false` if it lives but does not listen.
    pub(super) fn retire(&mut self) -> bool {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, WouldBlock};
        let failure = self.socket.send(&control::encode(&ToWorker::Exit), &[], false).err().map(|e| e.kind());
        // Who is gone need not be told; who does not listen must be ended; else it is a shortage, which passes.
        self.untold =
            failure.is_some_and(|kind| ![BrokenPipe, ConnectionReset, NotConnected, WouldBlock].contains(&kind));
        failure != Some(WouldBlock)
    }

    /// Whether it must be told once more that it is to end.
    pub(super) fn is_untold(&self) -> bool {
        self.untold
    }

    /// Ends the worker now; a thread ends after its present frame.
    pub(super) fn kill(&self) {
        match &self.body {
            Body::Process(child, limiter) => {
                child.kill_family();
                limiter.kill();
            }
            Body::Thread => self.socket.shut_down(),
        }
    }

    /// Stops the worker's processes.
    pub(super) fn stop(&self) {
        if let Body::Process(child, _) = &self.body {
            child.set_stopped(true);
        }
    }

    /// Lets the worker's processes go on.
    pub(super) fn go_on(&self) {
        if let Body::Process(child, _) = &self.body {
            child.set_stopped(false);
        }
    }

    /// The clock was put back to `now`, after `grace` from which nobody's time to clean up ends.
    pub(super) fn forget_the_future(&mut self, now: Nanos, grace: Nanos) {
        self.since = self.since.min(now);
        self.shown_at = self.shown_at.min(now);
        self.peek_at = self.peek_at.min(now + PEEK);
        self.until = self.until.map(|until| until.min(now.saturating_add(grace)));
    }

    /// Before it is sent a task with this limit of memory.
    pub(super) fn allow_memory(&mut self, limit: Option<u64>) {
        let idle = !self.is_busy();
        if let Body::Process(child, limiter) = &mut self.body {
            limiter.allow(child, limit, idle);
        }
    }

    /// How its memory is limited; not for threads.
    pub(super) fn limiter(&mut self) -> Option<&mut Limiter> {
        match &mut self.body {
            Body::Process(_, limiter) => Some(limiter),
            Body::Thread => None,
        }
    }

    /// What there is to say of its memory after its end.
    pub(super) fn memory_at_end(&mut self, exit: Option<Exit>) -> MemoryAtEnd {
        let lacked = self.pipes.iter().any(|pipe| pipe.lacked_memory());
        self.limiter().map_or_else(MemoryAtEnd::default, |limiter| limiter.at_end(exit, lacked))
    }

    /// Asks the worker to end, and gives it until then.
    pub(super) fn ask_to_end(&mut self, until: Nanos) {
        match &self.body {
            Body::Process(child, _) => {
                child.terminate();
                self.until = Some(until);
            }
            Body::Thread => self.socket.shut_down(),
        }
    }

    /// Until when it may clean up, if it was asked to end.
    pub(super) fn until(&self) -> Option<Nanos> {
        self.until
    }

    /// What the worker has said by its socket since the last time.
    pub(super) fn listen(&mut self) -> Result<Vec<Word>, Breach> {
        self.read_socket()?;
        Ok(self.words.drain(..).collect())
    }

    fn read_socket(&mut self) -> Result<(), Breach> {
        if self.words.back() == Some(&Word::Closed) {
            return Ok(());
        }
        let mut buf = vec![0; MAX_MESSAGE];
        loop {
            let word = match self.socket.receive(&mut buf, false) {
                Ok(Received::Empty) => return Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(Breach("it sent a message that is too large"));
                }
                Ok(Received::Closed) | Err(_) => Word::Closed,
                Ok(Received::Message(len, fds)) => self.understand(&buf[..len], fds)?,
            };
            let closed = word == Word::Closed;
            if word != Word::Nothing {
                self.words.push_back(word);
            }
            if closed {
                return Ok(());
            }
        }
    }

    fn understand(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) -> Result<Word, Breach> {
        match control::decode::<ToParent>(bytes).ok_or(Breach("it sent a message that is none"))? {
            ToParent::Ready { sandbox } if !self.ready => {
                let possible = sandbox.is_none_or(|state| state.landlock_abi <= newest_abi());
                if sandbox.is_some() != self.confined || !possible {
                    return Err(Breach("it reports a sandbox that it cannot have"));
                }
                self.ready = true;
                Ok(Word::Ready(sandbox))
            }
            ToParent::Unable { reason } if !self.ready && !self.unable => {
                self.unable = true;
                Ok(Word::Unable(reason))
            }
            ToParent::Attach { number, memory, memories, holds } if self.arrived.len() < MAX_ARRIVED => {
                let mut arrived = match memory {
                    true => Arrived::Memory(Large::new(fds, &memories)),
                    false => Arrived::Only(Beside::new(fds, &memories)),
                };
                arrived.beside().set_holds(holds);
                self.arrived.insert(number, arrived);
                Ok(Word::Nothing)
            }
            ToParent::Release { number } => {
                self.held.remove(&number);
                // Its result may still be in the ring.
                if let Some(arrived) = self.arrived.get_mut(&number) {
                    arrived.beside().set_holds(false);
                }
                Ok(Word::Nothing)
            }
            ToParent::Segment { number } => match self.arrivals.add(number, fds) {
                Some(()) => Ok(Word::Nothing),
                None => Err(Breach("it has more memory for results than it may have")),
            },
            ToParent::DropSegment { number } => {
                self.arrivals.remove(number);
                Ok(Word::Nothing)
            }
            _ => Err(Breach("it sent a message out of turn")),
        }
    }

    /// The end of what it printed on standard error. For a worker that has ended.
    pub(super) fn last_printed(&self) -> Option<String> {
        let mut stderr = None;
        for pipe in &self.pipes {
            let words = pipe.last_words();
            if pipe.stream() == super::Stream::Stderr && !words.is_empty() {
                stderr = Some(words);
            }
        }
        stderr
    }

    /// Ends what is left of the worker's group and learns how it ended.
    pub(super) fn reap(&self) -> Option<Exit> {
        match &self.body {
            Body::Process(child, limiter) => {
                child.kill_group();
                limiter.kill();
                child.reap()
            }
            Body::Thread => None,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A worker that waits for room must find out that nobody reads any more.
        if self.region.take_worker_sleep(FULL) {
            futex_wake(self.region.worker_word());
        }
    }
}
