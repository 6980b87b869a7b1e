//! How the faces reach the engine: inputs become batches, batches become frames with the pool's limits.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::Serialize;

use crate::arena::{Arena, Extent};
use crate::attach;
use crate::call::{self, Function};
use crate::error::{Blame, Error, Kind, Result};
use crate::options::TaskOptions;
use crate::ring::INLINE_MAX;
use crate::sched::FrameId;
use crate::supervisor::{Engine, Frame, SharedBlob, Sink, Sinks, Submitted};
use crate::wire::items::{Place, begin_task, end_task};
use crate::wire::value::Output;

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Notes that a process started by this program will become a worker.
pub(crate) fn note_init() {
    INITIALISED.store(true, Relaxed);
}

/// Why a pool of threads takes no limits.
pub(crate) const NO_LIMITS_ON_THREADS: &str =
    "a thread cannot be ended: timeouts, CPU-time limits and memory limits need worker processes";

/// Refuses to start processes that would run `main` all over again.
pub(crate) fn require_init() -> Result<()> {
    if INITIALISED.load(Relaxed) {
        return Ok(());
    }
    Err(Error::usage("call procpool::init() first in main (in a test binary: procpool::init_in_tests!())"))
}

/// A pool's engine, and what its tasks have in common.
#[derive(Debug)]
pub(crate) struct Client {
    engine: Arc<Engine>,
    options: TaskOptions,
    max_pending: Option<u64>,
}

impl Client {
    pub(crate) fn new(engine: Arc<Engine>, options: TaskOptions, max_pending: Option<u64>) -> Self {
        Self { engine, options, max_pending }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What tasks have that say nothing else.
    pub(crate) fn options(&self) -> &TaskOptions {
        &self.options
    }

    /// Waits until fewer tasks are pending than the pool takes; with `wait` false, refuses instead.
    pub(crate) fn make_room(&self, wait: bool) -> Result<()> {
        let Some(most) = self.max_pending else { return Ok(()) };
        if self.engine.lock().pending() < most {
            return Ok(());
        }
        if !wait {
            let text = format!("{most} tasks are pending, and the pool takes no more");
            return Err(Error::new(Kind::WouldBlock, Blame::Caller, text));
        }
        self.engine.wait_for_room(most)
    }

    /// Hands one task to the engine. Returns its frame and its place in there, if it got that far, and its number in the pool.
    pub(crate) fn submit<X: Serialize>(
        &self,
        function: Function,
        input: &X,
        sink: &Arc<dyn Sink>,
        options: &TaskOptions,
    ) -> Result<Submitted> {
        self.submit_with_state(function, input, sink, None, options)
    }

    /// The same, with a state that belongs to this function alone.
    pub(crate) fn submit_with_state<X: Serialize>(
        &self,
        function: Function,
        input: &X,
        sink: &Arc<dyn Sink>,
        state: Option<Arc<SharedBlob>>,
        options: &TaskOptions,
    ) -> Result<Submitted> {
        self.check(options)?;
        let mut batch = Batch::in_scratch(function);
        let submitted = match batch.add(self.engine.arena(), input) {
            Err(error) => {
                let index = self.engine.take_index();
                Ok(Submitted { place: Err(error.with_task(function.name, index)), index })
            }
            Ok(()) => self.submit_batch(&mut batch, sink, state, options),
        };
        batch.return_scratch();
        submitted
    }

    fn submit_batch(
        &self,
        batch: &mut Batch,
        sink: &Arc<dyn Sink>,
        state: Option<Arc<SharedBlob>>,
        options: &TaskOptions,
    ) -> Result<Submitted> {
        let spec = options.spec(1, batch.function.offset);
        let plain = batch.large.is_none() && batch.attachments.is_empty() && !options.has_limits();
        if !plain || batch.payload.len() > GROUPED_MAX {
            let own = batch.take();
            let index = self.engine.take_index();
            let frame = self.frame(own, Sinks::Each(Arc::clone(sink), Vec::new()), index, state, options)?;
            let frame = self.engine.submit(Arc::new(frame), spec)?;
            return Ok(Submitted { place: Ok((frame, 0)), index });
        }
        let payload = &batch.payload;
        let alone = |index| Frame {
            function: batch.function,
            payload: payload.clone(),
            memfd: None,
            extent: None,
            items: 1,
            attachments: Vec::new(),
            state,
            sinks: Sinks::Each(Arc::clone(sink), Vec::new()),
            first_index: index,
            timeout: None,
            cpu_time: None,
            memory_limit: None,
        };
        let (frame, task, index) = self.engine.submit_one(payload, sink, &spec, alone)?;
        Ok(Submitted { place: Ok((frame, task)), index })
    }

    /// Hands a batch to the engine.
    pub(crate) fn send(
        &self,
        batch: Batch,
        sink: Arc<dyn Sink>,
        first_index: u64,
        state: Option<Arc<SharedBlob>>,
        options: &TaskOptions,
    ) -> Result<FrameId> {
        self.check(options)?;
        let spec = options.spec(batch.items, batch.function.offset);
        let frame = self.frame(batch, Sinks::One(sink), first_index, state, options)?;
        self.engine.submit(Arc::new(frame), spec)
    }

    fn check(&self, options: &TaskOptions) -> Result<()> {
        if options.has_limits() && self.engine.is_threads() {
            return Err(Error::usage(NO_LIMITS_ON_THREADS));
        }
        Ok(())
    }

    fn frame(
        &self,
        mut batch: Batch,
        sinks: Sinks,
        first_index: u64,
        state: Option<Arc<SharedBlob>>,
        options: &TaskOptions,
    ) -> Result<Frame> {
        if let Some(place) = batch.large.as_ref().and_then(Extent::place) {
            batch.payload.splice(0..0, place.to_bytes());
        }
        let (payload, memfd) = if batch.payload.len() <= INLINE_MAX {
            (std::mem::take(&mut batch.payload), None)
        } else {
            let memfd = crate::os::memory::create_frozen("procpool-input", &batch.payload)
                .map_err(|e| Error::os("cannot make shared memory for a large input", &e))?;
            (Vec::new(), Some(memfd))
        };
        Ok(Frame {
            function: batch.function,
            payload,
            memfd,
            extent: batch.large,
            items: batch.items,
            attachments: batch.attachments,
            state,
            sinks,
            first_index,
            timeout: options.timeout_ns(),
            cpu_time: options.cpu_time_ns(),
            memory_limit: options.memory,
        })
    }
}

/// The largest input in bytes that travels with others.
const GROUPED_MAX: usize = 1024;

thread_local! {
    /// Where single inputs are encoded, so that a small one allocates nothing.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Inputs of one function on their way into a frame.
#[derive(Debug)]
pub(crate) struct Batch {
    function: Function,
    payload: Vec<u8>,
    /// The last input, if it is large.
    large: Option<Extent>,
    items: u32,
    attachments: Vec<attach::Attachment>,
}

/// One message carries 32 descriptors; one of them may be the payload's.
const MAX_ATTACHMENTS: usize = crate::os::socket::MAX_FDS - 1;
/// An input of this size is large. Two smaller ones fit into one frame.
const LARGE: usize = INLINE_MAX / 2 - Place::SIZE;

impl Batch {
    pub(crate) fn new(function: Function) -> Self {
        Self { function, payload: Vec::new(), large: None, items: 0, attachments: Vec::new() }
    }

    /// An empty batch whose memory is borrowed from this thread.
    fn in_scratch(function: Function) -> Self {
        Self { payload: SCRATCH.take(), ..Self::new(function) }
    }

    /// Gives the memory back for the next one.
    fn return_scratch(mut self) {
        if self.payload.capacity() <= GROUPED_MAX {
            self.payload.clear();
            SCRATCH.set(self.payload);
        }
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.function))
    }

    /// Adds an input, which goes to `arena` if it is large, or says why it cannot be encoded; then the batch is as before.
    pub(crate) fn add<X: Serialize>(&mut self, arena: &Arc<Arena>, input: &X) -> Result<()> {
        let before = self.attachments.len();
        let start = begin_task(&mut self.payload);
        if call::encode_plain(input, &mut self.payload) {
            end_task(start, &mut self.payload);
            self.items += 1;
            return Ok(());
        }
        let Self { payload, attachments, .. } = self;
        let (encoded, large) = arena.write(|spill| {
            let encoded = attach::collect_onto(attachments, || {
                call::encode_to(input, Output::with_spill(payload, Some(&mut *spill)))
            });
            // What became large bit by bit.
            if encoded == Ok(false) && payload.len() - start > LARGE && spill.append(&payload[start + 1..], &[]) {
                return Ok(true);
            }
            encoded
        });
        let refused = match encoded {
            Err(why) => why,
            Ok(_) if self.attachments.len() > MAX_ATTACHMENTS => {
                "it refers to too many queues, buffers and open files".to_string()
            }
            Ok(spilled) => {
                self.large = large.filter(|_| spilled);
                if spilled {
                    self.payload.truncate(start);
                } else {
                    end_task(start, &mut self.payload);
                }
                self.items += 1;
                return Ok(());
            }
        };
        self.attachments.truncate(before);
        self.payload.truncate(start);
        Err(Error::new(Kind::Encode, Blame::Caller, format!("its input cannot be encoded: {refused}")))
    }

    pub(crate) fn items(&self) -> u32 {
        self.items
    }

    /// Whether another input should go into another batch.
    pub(crate) fn is_full(&self, chunk: u32) -> bool {
        self.items >= chunk
            || self.large.is_some()
            || self.payload.len() >= INLINE_MAX / 2
            || self.attachments.len() >= MAX_ATTACHMENTS / 2
    }
}
