//! What a confined worker cannot do, what it still can, and what is said about it.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;

use procpool::{Kind, Pool, Process, Queue, Sandbox, SandboxReport, SharedFile};
use support::{alone, process, wait_until};

procpool::init_in_tests!();

/// A pool with a sandbox, and what is in force of it.
fn confined(sandbox: Sandbox) -> (Pool, SandboxReport) {
    let pool = Pool::builder().workers(1).sandbox(sandbox).build().unwrap();
    assert_eq!(pool.sandbox_report(), None);
    pool.submit(|()| (), ()).unwrap().wait().unwrap();
    let report = pool.sandbox_report().unwrap();
    (pool, report)
}

/// Whether everything can be checked; says loudly if not.
fn complete(report: SandboxReport) -> bool {
    if !report.is_complete() {
        eprintln!("NOT CHECKED: of a sandbox this kernel offers {report}");
    }
    report.is_complete()
}

/// 0, or the number of the error.
fn code<T>(result: io::Result<T>) -> i32 {
    result.map_or_else(|e| e.raw_os_error().unwrap_or(-1), |_| 0)
}

fn checked(result: i32) -> i32 {
    if result == 0 { 0 } else { code::<()>(Err(io::Error::last_os_error())) }
}

fn temporary(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("procpool-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn what_a_worker_must_not_do_is_refused() {
    fn attempts((folder, port, abstract_name): (PathBuf, u16, String)) -> Vec<(String, i32)> {
        use std::os::linux::net::SocketAddrExt;
        let parent = std::os::unix::process::parent_id() as i32;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(abstract_name).unwrap();
        let signal = |pid| {
            // SAFETY: signal 0 only asks whether one could be sent.
            checked(unsafe { libc::kill(pid, 0) })
        };
        let trace = |request: libc::c_uint, pid: i32| {
            // SAFETY: attaching touches no memory of this process.
            checked(i32::from(unsafe { libc::ptrace(request, pid, 0, 0) } == -1))
        };
        let mut bytes = [0u8; 8];
        let here = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: reads into `bytes`, which is as long as it says.
        let peek = checked(i32::from(unsafe { libc::process_vm_readv(parent, &here, 1, &here, 1, 0) } < 0));
        let existing = folder.join("there");
        let list = [
            ("read a file", code(File::open("/etc/passwd"))),
            ("read the file of another test", code(File::open(&existing))),
            ("list a folder", code(fs::read_dir("/"))),
            ("read its own state", code(File::open("/proc/self/status"))),
            ("write its own memory", code(File::options().write(true).open("/proc/self/mem"))),
            ("make a file", code(File::create(folder.join("new")))),
            ("open a file for writing", code(File::options().write(true).open(&existing))),
            ("make a folder", code(fs::create_dir(folder.join("sub")))),
            ("remove a file", code(fs::remove_file(&existing))),
            ("rename a file", code(fs::rename(&existing, folder.join("other")))),
            ("link a file", code(fs::hard_link(&existing, folder.join("other")))),
            ("change a mode", code(fs::set_permissions(&existing, std::os::unix::fs::PermissionsExt::from_mode(0o0)))),
            ("connect by TCP", code(TcpStream::connect(("127.0.0.1", port)))),
            ("listen by TCP", code(TcpListener::bind("127.0.0.1:0"))),
            ("connect by path", code(UnixStream::connect(folder.join("socket")))),
            ("connect by abstract name", code(UnixStream::connect_addr(&address))),
            ("a pair of datagram sockets", code(UnixDatagram::pair())),
            ("run a program", code(Command::new("/bin/true").status())),
            ("run this program", code(Command::new("/proc/self/exe").status())),
            ("signal the first process", signal(1)),
            ("signal the parent", signal(parent)),
            ("trace the parent", trace(libc::PTRACE_ATTACH, parent)),
            ("read the parent's memory", peek),
        ];
        list.into_iter().map(|(what, code)| (what.to_string(), code)).collect()
    }
    alone(|| {
        let folder = temporary("refused");
        fs::write(folder.join("there"), "words").unwrap();
        let _by_path = UnixListener::bind(folder.join("socket")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("procpool-{}", std::process::id());
        let address = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name);
        let _by_name = UnixListener::bind_addr(&address.unwrap()).unwrap();
        let input = (folder.clone(), tcp.local_addr().unwrap().port(), name);

        let (pool, report) = confined(Sandbox::strict());
        if complete(report) {
            let files = 6;
            for (k, (what, code)) in pool.submit(attempts, input).unwrap().wait().unwrap().into_iter().enumerate() {
                // Landlock says EACCES, the filter EPERM.
                let expected = if k <= files { libc::EACCES } else { libc::EPERM };
                assert_eq!(code, expected, "{what}");
            }
        }
        pool.shutdown();
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["socket", "there"]);
        fs::remove_dir_all(folder).unwrap();
    });
}

#[test]
fn the_same_attempts_succeed_without_a_sandbox() {
    alone(|| {
        let pool = Pool::builder().workers(1).build().unwrap();
        let free =
            |()| [code(File::open("/etc/passwd")), code(UnixDatagram::pair()), code(Command::new("true").status())];
        assert_eq!(pool.submit(free, ()).unwrap().wait().unwrap(), [0; 3]);
        assert_eq!(pool.sandbox_report(), None);
        pool.shutdown();
    });
}

#[test]
fn the_kernel_says_the_same_as_the_report() {
    alone(|| {
        let (pool, report) = confined(Sandbox::strict());
        let status = fs::read_to_string(format!("/proc/{}/status", pool.worker_pids()[0])).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!(field("NoNewPrivs:"), Some(if report.no_new_privs { "1" } else { "0" }));
        // A filter that this program has itself been started under counts too.
        assert!(!report.seccomp || field("Seccomp:") == Some("2"));
        // SAFETY: with this flag the call takes no pointer.
        let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, 1u32) };
        assert_eq!(report.landlock_abi, u32::try_from(abi).ok().map(|abi| abi.min(8)));
        if complete(report) {
            let abi = report.landlock_abi.unwrap();
            assert_eq!(report.to_string(), format!("landlock ABI {abi}, seccomp, no-new-privs"));
        }
        pool.shutdown();
    });
}

#[test]
fn named_folders_and_files_can_be_read_and_nothing_beside_them() {
    fn attempts(folder: PathBuf) -> [i32; 8] {
        [
            code(File::open(folder.join("open/sub/file"))),
            code(fs::read_dir(folder.join("open"))),
            code(File::open(folder.join("file"))),
            code(File::open(folder.join("closed"))),
            code(File::open(folder.join("open/../closed"))),
            code(File::open(folder.join("open/link"))),
            code(File::options().append(true).open(folder.join("open/sub/file"))),
            code(File::create(folder.join("open/new"))),
        ]
    }
    alone(|| {
        let folder = temporary("named");
        fs::create_dir_all(folder.join("open/sub")).unwrap();
        for name in ["open/sub/file", "file", "closed"] {
            fs::write(folder.join(name), "words").unwrap();
        }
        std::os::unix::fs::symlink("../closed", folder.join("open/link")).unwrap();
        let (pool, report) = confined(Sandbox::strict().read(folder.join("open")).read(folder.join("file")));
        if complete(report) {
            let no = libc::EACCES;
            let codes = pool.submit(attempts, folder.clone()).unwrap().wait().unwrap();
            assert_eq!(codes, [0, 0, 0, no, no, no, no, no]);
        }
        pool.shutdown();
        fs::remove_dir_all(folder).unwrap();
    });
}

#[test]
fn a_folder_that_is_not_there_keeps_workers_from_starting() {
    alone(|| {
        let pool = Pool::builder().workers(1).sandbox(Sandbox::strict().read("/nowhere")).build().unwrap();
        let error = pool.submit(|()| (), ()).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Start);
        let expected = "a worker cannot start: what its sandbox lets it read cannot be opened: \
                        /nowhere: No such file or directory (os error 2)";
        assert_eq!(error.message(), expected);
        assert_eq!(pool.sandbox_report(), None);
    });
}

#[test]
fn everything_a_task_needs_still_works() {
    fn count_in_threads(n: u64) -> u64 {
        let threads: Vec<_> =
            (0..4).map(|k| std::thread::spawn(move || (0..n).filter(|x| x % 4 == k).count())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap() as u64).sum()
    }
    fn die((): ()) {
        std::process::abort()
    }
    fn answer((queue, text): (Queue<String>, String)) -> Queue<String> {
        queue.put(&text).unwrap();
        let other = Queue::new().unwrap();
        other.put(&"from inside".to_string()).unwrap();
        other
    }
    alone(|| {
        let (pool, _) = confined(Sandbox::strict());
        assert_eq!(pool.submit(count_in_threads, 1000).unwrap().wait().unwrap(), 1000);

        let queue = Queue::new().unwrap();
        let other = pool.submit(answer, (queue.clone(), "hello".to_string())).unwrap().wait().unwrap();
        assert_eq!((queue.get().unwrap().as_str(), other.get().unwrap().as_str()), ("hello", "from inside"));

        let large = vec![7u8; 3 << 20];
        let back = pool.submit(|bytes: Vec<u8>| bytes, large.clone()).unwrap().wait().unwrap();
        assert!(back == large);
        let sums: Result<Vec<u64>, _> = pool.map_with(vec![1u64, 2], |s, k: usize| s[k], [0, 1, 0]).collect();
        assert_eq!(sums.unwrap(), [1, 2, 1]);

        let error = pool.submit(|n: u32| assert!(n > 1, "too small: {n}"), 1).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Panicked, "too small: 1"));
        let backtrace = error.backtrace().unwrap();
        assert!(backtrace.contains("everything_a_task_needs_still_works"), "no names: {backtrace}");

        // A confined worker that dies is replaced by a confined one.
        assert_eq!(pool.submit(die, ()).unwrap().wait().unwrap_err().signal(), Some(6));
        let report = pool.sandbox_report().unwrap();
        let peek = pool.submit(|()| code(File::open("/etc/passwd")), ()).unwrap().wait().unwrap();
        assert_eq!(peek, if report.landlock_abi.is_some() { libc::EACCES } else { 0 });
        let copy = |()| {
            // SAFETY: the copy does nothing but end.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::_exit(5);
                }
                let mut status = 0;
                libc::waitpid(child, &mut status, 0);
                libc::WEXITSTATUS(status)
            }
        };
        assert_eq!(pool.submit(copy, ()).unwrap().wait().unwrap(), 5);
        pool.shutdown();
    });
}

#[test]
fn the_initializer_is_free_and_its_threads_are_told_of() {
    fn prepare(leave_a_thread: bool) -> io::Result<()> {
        let words = fs::read_to_string("/proc/self/comm")?;
        Command::new("true").status()?;
        fs::write(std::env::temp_dir().join(format!("procpool-free-{}", std::os::unix::process::parent_id())), words)?;
        if leave_a_thread {
            std::thread::spawn(|| {
                loop {
                    std::thread::park()
                }
            });
        }
        Ok(())
    }
    alone(|| {
        for left in [false, true] {
            let builder = || Pool::builder().workers(1).initializer(prepare, left);
            let pool = builder().sandbox(Sandbox::strict()).build().unwrap();
            let peek = pool.submit(|()| code(File::open("/etc/passwd")), ()).unwrap().wait().unwrap();
            let report = pool.sandbox_report().unwrap();
            pool.shutdown();
            let path = std::env::temp_dir().join(format!("procpool-free-{}", std::process::id()));
            assert!(fs::read_to_string(&path).unwrap().starts_with("procpool-"));
            fs::remove_file(path).unwrap();
            let Some(abi) = report.landlock_abi else {
                eprintln!("NOT CHECKED: this kernel has no landlock");
                return;
            };
            assert_eq!(peek, libc::EACCES);
            // From interface 8 on landlock holds threads that were there before it.
            assert_eq!(report.threads_outside, u32::from(left && abi < 8));

            let pool = builder().sandbox(Sandbox::strict().required()).build().unwrap();
            let outcome = pool.submit(|()| (), ()).unwrap().wait();
            if report.is_complete() {
                outcome.unwrap();
            } else {
                let error = outcome.unwrap_err();
                assert_eq!(error.kind(), Kind::Start);
                let expected = "a worker cannot start: its sandbox is required to be complete, but 1 threads began before it \
                                and are not held by landlock";
                assert_eq!(error.message(), expected);
            }
            let _ = fs::remove_file(std::env::temp_dir().join(format!("procpool-free-{}", std::process::id())));
        }
    });
}

#[test]
fn threads_cannot_be_confined() {
    alone(|| {
        let error = Pool::builder().threads().sandbox(Sandbox::strict()).build().unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.message(), "a thread cannot be confined by itself: a sandbox needs worker processes");
    });
}

#[test]
fn invariant_4_confined_workers_end_with_the_program_also_while_the_initializer_runs() {
    fn slow(queue: Queue<u32>) {
        queue.put(&std::process::id()).unwrap();
        loop {
            std::thread::park();
        }
    }
    fn host((in_initializer, queue): (bool, Queue<u32>)) {
        let builder = Pool::builder().workers(1).sandbox(Sandbox::strict());
        let builder = if in_initializer { builder.initializer(slow, queue.clone()) } else { builder };
        let pool = builder.build().unwrap();
        let _ = pool.submit(slow, queue).unwrap().wait();
    }
    alone(|| {
        for in_initializer in [false, true] {
            let queue = Queue::new().unwrap();
            let host = Process::spawn(host, (in_initializer, queue.clone())).unwrap();
            let worker = queue.get().unwrap();
            assert!(process(worker).is_some());
            drop(host);
            wait_until(|| process(worker).is_none_or(|worker| worker.state == 'Z'));
        }
    });
}

#[test]
fn open_files_travel_both_ways_and_share_their_position() {
    fn second_line((mut input, output): (SharedFile, SharedFile)) -> (SharedFile, SharedFile) {
        let mut text = String::new();
        input = {
            let mut file = input.into_file();
            file.read_to_string(&mut text).unwrap();
            file.into()
        };
        writeln!(output.file(), "{}", text.lines().next().unwrap()).unwrap();
        (input, output)
    }
    alone(|| {
        let folder = temporary("files");
        fs::write(folder.join("in"), "one\ntwo\nthree\n").unwrap();
        let (pool, _) = confined(Sandbox::strict());
        let mut input = File::open(folder.join("in")).unwrap();
        input.seek(SeekFrom::Start(4)).unwrap();
        let output = File::create(folder.join("out")).unwrap();
        let kept: SharedFile = output.into();
        let task = (input.try_clone().unwrap().into(), kept.try_clone().unwrap());
        let (back, _) = pool.submit(second_line, task).unwrap().wait().unwrap();
        assert_eq!(fs::read_to_string(folder.join("out")).unwrap(), "two\n");
        assert_eq!(input.stream_position().unwrap(), 14);
        assert_eq!(back.into_file().stream_position().unwrap(), 14);
        drop((input, kept));
        pool.shutdown();

        // The same on threads, in a process of its own, and refused where descriptors cannot follow.
        let open = || SharedFile::from(File::open(folder.join("in")).unwrap());
        let length = |file: SharedFile| file.file().metadata().unwrap().len();
        let threads = Pool::builder().threads().workers(1).build().unwrap();
        assert_eq!(threads.submit(length, open()).unwrap().wait().unwrap(), 14);
        assert_eq!(Process::spawn(length, open()).unwrap().join().unwrap(), 14);
        let error = Queue::new().unwrap().put(&open()).unwrap_err();
        assert_eq!(error.kind(), Kind::Encode);
        assert!(
            error.message().ends_with("can only travel inside the input or output of a task or process"),
            "{error}"
        );
        threads.shutdown();
        fs::remove_dir_all(folder).unwrap();
    });
}
