//! Landlock: access by where a file lies. Its interface grows by versions (ABI), described in landlock(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{FileType, fstat};

const VERSION: u32 = 1;
const PATH_BENEATH: u32 = 1;
const ALL_THREADS: u32 = 1 << 3;

const READ_FILE: u64 = 1 << 2;
const READ_FOLDER: u64 = 1 << 3;

/// What a ruleset denies but where a rule allows it. Older interfaces know only its first 8 or 16 bytes.
#[repr(C)]
struct Denied {
    files: u64,
    network: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: RawFd,
}

/// The newest interface that this kernel offers, or 0 if it has none.
fn offered() -> u32 {
    // SAFETY: with this flag the call reads no memory and changes nothing.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<Denied>(), 0usize, VERSION) };
    u32::try_from(abi).unwrap_or(0)
}

/// The newest interface that this kernel offers and this code knows, or 0 if it has none.
pub(crate) fn newest_abi() -> u32 {
    offered().min(8)
}

/// Whether signals to processes outside are denied.
pub(super) fn scopes_signals(abi: u32) -> bool {
    abi >= 6
}

/// Whether the threads that this process has already are held too.
pub(super) fn holds_all_threads(abi: u32) -> bool {
    abi >= 8
}

/// Denies the calling thread, and all it will start, every access to files (but reading what is beneath `readable`), TCP,
/// and signals and abstract sockets to the outside, as far as interface `abi` covers them.
pub(super) fn restrict(readable: &[OwnedFd], abi: u32) -> io::Result<()> {
    let ruleset = create(abi)?;
    for fd in readable {
        let folder = FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Directory;
        // A rule for a file that speaks of folders is refused.
        allow(ruleset.as_fd(), fd.as_fd(), if folder { READ_FILE | READ_FOLDER } else { READ_FILE })?;
    }
    let flags = if holds_all_threads(abi) { ALL_THREADS } else { 0 };
    // SAFETY: the call takes a descriptor and a number.
    succeeded(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) })
}

fn create(abi: u32) -> io::Result<OwnedFd> {
    // One bit for each kind of access: 13 at first, then moving between folders, truncating, commands to devices.
    let kinds = match abi {
        0 => return Err(io::ErrorKind::Unsupported.into()),
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    let denied = Denied {
        files: (1 << kinds) - 1,
        network: if abi >= 4 { 0b11 } else { 0 },
        scoped: if scopes_signals(abi) { 0b11 } else { 0 },
    };
    let size: usize = match abi {
        0..=3 => 8,
        4 | 5 => 16,
        _ => 24,
    };
    // SAFETY: `denied` is valid for the `size` bytes that the kernel reads, at most its own size.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const denied, size, 0u32) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn allow(ruleset: BorrowedFd<'_>, parent: BorrowedFd<'_>, allowed: u64) -> io::Result<()> {
    let rule = Beneath { allowed, parent: parent.as_raw_fd() };
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: `rule` is valid and of the kind that is named; both descriptors are open.
    succeeded(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &raw const rule, 0u32) })
}

fn succeeded(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
