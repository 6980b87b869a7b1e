//! The pool, as Python sees it.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use procpool::lang::{self, Waiting};
use procpool::{Kind, Output, Pool};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};

use crate::faults;
use crate::future::FutureBase;
use crate::interpreter::identity;
use crate::launcher::Template;
use crate::map::MapIter;
use crate::value::with_call;

/// Counts the forks between the first process and this one: what was made before the last of them belongs to another process.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// To be called in every forked child.
#[pyfunction]
pub(crate) fn forked() {
    GENERATION.fetch_add(1, SeqCst);
}

/// The interpreter is about to end: whoever waits without its lock is not to ask for it any more.
static FINAL: AtomicBool = AtomicBool::new(false);

/// To be called when no thread is left that the interpreter waits for.
#[pyfunction]
pub(crate) fn finalize() {
    FINAL.store(true, SeqCst);
}

/// How long to look for a result with the interpreter's lock in hand.
const LOOK: Duration = Duration::from_micros(10);
const POLLS_PER_YIELD: u32 = 16;
/// Whoever gets the interpreter's lock back later than this has another thread beside it that computes in Python, and gives the
/// lock back when its time is up.
const LATE: Duration = Duration::from_micros(500);
/// How long to wait with the lock in hand where that is so: a fifth of the time for which such a thread keeps it.
const HOLD: Duration = Duration::from_millis(1);
/// How often, until somebody looks again whether it is still so.
const HOLDS: u32 = 64;
/// How long the main thread waits until it looks whether a signal has come.
const SLICE: Duration = Duration::from_millis(50);

/// Threads that wait for the ends of pools that nobody waits for.
static LINGERING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// A pool that many futures may share.
pub(crate) struct Shared {
    port: ManuallyDrop<lang::Port>,
    generation: u64,
    /// Nothing is left of it.
    over: AtomicBool,
    /// Its tasks are to be ended with it.
    at_once: AtomicBool,
    /// How many more times to wait with the interpreter's lock in hand.
    holds: AtomicU32,
    /// What writes values that the codec does not know: `procpool._pickling.Sent`.
    pub(crate) pickler: Py<PyAny>,
}

impl Shared {
    /// The engine.
    ///
    /// # Errors
    /// In a forked child, which has neither its workers nor its threads.
    pub(crate) fn port(&self) -> PyResult<&lang::Port> {
        if self.generation == GENERATION.load(SeqCst) {
            return Ok(&self.port);
        }
        Err(PyRuntimeError::new_err(
            "this pool belongs to the process that this one was forked from; make a new one here",
        ))
    }

    /// Waits until `waiting` is done or `deadline` has passed; returns whether it is done. Raises what a signal raises: then
    /// what has not begun is cancelled, if it is a KeyboardInterrupt.
    pub(crate) fn wait(
        &self,
        py: Python<'_>,
        waiting: &(dyn Waiting + Sync),
        deadline: Option<Instant>,
    ) -> PyResult<bool> {
        let port = self.port()?;
        let (start, mut polls) = (Instant::now(), 0u32);
        loop {
            if waiting.is_done() {
                return Ok(true);
            }
            if start.elapsed() > LOOK {
                break;
            }
            if port.poll() {
                continue;
            }
            polls += 1;
            if polls.is_multiple_of(POLLS_PER_YIELD) {
                // The worker may be on this CPU.
                rustix::thread::sched_yield();
            } else {
                std::hint::spin_loop();
            }
        }
        let holds = self.holds.load(Relaxed);
        if holds > 0 {
            let until = Instant::now() + HOLD;
            let until = deadline.map_or(until, |deadline| until.min(deadline));
            let done = port.wait(waiting, Some(until)).map_err(|error| faults::raise(py, &error))?;
            self.holds.store(if done { holds - 1 } else { 0 }, Relaxed);
            if done {
                return Ok(true);
            }
        }
        let main = rustix::thread::gettid() == rustix::process::getpid();
        loop {
            let slice = main.then(|| Instant::now() + SLICE);
            let until = [deadline, slice].into_iter().flatten().min();
            let (waited, end) = py.detach(|| {
                let waited = port.wait(waiting, until);
                while FINAL.load(SeqCst) && !main {
                    // A thread that asks for the interpreter now is unwound through frames that cannot bear it.
                    std::thread::park();
                }
                (waited, Instant::now())
            });
            if end.elapsed() > LATE {
                self.holds.store(HOLDS, Relaxed);
            }
            if waited.map_err(|error| faults::raise(py, &error))? {
                return Ok(true);
            }
            if let Err(error) = py.check_signals() {
                if error.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py) {
                    py.detach(|| port.pool().cancel_pending());
                }
                return Err(error);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(waiting.is_done());
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.generation != GENERATION.load(SeqCst) {
            return;
        }
        // SAFETY: taken once, and this is the end of whom it was in.
        #[allow(unsafe_code)]
        let port = unsafe { ManuallyDrop::take(&mut self.port) };
        if self.over.load(SeqCst) {
            return;
        }
        // Not here: this thread may hold the interpreter's lock, and what nobody asks for any more is still to be done.
        let at_once = self.at_once.load(SeqCst);
        linger(move || if at_once { port.pool().shutdown_now() } else { port.pool().shutdown() });
    }
}

/// Ends a pool on a thread of its own.
fn linger(end: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name("procpool-end".into()).spawn(end);
    if let Ok(thread) = thread {
        let mut lingering = LINGERING.lock().unwrap_or_else(PoisonError::into_inner);
        lingering.retain(|thread| !thread.is_finished());
        lingering.push(thread);
    }
}

/// Waits until nothing is left of the pools that nobody waits for.
#[pyfunction]
pub(crate) fn join_lingering(py: Python<'_>) -> PyResult<()> {
    loop {
        let threads = std::mem::take(&mut *LINGERING.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return Ok(());
        }
        for thread in threads {
            while !thread.is_finished() {
                py.detach(|| std::thread::sleep(Duration::from_millis(2)));
                if let Err(error) = py.check_signals() {
                    LINGERING.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
                    return Err(error);
                }
            }
        }
    }
}

/// Limits, retries and priority of tasks.
#[pyclass(frozen, module = "procpool._core")]
pub(crate) struct TaskOptions(pub(crate) procpool::TaskOptions);

#[pymethods]
impl TaskOptions {
    #[new]
    #[pyo3(signature = (timeout=None, cpu_time=None, memory_limit=None, retries=0, priority=5))]
    fn new(
        timeout: Option<f64>,
        cpu_time: Option<f64>,
        memory_limit: Option<u64>,
        retries: u32,
        priority: u8,
    ) -> PyResult<Self> {
        let seconds = |name: &str, seconds: f64| {
            Duration::try_from_secs_f64(seconds).map_err(|e| PyValueError::new_err(format!("{name}: {e}")))
        };
        let mut options = procpool::TaskOptions::new().retries(retries).priority(priority);
        if let Some(timeout) = timeout {
            options = options.timeout(seconds("timeout", timeout)?);
        }
        if let Some(cpu_time) = cpu_time {
            options = options.cpu_time(seconds("cpu_time", cpu_time)?);
        }
        if let Some(bytes) = memory_limit {
            options = options.memory_limit(bytes);
        }
        Ok(Self(options))
    }
}

/// A function as the workers know it.
#[pyclass(frozen, module = "procpool._core")]
pub(crate) struct Function(pub(crate) lang::Function);

fn submit<'py>(
    py: Python<'py>,
    shared: &Arc<Shared>,
    kind: &Bound<'py, PyType>,
    function: &Function,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
    options: Option<&TaskOptions>,
) -> PyResult<procpool::Result<Bound<'py, PyAny>>> {
    let future = FutureBase::make(kind)?;
    let base = future.cast::<FutureBase>()?.get();
    let slot = Arc::new(crate::future::Slot::default());
    let port = shared.port()?;
    let handed = with_call(&shared.pickler, args.as_any(), kwargs, false, |payload| {
        port.submit(options.map(|options| &options.0), &function.0, payload, Arc::clone(&slot))
    });
    match handed {
        Ok(Ok(ticket)) => base.begin(Arc::clone(shared), slot, ticket),
        Ok(Err(error)) => return Ok(Err(error)),
        Err(error) => base.fail(Arc::clone(shared), error.into_value(py).into_any()),
    }
    Ok(Ok(future))
}

/// The function that `known` is: itself, or of a tuple the first item, if in the namespace that is the second the names of the
/// third have the same values as there.
fn up_to_date<'a, 'py>(known: &'a Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Function>>> {
    let Ok(parts) = known.cast_exact::<PyTuple>() else { return Ok(Some(known.cast::<Function>()?.clone())) };
    let (function, namespace, names) = (parts.get_item(0)?, parts.get_item(1)?, parts.get_item(2)?);
    let (namespace, names) = (namespace.cast::<PyDict>()?, names.cast::<PyDict>()?);
    for (name, value) in names {
        if !namespace.get_item(name)?.is_some_and(|now| now.is(&value)) {
            return Ok(None);
        }
    }
    Ok(Some(function.cast_into::<Function>()?))
}

/// An executor's `submit` without a frame of Python's.
#[pyclass(frozen, module = "procpool._core")]
pub(crate) struct Submitter {
    shared: Arc<Shared>,
    kind: Py<PyType>,
    function: Py<PyType>,
    known: Py<PyDict>,
    otherwise: Py<PyAny>,
}

#[pymethods]
impl Submitter {
    #[pyo3(signature = (function, /, *args, **kwargs))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // Other things may be equal to each other, or not be hashable.
        if function.get_type().is(&self.function)
            && let Some(known) = self.known.bind(py).get_item(function)?
            && let Some(known) = up_to_date(&known)?
        {
            let kind = self.kind.bind(py);
            return match submit(py, &self.shared, kind, known.get(), args, kwargs, None)? {
                Ok(future) => Ok(future),
                // The executor knows why.
                Err(error) if error.kind() == Kind::Closed => self.otherwise.bind(py).call1((function, args, kwargs)),
                Err(error) => Err(faults::raise(py, &error)),
            };
        }
        self.otherwise.bind(py).call1((function, args, kwargs))
    }
}

/// The pool.
#[pyclass(frozen, module = "procpool._core", weakref)]
pub(crate) struct Port(pub(crate) Arc<Shared>);

impl Port {
    fn pool(&self) -> PyResult<&Pool> {
        Ok(self.0.port()?.pool())
    }
}

#[pymethods]
impl Port {
    /// `set_up` is a pickle that each worker is given first.
    #[new]
    #[pyo3(signature = (template, workers, set_up, pickler, *, options=None, tasks_per_worker=None, name="procpool", capture=None, on_death=None, grace=None, start_timeout=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        template: &Template,
        workers: usize,
        set_up: &[u8],
        pickler: Py<PyAny>,
        options: Option<&TaskOptions>,
        tasks_per_worker: Option<u64>,
        name: &str,
        capture: Option<Py<PyAny>>,
        on_death: Option<u64>,
        grace: Option<f64>,
        start_timeout: Option<f64>,
    ) -> PyResult<Self> {
        let mut builder = Pool::builder().workers(workers).name(name);
        if let Some(options) = options {
            builder = builder.task_options(&options.0);
        }
        if let Some(tasks) = tasks_per_worker {
            builder = builder.tasks_per_worker(tasks);
        }
        if let Some(grace) = grace.and_then(|grace| Duration::try_from_secs_f64(grace).ok()) {
            builder = builder.grace(grace);
        }
        if let Some(timeout) = start_timeout.and_then(|timeout| Duration::try_from_secs_f64(timeout).ok()) {
            builder = builder.start_timeout(timeout);
        }
        if let Some(capture) = capture {
            builder = builder.output(Output::Capture(Arc::new(move |line| {
                // On a thread of the pool's own. At the end of the interpreter there is nobody to tell.
                let _ = Python::try_attach(|py| {
                    let text = String::from_utf8_lossy(&line.bytes);
                    let error = line.stream == procpool::Stream::Stderr;
                    if let Err(error) = capture.call1(py, (line.pid, error, text)) {
                        error.write_unraisable(py, None);
                    }
                });
            })));
        }
        if let Some(token) = on_death {
            let told_to_end = Mutex::new(BTreeSet::new());
            builder = builder.events(move |record| {
                let mut told_to_end = told_to_end.lock().unwrap_or_else(PoisonError::into_inner);
                match &record.event {
                    procpool::Event::WorkerRetired { worker, .. } => drop(told_to_end.insert(*worker)),
                    procpool::Event::WorkerEnded { worker, .. } if !told_to_end.remove(worker) => {
                        crate::collector::tell(token);
                    }
                    _ => {}
                }
            });
        }
        let launcher = template.launcher();
        let set_up = lang::Payload { head: set_up, runs: &[] };
        let port = py
            .detach(|| lang::Port::open(builder, launcher, identity(), &set_up))
            .map_err(|error| faults::raise(py, &error))?;
        Ok(Self(Arc::new(Shared {
            port: ManuallyDrop::new(port),
            generation: GENERATION.load(SeqCst),
            over: AtomicBool::new(false),
            at_once: AtomicBool::new(false),
            holds: AtomicU32::new(0),
            pickler,
        })))
    }

    /// Describes a function, whose pickle `code` is.
    fn function(&self, name: &str, code: &Bound<'_, PyBytes>) -> PyResult<Function> {
        Ok(Function(self.0.port()?.function(name, code.as_bytes().to_vec())))
    }

    /// Hands a call over; returns its future, an instance of `kind`.
    #[pyo3(signature = (kind, function, args, kwargs=None, options=None))]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        kind: &Bound<'py, PyType>,
        function: &Function,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        options: Option<&TaskOptions>,
    ) -> PyResult<Bound<'py, PyAny>> {
        submit(py, &self.0, kind, function, args, kwargs, options)?.map_err(|error| faults::raise(py, &error))
    }

    /// What an executor's `submit` is while all is well: calls what `known` has a function for, and `otherwise` for the rest. The
    /// values of `known` are functions, or tuples of a function, a namespace and names with the values that they must have there.
    /// `function` is the type of the keys of `known`.
    fn submitter(&self, kind: Py<PyType>, function: Py<PyType>, known: Py<PyDict>, otherwise: Py<PyAny>) -> Submitter {
        Submitter { shared: Arc::clone(&self.0), kind, function, known, otherwise }
    }

    /// A future that has failed with `exception`.
    fn failed<'py>(&self, kind: &Bound<'py, PyType>, exception: Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let future = FutureBase::make(kind)?;
        future.cast::<FutureBase>()?.get().fail(Arc::clone(&self.0), exception);
        Ok(future)
    }

    /// Calls `function` with each item of `inputs`: a tuple of arguments, or with `only` the one argument.
    #[pyo3(signature = (function, inputs, *, only=false, chunk=None, window=None, ordered=true, stop=true, options=None, owned=false))]
    #[allow(clippy::too_many_arguments)]
    fn map(
        &self,
        function: &Function,
        inputs: Py<PyAny>,
        only: bool,
        chunk: Option<u32>,
        window: Option<u64>,
        ordered: bool,
        stop: bool,
        options: Option<&TaskOptions>,
        owned: bool,
    ) -> PyResult<MapIter> {
        self.0.port()?;
        let options = options.map(|options| options.0);
        let function = function.0.clone();
        Ok(MapIter::new(Arc::clone(&self.0), function, owned, inputs, only, chunk, window, ordered, stop, options))
    }

    /// Cancels what has not begun.
    fn cancel_pending(&self, py: Python<'_>) -> PyResult<()> {
        let pool = self.pool()?;
        py.detach(|| pool.cancel_pending());
        Ok(())
    }

    /// Takes nothing more, and returns when everything has ended; or with `wait` false at once. Raises what a signal raises.
    fn shutdown(&self, py: Python<'_>, wait: bool) -> PyResult<()> {
        let Ok(_) = self.0.port() else { return Ok(()) };
        let shared = Arc::clone(&self.0);
        if !wait {
            linger(move || shared.end(false));
            return Ok(());
        }
        if py.detach(|| self.0.is_idle()) {
            py.detach(|| self.0.end(false));
            return Ok(());
        }
        let thread = std::thread::Builder::new().name("procpool-end".into()).spawn(move || shared.end(false));
        let thread = thread.map_err(|e| PyRuntimeError::new_err(e.to_string()))?;
        while !thread.is_finished() {
            py.detach(|| std::thread::park_timeout(Duration::from_millis(1)));
            py.check_signals()?;
        }
        Ok(())
    }

    /// Ends everything at once.
    fn kill(&self, py: Python<'_>) {
        if self.0.port().is_ok() {
            py.detach(|| self.0.end(true));
        }
    }

    /// When the last future is gone and it was not shut down: whether to end what runs.
    fn set_at_once(&self, at_once: bool) {
        self.0.at_once.store(at_once, SeqCst);
    }

    fn resize(&self, workers: usize) -> PyResult<()> {
        self.pool()?.resize(workers);
        Ok(())
    }

    #[getter]
    fn workers(&self) -> PyResult<usize> {
        Ok(self.pool()?.workers())
    }

    #[getter]
    fn pids(&self) -> PyResult<Vec<u32>> {
        Ok(self.pool()?.worker_pids())
    }

    /// How many tasks were accepted and have not ended.
    #[getter]
    fn pending(&self) -> PyResult<u64> {
        Ok(self.0.port()?.pending())
    }

    /// Whether some task has begun, or ended.
    #[getter]
    fn has_run(&self) -> PyResult<bool> {
        Ok(self.0.port()?.has_run())
    }

    /// What it has done so far.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.pool()?.stats();
        let dict = PyDict::new(py);
        dict.set_item("tasks_ok", stats.tasks_ok)?;
        dict.set_item("tasks_failed", stats.tasks_failed)?;
        dict.set_item("retries", stats.retries)?;
        dict.set_item("workers_started", stats.workers_started)?;
        dict.set_item("workers_recycled", stats.workers_recycled)?;
        dict.set_item("workers_died", stats.workers_died)?;
        dict.set_item("workers_died_busy", stats.workers_died_busy)?;
        Ok(dict)
    }
}

impl Shared {
    /// Whether nothing is pending.
    fn is_idle(&self) -> bool {
        self.port.pending() == 0
    }

    fn end(&self, at_once: bool) {
        if at_once {
            self.port.pool().shutdown_now();
        } else {
            self.port.pool().shutdown();
        }
        self.over.store(true, SeqCst);
    }
}
