//! Tells people and programs how a run goes: a line per file, or a progress bar, or JSON; a summary at the end.
//!
//! Results go to standard output; failures, the bar and the summary to standard error. With `--json` everything is an
//! object on standard output.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bar::Bar;
use super::failure::{JobError, reason};
use super::names;
use super::record::Record;
use super::stream::{State, Stream};
use super::units::{show_duration, show_rate};

/// How to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Objects on standard output in place of text.
    pub json: bool,
    /// Failures and nothing else.
    pub quiet: bool,
}

/// The words of a job.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    /// The name of the job, as on the command line.
    pub job: &'static str,
    /// One of what it makes: "thumbnail".
    pub one: &'static str,
    /// Several of them.
    pub many: &'static str,
    /// What was done with them: "made".
    pub done: &'static str,
    /// What was done with those that an earlier run has done: "skipped: done before, says the log, and unchanged".
    pub unchanged: &'static str,
    /// The line of each file is the result itself, not a notice that it was done: print it on terminals too.
    pub lines_are_results: bool,
    /// The folder where the outputs are.
    pub place: Option<String>,
}

/// Of jobs that go on from their log.
pub(crate) const SAYS_THE_LOG: &str = "skipped: done before, says the log, and unchanged";

/// Standard output took no more.
#[derive(Debug)]
pub(crate) enum OutputError {
    /// Its reader went away.
    Closed,
    /// Any other failure.
    Failed(io::Error),
}

/// The report of one run.
pub(crate) struct Reporter {
    style: Style,
    words: Words,
    started: Instant,
    bar: Option<Bar>,
    colour: bool,
    stream: Arc<Stream>,
}

impl Reporter {
    /// The report of a run whose figures are those of `stream`.
    pub(crate) fn new(style: Style, words: Words, stream: Arc<Stream>) -> Self {
        let terminal = io::stderr().is_terminal();
        let plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let draw = terminal && !plain && io::stdout().is_terminal() && !style.json && !style.quiet;
        Reporter {
            style,
            words,
            started: Instant::now(),
            bar: if draw { Bar::start(Arc::clone(&stream)) } else { None },
            colour: terminal && !plain && !no_colour,
            stream,
        }
    }

    /// A handle on the bar for whoever has to remove it before the process ends.
    pub(crate) fn bar(&self) -> Option<Bar> {
        self.bar.clone()
    }

    /// An input is done: `line` for people, `record` for programs.
    pub(crate) fn done(&mut self, path: &Path, line: &str, record: Record) -> Result<(), OutputError> {
        if self.style.quiet {
            Ok(())
        } else if self.style.json {
            self.print(&record_of(path, true).and(record).line())
        } else if !line.is_empty() && (self.bar.is_none() || self.words.lines_are_results) {
            self.print(line)
        } else {
            Ok(())
        }
    }

    /// An input is done, but not as well as it should be.
    pub(crate) fn warned(&self, path: &Path, warning: &str) {
        if !self.style.json && !self.style.quiet {
            self.note(&format!("{}: {warning}", names::show(path)));
        }
    }

    /// An input is as it was when an earlier run did it. Not news, but its line may be a result.
    pub(crate) fn unchanged(&mut self, path: &Path, line: &str, record: Record) -> Result<(), OutputError> {
        if self.style.json || self.words.lines_are_results {
            self.done(path, line, Record::default().with("unchanged", true).and(record))
        } else {
            Ok(())
        }
    }

    /// What would be made of an input is there. No news, but to programs.
    pub(crate) fn there(&mut self, path: &Path, record: Record) -> Result<(), OutputError> {
        if self.style.json { self.done(path, "", Record::default().with("skipped", true).and(record)) } else { Ok(()) }
    }

    /// An input failed. `line` stands in for its result on standard output, where there is one.
    pub(crate) fn failed(&mut self, path: &Path, error: &JobError, line: Option<&str>) -> Result<(), OutputError> {
        if self.style.json {
            let told = serde_json::json!({"kind": error.cause.name(), "message": error.message});
            self.print(&record_of(path, false).with("error", told).line())
        } else {
            let (red, plain) = if self.colour { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
            self.note(&format!("{}: {red}{}{plain}", names::show(path), names::show_message(&error.message)));
            match line {
                Some(line) if !self.style.quiet => self.print(line),
                _ => Ok(()),
            }
        }
    }

    fn print(&self, line: &str) -> Result<(), OutputError> {
        let text = format!("{line}\n");
        let write = || io::stdout().lock().write_all(text.as_bytes());
        let written = match &self.bar {
            Some(bar) => bar.above(write),
            None => write(),
        };
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => OutputError::Closed,
            _ => OutputError::Failed(error),
        })
    }

    /// The last line of the results. (In JSON it is part of the summary.)
    pub(crate) fn total(&self, line: Option<&str>) -> Result<(), OutputError> {
        match line {
            Some(line) if !self.style.quiet && !self.style.json => self.print(line),
            _ => Ok(()),
        }
    }

    /// A line on standard error. Where that is closed there is nobody left to tell.
    pub(crate) fn note(&self, line: &str) {
        note(self.bar.as_ref(), line);
    }

    /// Removes the bar and prints the summary. `extra` goes into its object.
    pub(crate) fn finish(&mut self, interrupted: bool, extra: Record) -> Result<(), OutputError> {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
        if self.style.quiet {
            return Ok(());
        }
        let (state, elapsed) = (self.stream.state(), self.started.elapsed());
        if self.style.json {
            return self.print(&self.summary_object(&state, elapsed, interrupted).and(extra).line());
        }
        for line in self.summary_lines(&state, elapsed, interrupted) {
            self.note(&line);
        }
        Ok(())
    }

    fn summary_lines(&self, state: &State, elapsed: Duration, interrupted: bool) -> Vec<String> {
        let what = if state.done == 1 { self.words.one } else { self.words.many };
        let rate = match state.done {
            0 => String::new(),
            done => format!(" ({} per second)", show_rate(per_second(done, elapsed))),
        };
        let place = match &self.words.place {
            Some(place) if state.done > 0 => format!(", saved in {place}"),
            _ => String::new(),
        };
        let mut lines =
            vec![format!("{} {what} {} in {}{rate}{place}", state.done, self.words.done, show_duration(elapsed))];
        let failed = state.failed();
        if failed > 0 {
            let causes: Vec<String> =
                state.causes.iter().map(|(cause, count)| format!("{count} {}", cause.phrase())).collect();
            lines.push(format!("{failed} failed: {}", causes.join(", ")));
        }
        if state.unchanged > 0 {
            lines.push(format!("{} {}", state.unchanged, self.words.unchanged));
        }
        if state.skipped > 0 {
            lines.push(format!("{} skipped: made by an earlier run", state.skipped));
        }
        if interrupted {
            lines.push(format!("stopped: {} not begun", state.not_begun));
        }
        lines
    }

    fn summary_object(&self, state: &State, elapsed: Duration, interrupted: bool) -> Record {
        Record::default()
            .with("summary", true)
            .with("job", self.words.job)
            .and(state.record())
            .with("interrupted", interrupted)
            .with("seconds", elapsed.as_secs_f64())
            .with("per_second", per_second(state.done, elapsed))
    }
}

fn per_second(done: u64, elapsed: Duration) -> f64 {
    done as f64 / elapsed.as_secs_f64().max(1e-9)
}

/// Prints a line on standard error, above the bar if there is one.
pub(crate) fn note(bar: Option<&Bar>, line: &str) {
    let text = format!("{line}\n");
    let write = || {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    };
    match bar {
        Some(bar) => bar.above(write),
        None => write(),
    }
}

/// The message for a standard output that failed.
pub(crate) fn output_failure(error: &io::Error) -> String {
    format!("procpool: cannot write to standard output: {}", reason(error))
}

fn record_of(path: &Path, ok: bool) -> Record {
    Record::default().with_path("input", path).with("ok", ok)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::frame::failure::Cause;

    fn words() -> Words {
        let place = Some("thumbs".to_owned());
        let unchanged = SAYS_THE_LOG;
        Words {
            job: "thumbs",
            one: "thumbnail",
            many: "thumbnails",
            done: "made",
            unchanged,
            lines_are_results: false,
            place,
        }
    }

    #[test]
    fn the_summary_groups_failures_by_cause() {
        let style = Style { json: false, quiet: true };
        let report = Reporter::new(style, words(), Arc::new(Stream::new(None)));
        let causes = BTreeMap::from([(Cause::Empty, 1), (Cause::NotAPicture, 2)]);
        let state = State { inputs: 9, skipped: 2, unchanged: 4, done: 1, causes, not_begun: 1 };
        let expected = [
            "1 thumbnail made in 0.50 s (2.0 per second), saved in thumbs",
            "3 failed: 1 empty, 2 not a picture",
            "4 skipped: done before, says the log, and unchanged",
            "2 skipped: made by an earlier run",
            "stopped: 1 not begun",
        ];
        assert_eq!(report.summary_lines(&state, Duration::from_millis(500), true), expected);
        let expected = concat!(
            r#"{"summary":true,"job":"thumbs","done":1,"failed":3,"causes":{"empty":1,"not-a-picture":2},"#,
            r#""unchanged":4,"skipped":2,"not_begun":1,"interrupted":true,"seconds":0.5,"per_second":2.0}"#,
        );
        assert_eq!(report.summary_object(&state, Duration::from_millis(500), true).line(), expected);
    }
}
