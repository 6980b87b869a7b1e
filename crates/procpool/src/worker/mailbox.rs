//! The thread that listens to the control socket while the worker's main thread runs tasks.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;

use super::{Place, parent_is_gone};
use crate::attach::Cache;
use crate::os::bell::futex_wake;
use crate::os::memory::{Frozen, Mapping};
use crate::os::socket::{MAX_MESSAGE, Received, Socket};
use crate::ring::{FULL, Region, SLEEPING};
use crate::wire::control::{self, Blob, ToWorker};

/// What has come by the socket and was not yet asked for.
#[derive(Debug)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
    /// Whether the mail says to end or to drop something. The worker asks for that at every frame, and without a lock.
    news: AtomicBool,
    region: Region,
    /// Memory that inputs refer to.
    memories: Arc<Cache>,
}

#[derive(Debug, Default)]
struct Mail {
    attachments: HashMap<u64, (bool, Vec<OwnedFd>)>,
    states: HashMap<u64, Vec<u8>>,
    /// Segments that inputs lie in; `None` for one that cannot be mapped.
    segments: HashMap<u64, Option<Arc<Mapping>>>,
    dropped: Vec<u64>,
    exit: bool,
    closed: bool,
}

impl Mailbox {
    /// Starts to listen. The thread ends with the socket.
    pub(super) fn open(socket: Arc<Socket>, region: Region, place: Place) -> std::io::Result<Arc<Self>> {
        let (mail, arrived, news) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let mailbox = Arc::new(Self { mail, arrived, news, region, memories: Arc::default() });
        let listener = Arc::clone(&mailbox);
        std::thread::Builder::new().name("procpool-mailbox".into()).stack_size(256 * 1024).spawn(move || {
            // The host's signal handlers belong to its own threads.
            let _ = crate::os::signals::block_all();
            listener.listen(&socket, place);
        })?;
        Ok(mailbox)
    }

    fn listen(&self, socket: &Socket, place: Place) {
        loop {
            let Some((message, mut fds)) = receive::<ToWorker>(socket) else {
                parent_is_gone(place);
                self.change(|mail| mail.closed = true);
                return self.wake();
            };
            // Without the lock, since it takes a while.
            let segment = match message {
                ToWorker::Segment { .. } => fds.pop().and_then(|fd| Mapping::readable(fd).ok()).map(Arc::new),
                _ => None,
            };
            if let ToWorker::Attach { payload, memories, .. } = &message {
                self.memories.add(fds.get(usize::from(*payload)..).unwrap_or_default(), memories);
            }
            self.change(|mail| match message {
                ToWorker::Attach { number, payload, .. } => {
                    mail.attachments.insert(number, (payload, fds));
                }
                ToWorker::State { number, bytes } => {
                    let bytes = match bytes {
                        Blob::Inline(bytes) => Ok(bytes),
                        Blob::Memfd => super::first_memfd(&mut fds).map(|frozen: Frozen| frozen.bytes().to_vec()),
                    };
                    mail.states.insert(number, bytes.unwrap_or_default());
                    // Sent once more, so it is needed once more.
                    mail.dropped.retain(|dropped| *dropped != number);
                }
                ToWorker::DropState { number } => mail.dropped.push(number),
                ToWorker::Segment { number } => drop(mail.segments.insert(number, segment)),
                ToWorker::DropSegment { number } => drop(mail.segments.remove(&number)),
                ToWorker::DropMemory { number } => self.memories.remove(number),
                ToWorker::Exit => mail.exit = true,
                ToWorker::Serve { .. } | ToWorker::RunOnce { .. } => {}
            });
            self.wake();
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Mail) -> R) -> R {
        let mut mail = self.lock();
        let result = change(&mut mail);
        self.news.store(mail.exit || mail.closed || !mail.dropped.is_empty(), SeqCst);
        result
    }

    fn wake(&self) {
        self.arrived.notify_all();
        if self.region.take_worker_sleep(SLEEPING) || self.region.take_worker_sleep(FULL) {
            futex_wake(self.region.worker_word());
        }
    }

    /// Whether the worker is to end once its ring is empty.
    pub(super) fn is_told_to_end(&self) -> bool {
        self.news.load(SeqCst) && {
            let mail = self.lock();
            mail.exit || mail.closed
        }
    }

    /// Whether nobody is at the other end any more.
    pub(super) fn is_closed(&self) -> bool {
        self.news.load(SeqCst) && self.lock().closed
    }

    /// The descriptors of attachment `number`, and whether the first is the frame's payload. Waits for them; `None` if they
    /// will not come.
    pub(super) fn attachment(&self, number: u64) -> Option<(bool, Vec<OwnedFd>)> {
        self.wait_for(|mail| mail.attachments.remove(&number))
    }

    /// The encoding of state `number`. Waits for it; `None` if it will not come.
    pub(super) fn state(&self, number: u64) -> Option<Vec<u8>> {
        self.wait_for(|mail| mail.states.remove(&number))
    }

    /// What the parent has sent that inputs may refer to.
    pub(super) fn memories(&self) -> &Arc<Cache> {
        &self.memories
    }

    /// The memory of segment `number`. Waits for it; `None` if it will not come.
    pub(super) fn segment(&self, number: u64) -> Option<Arc<Mapping>> {
        self.wait_for(|mail| mail.segments.get(&number).cloned())?
    }

    /// The states that are not needed any more, and forgets those that nobody has asked for.
    pub(super) fn dropped_states(&self) -> Vec<u64> {
        if !self.news.load(SeqCst) {
            return Vec::new();
        }
        self.change(|mail| {
            let dropped = std::mem::take(&mut mail.dropped);
            mail.states.retain(|number, _| !dropped.contains(number));
            dropped
        })
    }

    fn wait_for<T>(&self, mut take: impl FnMut(&mut Mail) -> Option<T>) -> Option<T> {
        let mut mail = self.lock();
        loop {
            if let Some(found) = take(&mut mail) {
                return Some(found);
            }
            if mail.closed {
                return None;
            }
            mail = self.arrived.wait(mail).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next message, or `None` when the other end is closed or speaks nonsense.
pub(super) fn receive<T: DeserializeOwned>(socket: &Socket) -> Option<(T, Vec<OwnedFd>)> {
    let mut buf = vec![0; MAX_MESSAGE];
    match socket.receive(&mut buf, true) {
        Ok(Received::Message(len, fds)) => Some((control::decode(&buf[..len])?, fds)),
        _ => None,
    }
}
