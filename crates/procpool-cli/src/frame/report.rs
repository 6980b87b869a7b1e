//! Tells people and programs how a run goes: a line per file, or a progress bar, or JSON; a summary at the end.
//!
//! Results go to standard output; failures, the bar and the summary to standard error. With `--json` everything is an
//! object on standard output.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::bar::Bar;
use super::failure::{Cause, JobError, reason};
use super::names;
use super::record::Record;
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
    /// The line of each file is the result itself, not a notice that it was done: print it on terminals too.
    pub lines_are_results: bool,
    /// The folder where the outputs are.
    pub place: Option<String>,
}

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
    done: u64,
    causes: BTreeMap<Cause, u64>,
    not_begun: u64,
    skipped: u64,
}

impl Reporter {
    /// The report of a run over `total` inputs, `skipped` others having been passed over.
    pub(crate) fn new(style: Style, words: Words, total: usize, skipped: usize) -> Self {
        let terminal = io::stderr().is_terminal();
        let plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let draw = terminal && !plain && io::stdout().is_terminal() && !style.json && !style.quiet;
        Reporter {
            style,
            words,
            started: Instant::now(),
            bar: if draw { Bar::start(total) } else { None },
            colour: terminal && !plain && !no_colour,
            done: 0,
            causes: BTreeMap::new(),
            not_begun: 0,
            skipped: skipped as u64,
        }
    }

    /// A handle on the bar for whoever has to remove it before the process ends.
    pub(crate) fn bar(&self) -> Option<Bar> {
        self.bar.clone()
    }

    /// An input is done: `line` for people, `record` for programs.
    pub(crate) fn done(&mut self, path: &Path, line: &str, record: Record) -> Result<(), OutputError> {
        self.done += 1;
        let printed = if self.style.quiet {
            Ok(())
        } else if self.style.json {
            self.print(&record_of(path, true).and(record).line())
        } else if self.bar.is_none() || self.words.lines_are_results {
            self.print(line)
        } else {
            Ok(())
        };
        self.advance();
        printed
    }

    /// An input failed. `line` stands in for its result on standard output, where there is one.
    pub(crate) fn failed(&mut self, path: &Path, error: &JobError, line: Option<&str>) -> Result<(), OutputError> {
        *self.causes.entry(error.cause).or_default() += 1;
        let printed = if self.style.json {
            let told = serde_json::json!({"kind": error.cause.name(), "message": error.message});
            self.print(&record_of(path, false).with("error", told).line())
        } else {
            let (red, plain) = if self.colour { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
            self.note(&format!("{}: {red}{}{plain}", names::show(path), error.message));
            match line {
                Some(line) if !self.style.quiet => self.print(line),
                _ => Ok(()),
            }
        };
        self.advance();
        printed
    }

    /// An input that was not worked on, because the run was stopped.
    pub(crate) fn not_begun(&mut self) {
        self.not_begun += 1;
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
    fn note(&self, line: &str) {
        note(self.bar.as_ref(), line);
    }

    fn advance(&self) {
        if let Some(bar) = &self.bar {
            bar.advance(self.failures());
        }
    }

    /// How many inputs failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.causes.values().sum()
    }

    /// Removes the bar and prints the summary. `extra` goes into its object.
    pub(crate) fn finish(&mut self, interrupted: bool, extra: Record) -> Result<(), OutputError> {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
        if self.style.quiet {
            return Ok(());
        }
        let elapsed = self.started.elapsed();
        if self.style.json {
            return self.print(&self.summary_object(elapsed, interrupted).and(extra).line());
        }
        for line in self.summary_lines(elapsed, interrupted) {
            self.note(&line);
        }
        Ok(())
    }

    fn per_second(&self, elapsed: Duration) -> f64 {
        self.done as f64 / elapsed.as_secs_f64().max(1e-9)
    }

    fn summary_lines(&self, elapsed: Duration, interrupted: bool) -> Vec<String> {
        let what = if self.done == 1 { self.words.one } else { self.words.many };
        let rate = match self.done {
            0 => String::new(),
            _ => format!(" ({} per second)", show_rate(self.per_second(elapsed))),
        };
        let place = match &self.words.place {
            Some(place) if self.done > 0 => format!(", saved in {place}"),
            _ => String::new(),
        };
        let mut lines =
            vec![format!("{} {what} {} in {}{rate}{place}", self.done, self.words.done, show_duration(elapsed))];
        let failed = self.failures();
        if failed > 0 {
            let causes: Vec<String> =
                self.causes.iter().map(|(cause, count)| format!("{count} {}", cause.phrase())).collect();
            lines.push(format!("{failed} failed: {}", causes.join(", ")));
        }
        if self.skipped > 0 {
            lines.push(format!("{} skipped: made by an earlier run", self.skipped));
        }
        if interrupted {
            lines.push(format!("stopped: {} not begun", self.not_begun));
        }
        lines
    }

    fn summary_object(&self, elapsed: Duration, interrupted: bool) -> Record {
        let causes = self.causes.iter().map(|(cause, &count)| (cause.name().to_owned(), count.into()));
        Record::default()
            .with("summary", true)
            .with("job", self.words.job)
            .with("done", self.done)
            .with("failed", self.failures())
            .with("causes", causes.collect::<serde_json::Map<_, _>>())
            .with("skipped", self.skipped)
            .with("not_begun", self.not_begun)
            .with("interrupted", interrupted)
            .with("seconds", elapsed.as_secs_f64())
            .with("per_second", self.per_second(elapsed))
    }
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
    use super::*;

    fn words() -> Words {
        let place = Some("thumbs".to_owned());
        Words { job: "thumbs", one: "thumbnail", many: "thumbnails", done: "made", lines_are_results: false, place }
    }

    #[test]
    fn the_summary_groups_failures_by_cause() {
        let style = Style { json: false, quiet: true };
        let mut report = Reporter::new(style, words(), 5, 2);
        report.done(Path::new("a"), "", Record::default()).expect("quiet");
        report.causes.insert(Cause::Empty, 1);
        report.causes.insert(Cause::NotAPicture, 2);
        report.not_begun();
        let expected = [
            "1 thumbnail made in 0.50 s (2.0 per second), saved in thumbs",
            "3 failed: 1 empty, 2 not a picture",
            "2 skipped: made by an earlier run",
            "stopped: 1 not begun",
        ];
        assert_eq!(report.summary_lines(Duration::from_millis(500), true), expected);
        let expected = concat!(
            r#"{"summary":true,"job":"thumbs","done":1,"failed":3,"causes":{"empty":1,"not-a-picture":2},"skipped":2,"#,
            r#""not_begun":1,"interrupted":true,"seconds":0.5,"per_second":2.0}"#,
        );
        assert_eq!(report.summary_object(Duration::from_millis(500), true).line(), expected);
    }
}
