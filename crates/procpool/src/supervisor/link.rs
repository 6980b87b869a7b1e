//! The parent's side of one worker: its body, socket and rings, and what was sent to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::output::Pipe;
use super::{Beside, Books, Delivery, Frame, Large, Origin, Results};
use crate::arena::{Arrivals, Extent};
use crate::attach::{self, Attachment, Sealed};
use crate::os::bell::futex_wake;
use crate::os::process::{Child, Exit};
use crate::os::procfs;
use crate::os::sandbox::newest_abi;
use crate::os::socket::{MAX_MESSAGE, Received, Socket};
use crate::ring::{Breach, Committed, FULL, Listener, Region, ResultConsumer, SLOTS, TaskHeader, TaskProducer};
use crate::sched::{FrameId, Nanos, WorkerId};
use crate::wire::control::{self, BLOB_MAX, Blob, SandboxState, ToParent, ToWorker};
use crate::wire::items::{Attached, Status, index_results};

/// What a worker is.
#[derive(Debug)]
pub(super) enum Body {
    Process(Child),
    Thread,
}

/// A frame in the worker's ring.
#[derive(Debug)]
pub(super) struct Sent {
    frame: FrameId,
    slot: u32,
    /// One past its last task.
    end: u32,
}

/// What came by the socket for a result.
#[derive(Debug)]
enum Arrived {
    Memory(Large),
    Only(Beside),
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
    pub(super) started: Instant,
}

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
            started: Instant::now(),
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
            Body::Process(child) => Some(child.as_fd()),
            Body::Thread => None,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match &self.body {
            Body::Process(child) => Some(child.pid()),
            Body::Thread => None,
        }
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
            items: range.1,
            first: range.0,
            shared_state: payload.state.as_ref().map_or(0, |state| state.number),
            attachment,
            last_in_arena: payload.extent.is_some(),
        };
        if !self.is_busy() {
            self.region.set_listener(listener);
        }
        let Some(slot) = self.tasks.push(&header, &payload.payload)? else { return Ok(false) };
        self.sent.push_back(Sent { frame, slot, end: range.1 });
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

    /// The worker's resident memory in bytes, without the segments that it has for the pool's sake.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let ours = self.segments.values().sum::<usize>() + self.arrivals.total();
        procfs::resident_bytes(self.pid()?, ours as u64)
    }

    /// Takes a frame back; whether that worked, or `None` if it is not in the ring any more.
    pub(super) fn revoke(&mut self, frame: FrameId) -> Option<bool> {
        let at = self.sent.iter().position(|sent| sent.frame == frame)?;
        let taken = self.tasks.revoke(self.sent[at].slot);
        if taken {
            self.sent.remove(at);
        }
        Some(taken)
    }

    /// Tells the worker to end when its ring is empty. `false` if it lives but does not listen.
    pub(super) fn retire(&self) -> bool {
        match self.socket.send(&control::encode(&ToWorker::Exit), &[], false) {
            Err(e) => e.kind() != std::io::ErrorKind::WouldBlock,
            Ok(()) => true,
        }
    }

    /// Ends the worker now; a thread ends after its present frame.
    pub(super) fn kill(&self) {
        match &self.body {
            Body::Process(child) => {
                child.kill();
                child.kill_group();
            }
            Body::Thread => self.socket.shut_down(),
        }
    }

    /// Asks the worker to end, and gives it until then.
    pub(super) fn ask_to_end(&mut self, until: Nanos) {
        match &self.body {
            Body::Process(child) => {
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
            ToParent::Attach { number, memory, memories } if self.arrived.len() < MAX_ARRIVED => {
                let arrived = match memory {
                    true => Arrived::Memory(Large::new(fds, &memories)),
                    false => Arrived::Only(Beside::new(fds, &memories)),
                };
                self.arrived.insert(number, arrived);
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

    /// Takes every published result.
    pub(super) fn drain(&mut self, worker: WorkerId, books: &mut Books<'_>) -> Result<(), Breach> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let mut taken = false;
        while let Some(committed) = self.results.pop()? {
            taken = true;
            self.accept(committed, worker, books)?;
        }
        if taken && self.region.take_worker_sleep(FULL) {
            books.out.wakes.push(self.region.clone());
        }
        Ok(())
    }

    fn accept(&mut self, committed: Committed, worker: WorkerId, books: &mut Books<'_>) -> Result<(), Breach> {
        let Committed { frame, first, items, run_ns, bytes } = committed;
        let index = index_results(&bytes, items).ok_or(Breach("it wrote a result that is not well-formed"))?;
        let mut attached = BTreeMap::new();
        for (_, range) in index.iter().filter(|(status, _)| *status == Status::Attached) {
            let (number, large) = self.beside(&bytes, range.clone())?;
            attached.insert(number, large);
        }
        let delivered =
            books.sched.finished(worker, FrameId(frame), first, items, run_ns, books.now).map_err(Breach)?;
        if self.sent.front().is_some_and(|sent| sent.end == first + items) {
            self.sent.pop_front();
        }
        let failed = index.iter().filter(|(status, _)| !matches!(status, Status::Ok | Status::Attached)).count();
        books.tasks.failed += failed as u64;
        books.tasks.ok += (index.len() - failed) as u64;
        let frame = delivered.payload;
        let origin = Origin { name: frame.function.name, pid: self.pid(), attempt: delivered.attempt };
        let first_index = frame.first_index + u64::from(first);
        books.note_ends(&index, first_index, origin, run_ns);
        let lent = frame.attachments.iter().filter_map(Attachment::memory).cloned().collect();
        let results = Results { bytes, items: index, attached, lent, origin, run_ns };
        books.out.deliveries.push((Arc::clone(&frame.sink), first_index, Delivery::Results(results)));
        Ok(())
    }

    /// The result that an item in `range` of `bytes` says is elsewhere, and its number.
    fn beside(&mut self, bytes: &[u8], range: Range<usize>) -> Result<(u64, Large), Breach> {
        const NEVER_SENT: Breach = Breach("it names a large result that it never sent");
        let item = &bytes[range.clone()];
        let (number, attached) = Attached::parse(item).ok_or(Breach("it names a large result wrongly"))?;
        // The worker sends its messages before it publishes the item that needs them.
        let known = matches!(attached, Attached::Placed { place, with_fds: false, .. } if self.arrivals.knows(place));
        if !known {
            self.read_socket()?;
        }
        let mut only_fds = |needed: bool| match needed.then(|| self.arrived.remove(&number)) {
            None => Ok(Beside::default()),
            Some(Some(Arrived::Only(fds))) => Ok(fds),
            Some(_) => Err(NEVER_SENT),
        };
        let large = match attached {
            Attached::Placed { place, flag, with_fds } => {
                let fds = only_fds(with_fds)?;
                let arrived = self.arrivals.result(place, flag);
                Large::placed(arrived.ok_or(Breach("it names a large result outside its memory"))?, fds)
            }
            Attached::Inline(output) => Large::inline(range.end - output.len()..range.end, only_fds(true)?),
            Attached::Memfd => match self.arrived.remove(&number) {
                Some(Arrived::Memory(large)) => large,
                _ => return Err(NEVER_SENT),
            },
        };
        Ok((number, large))
    }

    /// After the worker's end: takes every result that it finished, published or not. Returns whether it was running a
    /// task. What does not fit together is not believed, and then it was running whatever it had claimed.
    pub(super) fn last_words(&mut self, worker: WorkerId, books: &mut Books<'_>) -> bool {
        let drained = self.drain(worker, books);
        let Some(front) = self.sent.front() else { return false };
        if !self.tasks.is_claimed(front.slot) {
            return false;
        }
        if drained.is_err() || books.sched.is_in_breach(worker) {
            return true;
        }
        let (frame, end) = (front.frame, front.end);
        let Some((_, next, _)) = books.sched.front(worker) else { return true };
        let Ok(open) = self.results.open_result() else { return true };
        let (done, running) = (open.done, open.running);
        if done.frame != frame.0 || done.first != next {
            return self.results.was_carrying();
        }
        if done.items > end - next {
            return true;
        }
        let finished = done.items;
        if finished > 0 && self.accept(done, worker, books).is_err() {
            return true;
        }
        (running || self.results.was_carrying()) && finished < end - next
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
            Body::Process(child) => {
                child.kill_group();
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
