//! One function over many inputs: drawn from a Python iterator, sent in batches, yielded in their order or as they come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Instant;

use procpool::lang::{self, Completion, Outcomes, Ticket, Waiting};
use procpool::{Kind, TaskOptions};
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::faults;
use crate::future::{cancelled, deadline};
use crate::port::Shared;
use crate::value::{read_result, with_call, with_calls};

/// A batch should keep a worker busy about this long.
const BATCH_NS: f64 = 200_000.0;
/// The most tasks in a batch of our choice. An idle worker gets half of what waits behind a long task, so many do no harm.
const BATCH_MAX: u32 = 512;
/// Batches sent per worker before each is twice as large.
const STEP: u64 = 4;

/// What the engine delivers, until the iterator takes it.
#[derive(Debug, Default)]
struct Inbox(Mutex<InboxState>);

#[derive(Debug, Default)]
struct InboxState {
    /// By the number of their first task.
    ready: BTreeMap<u64, Entry>,
    /// Those numbers in the order of arrival, if that is wanted.
    arrivals: Option<VecDeque<u64>>,
    ended: u64,
    wanted: u64,
    waiter: Option<Thread>,
    task_ns: Option<f64>,
    /// How many there are in all, once that is known, and what Python is to be told when all have ended.
    all: Option<(u64, u64)>,
}

#[derive(Debug)]
enum Entry {
    Came(Outcomes),
    /// The input could not be sent, for this exception.
    Unsent(Py<PyAny>),
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, first: u64, count: u64, entry: Entry) {
        let (waiter, token) = {
            let mut state = self.lock();
            state.ended += count;
            state.ready.insert(first, entry);
            if let Some(arrivals) = &mut state.arrivals {
                arrivals.push_back(first);
            }
            let waiter = if state.has_next() { state.waiter.take() } else { None };
            let ended = state.ended;
            (waiter, state.all.take_if(|(all, _)| *all <= ended))
        };
        if let Some(waiter) = waiter {
            waiter.unpark();
        }
        if let Some((_, token)) = token {
            crate::collector::tell(token);
        }
    }
}

impl InboxState {
    fn has_next(&self) -> bool {
        match &self.arrivals {
            Some(arrivals) => !arrivals.is_empty(),
            None => self.ready.contains_key(&self.wanted),
        }
    }
}

impl Completion for Inbox {
    fn complete(&self, first: u64, outcomes: Outcomes) {
        if let Some(one) = outcomes.task_ns() {
            let mut state = self.lock();
            let average = state.task_ns.get_or_insert(one as f64);
            *average += (one as f64 - *average) / 4.0;
        }
        self.put(first, u64::from(outcomes.left()), Entry::Came(outcomes));
    }
}

impl Waiting for Inbox {
    fn is_done(&self) -> bool {
        self.lock().has_next()
    }

    fn set_waiter(&self, waiter: Option<Thread>) {
        self.lock().waiter = waiter;
    }
}

/// The outcomes of a map.
#[pyclass(module = "procpool._core", weakref)]
pub(crate) struct MapIter {
    shared: Arc<Shared>,
    function: lang::Function,
    /// Nobody else uses the function, so the workers can forget it at the end.
    owned: bool,
    inputs: Option<Py<PyAny>>,
    only: bool,
    /// So many calls are one task, if that was asked for: what one of them raises is what all of them give.
    chunk: Option<u32>,
    /// What is being yielded of such a task, and which of it is next.
    opened: Option<(Py<PyList>, usize)>,
    /// The most tasks drawn and not yielded; None: all are drawn as soon as [`MapIter::fill`] is called.
    window: Option<u64>,
    /// The first exception ends it.
    stop: bool,
    options: Option<TaskOptions>,
    inbox: Arc<Inbox>,
    drawn: u64,
    /// The same in inputs, several of which may be one task.
    inputs_drawn: u64,
    batches: u64,
    yielded: u64,
    sent: BTreeMap<u64, Ticket>,
    current: Option<(Outcomes, u64)>,
    deadline: Option<Instant>,
}

impl MapIter {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        shared: Arc<Shared>,
        function: lang::Function,
        owned: bool,
        inputs: Py<PyAny>,
        only: bool,
        chunk: Option<u32>,
        window: Option<u64>,
        ordered: bool,
        stop: bool,
        options: Option<TaskOptions>,
    ) -> Self {
        let inbox = Arc::new(Inbox::default());
        inbox.lock().arrivals = (!ordered).then(VecDeque::new);
        Self {
            shared,
            function,
            owned,
            inputs: Some(inputs),
            only,
            // Limits are those of a single call.
            chunk: chunk.filter(|chunk| *chunk > 1 && options.is_none()),
            opened: None,
            window,
            stop,
            options,
            inbox,
            drawn: 0,
            inputs_drawn: 0,
            batches: 0,
            yielded: 0,
            sent: BTreeMap::new(),
            current: None,
            deadline: None,
        }
    }

    /// How many tasks the next batch is to have.
    fn batch_size(&self, workers: u64, task_ns: Option<f64>) -> u32 {
        if self.options.is_some() || self.window.is_some_and(|window| window < 64) {
            // Its limits, if there are any, hold for each task alone; and who wants so few ahead wants no batches.
            return 1;
        }
        let step = (self.batches / (STEP * workers.max(1))).min(10) as u32;
        let grown = (1 << step).min(BATCH_MAX);
        match task_ns {
            None => grown,
            Some(one) => ((BATCH_NS / one.max(1.0)) as u32).clamp(1, grown),
        }
    }

    /// Draws and sends until the window is full or there are no more inputs.
    fn draw(&mut self, py: Python<'_>, everything: bool) -> PyResult<()> {
        let shared = Arc::clone(&self.shared);
        let port = shared.port()?;
        let workers = if self.inputs.is_some() { port.pool().workers() as u64 } else { 0 };
        while let Some(inputs) = &self.inputs {
            let task_ns = self.inbox.lock().task_ns;
            let size = self.batch_size(workers, task_ns);
            let per_task = u64::from(self.chunk.unwrap_or(1));
            let within = |window: u64| self.drawn < self.yielded + (window / per_task).max(u64::from(size));
            if !everything && !self.window.is_none_or(within) {
                return Ok(());
            }
            let inputs = inputs.clone_ref(py);
            let inputs = inputs.bind(py);
            let mut batch = port.batch(&self.function);
            let mut end = None;
            while end.is_none() && !batch.is_full(size) {
                let add = |payload: &lang::Payload<'_>| port.add(&mut batch, payload);
                let (added, drawn) = match self.chunk {
                    None => match next_input(inputs) {
                        Ok(Some(input)) => {
                            self.inputs_drawn += 1;
                            (with_call(&shared.pickler, &input, None, self.only, add), Ok(true))
                        }
                        Ok(None) => (Ok(Ok(())), Ok(false)),
                        Err(error) => (Ok(Ok(())), Err(error)),
                    },
                    Some(chunk) => {
                        let (several, drawn) = next_inputs(inputs, chunk);
                        self.inputs_drawn += several.len() as u64;
                        // Of a task whose inputs end in an exception nothing is done, as in the standard library.
                        match several.is_empty() || drawn.is_err() {
                            true => (Ok(Ok(())), drawn),
                            false => (with_calls(py, &shared.pickler, &several, self.only, add), drawn),
                        }
                    }
                };
                let unsent = match added {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(faults::exception_of(py, &error)?.unbind()),
                    Err(error) => Some(error.into_value(py).into_any()),
                };
                end = match (unsent, drawn) {
                    (None, Ok(true)) => None,
                    (None, Ok(false)) => Some(Unsent::NoMore),
                    (None, Err(error)) => Some(Unsent::Inputs(error)),
                    // The next look at the inputs tells again that they are at an end.
                    (Some(exception), _) => Some(Unsent::One(exception)),
                };
            }
            let count = u64::from(batch.len());
            if count > 0 {
                let ticket = port
                    .send(self.options.as_ref(), batch, Arc::clone(&self.inbox), self.drawn)
                    .map_err(|error| faults::raise(py, &error))?;
                self.sent.insert(self.drawn, ticket);
                self.drawn += count;
                self.batches += 1;
            }
            match end {
                None => {}
                Some(Unsent::NoMore) => self.inputs = None,
                Some(Unsent::One(exception)) => {
                    self.inbox.put(self.drawn, 1, Entry::Unsent(exception));
                    self.drawn += 1;
                }
                Some(Unsent::Inputs(error)) => {
                    self.inputs = None;
                    if self.stop {
                        return Err(error);
                    }
                    self.inbox.put(self.drawn, 1, Entry::Unsent(error.into_value(py).into_any()));
                    self.drawn += 1;
                }
            }
            py.check_signals()?;
        }
        Ok(())
    }

    /// The number of the next task and how it came out; None at the end.
    fn outcome(&mut self, py: Python<'_>, until: Option<Instant>) -> PyResult<Option<(u64, Outcome)>> {
        loop {
            if let Some((list, at)) = &mut self.opened {
                let item = list.bind(py).get_item(*at).ok();
                *at += 1;
                match item {
                    Some(item) => return Ok(Some((self.yielded, Outcome::Returned(item.unbind())))),
                    None => self.opened = None,
                }
            }
            if let Some((outcomes, index)) = &mut self.current {
                let (index, left) = (*index, outcomes.left());
                if let Some(outcome) = outcomes.next() {
                    self.yielded += 1;
                    self.current = self.current.take().filter(|_| left > 1).map(|(rest, _)| (rest, index + 1));
                    let outcome = decode(py, outcome)?;
                    match outcome {
                        Outcome::Returned(list) if self.chunk.is_some() => {
                            self.opened = Some((list.into_bound(py).cast_into::<PyList>()?.unbind(), 0));
                            continue;
                        }
                        outcome => return Ok(Some((index, outcome))),
                    }
                }
                self.current = None;
            }
            self.draw(py, false)?;
            if self.yielded == self.drawn {
                return Ok(None);
            }
            self.inbox.lock().wanted = self.yielded;
            if !self.shared.wait(py, &*self.inbox, until)? {
                return Err(PyTimeoutError::new_err(()));
            }
            let taken = {
                let mut state = self.inbox.lock();
                let first = state.arrivals.as_mut().map_or(Some(self.yielded), VecDeque::pop_front);
                first.and_then(|first| Some((first, state.ready.remove(&first)?)))
            };
            match taken {
                Some((first, Entry::Came(outcomes))) => self.current = Some((outcomes, first)),
                Some((first, Entry::Unsent(exception))) => {
                    self.yielded += 1;
                    return Ok(Some((first, Outcome::Raised(exception))));
                }
                None => {}
            }
            if self.sent.len() > 1024 && self.inbox.lock().arrivals.is_none() {
                self.sent = self.sent.split_off(&self.yielded.saturating_sub(u64::from(BATCH_MAX)));
            }
        }
    }

    fn end(&mut self) {
        self.inputs = None;
        let sent = std::mem::take(&mut self.sent);
        let Ok(port) = self.shared.port() else { return };
        if self.yielded < self.drawn {
            sent.into_values().for_each(|ticket| port.cancel_batch(ticket));
        }
        if std::mem::take(&mut self.owned) {
            port.forget(&self.function);
        }
        self.drawn = self.yielded;
        self.current = None;
        self.opened = None;
    }
}

/// Why a batch ends before it is full.
enum Unsent {
    NoMore,
    One(Py<PyAny>),
    Inputs(PyErr),
}

enum Outcome {
    Returned(Py<PyAny>),
    Raised(Py<PyAny>),
    Cancelled,
}

fn next_input<'py>(inputs: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    inputs.cast::<pyo3::types::PyIterator>()?.clone().next().transpose()
}

/// The next inputs, at most `count`, and whether there may be more, or what they raise at their end.
fn next_inputs<'py>(inputs: &Bound<'py, PyAny>, count: u32) -> (Vec<Bound<'py, PyAny>>, PyResult<bool>) {
    let mut several = Vec::with_capacity(count.min(4096) as usize);
    for _ in 0..count {
        match next_input(inputs) {
            Ok(Some(input)) => several.push(input),
            Ok(None) => return (several, Ok(false)),
            Err(error) => return (several, Err(error)),
        }
    }
    (several, Ok(true))
}

fn decode(py: Python<'_>, outcome: procpool::Result<lang::Message>) -> PyResult<Outcome> {
    Ok(match outcome {
        Err(error) if error.kind() == Kind::Cancelled => Outcome::Cancelled,
        Err(error) => Outcome::Raised(faults::exception_of(py, &error)?.unbind()),
        Ok(message) => match read_result(py, message) {
            Ok(Ok(value)) => Outcome::Returned(value.unbind()),
            Ok(Err(raised)) => Outcome::Raised(raised.unbind()),
            Err(error) => Outcome::Raised(error.into_value(py).into_any()),
        },
    })
}

#[pymethods]
impl MapIter {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let outcome = match self.outcome(py, self.deadline) {
            Ok(Some((_, outcome))) => outcome,
            Ok(None) => {
                self.end();
                return Ok(None);
            }
            Err(error) => {
                if self.stop {
                    self.end();
                }
                return Err(error);
            }
        };
        let error = match outcome {
            Outcome::Returned(value) => return Ok(Some(value)),
            Outcome::Raised(error) => PyErr::from_value(error.into_bound(py)),
            Outcome::Cancelled => cancelled(py),
        };
        if self.stop {
            self.end();
        }
        Err(error)
    }

    /// The next outcome within `timeout` seconds: whether it is one that was returned, and the value or the exception. None at
    /// the end.
    #[pyo3(signature = (timeout=None))]
    fn take(&mut self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<(u64, bool, Py<PyAny>)>> {
        Ok(self.outcome(py, deadline(timeout))?.map(|(index, outcome)| match outcome {
            Outcome::Returned(value) => (index, true, value),
            Outcome::Raised(error) => (index, false, error),
            Outcome::Cancelled => (index, false, cancelled(py).into_value(py).into_any()),
        }))
    }

    /// All that is left: the values in order, and the first exception, if there is one.
    fn take_all<'py>(&mut self, py: Python<'py>) -> PyResult<(Bound<'py, PyList>, Option<Py<PyAny>>)> {
        let (mut values, mut first) = (Vec::new(), None);
        while let Some((_, outcome)) = self.outcome(py, None)? {
            match outcome {
                Outcome::Returned(value) => values.push(value),
                Outcome::Raised(error) => drop(first.get_or_insert(error)),
                Outcome::Cancelled => drop(first.get_or_insert(cancelled(py).into_value(py).into_any())),
            }
        }
        self.end();
        Ok((PyList::new(py, values)?, first))
    }

    /// Draws all inputs and sends them.
    fn fill(&mut self, py: Python<'_>) -> PyResult<()> {
        let filled = self.draw(py, true);
        if filled.is_err() {
            self.end();
        }
        filled
    }

    /// Draws as many inputs as the window takes.
    fn begin(&mut self, py: Python<'_>) -> PyResult<()> {
        self.draw(py, false)
    }

    /// From now on outcomes come within `timeout` seconds, or TimeoutError is raised.
    fn set_timeout(&mut self, timeout: Option<f64>) {
        self.deadline = deadline(timeout);
    }

    /// Tells the collector `token` when all tasks have ended. Returns False if they have. All inputs must have been drawn.
    fn tell(&self, token: u64) -> bool {
        let mut state = self.inbox.lock();
        let wait = state.ended < self.drawn;
        state.all = wait.then_some((self.drawn, token));
        wait
    }

    /// How many inputs were drawn.
    #[getter]
    fn inputs_drawn(&self) -> u64 {
        self.inputs_drawn
    }

    /// Cancels what has not begun, and what runs of it.
    fn close(&mut self) {
        self.end();
    }
}

impl Drop for MapIter {
    fn drop(&mut self) {
        // What nobody has read is done all the same, as in the standard library; of what somebody has begun to read, nobody
        // will read the rest.
        if self.yielded > 0 {
            self.end();
        }
    }
}
