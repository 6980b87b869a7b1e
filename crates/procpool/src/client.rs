//! How the faces reach the engine: inputs become batches, batches become frames with the pool's limits.

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
use crate::supervisor::{Engine, Frame, SharedBlob, Sink};
use crate::wire::items::Place;
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

    /// An empty batch.
    pub(crate) fn batch(&self, function: Function) -> Batch {
        Batch::new(function, Arc::clone(self.engine.arena()))
    }

    /// Hands a batch to the engine.
    pub(crate) fn send(
        &self,
        mut batch: Batch,
        sink: Arc<dyn Sink>,
        first_index: u64,
        state: Option<Arc<SharedBlob>>,
        options: &TaskOptions,
    ) -> Result<FrameId> {
        if options.has_limits() && self.engine.is_threads() {
            return Err(Error::usage(NO_LIMITS_ON_THREADS));
        }
        let spec = options.spec(batch.items, batch.function.offset);
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
        let frame = Frame {
            function: batch.function,
            payload,
            memfd,
            extent: batch.large,
            attachments: batch.attachments,
            state,
            sink,
            first_index,
            timeout: options.timeout_ns(),
            cpu_time: options.cpu_time_ns(),
            memory_limit: options.memory,
        };
        self.engine.submit(Arc::new(frame), spec)
    }
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
    arena: Arc<Arena>,
}

/// One message carries 32 descriptors; one of them may be the payload's.
const MAX_ATTACHMENTS: usize = crate::os::socket::MAX_FDS - 1;
/// An input of this size is large. Two smaller ones fit into one frame.
const LARGE: usize = INLINE_MAX / 2 - Place::SIZE;

impl Batch {
    fn new(function: Function, arena: Arc<Arena>) -> Self {
        Self { function, payload: Vec::new(), large: None, items: 0, attachments: Vec::new(), arena }
    }

    /// Adds an input, or says why it cannot be encoded; then the batch is as before.
    pub(crate) fn add<X: Serialize>(&mut self, input: &X) -> Result<()> {
        let before = self.attachments.len();
        let start = self.payload.len();
        let Self { payload, attachments, arena, .. } = self;
        let (encoded, large) = arena.write(|spill| {
            let encoded = attach::collect_onto(attachments, || {
                call::encode_to(input, Output::with_spill(payload, Some(&mut *spill)))
            });
            // What became large bit by bit.
            if encoded == Ok(false) && payload.len() - start >= LARGE && spill.append(&payload[start..], &[]) {
                payload.truncate(start);
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
                if !spilled {
                    crate::wire::items::wrap_task(start, &mut self.payload);
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
