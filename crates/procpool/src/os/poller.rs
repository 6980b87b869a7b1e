//! Epoll with a number for each descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::fail::{Call, point};

/// Waits for many descriptors at once.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

/// The most events that one wait reports; the others are reported by the next.
const EVENTS: usize = 64;

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        point(Call::EpollCreate)?;
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Reports `token` whenever `fd` can be read or its peer is gone. A descriptor leaves when it is removed; closing is
    /// not enough while another process may hold a copy.
    pub(crate) fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        point(Call::EpollAdd)?;
        Ok(epoll::add(&self.0, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?)
    }

    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.0, fd);
    }

    /// The tokens that are ready, or none after `timeout`.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<u64>> {
        let mut events = Vec::with_capacity(EVENTS);
        let timeout = timeout.and_then(|d| Timespec::try_from(d).ok());
        let waited =
            point(Call::EpollWait).and_then(|()| epoll::wait(&self.0, spare_capacity(&mut events), timeout.as_ref()));
        match waited {
            Ok(_) | Err(Errno::INTR) => Ok(events.iter().map(|event: &epoll::Event| event.data.u64()).collect()),
            Err(e) => Err(e.into()),
        }
    }
}
