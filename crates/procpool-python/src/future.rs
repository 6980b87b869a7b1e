//! The lean half of a future: the outcome as it came, taken out and decoded when it is asked for.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use procpool::Kind;
use procpool::lang::{Completion, Outcomes, Ticket, Waiting};
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::{MutexExt, PyOnceLock};
use pyo3::types::{PyTuple, PyType};

use crate::faults;
use crate::port::Shared;
use crate::value::read_result;

/// Where the outcome arrives.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    done: AtomicBool,
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    outcome: Option<Outcomes>,
    /// The threads that wait for it.
    waiters: Vec<Thread>,
    /// What Python is to be told when it has come.
    token: Option<u64>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Completion for Slot {
    fn complete(&self, _first: u64, outcomes: Outcomes) {
        let (waiters, token) = {
            let mut state = self.lock();
            state.outcome = Some(outcomes);
            self.done.store(true, SeqCst);
            (std::mem::take(&mut state.waiters), state.token.take())
        };
        waiters.iter().for_each(Thread::unpark);
        if let Some(token) = token {
            crate::collector::tell(token);
        }
    }
}

impl Waiting for Slot {
    fn is_done(&self) -> bool {
        self.done.load(SeqCst)
    }

    fn set_waiter(&self, waiter: Option<Thread>) {
        match waiter {
            Some(waiter) => self.lock().waiters.push(waiter),
            None => self.lock().waiters.retain(|waiter| waiter.id() != std::thread::current().id()),
        }
    }
}

/// What has become of the task, once somebody has asked.
enum Value {
    Unread,
    Returned(Py<PyAny>),
    Raised(Py<PyAny>),
    Cancelled,
}

struct Inner {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    ticket: Option<Ticket>,
    cancelled: AtomicBool,
    value: Mutex<Value>,
}

/// The base of `procpool.Future`; made by pools only.
#[pyclass(subclass, frozen, module = "procpool._core", weakref)]
pub(crate) struct FutureBase(OnceLock<Inner>);

impl FutureBase {
    /// An empty instance of the subclass `kind`, whose `__init__` is not called.
    pub(crate) fn make<'py>(kind: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
        static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let new =
            NEW.get_or_try_init(kind.py(), || kind.py().get_type::<Self>().getattr("__new__").map(Bound::unbind))?;
        new.bind(kind.py()).call1((kind,))
    }

    pub(crate) fn begin(&self, shared: Arc<Shared>, slot: Arc<Slot>, ticket: Ticket) {
        let value = Mutex::new(Value::Unread);
        let _ = self.0.set(Inner { shared, slot, ticket: Some(ticket), cancelled: AtomicBool::new(false), value });
    }

    pub(crate) fn fail(&self, shared: Arc<Shared>, exception: Py<PyAny>) {
        let slot = Slot { done: AtomicBool::new(true), state: Mutex::default() };
        let value = Mutex::new(Value::Raised(exception));
        let (slot, cancelled) = (Arc::new(slot), AtomicBool::new(false));
        let _ = self.0.set(Inner { shared, slot, ticket: None, cancelled, value });
    }

    fn inner(&self) -> PyResult<&Inner> {
        self.0.get().ok_or_else(|| PyRuntimeError::new_err("this future belongs to no pool"))
    }

    /// Waits, and gives what has become of the task: `Ok` what it returned, `Err` the exception.
    fn outcome(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Result<Py<PyAny>, Py<PyAny>>> {
        let inner = self.inner()?;
        if !inner.cancelled.load(SeqCst) && !inner.slot.is_done() {
            let deadline = deadline(timeout);
            if !inner.shared.wait(py, &*inner.slot, deadline)? && !inner.cancelled.load(SeqCst) {
                return Err(PyTimeoutError::new_err(()));
            }
        }
        if inner.cancelled.load(SeqCst) {
            return Err(cancelled(py));
        }
        let mut value = inner.value.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        if let Value::Unread = *value {
            let outcome = inner.slot.lock().outcome.take().and_then(|mut outcomes| outcomes.next());
            *value = match outcome {
                Some(Err(error)) if error.kind() == Kind::Cancelled => Value::Cancelled,
                Some(Err(error)) => Value::Raised(faults::exception_of(py, &error)?.unbind()),
                Some(Ok(message)) => match read_result(py, message) {
                    Ok(Ok(returned)) => Value::Returned(returned.unbind()),
                    Ok(Err(raised)) => Value::Raised(raised.unbind()),
                    Err(error) => Value::Raised(error.into_value(py).into_any()),
                },
                None => return Err(PyRuntimeError::new_err("the outcome of this task is gone")),
            };
        }
        match &*value {
            Value::Returned(value) => Ok(Ok(value.clone_ref(py))),
            Value::Raised(error) => Ok(Err(error.clone_ref(py))),
            _ => {
                inner.cancelled.store(true, SeqCst);
                Err(cancelled(py))
            }
        }
    }
}

/// When so many seconds have passed; None for no timeout.
pub(crate) fn deadline(timeout: Option<f64>) -> Option<Instant> {
    let timeout = timeout?;
    let timeout = if timeout > 0.0 { Duration::try_from_secs_f64(timeout).ok()? } else { Duration::ZERO };
    Instant::now().checked_add(timeout)
}

/// The exception of a future that was cancelled.
pub(crate) fn cancelled(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class =
        CLASS.get_or_try_init(py, || py.import("concurrent.futures")?.getattr("CancelledError").map(Bound::unbind));
    match class.and_then(|class| class.call0(py)) {
        Ok(exception) => PyErr::from_value(exception.into_bound(py)),
        Err(error) => error,
    }
}

#[pymethods]
impl FutureBase {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self(OnceLock::new())
    }

    /// What the call returned, once it has; raises what it raised.
    #[pyo3(signature = (timeout=None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        self.outcome(py, timeout)?.map_err(|error| PyErr::from_value(error.into_bound(py)))
    }

    /// What the call raised, or None.
    #[pyo3(signature = (timeout=None))]
    fn exception(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.outcome(py, timeout)?.err())
    }

    /// Whether the call has ended or was cancelled.
    fn done(&self) -> PyResult<bool> {
        let inner = self.inner()?;
        Ok(inner.cancelled.load(SeqCst) || inner.slot.is_done())
    }

    /// Whether the call was cancelled.
    fn cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        let inner = self.inner()?;
        if inner.cancelled.load(SeqCst) || !inner.slot.is_done() {
            return Ok(inner.cancelled.load(SeqCst));
        }
        // The pool may have cancelled it.
        let _ = self.outcome(py, Some(0.0));
        Ok(inner.cancelled.load(SeqCst))
    }

    /// Whether the call has begun and not ended.
    fn running(&self) -> PyResult<bool> {
        let inner = self.inner()?;
        let Some(ticket) = inner.ticket.filter(|_| !inner.cancelled.load(SeqCst) && !inner.slot.is_done()) else {
            return Ok(false);
        };
        Ok(inner.shared.port()?.has_begun(ticket))
    }

    /// Cancels the call, and ends its worker if it runs. Returns whether that has changed anything.
    fn _cancel(&self, py: Python<'_>) -> PyResult<bool> {
        let inner = self.inner()?;
        let Some(ticket) = inner.ticket.filter(|_| !inner.cancelled.load(SeqCst) && !inner.slot.is_done()) else {
            return Ok(false);
        };
        let port = inner.shared.port()?;
        let done = py.detach(|| port.cancel(ticket));
        if done {
            inner.cancelled.store(true, SeqCst);
        }
        Ok(done)
    }

    /// Tells the collector `token` when the call has ended. Returns False if it has already.
    fn _tell(&self, token: u64) -> PyResult<bool> {
        let inner = self.inner()?;
        let mut state = inner.slot.lock();
        if inner.slot.is_done() || inner.cancelled.load(SeqCst) {
            return Ok(false);
        }
        state.token = Some(token);
        Ok(true)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(inner) = self.0.get()
            && let Ok(value) = inner.value.try_lock()
            && let Value::Returned(value) | Value::Raised(value) = &*value
        {
            visit.call(value)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        if let Some(inner) = self.0.get()
            && let Ok(mut value) = inner.value.try_lock()
            && !matches!(*value, Value::Unread)
        {
            *value = Value::Cancelled;
        }
    }
}
