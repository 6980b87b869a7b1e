use std::fs::File;
use std::io::Read;

use super::*;

/// Confines a copy of this process and tries things there; what went wrong comes back as text.
fn in_a_confined_copy(abi: u32, attempts: fn(u32, InForce, &Path, u32) -> Vec<String>) -> String {
    let folder = std::env::temp_dir().join(format!("procpool-sandbox-{}-{abi}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("allowed"), "words").unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let parent = std::process::id();
    // SAFETY: the copy has the one thread that forked; it uses no lock but the allocator's, which libc keeps whole over a
    // fork, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(reader);
        let wrong = match apply(std::slice::from_ref(&folder), abi) {
            Ok(in_force) => attempts(abi, in_force, &folder, parent),
            Err(e) => vec![e.to_string()],
        };
        let _ = std::io::Write::write_all(&mut { writer }, wrong.join("\n").as_bytes());
        // SAFETY: ends the copy.
        unsafe { libc::_exit(0) };
    }
    drop(writer);
    let mut wrong = String::new();
    reader.read_to_string(&mut wrong).unwrap();
    // SAFETY: waits for the child that was made above.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    std::fs::remove_dir_all(folder).unwrap();
    wrong
}

/// What a system call says: 0, or the number of its error.
fn call(number: libc::c_long, arguments: [usize; 4]) -> i32 {
    let [a, b, c, d] = arguments;
    // SAFETY: the callers pass valid pointers, null, or numbers.
    let result = unsafe { libc::syscall(number, a, b, c, d) };
    if result >= 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(-1) }
}

fn attempts(abi: u32, in_force: InForce, folder: &Path, parent: u32) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, got: i32, expected: i32| {
        if got != expected {
            wrong.push(format!("{what}: {got} in place of {expected}"));
        }
    };
    let all = InForce { landlock_abi: abi, seccomp: true, no_new_privs: true, threads_outside: 0 };
    expect("the report is right", i32::from(in_force != all), 0);
    let code = |result: io::Result<File>| result.map_or_else(|e| e.raw_os_error().unwrap_or(-1), |_| 0);
    let with_landlock = |error: i32| if abi > 0 { error } else { 0 };
    let null = [0usize; 4];
    let own = std::process::id() as usize;
    let path = c"/etc/passwd".as_ptr() as usize;

    expect("read a named folder", code(File::open(folder.join("allowed"))), 0);
    expect("read the program", code(File::open("/proc/self/exe")), 0);
    expect("read another file", code(File::open("/etc/passwd")), with_landlock(libc::EACCES));
    expect("write in a named folder", code(File::create(folder.join("new"))), with_landlock(libc::EACCES));
    expect("make a folder", call(libc::SYS_mkdirat, [0, path, 0, 0]), libc::EPERM);
    expect("truncate", call(libc::SYS_truncate, [path, 0, 0, 0]), libc::EPERM);
    expect("execute", call(libc::SYS_execve, [path, 0, 0, 0]), libc::EPERM);
    expect("a socket", call(libc::SYS_socket, [libc::AF_INET as usize, libc::SOCK_STREAM as usize, 0, 0]), libc::EPERM);
    let mut pair = [0i32; 2];
    let pair = pair.as_mut_ptr() as usize;
    let unix = libc::AF_UNIX as usize;
    let stream = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as usize;
    expect("a pair of streams", call(libc::SYS_socketpair, [unix, stream, 0, pair]), 0);
    let datagrams = (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as usize;
    expect("a pair of datagram sockets", call(libc::SYS_socketpair, [unix, datagrams, 0, pair]), libc::EPERM);
    expect("signal the parent", call(libc::SYS_kill, [parent as usize, 0, 0, 0]), libc::EPERM);
    expect("signal itself", call(libc::SYS_kill, [own, 0, 0, 0]), 0);
    expect("limits of the parent", call(libc::SYS_prlimit64, [parent as usize, 7, 0, 0]), libc::EPERM);
    expect("limits of its own", call(libc::SYS_prlimit64, [0, 7, 0, 0]), 0);
    expect("a name space", call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0]), libc::EPERM);
    expect("a copy in a name space", call(libc::SYS_clone, [libc::CLONE_NEWUSER as usize, 0, 0, 0]), libc::EPERM);
    expect("clone3", call(libc::SYS_clone3, null), libc::ENOSYS);
    expect("io_uring", call(libc::SYS_io_uring_setup, null), libc::EPERM);
    expect("trace", call(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, parent as usize, 0, 0]), libc::EPERM);
    expect("words for a terminal", call(libc::SYS_ioctl, [0, libc::TIOCSTI as usize, path, 0]), libc::EPERM);
    let thread = std::thread::spawn(move || code(File::open("/etc/passwd")));
    expect("a thread's file", thread.join().unwrap_or(-1), with_landlock(libc::EACCES));
    wrong
}

#[test]
fn every_interface_of_landlock_up_to_this_kernels_refuses_what_it_should() {
    let newest = newest_abi();
    if newest == 0 {
        eprintln!("NOT CHECKED: this kernel has no landlock");
    }
    for abi in 0..=newest {
        assert_eq!(in_a_confined_copy(abi, attempts), "", "with interface {abi}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_named_and_nothing_is_confined() {
    let wrong = apply(&["/nowhere/at/all".into()], newest_abi()).unwrap_err();
    assert_eq!(wrong.to_string(), "/nowhere/at/all: No such file or directory (os error 2)");
    assert!(File::open("/etc/passwd").is_ok());
}
