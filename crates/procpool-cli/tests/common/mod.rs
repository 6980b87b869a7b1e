//! Runs the built command in a temporary folder, with a watchdog over every run.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// After this a run counts as hung, is killed, and its test fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_procpool");

/// A folder for one test.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().expect("temporary folder"))
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(&path, contents).expect("file");
        path
    }

    /// A copy of one of the sample pictures.
    pub(crate) fn picture(&self, name: impl AsRef<Path>, sample: &str) -> PathBuf {
        self.write(name, sample_picture(sample))
    }

    /// Everything below a folder but folders, sorted.
    pub(crate) fn listing(&self, folder: &str) -> Vec<String> {
        let root = self.path(folder);
        let mut names = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries {
                let path = entry.expect("entry").path();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else {
                    names.push(path.strip_prefix(&root).expect("below").to_string_lossy().into_owned());
                }
            }
        }
        names.sort();
        names
    }

    /// Runs the command to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        self.start(args).finish()
    }

    /// Starts the command.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Running {
        let mut command = Command::new(BINARY);
        command.args(args);
        self.start_command(command)
    }

    /// Starts any command in this folder, in a process group of its own; the test reads what it prints.
    pub(crate) fn start_command(&self, mut command: Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.start_on(command)
    }

    /// The same with the outputs that were set.
    pub(crate) fn start_on(&self, mut command: Command) -> Running {
        command.current_dir(self.0.path()).process_group(0).stdin(Stdio::null());
        Running::new(command.spawn().expect("start the command"))
    }
}

/// What another program prints when it has run well; `None`, said aloud, where there is none such.
pub(crate) fn other_program(mut command: Command, input: &[u8]) -> Option<Vec<u8>> {
    let name = command.get_program().to_owned();
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED: there is no {} to compare with: {error}", name.display());
            return None;
        }
    };
    let mut to = child.stdin.take().expect("its input");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || to.write_all(&input));
    let output = child.wait_with_output().expect("its output");
    let _ = writer.join().expect("writer");
    assert!(output.status.success(), "{} failed", name.display());
    Some(output.stdout)
}

/// The Python that tests are to use.
pub(crate) fn python() -> Command {
    Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// Numbers that look random and are the same each time.
pub(crate) struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }
}

pub(crate) fn sample_picture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images").join(name);
    fs::read(path).expect("sample picture")
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The JSON objects on standard output.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The lines of standard error before the summary.
    pub(crate) fn failures(&self) -> Vec<&str> {
        self.stderr.lines().take_while(|line| !is_summary(line)).collect()
    }

    /// The summary with the figures that differ from run to run cut out.
    pub(crate) fn summary(&self) -> Vec<String> {
        let mut lines = self.stderr.lines().skip_while(|line| !is_summary(line));
        let first = lines.next().expect("a summary");
        let first = first.split(" in ").next().expect("text").to_owned();
        std::iter::once(first).chain(lines.map(str::to_owned)).collect()
    }
}

fn is_summary(line: &str) -> bool {
    [" made in ", " counted in ", " read in "].iter().any(|words| line.contains(words))
}

/// A run that is going on.
pub(crate) struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<BufReader<ChildStderr>>,
    read_so_far: (String, String),
    watchdog: Option<(Sender<()>, JoinHandle<bool>)>,
}

/// A program that is started with a signal ignored keeps ignoring it, as it should; so nothing can be tested then.
fn require_heard(signal: Signal) {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("ignored signals");
    let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a mask");
    let is_ignored = ignored >> (signal.as_raw() - 1) & 1 == 1;
    assert!(
        !is_ignored,
        "these tests were started with {signal:?} ignored, as by `nohup make test &`: start them otherwise"
    );
}

impl Running {
    fn new(mut child: Child) -> Running {
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = child.stderr.take().map(BufReader::new);
        let (done, is_done) = mpsc::channel();
        let pid = pid_of(child.id());
        let watchdog = std::thread::spawn(move || {
            let hung = is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            if hung {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            hung
        });
        Running { child, stdout, stderr, read_so_far: Default::default(), watchdog: Some((done, watchdog)) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        require_heard(signal);
        kill_process(pid_of(self.child.id()), signal).expect("signal");
    }

    /// As a terminal does on Ctrl-C: to the workers too.
    pub(crate) fn signal_group(&self, signal: Signal) {
        require_heard(signal);
        kill_process_group(pid_of(self.child.id()), signal).expect("signal");
    }

    /// Waits for a line on standard output.
    pub(crate) fn stdout_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().expect("standard output").read_line(&mut line).expect("a line");
        self.read_so_far.0.push_str(&line);
        line
    }

    /// Waits for a line on standard error.
    pub(crate) fn stderr_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.as_mut().expect("standard error").read_line(&mut line).expect("a line");
        self.read_so_far.1.push_str(&line);
        line
    }

    /// Stops with Ctrl-C, after so many lines on standard output, a run with `--resume`, which says that it keeps what is finished.
    pub(crate) fn stop_resumable_after(mut self, lines: usize) {
        for _ in 0..lines {
            self.stdout_line();
        }
        self.signal(Signal::INT);
        let mut told = std::iter::repeat_with(|| self.stderr_line()).take_while(|line| !line.is_empty());
        let said = told.find(|line| line.starts_with("stopping"));
        let text = "stopping: what is finished is kept for another run with --resume; Ctrl-C again ends at once\n";
        assert_eq!(said.as_deref(), Some(text));
        assert_eq!(self.finish().code, 130);
    }

    /// Closes the reading end of standard output, as `head` does.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Waits until a worker has read from the file, which the command has opened for it, and returns the worker's pid.
    pub(crate) fn worker_reading(&self, path: &Path) -> u32 {
        let path = fs::canonicalize(path).expect("path");
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            for pid in descendants(self.child.id()) {
                let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
                let has_read = |fd: &OsStr| {
                    let info = Path::new(&format!("/proc/{pid}/fdinfo")).join(fd);
                    let info = fs::read_to_string(info).unwrap_or_default();
                    info.lines().any(|line| line.strip_prefix("pos:").is_some_and(|at| at.trim() != "0"))
                };
                if open.into_iter().any(|entry| {
                    fs::read_link(entry.path()).is_ok_and(|target| target == path) && has_read(&entry.file_name())
                }) {
                    return pid;
                }
            }
            std::thread::yield_now();
        }
        panic!("no worker read {}", path.display());
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Ran {
        let (mut stdout, mut stderr) = std::mem::take(&mut self.read_so_far);
        let errors = self.stderr.take();
        let reader = std::thread::spawn(move || {
            if let Some(mut errors) = errors {
                errors.read_to_string(&mut stderr).expect("standard error");
            }
            stderr
        });
        if let Some(mut output) = self.stdout.take() {
            output.read_to_string(&mut stdout).expect("standard output");
        }
        let stderr = reader.join().expect("reader");
        let status = self.child.wait().expect("end");
        let (done, watchdog) = self.watchdog.take().expect("watchdog");
        let _ = done.send(());
        assert!(!watchdog.join().expect("watchdog"), "the command hung; so far: {stdout}{stderr}");
        let code = status.code().unwrap_or_else(|| -status.signal().expect("code or signal"));
        Ran { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.watchdog.is_some() {
            let _ = kill_process_group(pid_of(self.child.id()), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn pid_of(id: u32) -> Pid {
    Pid::from_raw(id as i32).expect("pid")
}

/// Waits until `condition` holds, no longer than anything may take.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain");
        std::thread::yield_now();
    }
}

/// All processes below a process.
pub(crate) fn descendants(id: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut parents = vec![id];
    while let Some(parent) = parents.pop() {
        for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
            found.extend(&children);
            parents.extend(&children);
        }
    }
    found
}
