//! The seam for another language: the same engine, but functions and values are bytes that only that language understands.
//!
//! A [`Port`] is a pool whose tasks are a [`Function`] (bytes that each worker gets once) and a [`Payload`] (bytes, and runs of
//! bytes that may be large). Its workers are started by a [`Launcher`], and each hands its socket to [`serve`] with an
//! [`Interpreter`] that knows what the bytes mean. Scheduling, transport, limits and supervision are those of every pool.
//!
//! Made for `procpool-python`. It follows the engine, so it may change with any version of this crate.

mod message;
mod worker;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

pub use message::{Message, Payload, Run};
pub use worker::{Interpreter, Task, serve};

pub use crate::supervisor::{Launched, Launcher, Waiting};

use crate::call;
use crate::client::Batch as Inputs;
use crate::error::{Blame, Error, Kind, Result};
use crate::options::TaskOptions;
use crate::pool::{Pool, PoolBuilder};
use crate::sched::FrameId;
use crate::supervisor::{Delivery, Launch, SharedBlob, Sink, Submitted};

/// A pool for another language.
#[derive(Debug)]
pub struct Port(Pool);

/// Something to be run, as its language describes it. Each worker gets the description with the first task of it.
#[derive(Debug, Clone)]
pub struct Function {
    name: call::Function,
    code: Arc<SharedBlob>,
}

/// Where the outcomes of tasks go.
///
/// Called by whichever thread finds out, maybe the pool's own, so it must not wait for anything.
pub trait Completion: std::fmt::Debug + Send + Sync {
    /// The tasks from number `first` on, of those that go here, have ended.
    fn complete(&self, first: u64, outcomes: Outcomes);
}

impl<C: Completion> Sink for C {
    fn deliver(&self, first: u64, delivery: Delivery) -> Option<Waker> {
        self.complete(first, Outcomes { next: Some(delivery), index: first });
        None
    }
}

/// How consecutive tasks ended: what their workers replied, not decoded yet, or why they did not.
#[derive(Debug)]
pub struct Outcomes {
    next: Option<Delivery>,
    index: u64,
}

impl Outcomes {
    /// How many are left.
    pub fn left(&self) -> u32 {
        match &self.next {
            None => 0,
            Some(Delivery::Results(results)) => results.len(),
            Some(Delivery::Outcome(_) | Delivery::Failed(_)) => 1,
        }
    }

    /// How long each of the tasks ran on average, in nanoseconds, as their worker says.
    pub fn task_ns(&self) -> Option<u64> {
        match &self.next {
            Some(Delivery::Results(results)) => results.task_ns,
            _ => None,
        }
    }
}

impl Iterator for Outcomes {
    type Item = Result<Message>;

    fn next(&mut self) -> Option<Result<Message>> {
        let index = self.index;
        self.index += 1;
        match self.next.take()? {
            Delivery::Failed(error) => Some(Err(error)),
            Delivery::Outcome(outcome) => Some(outcome.take(index)),
            Delivery::Results(mut results) => {
                let outcome = (results.len() > 0).then(|| results.take(index));
                self.next = (results.len() > 0).then_some(Delivery::Results(results));
                outcome
            }
        }
    }
}

/// Names a task that was handed to a [`Port`].
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    frame: FrameId,
    item: u32,
}

/// Inputs of one function that are sent together.
#[derive(Debug)]
pub struct Batch {
    inputs: Inputs,
    function: Function,
}

impl Batch {
    /// How many there are.
    pub fn len(&self) -> u32 {
        self.inputs.items()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether more than these should go into another batch, if one is to have at most `chunk`.
    pub fn is_full(&self, chunk: u32) -> bool {
        self.inputs.is_full(chunk)
    }
}

impl Port {
    /// Makes the pool. `identity` says which program the workers must be: each gives its own to [`serve`]. `set_up` is what each
    /// is given to get ready, see [`Interpreter::set_up`].
    ///
    /// # Errors
    /// As [`PoolBuilder::build`].
    pub fn open(
        builder: PoolBuilder,
        launcher: Arc<dyn Launcher>,
        identity: Vec<u8>,
        set_up: &Payload<'_>,
    ) -> Result<Self> {
        let mut bytes = Vec::new();
        call::encode(set_up, &mut bytes).map_err(|why| {
            Error::new(Kind::Encode, Blame::Caller, format!("the initializer cannot be encoded: {why}"))
        })?;
        let launch = |name, start_timeout| Launch::Foreign { name, launcher, identity, set_up: bytes, start_timeout };
        builder.build_foreign(launch).map(Self)
    }

    /// The pool itself: its size, figures, end. It runs no Rust functions.
    pub fn pool(&self) -> &Pool {
        &self.0
    }

    /// How many tasks were accepted and have not ended.
    pub fn pending(&self) -> u64 {
        self.0.client().engine().lock().pending()
    }

    /// Describes a function. `name` is for people, in errors and events; it is kept for the life of the program.
    pub fn function(&self, name: &str, code: Vec<u8>) -> Function {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = call::Function { offset: number, name: keep(name) };
        Function { name, code: Arc::new(SharedBlob { number, bytes: code }) }
    }

    /// Tells the workers to forget a function, none of whose tasks is left.
    pub fn forget(&self, function: &Function) {
        self.0.client().engine().with(|core, _| core.drop_state(function.code.number));
    }

    /// Hands one task over. `options` are the pool's if there are none.
    ///
    /// # Errors
    /// [`Kind::Closed`], [`Kind::Start`] as [`Pool::submit`]; [`Kind::Encode`] if the input finds no memory.
    pub fn submit<C: Completion + 'static>(
        &self,
        options: Option<&TaskOptions>,
        function: &Function,
        input: &Payload<'_>,
        completion: Arc<C>,
    ) -> Result<Ticket> {
        let client = self.0.client();
        let options = options.unwrap_or(client.options());
        let sink: Arc<dyn Sink> = completion;
        let code = Some(Arc::clone(&function.code));
        let Submitted { place, .. } = client.submit_with_state(function.name, input, &sink, code, options)?;
        place.map(|(frame, item)| Ticket { frame, item })
    }

    /// An empty batch for tasks of `function`.
    pub fn batch(&self, function: &Function) -> Batch {
        Batch { inputs: Inputs::new(function.name), function: function.clone() }
    }

    /// Adds an input to a batch.
    ///
    /// # Errors
    /// [`Kind::Encode`] if the input finds no memory; the batch is as it was.
    pub fn add(&self, batch: &mut Batch, input: &Payload<'_>) -> Result<()> {
        batch.inputs.add(self.0.client().engine().arena(), input)
    }

    /// Hands a batch over. Its tasks are those from number `first` on of what goes to `completion`.
    ///
    /// # Errors
    /// As [`Port::submit`].
    pub fn send<C: Completion + 'static>(
        &self,
        options: Option<&TaskOptions>,
        batch: Batch,
        completion: Arc<C>,
        first: u64,
    ) -> Result<Ticket> {
        let client = self.0.client();
        let options = options.unwrap_or(client.options());
        let frame = client.send(batch.inputs, completion, first, Some(batch.function.code), options)?;
        Ok(Ticket { frame, item: 0 })
    }

    /// Cancels a task, as [`Future::cancel`](crate::Future::cancel) does.
    pub fn cancel(&self, ticket: Ticket) -> bool {
        self.0.client().engine().with(|core, now| core.sched.cancel_task(ticket.frame, ticket.item, now))
    }

    /// Cancels what has not begun of a batch.
    pub fn cancel_batch(&self, ticket: Ticket) {
        self.0.client().engine().with(|core, now| core.sched.cancel(ticket.frame, now));
    }

    /// Whether a task, which has not ended, has begun.
    pub fn has_begun(&self, ticket: Ticket) -> bool {
        self.0.client().engine().lock().has_begun(ticket.frame, ticket.item)
    }

    /// Whether any task has begun, or ended.
    pub fn has_run(&self) -> bool {
        self.0.client().engine().lock().has_run()
    }

    /// Waits until `waiting` is done or `deadline` has passed, taking results meanwhile; returns whether it is done.
    ///
    /// # Errors
    /// On the pool's own thread, which would wait for itself.
    pub fn wait(&self, waiting: &dyn Waiting, deadline: Option<Instant>) -> Result<bool> {
        self.0.client().engine().wait(waiting, deadline)
    }

    /// Takes what the workers have published, without waiting for anything but a lock. Returns whether there was something.
    pub fn poll(&self) -> bool {
        self.0.client().engine().drain()
    }
}

/// One copy of each name, for ever: errors and events refer to it.
fn keep(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    kept
}
