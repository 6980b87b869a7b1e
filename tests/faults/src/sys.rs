//! The system calls that make things go wrong.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use rustix::process::{Pid, Signal};

/// Sends a signal by pid; whether there was such a process.
pub fn kill(pid: u32, signal: Signal) -> bool {
    Pid::from_raw(pid as i32).is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}

/// Sends a signal to this very process.
pub fn raise(signal: Signal) {
    let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
}

/// Nanoseconds on the monotonic clock, the same for all processes.
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Splits this process in two; returns the child's pid in the parent and 0 in the child.
pub fn fork() -> u32 {
    // SAFETY: the tests' tasks do nothing in the child that needs another thread.
    let pid = unsafe { libc::fork() };
    u32::try_from(pid).expect("fork failed")
}

/// Leaves without a word.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` ends the process; nothing that has to run afterwards is skipped unknowingly.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor of the process, whoever owns it.
pub fn close_everything() {
    // SAFETY: not memory-unsafe, only rude: that is the point of the test, and the process is a worker of its own.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
}

/// Dies of a bad address.
pub fn segfault() -> ! {
    // SAFETY: none; the kernel ends the process at the first write to page zero.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
    unreachable!("page zero is not mapped")
}

/// Dies of a mapping without a file behind it.
pub fn bus_error() -> ! {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let file = rustix::fs::memfd_create("empty", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd");
    // SAFETY: a fresh mapping; the read behind the end of its file ends the process.
    unsafe {
        let at = mmap(std::ptr::null_mut(), 4096, ProtFlags::READ, MapFlags::SHARED, &file, 0).expect("mmap");
        at.cast::<u8>().read_volatile();
    }
    unreachable!("the file has no such page")
}

/// Memory that can be read, is all zero, and does not exist.
#[derive(Debug)]
pub struct Untouched(*mut libc::c_void, usize);

impl Untouched {
    pub fn new(len: usize) -> Self {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing.
        Self(unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ, flags) }.expect("mmap"), len)
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for reading as long as `self` lives, and written by nobody.
        unsafe { std::slice::from_raw_parts(self.0.cast(), self.1) }
    }
}

impl Drop for Untouched {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped, and no reference into it outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.0, self.1) };
    }
}

/// Nanoseconds of CPU time that this process has used.
pub fn cpu_time() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as u64 * 1_000_000_000 + used.tv_nsec as u64
}

/// Makes this process the leader of a session of its own. For a process that leads no group.
pub fn leave_session() -> std::io::Result<()> {
    Ok(rustix::process::setsid().map(drop)?)
}

/// Ignores a signal, or gives it its default action back.
pub fn ignore(signal: i32, ignored: bool) {
    // SAFETY: both are valid dispositions.
    unsafe { libc::signal(signal, if ignored { libc::SIG_IGN } else { libc::SIG_DFL }) };
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

/// Has a handler that only counts run for a signal; interrupted calls are not restarted.
pub fn handle(signal: i32) {
    extern "C" fn count(_: i32) {
        HANDLED.fetch_add(1, SeqCst);
    }
    // SAFETY: the handler is async-signal-safe, since it only adds to an atomic; the rest of the struct is zero, which is
    // valid.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(i32) as usize;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// How often that handler has run in this process.
pub fn handled() -> u32 {
    HANDLED.load(SeqCst)
}

/// Waits for any child at all, as careless host programs do. Returns its pid.
pub fn wait_any() -> Option<u32> {
    // SAFETY: without a status there is no pointer.
    let pid = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    u32::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// The worker's ring as it lies in its memory: address and length. To be called in a task.
pub fn ring() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let line = maps.lines().find(|line| line.contains("memfd:procpool-ring")).expect("a ring");
    let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
    let number = |text| usize::from_str_radix(text, 16).expect("hexadecimal");
    (number(from), number(to) - number(from))
}

/// Writes a word into this process's ring, `at` bytes from its start.
pub fn scribble(at: usize, word: u32) {
    let (start, len) = ring();
    assert!(at.is_multiple_of(4) && at + 4 <= len);
    // SAFETY: the address lies inside a shared mapping whose owner expects other processes to write to it at any time.
    unsafe { std::ptr::with_exposed_provenance_mut::<u32>(start + at).write_volatile(word) };
}

/// Reads a word of this process's ring.
pub fn peek(at: usize) -> u32 {
    let (start, len) = ring();
    assert!(at.is_multiple_of(4) && at + 4 <= len);
    // SAFETY: as for `scribble`.
    unsafe { std::ptr::with_exposed_provenance::<u32>(start + at).read_volatile() }
}

/// The descriptor of the worker's control socket. To be called in a task.
pub fn control_socket() -> std::os::fd::BorrowedFd<'static> {
    use std::os::fd::BorrowedFd;
    let fds =
        std::fs::read_dir("/proc/self/fd").expect("fd").filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    for fd in fds.collect::<Vec<i32>>() {
        // SAFETY: the descriptor was listed just now, and the worker keeps its control socket until it ends.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        use rustix::net::{SocketType, sockopt};
        if sockopt::socket_type(fd).is_ok_and(|kind| kind == SocketType::SEQPACKET) {
            return fd;
        }
    }
    panic!("no control socket")
}
