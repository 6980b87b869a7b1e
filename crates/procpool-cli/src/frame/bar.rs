//! A progress bar on standard error.
//!
//! It ends before the last column and is always written in one piece, so whatever a terminal puts behind it, such as
//! the `^C` of a pressed Ctrl-C, goes away with it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stream::Stream;
use super::units::{show_clock, show_rate};

/// Time between two pictures of the bar, and before the first one: a short run shows none.
const TICK: Duration = Duration::from_millis(100);
/// The rate is that of so many ticks: ten seconds.
const SAMPLES: usize = 100;
/// Widest bar, in columns.
const WIDTH: usize = 28;
/// Clears the line the cursor is in.
const CLEAR: &str = "\r\x1b[K";

/// A handle on the bar. The bar is drawn by a thread of its own until it is [finished](Bar::finish).
#[derive(Clone)]
pub(crate) struct Bar(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    finished: Condvar,
}

struct State {
    stream: Arc<Stream>,
    per_second: f64,
    /// How much had ended at which time, inputs and parts of them.
    recent: VecDeque<(Instant, f64)>,
    drawn: bool,
    finished: bool,
}

struct Progress {
    total: u64,
    done: u64,
    /// What was worked on besides, in inputs.
    parts: f64,
    failed: u64,
    per_second: f64,
}

impl Bar {
    /// A bar that shows how `stream` stands. `None` where no thread can be had for it.
    pub(crate) fn start(stream: Arc<Stream>) -> Option<Bar> {
        let recent = VecDeque::from([(Instant::now(), 0.0)]);
        let state = State { stream, per_second: 0.0, recent, drawn: false, finished: false };
        let bar = Bar(Arc::new(Shared { state: Mutex::new(state), finished: Condvar::new() }));
        let ticking = bar.clone();
        std::thread::Builder::new().name("progress".into()).spawn(move || ticking.tick()).ok()?;
        Some(bar)
    }

    /// Lets `write` print whole lines to the terminal, above the bar.
    pub(crate) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        let drawn = state.clear();
        let written = write();
        if drawn {
            state.draw();
        }
        written
    }

    /// Removes the bar for good.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.finished = true;
        state.clear();
        self.0.finished.notify_all();
    }

    fn tick(&self) {
        let mut state = self.lock();
        while !state.finished {
            let waited = self.0.finished.wait_timeout_while(state, TICK, |state| !state.finished);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !state.finished {
                state.sample();
                state.draw();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sample(&mut self) {
        // In this order: an input that ends in between counts twice for a moment, rather than go back.
        let (now, parts) = (Instant::now(), self.stream.parts());
        let done = self.stream.state().progress().0 as f64 + parts;
        if let Some(&(then, before)) = self.recent.front() {
            self.per_second = (done - before).max(0.0) / (now - then).as_secs_f64().max(1e-3);
        }
        self.recent.push_back((now, done));
        if self.recent.len() > SAMPLES {
            self.recent.pop_front();
        }
    }

    fn draw(&mut self) {
        let width = rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col));
        let (parts, state) = (self.stream.parts(), self.stream.state());
        let (done, total) = state.progress();
        let progress = Progress { total, done, parts, failed: state.failed(), per_second: self.per_second };
        let line = progress.line(width.saturating_sub(1), is_utf8_locale());
        self.drawn = true;
        print(&format!("{CLEAR}{line}"));
    }

    /// Returns whether there was a bar to clear.
    fn clear(&mut self) -> bool {
        let drawn = std::mem::take(&mut self.drawn);
        if drawn {
            print(CLEAR);
        }
        drawn
    }
}

impl Progress {
    /// The bar and its figures in at most `width` columns.
    fn line(&self, width: usize, blocks: bool) -> String {
        let done = (self.done as f64 + self.parts).min(self.total as f64);
        let left = match self.per_second {
            0.0 => "?".to_owned(),
            rate => show_clock(Duration::from_secs_f64(((self.total as f64 - done) / rate).min(1e9))),
        };
        let share = done / (self.total as f64).max(1.0);
        // Of a few large files the number of those that are done says little.
        let percent = if self.parts > 0.0 { format!("  {:.0} %", (100.0 * share).floor()) } else { String::new() };
        let mut figures =
            format!("{}/{}{percent}  {} per second  {left} left", self.done, self.total, show_rate(self.per_second));
        if self.failed > 0 {
            figures += &format!("  {} failed", self.failed);
        }
        let room = width.saturating_sub(figures.len() + 2).min(WIDTH);
        if room < 5 {
            figures.truncate(width);
            return figures;
        }
        let full = (room as f64 * share) as usize;
        let (filled, empty) = if blocks { ("█", "░") } else { ("#", "-") };
        format!("{}{}  {figures}", filled.repeat(full), empty.repeat(room - full))
    }
}

fn is_utf8_locale() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

fn print(text: &str) {
    // A terminal that is gone shows no bar; nothing else depends on it.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fits_its_line() {
        let progress = Progress { total: 200, done: 50, parts: 0.0, failed: 3, per_second: 10.0 };
        let figures = "50/200  10 per second  0:15 left  3 failed";
        assert_eq!(progress.line(100, true), format!("{}{}  {figures}", "█".repeat(7), "░".repeat(21)));
        assert_eq!(progress.line(52, false), format!("##------  {figures}"));
        assert_eq!(progress.line(45, false), figures);
        assert_eq!(progress.line(10, false), "50/200  10");
        assert_eq!(progress.line(0, false), "");
    }

    #[test]
    fn of_a_large_file_its_parts_count() {
        let progress = Progress { total: 2, done: 1, parts: 0.57, failed: 0, per_second: 0.1 };
        let figures = "1/2  78 %  0.1 per second  0:04 left";
        assert_eq!(progress.line(48, false), format!("#######---  {figures}"));
    }

    #[test]
    fn before_the_first_is_done_nobody_knows_how_long_it_takes() {
        let progress = Progress { total: 9, done: 0, parts: 0.0, failed: 0, per_second: 0.0 };
        assert_eq!(progress.line(50, false), "---------------------  0/9  0.0 per second  ? left");
        let nothing = Progress { total: 0, done: 0, parts: 0.0, failed: 0, per_second: 0.0 };
        assert_eq!(nothing.line(36, false), "-------  0/0  0.0 per second  ? left");
    }
}
