//! Values between processes, first in, first out.
//!
//! The values lie one behind the other in a memfd, read and written with `pread` and `pwrite`. A file lock says whose turn
//! it is; the kernel gives it back when its holder dies, whenever that is. Each holder has an open file description of its
//! own, because that is what such a lock belongs to. An eventfd is readable while there are values; those who wait, wait on
//! it. Every step leaves the queue whole: a value counts once the header says so, and the header is written last.

use std::fmt;
use std::fs::File;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, ftruncate};
use rustix::io::Errno;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attach::{self, Attachment};
use crate::call;
use crate::error::{Blame, Error, Kind, Result};
use crate::os::bell::{Bell, wait_readable};
use crate::os::fail::{Call, point};
use crate::os::memory;

/// A queue of values that any number of processes and threads put into and get from.
///
/// It is without bounds: `put` never waits. Clones are the same queue, and so is what arrives when a queue is part of the
/// input or output of a task or process:
///
/// ```
/// # fn main() -> procpool::Result<()> {
/// # procpool::init();
/// use procpool::{Process, Queue};
///
/// fn count((queue, path): (Queue<(String, usize)>, String)) {
///     queue.put(&(path.clone(), path.len())).unwrap();
/// }
///
/// let queue = Queue::new()?;
/// let mut process = Process::spawn(count, (queue.clone(), "a.txt".to_string()))?;
/// assert_eq!(queue.get()?, ("a.txt".to_string(), 5));
/// process.join()?;
/// assert!(queue.is_empty()?);
/// # Ok(())
/// # }
/// ```
pub struct Queue<T> {
    inner: Arc<Inner>,
    value: PhantomData<fn(T) -> T>,
}

#[derive(Debug)]
struct Inner {
    /// Locked within this process first, since a file lock excludes only other holders of other descriptions.
    file: Mutex<File>,
    bell: Bell,
}

/// Where the values that are there begin and end in the file, counted from behind the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    head: u64,
    tail: u64,
}

const HEADER: u64 = 16;
const LENGTH: u64 = 8;
/// Memory before the head is given back in steps of at least this many bytes.
const GIVE_BACK: u64 = 1 << 20;

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// A new, empty queue. It lives as long as somebody holds it, and leaves no trace in the file system.
    ///
    /// # Errors
    /// [`Kind::Os`] if the system is out of memory or descriptors.
    pub fn new() -> Result<Self> {
        let made = memory::create_growing("procpool-queue").and_then(|fd| {
            let file = File::from(fd);
            file.write_all_at(&[0; HEADER as usize], 0)?;
            Ok(Inner { file: Mutex::new(file), bell: Bell::new()? })
        });
        let inner = made.map_err(|e| Error::os("cannot make a queue", &e))?;
        Ok(Self { inner: Arc::new(inner), value: PhantomData })
    }

    /// Appends a value. Never waits for a reader.
    ///
    /// # Errors
    /// [`Kind::Encode`] if the value cannot be encoded (a queue inside a queue cannot), [`Kind::Os`] if memory is short. The
    /// queue is then as before.
    pub fn put(&self, value: &T) -> Result<()> {
        let mut record = vec![0; LENGTH as usize];
        call::encode(value, &mut record).map_err(|why| {
            Error::new(Kind::Encode, Blame::Caller, format!("the value cannot be put into the queue: {why}"))
        })?;
        let len = record.len() as u64 - LENGTH;
        record[..LENGTH as usize].copy_from_slice(&len.to_le_bytes());
        self.inner.locked(|file, bell| {
            let header = Header::read(file)?;
            file.write_all_at(&record, HEADER + header.tail)?;
            if header.head == header.tail {
                // Before the value counts: should we die in between, somebody looks in vain. The other way round, nobody
                // would look.
                bell.ring();
            }
            Header { tail: header.tail + record.len() as u64, ..header }.write(file)
        })
    }

    /// Takes the oldest value, waiting until there is one.
    ///
    /// # Errors
    /// [`Kind::Decode`] if the value cannot be decoded; it is gone then. [`Kind::Os`] if the system refuses.
    pub fn get(&self) -> Result<T> {
        loop {
            if let Some(value) = self.try_get()? {
                return Ok(value);
            }
            self.wait(None)?;
        }
    }

    /// Takes the oldest value if there is one.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn try_get(&self) -> Result<Option<T>> {
        match self.inner.locked(take)? {
            None => Ok(None),
            Some(bytes) => call::decode(&bytes).map(Some).map_err(|why| {
                Error::new(Kind::Decode, Blame::Caller, format!("a value from the queue cannot be decoded: {why}"))
            }),
        }
    }

    /// Takes the oldest value, waiting for one at most `timeout`.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<Option<T>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(value) = self.try_get()? {
                return Ok(Some(value));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(Some(left))?;
        }
    }

    /// Whether there is no value now.
    ///
    /// # Errors
    /// [`Kind::Os`] if the system refuses.
    pub fn is_empty(&self) -> Result<bool> {
        self.inner.locked(|file, _| Header::read(file).map(|header| header.head == header.tail))
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        wait_readable(self.inner.bell.as_fd(), timeout).map(drop).map_err(|e| Error::os("cannot wait for a queue", &e))
    }
}

/// Takes the oldest record out.
fn take(file: &File, bell: &Bell) -> std::io::Result<Option<Vec<u8>>> {
    let header = Header::read(file)?;
    if header.head == header.tail {
        bell.clear();
        return Ok(None);
    }
    let mut len = [0; LENGTH as usize];
    file.read_exact_at(&mut len, HEADER + header.head)?;
    let len = u64::from_le_bytes(len);
    if len > header.tail - header.head - LENGTH.min(header.tail - header.head) {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the queue is damaged"));
    }
    let mut record = vec![0; len as usize];
    file.read_exact_at(&mut record, HEADER + header.head + LENGTH)?;
    let head = header.head + LENGTH + len;
    if head == header.tail {
        Header { head: 0, tail: 0 }.write(file)?;
        bell.clear();
        // Gives the memory back; the bytes behind the header mean nothing any more.
        let _ = ftruncate(file, HEADER);
    } else {
        Header { head, ..header }.write(file)?;
        if head / GIVE_BACK != header.head / GIVE_BACK {
            let upto = head / GIVE_BACK * GIVE_BACK;
            let _ = fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, HEADER, upto);
        }
    }
    Ok(Some(record))
}

impl Header {
    fn read(file: &File) -> std::io::Result<Self> {
        let mut bytes = [0; HEADER as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let word = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        let header = Self { head: word(0), tail: word(8) };
        if header.head > header.tail || header.tail > file.metadata()?.len().saturating_sub(HEADER) {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the queue is damaged"));
        }
        Ok(header)
    }

    /// One write of one cache line's part: whoever is killed has either written it or not.
    fn write(self, file: &File) -> std::io::Result<()> {
        let mut bytes = [0; HEADER as usize];
        bytes[..8].copy_from_slice(&self.head.to_le_bytes());
        bytes[8..].copy_from_slice(&self.tail.to_le_bytes());
        file.write_all_at(&bytes, 0)
    }
}

impl Inner {
    /// Runs `body` as the only one among all holders of the queue.
    fn locked<R>(&self, body: impl FnOnce(&File, &Bell) -> std::io::Result<R>) -> Result<R> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let result = lock_file(&file).and_then(|()| {
            let result = body(&file, &self.bell);
            flock(&*file, FlockOperation::Unlock)?;
            result
        });
        result.map_err(|e| Error::os("cannot use a queue", &e))
    }
}

fn lock_file(file: &File) -> std::io::Result<()> {
    loop {
        match point(Call::Lock).and_then(|()| flock(file, FlockOperation::LockExclusive)) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), value: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// Only inside the input or output of a task or process, where the queue's descriptors travel beside the bytes.
impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let fds = {
            let file = self.inner.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.as_fd().try_clone_to_owned().and_then(|file| Ok((file, self.inner.bell.as_fd().try_clone_to_owned()?)))
        };
        let (file, bell) = fds.map_err(S::Error::custom)?;
        match attach::put([Attachment::reopened(file), Attachment::shared(bell)]) {
            Some(number) => number.serialize(serializer),
            None => {
                let sentence = "a queue can only travel inside the input or output of a task or process";
                attach::complain(sentence);
                Err(S::Error::custom(sentence))
            }
        }
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        match (attach::take(number), number.checked_add(1).and_then(attach::take)) {
            (Some(file), Some(bell)) => {
                let inner = Inner { file: Mutex::new(File::from(file)), bell: Bell::from_fd(bell) };
                Ok(Self { inner: Arc::new(inner), value: PhantomData })
            }
            _ => {
                let sentence = "a queue's descriptors did not arrive with it";
                attach::complain(sentence);
                Err(D::Error::custom(sentence))
            }
        }
    }
}
