//! Signals: what Ctrl-C and its relatives do.
//!
//! The first SIGINT lets what runs finish and begins nothing more. The second one, and SIGTERM and SIGHUP at once, end
//! the workers where they are. A signal that was ignored when the command started (`nohup`, a background job of a
//! script) stays ignored.
//!
//! Ctrl-Z (SIGTSTP) stops the workers too, which the terminal does not reach, and their clocks; `fg` lets all go on.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use super::exit;

/// What a signal has to do to the run in progress.
pub(crate) trait Interruptible: Send {
    /// Begin nothing more; what runs goes on.
    fn stop(&self);
    /// End everything now; the process exits right after.
    fn abort(&self);
    /// Stand still, until [resumed](Self::resume): the process is stopped right after.
    fn pause(&self);
    /// Go on.
    fn resume(&self);
}

/// The signals of this process.
pub(crate) struct Interrupts {
    stopping: AtomicBool,
    aborting: AtomicBool,
    code: AtomicU8,
    run: Mutex<Option<Box<dyn Interruptible>>>,
}

impl Interrupts {
    /// Starts to listen. Until a run is [set](Self::set), every signal just ends the process.
    pub(crate) fn listen() -> io::Result<Arc<Interrupts>> {
        let interrupts = Arc::new(Interrupts {
            stopping: AtomicBool::new(false),
            aborting: AtomicBool::new(false),
            code: AtomicU8::new(exit::INTERRUPTED),
            run: Mutex::new(None),
        });
        let ignored = ignored_signals();
        let wanted = [SIGINT, SIGTERM, SIGHUP, SIGTSTP];
        let mut signals = Signals::new(wanted.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0))?;
        let listener = Arc::clone(&interrupts);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                listener.handle(signal);
            }
        })?;
        Ok(interrupts)
    }

    /// The first Ctrl-C has been pressed.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The process is about to exit: report nothing more.
    pub(crate) fn aborting(&self) -> bool {
        self.aborting.load(Ordering::Acquire)
    }

    /// Does not return if the process is about to exit: what is missing then is missing because the workers were ended. Not to be
    /// called by who holds what the exit waits for.
    pub(crate) fn exit_if_aborting(&self) {
        if self.aborting() {
            self.wait_for_exit();
        }
    }

    /// The run that the next signal stops.
    pub(crate) fn set(&self, run: Box<dyn Interruptible>) {
        let mut slot = self.lock();
        if self.stopping() {
            run.stop();
        }
        *slot = Some(run);
    }

    /// The run has ended by itself. Waits for the exit if the process is being ended.
    pub(crate) fn clear(&self) {
        self.exit_if_aborting();
        *self.lock() = None;
    }

    /// Blocks until the signal thread has ended the process.
    pub(crate) fn wait_for_exit(&self) -> ! {
        loop {
            std::thread::park();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Interruptible>>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, signal: i32) {
        if signal == SIGTSTP {
            return self.stand_still();
        }
        if signal == SIGINT && !self.stopping.swap(true, Ordering::AcqRel) {
            match &*self.lock() {
                Some(run) => return run.stop(),
                None => self.exit(),
            }
        }
        match signal {
            SIGTERM => self.code.store(exit::TERMINATED, Ordering::Relaxed),
            SIGHUP => self.code.store(exit::HANGUP, Ordering::Relaxed),
            _ => {}
        }
        self.aborting.store(true, Ordering::Release);
        if let Some(run) = &*self.lock() {
            run.abort();
        }
        self.exit();
    }

    /// Stops the run and then this process, as it would have stopped without us; returns when it is continued.
    fn stand_still(&self) {
        let run = self.lock();
        if let Some(run) = &*run {
            run.pause();
        }
        // It stops all threads of this process before it returns.
        let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
        if let Some(run) = &*run {
            run.resume();
        }
    }

    fn exit(&self) -> ! {
        std::process::exit(self.code.load(Ordering::Relaxed).into())
    }
}

/// The mask of the signals this process was started to ignore, bit 0 for signal 1.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
