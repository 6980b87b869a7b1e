//! Epoll with a number for each descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

use super::fail::{Call, point};

/// Waits for many descriptors at once.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

/// The most events that one wait reports; the others are reported by the next.
const EVENTS: usize = 64;
/// A wait that is shorter than this needs a finer clock than that of epoll.
const FINE: Duration = Duration::from_millis(1);

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
        let waited = point(Call::EpollWait).and_then(|()| {
            let timeout = self.wait_finely(timeout)?;
            epoll::wait(&self.0, spare_capacity(&mut events), timeout.as_ref())
        });
        match waited {
            Ok(_) | Err(Errno::INTR) => Ok(events.iter().map(|event: &epoll::Event| event.data.u64()).collect()),
            Err(e) => Err(e.into()),
        }
    }

    /// Epoll waits for whole milliseconds, rounded up, before Linux 5.11. What is shorter is waited for here; returns what is left
    /// to wait.
    fn wait_finely(&self, timeout: Option<Duration>) -> Result<Option<Timespec>, Errno> {
        let timespec = timeout.and_then(|d| Timespec::try_from(d).ok());
        if timeout.is_none_or(|timeout| timeout.is_zero() || timeout >= FINE) {
            return Ok(timespec);
        }
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timespec.as_ref())?;
        Ok(Some(Timespec::default()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::os::bell::Bell;

    #[test]
    fn it_waits_as_long_as_it_is_told_or_until_something_comes() {
        let (poller, bell) = (Poller::new().unwrap(), Bell::new().unwrap());
        poller.add(&bell, 7).unwrap();
        for wait in [Duration::ZERO, Duration::from_micros(100), FINE] {
            let start = Instant::now();
            assert_eq!(poller.wait(Some(wait)).unwrap(), Vec::<u64>::new());
            assert!(start.elapsed() >= wait);
        }
        assert_eq!(
            poller.wait_finely(Some(FINE / 2)),
            Ok(Some(Timespec::default())),
            "nothing is left for epoll to round up"
        );
        bell.ring();
        for wait in [None, Some(Duration::ZERO), Some(Duration::from_micros(100)), Some(Duration::from_secs(60))] {
            assert_eq!(poller.wait(wait).unwrap(), [7]);
        }
    }
}
