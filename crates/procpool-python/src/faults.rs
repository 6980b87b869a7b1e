//! The engine's errors, and other processes' exceptions, as exceptions of Python.

use procpool::{Error, Kind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// The Python half of this module: `procpool._faults`.
fn python_half(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    MODULE.get_or_try_init(py, || py.import("procpool._faults").map(Bound::unbind)).map(|module| module.bind(py))
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Died => "died",
        Kind::TimedOut => "timed out",
        Kind::OutOfMemory => "out of memory",
        Kind::Cancelled => "cancelled",
        Kind::Closed => "closed",
        Kind::Start => "start",
        Kind::Encode | Kind::Decode => "encode",
        Kind::Usage => "usage",
        _ => "os",
    }
}

/// The exception for `error`.
pub(crate) fn exception_of<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let facts = PyDict::new(py);
    facts.set_item("message", error.message())?;
    facts.set_item("task", error.task())?;
    facts.set_item("index", error.index())?;
    facts.set_item("pid", error.pid())?;
    facts.set_item("attempt", error.attempt())?;
    facts.set_item("signal", error.signal())?;
    facts.set_item("exit_code", error.exit_code())?;
    facts.set_item("peak_memory", error.peak_memory())?;
    facts.set_item("stderr", error.stderr())?;
    python_half(py)?.call_method1("of_engine", (name(error.kind()), facts))
}

/// The same, to be raised.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    match exception_of(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
