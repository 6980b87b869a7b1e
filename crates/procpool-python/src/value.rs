//! How calls and results are written and read: by the codec if it can, else by pickle in `procpool._pickling`.
//!
//! The first byte of a head says what follows: `C` something of the codec, `P` a pickle, `M` and `Q` the same for the inputs of
//! several calls (`m` and `q` if each is a tuple of arguments), `E` a pickle of an exception and what
//! is known of it, `X` words about an exception that nothing else could be made of.

use procpool::lang::{Message, Payload, Run};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::buffers::{lend, with_payload};
use crate::codec::{Decoder, Encoder};

/// The Python half: `procpool._pickling`.
pub(crate) fn pickling(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    MODULE.get_or_try_init(py, || py.import("procpool._pickling").map(Bound::unbind)).map(|module| module.bind(py))
}

/// Calls `use_it` with the encoding of a call's arguments: of `args` and `kwargs`, or of `args` as the only one.
pub(crate) fn with_call<R>(
    pickler: &Py<PyAny>,
    args: &Bound<'_, PyAny>,
    kwargs: Option<&Bound<'_, PyDict>>,
    only: bool,
    use_it: impl FnOnce(&Payload<'_>) -> R,
) -> PyResult<R> {
    let mut head = Vec::with_capacity(64);
    head.push(b'C');
    let plain = kwargs.is_none_or(|kwargs| kwargs.is_empty()) && {
        let mut encoder = Encoder::new(&mut head);
        if only { encoder.only(args) } else { encoder.value(args) }
    };
    if plain {
        return Ok(use_it(&Payload { head: &head, runs: &[] }));
    }
    let py = args.py();
    let args = if only { PyTuple::new(py, [args])?.into_any() } else { args.clone() };
    with_pickle(b'P', &pickler.bind(py).call_method1("dump_call", (args, kwargs))?, use_it)
}

/// Calls `use_it` with the encoding of several calls that are one task: of `inputs`, each a tuple of arguments or the only one.
pub(crate) fn with_calls<R>(
    py: Python<'_>,
    pickler: &Py<PyAny>,
    inputs: &[Bound<'_, PyAny>],
    only: bool,
    use_it: impl FnOnce(&Payload<'_>) -> R,
) -> PyResult<R> {
    let mut head = Vec::with_capacity(5 + 8 * inputs.len());
    head.push(if only { b'M' } else { b'm' });
    head.extend_from_slice(&(inputs.len() as u32).to_le_bytes());
    let mut encoder = Encoder::new(&mut head);
    if inputs.iter().all(|input| encoder.value(input)) {
        return Ok(use_it(&Payload { head: &head, runs: &[] }));
    }
    let list = PyList::new(py, inputs)?;
    with_pickle(if only { b'Q' } else { b'q' }, &pickler.bind(py).call_method1("dump", (list,))?, use_it)
}

/// Calls `use_it` with a pair of a pickle and the buffers that it refers to.
pub(crate) fn with_pickle<R>(tag: u8, pair: &Bound<'_, PyAny>, use_it: impl FnOnce(&Payload<'_>) -> R) -> PyResult<R> {
    let (pickle, buffers): (Bound<'_, PyBytes>, Vec<Bound<'_, PyAny>>) = pair.extract()?;
    let pickle = pickle.as_bytes();
    let mut head = Vec::with_capacity(pickle.len() + 1);
    head.push(tag);
    head.extend_from_slice(pickle);
    with_payload(head, &buffers, use_it)
}

/// The inputs of several calls that are one task, and whether each is an only argument; None if this is one call.
pub(crate) fn read_calls<'py>(
    py: Python<'py>,
    message: &mut Message,
) -> PyResult<Option<(Vec<Bound<'py, PyAny>>, bool)>> {
    match message.head.split_first() {
        Some((tag @ (b'M' | b'm'), rest)) => {
            let mut decoder = Decoder(rest);
            let count = decoder.count()?;
            let inputs: PyResult<Vec<_>> = (0..count).map(|_| decoder.value(py)).collect();
            Ok(Some((inputs?, *tag == b'M')))
        }
        Some((tag @ (b'Q' | b'q'), pickle)) => {
            let list = load(py, pickle, std::mem::take(&mut message.runs))?;
            Ok(Some((list.extract()?, *tag == b'Q')))
        }
        _ => Ok(None),
    }
}

/// The arguments of a call.
pub(crate) fn read_call<'py>(
    py: Python<'py>,
    message: Message,
) -> PyResult<(Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>)> {
    match message.head.split_first() {
        Some((b'C', rest)) => Ok((Decoder(rest).value(py)?.cast_into()?, None)),
        Some((_, pickle)) => {
            let loaded = load(py, pickle, message.runs)?;
            Ok(loaded.extract()?)
        }
        None => Err(pyo3::exceptions::PyValueError::new_err("a call did not arrive")),
    }
}

fn load<'py>(py: Python<'py>, pickle: &[u8], runs: Vec<Run>) -> PyResult<Bound<'py, PyAny>> {
    let (pickle, read_only) = pickle.split_at(pickle.len().saturating_sub(runs.len()));
    let runs = if runs.is_empty() { PyList::empty(py) } else { lend(py, runs, read_only)? };
    pickling(py)?.call_method1("load", (PyBytes::new(py, pickle), runs))
}

/// What a task gave: its value, or the exception that it raised.
pub(crate) fn read_result<'py>(
    py: Python<'py>,
    message: Message,
) -> PyResult<Result<Bound<'py, PyAny>, Bound<'py, PyAny>>> {
    match message.head.split_first() {
        Some((b'C', rest)) => Ok(Ok(Decoder(rest).value(py)?)),
        Some((b'P', pickle)) => match load(py, pickle, message.runs) {
            Ok(value) => Ok(Ok(value)),
            Err(error) => {
                let made = pickling(py)?.call_method1("unreadable_result", (error.into_value(py),))?;
                Ok(Err(made))
            }
        },
        Some((b'E', rest)) => Ok(Err(pickling(py)?.call_method1("load_exception", (PyBytes::new(py, rest),))?)),
        Some((b'X', words)) => {
            let words = String::from_utf8_lossy(words);
            Ok(Err(pickling(py)?.call_method1("unwritable_exception", (words,))?))
        }
        _ => Err(pyo3::exceptions::PyValueError::new_err("a result did not arrive")),
    }
}
