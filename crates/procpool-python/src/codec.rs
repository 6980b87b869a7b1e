//! A codec for what most calls are made of: numbers, strings, bytes, and flat containers of them. What it does not know, and
//! what pickle would give another identity, is left to pickle. Types are exact: no subclass loses anything by it.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Containers may be nested this deep.
const DEPTH: u32 = 4;

/// Longer containers are pickled, since they may hold anything.
const LONGEST: usize = 1 << 16;

/// Writes values; remembers whether a container that can be changed was among them, since two could be the same one.
pub(crate) struct Encoder<'o> {
    out: &'o mut Vec<u8>,
    changeable: bool,
}

impl<'o> Encoder<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, changeable: false }
    }

    /// Appends `value`. `false` if it is left to pickle; then what was appended is nothing.
    pub(crate) fn value(&mut self, value: &Bound<'_, PyAny>) -> bool {
        let start = self.out.len();
        let done = self.put(value, DEPTH);
        if !done {
            self.out.truncate(start);
        }
        done
    }

    /// Appends the tuple of just `value`.
    pub(crate) fn only(&mut self, value: &Bound<'_, PyAny>) -> bool {
        self.begin(b'(', 1);
        if self.value(value) {
            return true;
        }
        self.out.clear();
        false
    }

    fn begin(&mut self, tag: u8, len: usize) {
        self.out.push(tag);
        self.out.extend_from_slice(&(len as u32).to_le_bytes());
    }

    fn bytes(&mut self, tag: u8, bytes: &[u8]) -> bool {
        // Large ones go out of band, or are pickled.
        if bytes.len() > 16 * 1024 {
            return false;
        }
        self.begin(tag, bytes.len());
        self.out.extend_from_slice(bytes);
        true
    }

    fn put(&mut self, value: &Bound<'_, PyAny>, depth: u32) -> bool {
        if value.is_exact_instance_of::<PyInt>() {
            let Ok(n) = value.extract::<i64>() else { return false };
            if let Ok(small) = i8::try_from(n) {
                self.out.extend_from_slice(&[b'i', small as u8]);
            } else {
                self.out.push(b'l');
                self.out.extend_from_slice(&n.to_le_bytes());
            }
            return true;
        }
        if value.is_none() {
            self.out.push(b'N');
            return true;
        }
        if let Ok(text) = value.cast_exact::<PyString>() {
            return text.to_str().is_ok_and(|text| self.bytes(b's', text.as_bytes()));
        }
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            self.out.push(b'f');
            self.out.extend_from_slice(&number.value().to_bits().to_le_bytes());
            return true;
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            if depth == 0 || tuple.len() > LONGEST {
                return false;
            }
            self.begin(b'(', tuple.len());
            return tuple.iter().all(|item| self.put(&item, depth - 1));
        }
        if let Ok(truth) = value.cast_exact::<PyBool>() {
            self.out.push(if truth.is_true() { b'T' } else { b'F' });
            return true;
        }
        if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            return self.bytes(b'b', bytes.as_bytes());
        }
        if depth == 0 || std::mem::replace(&mut self.changeable, true) {
            return false;
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            if list.len() > LONGEST {
                return false;
            }
            self.begin(b'[', list.len());
            let before = list.len();
            return list.iter().all(|item| self.put(&item, depth - 1)) && list.len() == before;
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            if dict.len() > LONGEST {
                return false;
            }
            self.begin(b'{', dict.len());
            return dict.iter().all(|(key, value)| self.put(&key, depth - 1) && self.put(&value, depth - 1));
        }
        false
    }
}

/// Reads values that an [`Encoder`] has written.
pub(crate) struct Decoder<'i>(pub(crate) &'i [u8]);

impl<'i> Decoder<'i> {
    fn take(&mut self, len: usize) -> PyResult<&'i [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn word<const N: usize>(&mut self) -> PyResult<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| damaged())
    }

    fn len(&mut self) -> PyResult<usize> {
        Ok(u32::from_le_bytes(self.word()?) as usize)
    }

    /// Each item takes a byte at least, so no more are believed than there are bytes.
    pub(crate) fn count(&mut self) -> PyResult<usize> {
        let count = self.len()?;
        if count > self.0.len() { Err(damaged()) } else { Ok(count) }
    }

    pub(crate) fn value<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get(py, DEPTH)
    }

    fn get<'py>(&mut self, py: Python<'py>, depth: u32) -> PyResult<Bound<'py, PyAny>> {
        let [tag] = self.word::<1>()?;
        let inner = || depth.checked_sub(1).ok_or_else(damaged);
        match tag {
            b'i' => (self.word::<1>()?[0] as i8).into_bound_py_any(py),
            b'l' => i64::from_le_bytes(self.word()?).into_bound_py_any(py),
            b'N' => Ok(py.None().into_bound(py)),
            b'T' => true.into_bound_py_any(py),
            b'F' => false.into_bound_py_any(py),
            b'f' => f64::from_bits(u64::from_le_bytes(self.word()?)).into_bound_py_any(py),
            b's' => {
                let len = self.len()?;
                let text = std::str::from_utf8(self.take(len)?).map_err(|_| damaged())?;
                text.into_bound_py_any(py)
            }
            b'b' => {
                let len = self.len()?;
                Ok(PyBytes::new(py, self.take(len)?).into_any())
            }
            b'(' => {
                let (count, depth) = (self.count()?, inner()?);
                let items: PyResult<Vec<_>> = (0..count).map(|_| self.get(py, depth)).collect();
                Ok(PyTuple::new(py, items?)?.into_any())
            }
            b'[' => {
                let (count, depth) = (self.count()?, inner()?);
                let items: PyResult<Vec<_>> = (0..count).map(|_| self.get(py, depth)).collect();
                Ok(PyList::new(py, items?)?.into_any())
            }
            b'{' => {
                let (count, depth) = (self.count()?, inner()?);
                let dict = PyDict::new(py);
                for _ in 0..count {
                    let key = self.get(py, depth)?;
                    dict.set_item(key, self.get(py, depth)?)?;
                }
                Ok(dict.into_any())
            }
            _ => Err(damaged()),
        }
    }
}

fn damaged() -> PyErr {
    PyValueError::new_err("what a process of the pool sent is damaged")
}
