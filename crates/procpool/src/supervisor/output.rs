//! What workers print: passed on line by line, and the end of it kept for errors.
//!
//! A thread of its own reads the pipes and writes, because the terminal or a callback may block; the supervisor must not.
//! When a worker has died the supervisor reads the rest itself, without blocking, so that the error has the last words.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::ThreadId;

use crate::os::bell::Bell;
use crate::os::fail::{Call, point};
use crate::os::poller::Poller;

/// Which of a worker's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line that a worker printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    /// The worker's process.
    pub pid: u32,
    /// Where it was printed.
    pub stream: Stream,
    /// The line without its end; cut after 64 KiB. Not necessarily UTF-8.
    pub bytes: Vec<u8>,
}

/// What happens to what workers print.
#[derive(Clone, Default)]
pub enum Output {
    /// Workers write to this program's own streams. Errors carry no last words.
    Inherit,
    /// Standard output is inherited; standard error is passed on line by line, and errors carry its end. The default.
    #[default]
    PassThrough,
    /// Both streams are passed on line by line, each line behind the worker's process id in brackets.
    Tagged,
    /// Each line goes to a function, which is called on a thread of its own.
    Capture(Arc<dyn Fn(OutputLine) + Send + Sync>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inherit => "Inherit",
            Self::PassThrough => "PassThrough",
            Self::Tagged => "Tagged",
            Self::Capture(_) => "Capture",
        })
    }
}

/// How much of the end of standard error an error carries, in bytes.
const TAIL: usize = 4096;
/// The longest line; a longer one is cut into several.
const LONGEST_LINE: usize = 64 * 1024;
/// How much is read at most after a worker's death: a process that it started may still be writing.
const LAST_WORDS: usize = 1 << 20;

/// One stream of one worker.
#[derive(Debug)]
pub(super) struct Pipe {
    pid: u32,
    stream: Stream,
    state: Mutex<PipeState>,
}

#[derive(Debug)]
struct PipeState {
    /// `None` once everything was read.
    reader: Option<std::io::PipeReader>,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    tail: VecDeque<u8>,
    /// Lines that were read and not yet passed on.
    lines: Vec<Vec<u8>>,
    /// One of them said that there was no memory to be had. A backtrace may have driven it out of `tail` since.
    lacked_memory: bool,
}

impl Pipe {
    pub(super) fn new(pid: u32, stream: Stream, reader: std::io::PipeReader) -> io::Result<Self> {
        point(Call::Nonblocking)?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        let state = PipeState {
            reader: Some(reader),
            partial: Vec::new(),
            tail: VecDeque::new(),
            lines: Vec::new(),
            lacked_memory: false,
        };
        Ok(Self { pid, stream, state: Mutex::new(state) })
    }

    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    /// Reads what is there, at most `limit` bytes. Returns whether more may come.
    fn read(&self, limit: usize) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = limit;
        let mut buf = [0; 8192];
        while left > 0 {
            let Some(reader) = &mut state.reader else { return false };
            match point(Call::Read).map_err(io::Error::from).and_then(|()| reader.read(&mut buf)) {
                Ok(0) => return state.end(),
                Ok(n) => {
                    left = left.saturating_sub(n);
                    state.take(&buf[..n]);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return state.end(),
            }
        }
        true
    }

    /// Reads the rest after the worker's death and returns the end of it as text.
    pub(super) fn last_words(&self) -> String {
        self.read(LAST_WORDS);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end();
        let tail: Vec<u8> = state.tail.iter().copied().collect();
        String::from_utf8_lossy(&tail).into_owned()
    }

    /// Whether the worker has said, in the words of an allocator, that there was no memory to be had.
    pub(super) fn lacked_memory(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lacked_memory
    }

    fn take_lines(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).lines)
    }
}

impl PipeState {
    fn take(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if self.partial.last() == Some(&b'\n') {
                self.partial.pop();
                self.lacked_memory |= lacks_memory(&self.partial);
                self.lines.push(std::mem::take(&mut self.partial));
            } else if self.partial.len() >= LONGEST_LINE {
                self.lines.push(std::mem::take(&mut self.partial));
            }
        }
    }

    fn end(&mut self) -> bool {
        self.reader = None;
        if !self.partial.is_empty() {
            let last = std::mem::take(&mut self.partial);
            self.lines.push(last);
        }
        false
    }
}

/// Whether it is the line with which Rust's or C++'s allocator ends a process.
fn lacks_memory(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let bytes = line.strip_prefix("memory allocation of ").and_then(|rest| rest.strip_suffix(" bytes failed"));
    bytes.is_some_and(|bytes| bytes.parse::<u64>().is_ok())
        || line.starts_with("terminate called") && line.contains("std::bad_alloc")
}

/// The thread that passes on what workers print.
#[derive(Debug)]
pub(super) struct Printer {
    output: Output,
    bell: Bell,
    poller: Poller,
    state: Mutex<PrinterState>,
    id: OnceLock<ThreadId>,
}

#[derive(Debug, Default)]
struct PrinterState {
    pipes: HashMap<u64, Arc<Pipe>>,
    next: u64,
    closed: bool,
    thread: Option<std::thread::JoinHandle<()>>,
}

const BELL: u64 = u64::MAX;

impl Printer {
    /// Starts the thread; `None` if there is nothing to pass on.
    pub(super) fn start(output: &Output) -> io::Result<Option<Arc<Self>>> {
        if matches!(output, Output::Inherit) {
            return Ok(None);
        }
        let printer = Arc::new(Self {
            output: output.clone(),
            bell: Bell::new()?,
            poller: Poller::new()?,
            state: Mutex::default(),
            id: OnceLock::new(),
        });
        printer.poller.add(&printer.bell, BELL)?;
        point(Call::Thread)?;
        let runs = Arc::clone(&printer);
        let handle = std::thread::Builder::new().name("procpool-output".into()).spawn(move || {
            let _ = crate::os::signals::block_all();
            runs.run();
        })?;
        let _ = printer.id.set(handle.thread().id());
        printer.lock().thread = Some(handle);
        Ok(Some(printer))
    }

    /// Whether workers' standard output is passed on too.
    pub(super) fn wants_stdout(&self) -> bool {
        !matches!(self.output, Output::PassThrough)
    }

    /// From now on passes on what comes from this pipe.
    pub(super) fn add(&self, pipe: &Arc<Pipe>) -> io::Result<()> {
        let mut state = self.lock();
        let token = state.next;
        state.next += 1;
        if let Some(reader) = &pipe.state.lock().unwrap_or_else(PoisonError::into_inner).reader {
            self.poller.add(reader, token)?;
        }
        state.pipes.insert(token, Arc::clone(pipe));
        Ok(())
    }

    /// Says that a pipe was read by somebody else.
    pub(super) fn look(&self) {
        self.bell.ring();
    }

    /// Passes on what is left, and ends the thread. For the supervisor thread.
    pub(super) fn close(&self) {
        let thread = {
            let mut state = self.lock();
            state.closed = true;
            state.thread.take()
        };
        self.bell.ring();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    pub(super) fn is_thread(&self, id: ThreadId) -> bool {
        self.id.get() == Some(&id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, PrinterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let Ok(ready) = self.poller.wait(None) else { return };
            if ready.contains(&BELL) {
                self.bell.clear();
            }
            let (pipes, closed) = {
                let state = self.lock();
                let pipes: Vec<(u64, Arc<Pipe>)> = state.pipes.iter().map(|(&t, pipe)| (t, Arc::clone(pipe))).collect();
                (pipes, state.closed)
            };
            for (token, pipe) in pipes {
                let open = pipe.read(LAST_WORDS);
                for line in pipe.take_lines() {
                    self.print(&pipe, line);
                }
                if !open {
                    self.lock().pipes.remove(&token);
                }
            }
            if closed {
                return;
            }
        }
    }

    fn print(&self, pipe: &Pipe, mut line: Vec<u8>) {
        // A stream that nobody reads any more is not a reason to lose the pool.
        let _ = match &self.output {
            Output::Inherit => Ok(()),
            Output::Capture(function) => {
                function(OutputLine { pid: pipe.pid, stream: pipe.stream, bytes: line });
                Ok(())
            }
            Output::PassThrough => {
                line.push(b'\n');
                write_line(pipe.stream, &line)
            }
            Output::Tagged => {
                line.push(b'\n');
                write_line(pipe.stream, &[format!("[{}] ", pipe.pid).as_bytes(), &line].concat())
            }
        };
    }
}

fn write_line(stream: Stream, line: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Stdout => io::stdout().lock().write_all(line).and_then(|()| io::stdout().flush()),
        Stream::Stderr => io::stderr().lock().write_all(line),
    }
}

/// The two ends of a worker's streams: what the parent reads, and what the child gets.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) ours: Vec<(Stream, std::io::PipeReader)>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

impl Streams {
    pub(super) fn new(printer: Option<&Printer>) -> io::Result<Self> {
        let mut streams = Self::default();
        let Some(printer) = printer else { return Ok(streams) };
        let pipe = || point(Call::Pipe).map_err(io::Error::from).and_then(|()| io::pipe());
        let (reader, writer) = pipe()?;
        streams.ours.push((Stream::Stderr, reader));
        streams.stderr = Some(writer.into());
        if printer.wants_stdout() {
            let (reader, writer) = pipe()?;
            streams.ours.push((Stream::Stdout, reader));
            streams.stdout = Some(writer.into());
        }
        Ok(streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_the_end_is_kept() {
        let (reader, mut writer) = io::pipe().unwrap();
        let pipe = Pipe::new(7, Stream::Stderr, reader).unwrap();
        writer.write_all(b"one\ntw").unwrap();
        assert!(pipe.read(usize::MAX));
        assert_eq!(pipe.take_lines(), [b"one".to_vec()]);
        writer.write_all(b"o\n\n").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| writer.write_all(&vec![b'x'; LONGEST_LINE + 5]).unwrap());
            while pipe.state.lock().unwrap().tail.len() < TAIL {
                pipe.read(usize::MAX);
            }
        });
        assert!(pipe.read(usize::MAX));
        drop(writer);
        assert!(!pipe.read(usize::MAX));
        let lines = pipe.take_lines();
        assert_eq!((&lines[0], &lines[1]), (&b"two".to_vec(), &b"".to_vec()));
        assert_eq!(pipe.last_words(), "x".repeat(TAIL));
    }

    #[test]
    fn an_abort_for_lack_of_memory_is_known_by_its_words() {
        assert!(lacks_memory(b"memory allocation of 4294967296 bytes failed"));
        assert!(lacks_memory(b"terminate called after throwing an instance of 'std::bad_alloc'"));
        for other in ["memory allocation of the second kind bytes failed", "", " bytes failed", "no std::bad_alloc"] {
            assert!(!lacks_memory(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_long_backtrace_does_not_make_it_forgotten() {
        let (reader, mut writer) = io::pipe().unwrap();
        let pipe = Pipe::new(1, Stream::Stderr, reader).unwrap();
        assert!(!pipe.lacked_memory());
        writeln!(writer, "memory allocation of 17 bytes failed\nstack backtrace:\n{}", "x".repeat(2 * TAIL)).unwrap();
        drop(writer);
        assert!(!pipe.last_words().contains("memory allocation"));
        assert!(pipe.lacked_memory());
    }
}
