//! The run in progress as signals see it, and how every run ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use procpool::Pool;

use super::bar::Bar;
use super::exit;
use super::failure::reason;
use super::interrupt::{Interruptible, Interrupts};
use super::report::{OutputError, Reporter, Style, note, output_failure};
use super::stream::{Event, Stream};

/// The run in progress.
pub(crate) struct Running {
    pool: Arc<Pool>,
    bar: Option<Bar>,
    /// What is said at the first Ctrl-C, if anything is.
    stopping: Option<&'static str>,
    writing: Arc<Mutex<()>>,
    pause: Arc<Mutex<Pause>>,
    clean: Arc<dyn Fn() + Send + Sync>,
}

/// When the workers were stopped last, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    since: Option<Instant>,
    length: Duration,
}

impl Running {
    /// A run that says `stopping` at the first Ctrl-C, and `clean`s up what its process would leave behind at the second.
    pub(crate) fn new(
        pool: &Arc<Pool>,
        (report, style): (&Reporter, Style),
        stopping: &'static str,
        clean: Arc<dyn Fn() + Send + Sync>,
    ) -> Running {
        let stopping = (!style.quiet).then_some(stopping);
        let (writing, pause) = (Arc::default(), Arc::default());
        Running { pool: Arc::clone(pool), bar: report.bar(), stopping, writing, pause, clean }
    }

    /// What is to be held while something is written: the process is not ended in the middle of it.
    pub(crate) fn writing(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.writing)
    }

    /// How long the last pause was.
    pub(crate) fn pause_length(&self) -> impl Fn() -> Duration + 'static {
        let pause = Arc::clone(&self.pause);
        move || pause.lock().unwrap_or_else(PoisonError::into_inner).length
    }
}

impl Interruptible for Running {
    fn stop(&self) {
        // Before it is said, so that it is true when it is read.
        self.pool.cancel_pending();
        if let Some(stopping) = self.stopping {
            note(self.bar.as_ref(), &format!("stopping: {stopping}; Ctrl-C again ends at once"));
        }
    }

    fn pause(&self) {
        // Threads are stopped with this process.
        let _ = self.pool.pause();
        self.pause.lock().unwrap_or_else(PoisonError::into_inner).since = Some(Instant::now());
    }

    fn resume(&self) {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        pause.length = pause.since.take().map_or(pause.length, |since| since.elapsed());
        drop(pause);
        self.pool.resume();
    }

    fn abort(&self) {
        self.pool.shutdown_now();
        if let Some(bar) = &self.bar {
            bar.finish();
        }
        // Lets the write in progress come to its end, and no other begin before the exit: what is cleaned stays clean.
        std::mem::forget(self.writing.lock());
        (self.clean)();
    }
}

/// Ends a run that has come to its end, with this code or because standard output took no more. Returns the exit code.
pub(crate) fn conclude(
    ended: Result<u8, OutputError>,
    report: &Reporter,
    pool: &Pool,
    stream: &Stream,
    interrupts: &Interrupts,
) -> u8 {
    let code = match ended {
        Ok(code) => code,
        Err(error) => {
            if let Some(bar) = report.bar() {
                bar.finish();
            }
            pool.cancel_pending();
            match error {
                OutputError::Closed => exit::PIPE_CLOSED,
                OutputError::Failed(error) => {
                    note(None, &output_failure(&error));
                    exit::FAILED
                }
            }
        }
    };
    pool.shutdown();
    stream.tell(&Event::RunEnded { interrupted: interrupts.stopping() });
    interrupts.clear();
    match stream.lost_log() {
        Some(error) => {
            note(None, &format!("procpool: cannot write to the log: {}; it ends too early", reason(&error)));
            exit::FAILED
        }
        None => code,
    }
}
