//! Bytes between Rust and Python without a copy: what has come is lent to Python, what is to be sent is read in place.

use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use procpool::lang::{self, Payload};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// Bytes that came from another process; arrays that are made of it own it, and may be written to unless it is `lent`.
#[pyclass(frozen, module = "procpool._core")]
pub(crate) struct Run {
    memory: Memory,
}

enum Memory {
    Own(Vec<u8>),
    Lent(Arc<lang::Run>),
}

/// The runs of this process that lie where the program has put them.
static LENT: Mutex<Vec<Weak<lang::Run>>> = Mutex::new(Vec::new());

impl Run {
    /// `read_only`: it was where it comes from, so it need not be this process's own.
    fn new(run: lang::Run, read_only: bool) -> Self {
        if !read_only || !run.is_lent() {
            return Self { memory: Memory::Own(run.into_vec()) };
        }
        let run = Arc::new(run);
        let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
        lent.retain(|run| run.strong_count() > 0);
        lent.push(Arc::downgrade(&run));
        Self { memory: Memory::Lent(run) }
    }

    fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Own(bytes) => bytes,
            Memory::Lent(run) => run.bytes(),
        }
    }
}

/// This process is about to be forked, and the program, which knows of views in its workers, knows nothing of those in forks of
/// them: what is looked at now stays as it is until this process ends.
#[pyfunction]
pub(crate) fn keep_lent() {
    let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
    for run in lent.drain(..).filter_map(|run| run.upgrade()) {
        std::mem::forget(run);
    }
}

#[pymethods]
impl Run {
    fn __len__(&self) -> usize {
        self.bytes().len()
    }

    #[allow(unsafe_code)]
    // SAFETY: called by the interpreter alone, with a `view` to be filled in, as the buffer protocol says.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let run = slf.get();
        let (start, len) = (run.bytes().as_ptr().cast_mut().cast::<c_void>(), run.bytes().len() as ffi::Py_ssize_t);
        let read_only = matches!(run.memory, Memory::Lent(_)).into();
        // SAFETY: the memory lives as long as the object, which the view keeps alive, and neither moves nor is it looked at
        // from Rust once an object exists: Python may write to it, unless it is told that it may not.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, read_only, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Lends what has come to Python, as a list. `read_only` has a byte for each that is not 0 if it was where it comes from.
pub(crate) fn lend<'py>(py: Python<'py>, runs: Vec<lang::Run>, read_only: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let read_only = read_only.iter().map(|byte| *byte != 0).chain(std::iter::repeat(false));
    let runs: PyResult<Vec<_>> =
        runs.into_iter().zip(read_only).map(|(run, ro)| Bound::new(py, Run::new(run, ro))).collect();
    PyList::new(py, runs?)
}

/// Calls `use_it` with the bytes of `head` and of `buffers`, which are contiguous buffers of bytes. A byte for each is added to
/// `head`: whether it may only be read.
#[allow(unsafe_code)]
pub(crate) fn with_payload<R>(
    mut head: Vec<u8>,
    buffers: &[Bound<'_, PyAny>],
    use_it: impl FnOnce(&Payload<'_>) -> R,
) -> PyResult<R> {
    if buffers.is_empty() {
        return Ok(use_it(&Payload { head: &head, runs: &[] }));
    }
    let held: PyResult<Vec<PyBuffer<u8>>> = buffers.iter().map(|buffer| PyBuffer::get(buffer)).collect();
    let held = held?;
    let mut runs: Vec<&[u8]> = Vec::with_capacity(held.len());
    for buffer in &held {
        if !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err("a buffer of a pickle is not contiguous"));
        }
        let (start, len) = (buffer.buf_ptr().cast::<u8>(), buffer.len_bytes());
        // SAFETY: `held` keeps the memory in its place until the end of this function. The interpreter's lock is held all the
        // time, so only code without it could write there meanwhile; that would be a race in the program, whose result is
        // bytes that are sent, nothing else.
        runs.push(if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(start, len) } });
    }
    head.extend(held.iter().map(|buffer| u8::from(buffer.readonly())));
    Ok(use_it(&Payload { head: &head, runs: &runs }))
}
