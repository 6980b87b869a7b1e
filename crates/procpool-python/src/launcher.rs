//! Starts workers through a template: a clean process with one thread that has Python and this package loaded, and makes a copy
//! of itself for each worker. The copies are children of this process, not of the template, so the engine waits for them, ends
//! them and learns how they ended as it does with its own.
//!
//! The socket between the two carries datagrams: towards the template a worker's name with its socket, standard output and
//! standard error; back the worker's pid and a descriptor for it, or an error number.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use procpool::lang::{Launched, Launcher};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// How long a template may take to start and answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest datagram.
const LONGEST: usize = 256;

/// Sends one datagram with descriptors.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Receives one datagram with descriptors; nothing at all when the other end is gone.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let len = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => break 0,
            Err(e) => return Err(e.into()),
        }
    };
    let mut fds = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = ancillary {
            fds.extend(rights);
        }
    }
    bytes.truncate(len);
    Ok((bytes, fds))
}

fn wait_readable(socket: impl AsFd) -> io::Result<bool> {
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&patience)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// The process that workers are copies of.
#[derive(Debug, Default)]
struct State {
    socket: Option<OwnedFd>,
    child: Option<Child>,
    pid: Option<u32>,
}

impl State {
    /// Ends the template, and waits for it.
    fn end(&mut self) {
        self.socket = None;
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        } else if let Some(pid) = self.pid.and_then(|pid| rustix::process::Pid::from_raw(pid as i32)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        }
        self.pid = None;
    }
}

#[derive(Debug)]
struct Shared {
    /// The command that starts one; empty if it is a fork of this process, which cannot be made again.
    command: Vec<String>,
    state: Mutex<State>,
    /// The process that this belongs to; a fork of it must leave it alone.
    owner: u32,
}

impl Shared {
    fn start(&self, state: &mut State) -> io::Result<()> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(io::Error::other("the process that workers are forked from has ended"));
        };
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // A process group of its own, so that the terminal's signals are for the program alone.
        let child = Command::new(program).args(arguments).stdin(Stdio::from(theirs)).process_group(0).spawn()?;
        state.pid = Some(child.id());
        state.child = Some(child);
        state.socket = Some(ours);
        Ok(())
    }

    fn ask(state: &State, name: &str, fds: &[BorrowedFd<'_>]) -> io::Result<Launched> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the process that workers are forked from has ended");
        let socket = state.socket.as_ref().ok_or_else(gone)?;
        send(socket, name.as_bytes(), fds)
            .map_err(|e| if e.kind() == io::ErrorKind::BrokenPipe { gone() } else { e })?;
        if !wait_readable(socket)? {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the process that workers are forked from is silent"));
        }
        let (answer, mut fds) = receive(socket)?;
        if answer.is_empty() {
            return Err(gone());
        }
        let number = answer.try_into().map(i32::from_le_bytes).map_err(|_| io::ErrorKind::InvalidData)?;
        match (u32::try_from(number), fds.pop()) {
            (Ok(pid), Some(pidfd)) => Ok(Launched { pid, pidfd }),
            _ => Err(io::Error::from_raw_os_error(number.saturating_neg())),
        }
    }
}

/// The workers of one pool, each with a number that no other living one has.
#[derive(Debug)]
struct Seats {
    template: Arc<Shared>,
    taken: Mutex<Vec<OwnedFd>>,
}

/// Whether the process has ended.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

impl Launcher for Seats {
    fn launch(
        &self,
        name: &str,
        socket: OwnedFd,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> io::Result<Launched> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let seat = taken.iter().position(has_ended).unwrap_or(taken.len());
        let name = name.rsplit_once('-').map_or(name, |(name, _)| name);
        let launched = self.template.launch(&format!("{name}-{seat}"), socket, stdout, stderr)?;
        let pidfd = launched.pidfd.try_clone()?;
        match taken.get_mut(seat) {
            Some(place) => *place = pidfd,
            None => taken.push(pidfd),
        }
        Ok(launched)
    }
}

impl Shared {
    fn launch(
        &self,
        name: &str,
        socket: OwnedFd,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> io::Result<Launched> {
        let mut end = name.len().min(LONGEST);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let null;
        let (own_out, own_err) = (rustix::stdio::stdout(), rustix::stdio::stderr());
        let mut fds = [
            socket.as_fd(),
            stdout.as_ref().map_or(own_out, AsFd::as_fd),
            stderr.as_ref().map_or(own_err, AsFd::as_fd),
        ];
        if fds[1..].iter().any(|fd| rustix::io::fcntl_getfd(fd).is_err()) {
            // The program has closed its own.
            null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
            for fd in &mut fds[1..] {
                if rustix::io::fcntl_getfd(*fd).is_err() {
                    *fd = null.as_fd();
                }
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.socket.is_none() {
            self.start(&mut state)?;
        }
        match Self::ask(&state, &name[..end], &fds) {
            Err(e) if !self.command.is_empty() && e.kind() == io::ErrorKind::BrokenPipe => {
                // It was killed, maybe: another one will do.
                state.end();
                self.start(&mut state)?;
                Self::ask(&state, &name[..end], &fds)
            }
            answer => answer,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.owner == std::process::id() {
            state.end();
        } else {
            state.child = None;
        }
    }
}

/// What workers are started from.
#[pyclass(frozen, module = "procpool._core")]
pub(crate) struct Template {
    shared: Arc<Shared>,
}

impl Template {
    /// What starts the workers of one pool.
    pub(crate) fn launcher(&self) -> Arc<dyn Launcher> {
        Arc::new(Seats { template: Arc::clone(&self.shared), taken: Mutex::default() })
    }
}

#[pymethods]
impl Template {
    /// One that `command` starts, with its socket as standard input: at once, and again whenever it has ended.
    #[staticmethod]
    fn run(command: Vec<String>) -> PyResult<Self> {
        if command.is_empty() {
            return Err(pyo3::exceptions::PyValueError::new_err("there is no command"));
        }
        let shared = Shared { command, state: Mutex::default(), owner: std::process::id() };
        let mut state = State::default();
        shared.start(&mut state).map_err(|e| PyOSError::new_err(e.to_string()))?;
        *shared.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The child `pid` of this process, at the other end of the socket `fd`, which is given away.
    #[staticmethod]
    #[allow(unsafe_code)]
    fn adopt(pid: u32, fd: i32) -> Self {
        // SAFETY: the caller gives the descriptor away, as the documentation says.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let state = State { socket: Some(socket), child: None, pid: Some(pid) };
        let owner = std::process::id();
        Self { shared: Arc::new(Shared { command: Vec::new(), state: Mutex::new(state), owner }) }
    }

    /// The process id, if it runs.
    #[getter]
    fn pid(&self) -> Option<u32> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).pid
    }

    /// Ends it, unless it is needed again.
    fn end(&self, py: Python<'_>) {
        if self.shared.owner == std::process::id() {
            py.detach(|| self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).end());
        }
    }
}

/// Two ends of a socket for a template that is a fork of this process.
#[pyfunction]
pub(crate) fn template_socket() -> PyResult<(i32, i32)> {
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|e| PyOSError::new_err(e.to_string()))?;
    Ok((a.into_raw_fd(), b.into_raw_fd()))
}
