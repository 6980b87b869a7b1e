//! The control socket: datagrams that keep their boundaries, carry descriptors, and end when the peer ends.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::fail::{Call, point};

/// The largest message in bytes. Well below the kernel's default socket buffer; larger things go into memfds.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;
/// The most descriptors one message may carry.
pub(crate) const MAX_FDS: usize = 32;

/// One end of a control socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// What came out of a control socket.
#[derive(Debug)]
pub(crate) enum Received {
    /// A whole message of this many bytes, and the descriptors it carried.
    Message(usize, Vec<OwnedFd>),
    /// Nothing to read right now.
    Empty,
    /// The peer has closed its end: it has ended, or will never speak again.
    Closed,
}

impl Socket {
    /// Two connected ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        point(Call::Socketpair)?;
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(a), Self(b)))
    }

    /// The socket behind a descriptor, if it is one of this kind.
    pub(crate) fn from_fd(fd: OwnedFd) -> Option<Self> {
        is_control_socket(fd.as_fd()).then_some(Self(fd))
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Ends the conversation for both sides, even if other descriptors of this end are still open.
    pub(crate) fn shut_down(&self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }

    /// Ends the reading of this end, whoever else waits here for a message. The other side hears of it when this end is closed.
    pub(crate) fn stop_reading(&self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Read);
    }

    /// Sends one message whole, or fails. With `wait` false, a full socket is `WouldBlock`.
    pub(crate) fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
        if bytes.len() > MAX_MESSAGE || fds.len() > MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "control message too large"));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors in one message"));
        }
        let flags = SendFlags::NOSIGNAL | if wait { SendFlags::empty() } else { SendFlags::DONTWAIT };
        loop {
            match point(Call::Send).and_then(|()| sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags)) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Receives one message into `buf`. With `wait` false, returns [`Received::Empty`] when there is none.
    ///
    /// # Errors
    /// Also if the message or its descriptors were cut off, which an honest peer cannot cause.
    pub(crate) fn receive(&self, buf: &mut [u8], wait: bool) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        let message = loop {
            match point(Call::Receive).and_then(|()| recvmsg(&self.0, &mut [IoSliceMut::new(buf)], &mut control, flags))
            {
                Ok(message) => break message,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Empty),
                Err(Errno::CONNRESET) => return Ok(Received::Closed),
                Err(e) => return Err(e.into()),
            }
        };
        let mut fds = Vec::new();
        for ancillary in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = ancillary {
                fds.extend(rights);
            }
        }
        use rustix::net::ReturnFlags;
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "control message cut off"));
        }
        if message.bytes == 0 && fds.is_empty() {
            return Ok(Received::Closed);
        }
        Ok(Received::Message(message.bytes, fds))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether `fd` is a Unix socket of the sequenced-packet kind.
pub(crate) fn is_control_socket(fd: BorrowedFd<'_>) -> bool {
    use rustix::net::sockopt;
    sockopt::socket_type(fd).is_ok_and(|kind| kind == SocketType::SEQPACKET)
        && sockopt::socket_domain(fd).is_ok_and(|family| family == AddressFamily::UNIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_boundaries_and_descriptors() {
        let (a, b) = Socket::pair().unwrap();
        a.send(b"one", &[], true).unwrap();
        a.send(b"three", &[a.as_fd(), a.as_fd()], true).unwrap();
        let mut buf = [0; 16];
        assert!(matches!(b.receive(&mut buf, true).unwrap(), Received::Message(3, fds) if fds.is_empty()));
        assert!(matches!(b.receive(&mut buf, true).unwrap(), Received::Message(5, fds) if fds.len() == 2));
        assert_eq!(&buf[..5], b"three");
        assert!(matches!(b.receive(&mut buf, false).unwrap(), Received::Empty));
        drop(a);
        assert!(matches!(b.receive(&mut buf, true).unwrap(), Received::Closed));
    }

    #[test]
    fn a_message_that_does_not_fit_is_refused_by_both_sides() {
        let (a, b) = Socket::pair().unwrap();
        assert!(a.send(&vec![0; MAX_MESSAGE + 1], &[], true).is_err());
        a.send(&[0; 32], &[], true).unwrap();
        assert!(b.receive(&mut [0; 16], true).is_err());
    }
}
