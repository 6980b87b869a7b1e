//! Bytes between Rust and Python without a copy: what has come is lent to Python, what is to be sent is read in place.

use std::ffi::{c_int, c_void};

use procpool::lang::Payload;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// Bytes that came from another process; arrays that are made of it own it, and may be written to.
#[pyclass(frozen, module = "procpool._core")]
pub(crate) struct Run {
    bytes: Vec<u8>,
}

impl Run {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }
}

#[pymethods]
impl Run {
    fn __len__(&self) -> usize {
        self.bytes.len()
    }

    #[allow(unsafe_code)]
    // SAFETY: called by the interpreter alone, with a `view` to be filled in, as the buffer protocol says.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let bytes = &slf.get().bytes;
        let (start, len) = (bytes.as_ptr().cast_mut().cast::<c_void>(), bytes.len() as ffi::Py_ssize_t);
        // SAFETY: the memory lives as long as the object, which the view keeps alive, and neither moves nor is it looked at
        // from Rust once an object exists: Python may write to it.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, 0, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Lends what has come to Python, as a list.
pub(crate) fn lend(py: Python<'_>, runs: Vec<Vec<u8>>) -> PyResult<Bound<'_, PyList>> {
    let runs: PyResult<Vec<_>> = runs.into_iter().map(|run| Bound::new(py, Run::new(run))).collect();
    PyList::new(py, runs?)
}

/// Calls `use_it` with the bytes of `head` and of `buffers`, which are contiguous buffers of bytes.
#[allow(unsafe_code)]
pub(crate) fn with_payload<R>(
    head: &[u8],
    buffers: &[Bound<'_, PyAny>],
    use_it: impl FnOnce(&Payload<'_>) -> R,
) -> PyResult<R> {
    if buffers.is_empty() {
        return Ok(use_it(&Payload { head, runs: &[] }));
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
    Ok(use_it(&Payload { head, runs: &runs }))
}
