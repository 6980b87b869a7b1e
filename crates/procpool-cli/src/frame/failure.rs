//! What can go wrong with one input, and how it is told.

use std::io;

use procpool::Blame;
use serde::{Deserialize, Serialize};

use super::names::show_message;

/// Why one input failed. Each cause has a name for programs and a phrase for the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Cause {
    /// There is no such file.
    NotFound,
    /// A pattern that matches nothing.
    NoMatch,
    /// A folder, pipe, device or socket where a file is needed.
    NotAFile,
    /// The file or folder could not be read.
    Unreadable,
    /// The file has no contents.
    Empty,
    /// More bytes or pixels than the job takes on.
    TooLarge,
    /// The contents are not a picture of a kind that is understood.
    NotAPicture,
    /// The contents begin like a picture and cannot be decoded.
    Damaged,
    /// A picture of a kind, or with a feature, that is not supported.
    Unsupported,
    /// The contents are not UTF-8 text.
    NotUtf8,
    /// Its class cannot be told or cannot be used.
    NoClass,
    /// Another input of this run has the same output name.
    NameTaken,
    /// The output would replace an input.
    WouldReplaceInput,
    /// The output could not be written.
    Unwritable,
    /// The worker died.
    Died,
    /// The task ran longer than `--timeout`.
    TimedOut,
    /// The worker needed more than `--memory`.
    OutOfMemory,
    /// The task panicked: a mistake in this program.
    Panicked,
    /// Any other failure of the pool.
    Pool,
}

impl Cause {
    /// The name in JSON.
    pub(crate) fn name(self) -> &'static str {
        self.texts().0
    }

    /// The phrase in the summary, after a count: "3 not a picture".
    pub(crate) fn phrase(self) -> &'static str {
        self.texts().1
    }

    /// Whose doing it is.
    fn blame(self) -> Blame {
        use Cause::*;
        match self {
            NotFound | NoMatch | NoClass | NameTaken | WouldReplaceInput => Blame::Caller,
            NotAFile | Empty | TooLarge | NotAPicture | Damaged | Unsupported | NotUtf8 => Blame::Task,
            TimedOut | OutOfMemory | Panicked => Blame::Task,
            Unreadable | Unwritable | Pool => Blame::Host,
            Died => Blame::Worker,
        }
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Cause::NotFound => ("not-found", "not found"),
            Cause::NoMatch => ("no-match", "patterns without a match"),
            Cause::NotAFile => ("not-a-file", "not a file"),
            Cause::Unreadable => ("unreadable", "could not be read"),
            Cause::Empty => ("empty", "empty"),
            Cause::TooLarge => ("too-large", "too large"),
            Cause::NotAPicture => ("not-a-picture", "not a picture"),
            Cause::Damaged => ("damaged", "damaged"),
            Cause::Unsupported => ("unsupported", "not supported"),
            Cause::NotUtf8 => ("not-utf8", "not UTF-8"),
            Cause::NoClass => ("no-class", "without a usable class"),
            Cause::NameTaken => ("name-taken", "output name already taken"),
            Cause::WouldReplaceInput => ("would-replace-input", "would have replaced an input"),
            Cause::Unwritable => ("unwritable", "could not be written"),
            Cause::Died => ("died", "worker died"),
            Cause::TimedOut => ("timed-out", "took too long"),
            Cause::OutOfMemory => ("out-of-memory", "needed too much memory"),
            Cause::Panicked => ("panicked", "panicked"),
            Cause::Pool => ("pool", "failed in the pool"),
        }
    }
}

/// The failure of one input: what the worker functions return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobError {
    /// The cause, for grouping.
    pub cause: Cause,
    /// What happened, as it is printed after the name of the input. One line.
    pub message: String,
    /// Whose doing it was.
    pub blame: Blame,
}

impl JobError {
    /// A failure.
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        JobError { cause, message: message.into(), blame: cause.blame() }
    }

    /// Whether the fault lies in what the file holds, so that it would fail again.
    pub(crate) fn is_of_file(&self) -> bool {
        use Cause::{Damaged, Empty, NotAPicture, NotUtf8, TooLarge, Unsupported};
        matches!(self.cause, Damaged | Empty | NotAPicture | NotUtf8 | TooLarge | Unsupported)
    }

    /// Whose doing it was, for programs.
    pub(crate) fn blame_name(&self) -> &'static str {
        match self.blame {
            Blame::Task => "task",
            Blame::Worker => "worker",
            Blame::Host => "host",
            _ => "caller",
        }
    }

    /// A failure to read the input.
    pub(crate) fn unreadable(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => JobError::new(Cause::NotFound, "there is no such file"),
            _ => JobError::new(Cause::Unreadable, format!("cannot be read: {}", reason(error))),
        }
    }
}

impl From<&procpool::Error> for JobError {
    fn from(error: &procpool::Error) -> Self {
        let cause = match error.kind() {
            procpool::Kind::Died => Cause::Died,
            procpool::Kind::TimedOut => Cause::TimedOut,
            procpool::Kind::OutOfMemory => Cause::OutOfMemory,
            procpool::Kind::Panicked => Cause::Panicked,
            _ => Cause::Pool,
        };
        // The input is named already, so the error's own words do; of a panic they are just what the code said.
        let message = match error.kind() {
            procpool::Kind::Panicked => format!("the worker panicked: {}", error.message()),
            _ => error.message().to_owned(),
        };
        JobError { blame: error.blame(), ..JobError::new(cause, show_message(&message)) }
    }
}

/// The system's words for an error, without the number that Rust adds.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_carry_no_numbers() {
        assert_eq!(reason(&io::Error::from_raw_os_error(28)), "No space left on device");
        assert_eq!(reason(&io::Error::other("own words")), "own words");
    }
}
