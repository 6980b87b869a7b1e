//! The worker's side: what the bytes of tasks mean, and how they are run.

use std::os::fd::{FromRawFd, OwnedFd};

use procpool::lang::{self, Interpreter, Message, Payload, Task};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::codec::Encoder;
use crate::faults;
use crate::value::{pickling, read_call, read_calls, with_pickle};

/// What both ends must be: this very build.
pub(crate) fn identity() -> Vec<u8> {
    concat!("procpool-python ", env!("CARGO_PKG_VERSION")).as_bytes().to_vec()
}

struct Python3 {
    set_up: Py<PyAny>,
    finish: Py<PyAny>,
}

/// What a worker has made of a function's description: the function, or what was raised by the attempt.
type Loaded = Result<Py<PyAny>, Py<PyAny>>;

impl Interpreter for Python3 {
    fn set_up(&self, message: Message) -> Result<(), String> {
        Python::attach(|py| {
            let Message { head, runs } = message;
            let call = || {
                let runs = crate::buffers::lend(py, runs, &[])?;
                self.set_up.bind(py).call1((PyBytes::new(py, &head), runs))?.extract::<Option<String>>()
            };
            match call() {
                Ok(None) => Ok(()),
                Ok(Some(why)) => Err(why),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn finish(&self) {
        Python::attach(|py| {
            if let Err(error) = self.finish.call0(py) {
                error.print(py);
            }
        });
    }

    fn run(&self, task: &mut Task<'_>) {
        Python::attach(|py| {
            if let Err(error) = attempt(py, task).and_then(|outcome| reply(py, task, outcome)) {
                // Not even an exception could be written: say so in words.
                let words = error.to_string();
                task.reply(&Payload { head: &[b"X", words.as_bytes()].concat(), runs: &[] });
            }
        });
    }
}

/// Runs the task; the inner result is the task's own.
fn attempt<'py>(py: Python<'py>, task: &mut Task<'_>) -> PyResult<Result<Bound<'py, PyAny>, PyErr>> {
    let function = match load_function(py, task)? {
        Ok(function) => function,
        Err(error) => return Ok(Err(PyErr::from_value(error.into_bound(py)))),
    };
    let mut call = || -> PyResult<Bound<'py, PyAny>> {
        let (function, mut message) = (function.bind(py), task.take_input());
        let Some((inputs, only)) = read_calls(py, &mut message)? else {
            let (args, kwargs): (Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>) = read_call(py, message)?;
            return function.call(args, kwargs.as_ref());
        };
        let results: PyResult<Vec<_>> = if only {
            inputs.into_iter().map(|input| function.call1((input,))).collect()
        } else {
            inputs.into_iter().map(|input| function.call1(input.cast_into::<PyTuple>()?)).collect()
        };
        Ok(PyList::new(py, results?)?.into_any())
    };
    Ok(call())
}

fn load_function(py: Python<'_>, task: &mut Task<'_>) -> PyResult<Loaded> {
    let (code, kept) = task.function();
    if let Some(loaded) = kept.as_ref().and_then(|kept| kept.downcast_ref::<Loaded>()) {
        return Ok(match loaded {
            Ok(function) => Ok(function.clone_ref(py)),
            Err(error) => Err(error.clone_ref(py)),
        });
    }
    let loaded: Loaded = match pickling(py)?.call_method1("load_function", (PyBytes::new(py, code),)) {
        Ok(function) => Ok(function.unbind()),
        Err(error) => Err(error.into_value(py).into_any()),
    };
    let copy = match &loaded {
        Ok(function) => Ok(function.clone_ref(py)),
        Err(error) => Err(error.clone_ref(py)),
    };
    *kept = Some(Box::new(loaded));
    Ok(copy)
}

fn reply(py: Python<'_>, task: &mut Task<'_>, outcome: Result<Bound<'_, PyAny>, PyErr>) -> PyResult<()> {
    let error = match outcome {
        Ok(value) => {
            let mut head = Vec::with_capacity(64);
            head.push(b'C');
            if Encoder::new(&mut head).value(&value) {
                task.reply(&Payload { head: &head, runs: &[] });
                return Ok(());
            }
            let pickled = pickling(py)?.call_method1("dump_result", (&value,));
            match pickled.and_then(|pair| with_pickle(b'P', &pair, |payload| task.reply(payload))) {
                Ok(()) => return Ok(()),
                Err(error) => pickling(py)?.call_method1("unwritable_result", (error.into_value(py), value))?,
            }
        }
        Err(error) => error.into_value(py).into_bound(py).into_any(),
    };
    let dumped = pickling(py)?.call_method1("dump_exception", (error,))?;
    let dumped: Bound<'_, PyBytes> = dumped.extract()?;
    task.reply(&Payload { head: &[b"E", dumped.as_bytes()].concat(), runs: &[] });
    Ok(())
}

/// Serves the pool at the other end of the socket `fd`, which is this function's from now on; returns when this process is to end.
/// `set_up` is called once, with a pickle and its buffers, and returns why this worker cannot work, or None; `finish` when it
/// was told to end.
#[pyfunction]
#[allow(unsafe_code)]
pub(crate) fn serve(py: Python<'_>, fd: i32, set_up: Py<PyAny>, finish: Py<PyAny>) -> PyResult<()> {
    // SAFETY: the caller gives the descriptor away, as the documentation says.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let interpreter = Box::new(Python3 { set_up, finish });
    py.detach(|| lang::serve(socket, identity(), interpreter)).map_err(|error| faults::raise(py, &error))
}
