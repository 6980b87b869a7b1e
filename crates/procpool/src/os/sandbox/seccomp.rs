//! A seccomp filter that refuses a list of system calls. Everything that is not on it goes through, so that new versions
//! of libc and of libraries work; what matters about files is landlock's business, and new calls for files are under it
//! from their first day.
//!
//! The kernel runs the filter once per kind of call and remembers those that always pass, so the others cost nothing.

use std::io;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_JUMP, BPF_K, BPF_LD, BPF_RET, BPF_STMT,
};
use libc::{BPF_W, c_long, sock_filter, sock_fprog};

const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
/// What a kernel says that does not know the call.
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

/// Calls that are refused whatever their arguments are. The bare numbers are those that libc has no names for yet; from 424
/// on they are the same everywhere.
const REFUSED: &[&[c_long]] = &[
    &[libc::SYS_execve, libc::SYS_execveat],
    // The network, and sockets by path. What is open already can be used.
    &[libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4],
    // Does all other calls past this filter.
    &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register],
    // Other processes.
    &[libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_process_madvise],
    &[libc::SYS_process_mrelease, libc::SYS_pidfd_getfd, libc::SYS_kcmp, libc::SYS_move_pages],
    &[libc::SYS_migrate_pages],
    &[libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_msgget, libc::SYS_msgsnd, libc::SYS_msgrcv],
    &[libc::SYS_msgctl, libc::SYS_semget, libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_semctl],
    &[libc::SYS_mq_open, libc::SYS_mq_unlink],
    // Name spaces and mounts.
    &[libc::SYS_unshare, libc::SYS_setns, libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot],
    &[libc::SYS_mount_setattr, libc::SYS_open_tree, libc::SYS_move_mount, libc::SYS_fsopen, libc::SYS_fsconfig],
    &[libc::SYS_fsmount, libc::SYS_fspick, OPEN_TREE_ATTR, libc::SYS_swapon, libc::SYS_swapoff],
    &[libc::SYS_quotactl, libc::SYS_quotactl_fd],
    // Files past landlock.
    &[libc::SYS_open_by_handle_at, libc::SYS_name_to_handle_at, libc::SYS_fanotify_init, libc::SYS_fanotify_mark],
    &[libc::SYS_acct, libc::SYS_truncate],
    // What landlock leaves alone: modes, owners, times and attributes.
    &[libc::SYS_fchmod, libc::SYS_fchmodat, FCHMODAT2, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_utimensat],
    &[libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, SETXATTRAT],
    &[libc::SYS_removexattr, libc::SYS_lremovexattr, libc::SYS_fremovexattr, REMOVEXATTRAT, FILE_SETATTR],
    // Names, also where there is no landlock.
    &[libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_mkdirat, libc::SYS_linkat],
    &[libc::SYS_symlinkat, libc::SYS_mknodat],
    // Wide doors into the kernel.
    &[libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd],
    &[libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key],
    // The machine itself.
    &[libc::SYS_kexec_load, KEXEC_FILE_LOAD, libc::SYS_reboot, libc::SYS_syslog, libc::SYS_vhangup],
    &[libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module],
    &[libc::SYS_sethostname, libc::SYS_setdomainname],
    &[libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_clock_adjtime, libc::SYS_adjtimex],
    OLD,
];

const FCHMODAT2: c_long = 452;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const OPEN_TREE_ATTR: c_long = 467;
const FILE_SETATTR: c_long = 469;

#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: c_long = 320;
#[cfg(not(target_arch = "x86_64"))]
const KEXEC_FILE_LOAD: c_long = 294;

/// Calls that younger architectures never had.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_uselib,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_creat,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_mknod,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// The kernel's name of this architecture (`AUDIT_ARCH_*`). On others there is no filter: their numbers were not checked.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
const ARCHITECTURE: Option<u32> = Some(0xc000_003e);
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
const ARCHITECTURE: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    all(target_arch = "aarch64", target_endian = "little")
)))]
const ARCHITECTURE: Option<u32> = None;

/// Numbers from here on are x86-64's calls with pointers of 32 bits; no other architecture has so many.
const X32: u32 = 0x4000_0000;

/// Every flag of `clone` that makes a name space.
const NAME_SPACES: u32 = 0x7e02_0080;

/// Commands that act on what an open descriptor belongs to: put words into a terminal's input, change a file's attributes.
const REFUSED_COMMANDS: [u32; 5] = [
    0x5412,      // TIOCSTI
    0x541c,      // TIOCLINUX
    0x4008_6602, // FS_IOC_SETFLAGS
    0x401c_5820, // FS_IOC_FSSETXATTR
    0x4080_6685, // FS_IOC_ENABLE_VERITY
];

/// Sets the filter for all threads of this process. Unless signals to others are `scoped` already, it refuses them too;
/// a copy that this process makes by forking can then not send itself any either.
pub(super) fn install(scoped: bool) -> io::Result<()> {
    let mut filter = program(ARCHITECTURE.ok_or(io::ErrorKind::Unsupported)?, (!scoped).then(std::process::id));
    let len = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = sock_fprog { len, filter: filter.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC;
    // SAFETY: `program` names `len` instructions that live until the call returns; the kernel copies and checks them.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match result {
        0 => Ok(()),
        // The number of a thread that could not be brought along.
        1.. => Err(io::ErrorKind::Other.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The filter; with `signals_of` it lets this process send signals to itself and its group only.
fn program(architecture: u32, signals_of: Option<u32>) -> Vec<sock_filter> {
    let mut program = vec![load(offset::ARCHITECTURE), jump(BPF_JEQ, architecture, 1, 0), end(REFUSE)];
    program.extend([load(offset::NUMBER), jump(BPF_JGE, X32, 0, 1), end(REFUSE)]);
    // Its flags lie in memory, where a filter cannot look. libc falls back to `clone`.
    on(&mut program, libc::SYS_clone3, &[end(UNKNOWN)]);
    on(&mut program, libc::SYS_clone, &[load(argument(0)), jump(BPF_JSET, NAME_SPACES, 0, 1), end(REFUSE), end(ALLOW)]);
    // A pair of datagram sockets can send to any other by its path.
    let (stream, packets) = (libc::SOCK_STREAM as u32, libc::SOCK_SEQPACKET as u32);
    let kind = [load(argument(1)), statement(BPF_ALU | BPF_AND | BPF_K, 0xf)];
    let kinds = [jump(BPF_JEQ, stream, 2, 0), jump(BPF_JEQ, packets, 1, 0), end(REFUSE), end(ALLOW)];
    on(&mut program, libc::SYS_socketpair, &[&kind[..], &kinds].concat());
    // Limits of others could starve them.
    on(&mut program, libc::SYS_prlimit64, &only_if_first_is(&[0]));
    let mut commands = vec![load(argument(1))];
    commands.extend(REFUSED_COMMANDS.iter().flat_map(|&command| [jump(BPF_JEQ, command, 0, 1), end(REFUSE)]));
    commands.push(end(ALLOW));
    on(&mut program, libc::SYS_ioctl, &commands);
    if let Some(own) = signals_of {
        on(&mut program, libc::SYS_kill, &only_if_first_is(&[0, own, own.wrapping_neg()]));
        for call in [libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
            on(&mut program, call, &only_if_first_is(&[own]));
        }
        for call in [libc::SYS_tkill, libc::SYS_pidfd_send_signal] {
            on(&mut program, call, &[end(REFUSE)]);
        }
    }
    // The kernel tries the filter with every number when it is set, which takes its time: so in groups by size.
    let mut refused: Vec<c_long> = REFUSED.concat();
    refused.sort_unstable();
    for group in refused.chunks(GROUP) {
        let mut body = Vec::with_capacity(2 * GROUP + 1);
        group.iter().for_each(|&call| on(&mut body, call, &[end(REFUSE)]));
        body.push(end(ALLOW));
        let last = group.last().map_or(0, |&call| call as u32);
        program.push(jump(BPF_JGT, last, body.len() as u8, 0));
        program.append(&mut body);
    }
    program.push(end(ALLOW));
    program
}

/// About the square root of how many there are.
const GROUP: usize = 12;

/// Adds what is to be done with one call; `body` ends every way through it.
fn on(program: &mut Vec<sock_filter>, call: c_long, body: &[sock_filter]) {
    program.push(jump(BPF_JEQ, call as u32, 0, body.len() as u8));
    program.extend(body);
}

/// Lets a call through if its first argument is one of these.
fn only_if_first_is(values: &[u32]) -> Vec<sock_filter> {
    let mut body = vec![load(argument(0))];
    body.extend(values.iter().flat_map(|&value| [jump(BPF_JEQ, value, 0, 1), end(ALLOW)]));
    body.push(end(REFUSE));
    body
}

/// Where things lie in the `seccomp_data` that a filter looks at.
mod offset {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCHITECTURE: u32 = 4;
    pub(super) const ARGUMENTS: u32 = 16;
}

/// The lower half of an argument; of those we look at, the kernel uses no other.
fn argument(index: u32) -> u32 {
    offset::ARGUMENTS + 8 * index
}

fn load(at: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, at)
}

fn end(verdict: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, verdict)
}

fn statement(code: u32, value: u32) -> sock_filter {
    // SAFETY: puts its arguments into a structure, and nothing else.
    unsafe { BPF_STMT(code as u16, value) }
}

/// Skips `yes` instructions if the comparison holds, else `no`.
fn jump(comparison: u32, value: u32, yes: u8, no: u8) -> sock_filter {
    // SAFETY: puts its arguments into a structure, and nothing else.
    unsafe { BPF_JUMP((BPF_JMP | comparison | BPF_K) as u16, value, yes, no) }
}
