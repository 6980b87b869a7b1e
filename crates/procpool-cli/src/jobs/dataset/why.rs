//! Why a picture is not in the set.

use crate::frame::failure::JobError;

/// Why a picture was left out that nothing is wrong with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It has no class.
    NoClass,
    /// It has fewer pixels than are wanted.
    TooSmall,
    /// One side is too many times as long as the other.
    TooLong,
    /// A picture before it has the same bytes.
    Duplicate,
    /// A picture before it looks the same.
    Similar,
}

impl Reason {
    /// The name in JSON.
    pub(crate) fn name(self) -> &'static str {
        self.texts().0
    }

    /// The phrase in the summary, after a count.
    pub(crate) fn phrase(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Reason::NoClass => ("no-class", "without a class"),
            Reason::TooSmall => ("too-small", "too small"),
            Reason::TooLong => ("too-long", "too long for their height or width"),
            Reason::Duplicate => ("duplicate", "the same as another"),
            Reason::Similar => ("similar", "similar to another"),
        }
    }
}

/// A picture is not in the set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out {
    /// It was left out.
    Dropped(Reason, String),
    /// It could not be made.
    Failed(JobError),
}

impl Out {
    /// The reason, for programs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Out::Dropped(reason, _) => reason.name(),
            Out::Failed(error) => error.cause.name(),
        }
    }

    /// The reason, for people.
    pub(crate) fn message(&self) -> &str {
        match self {
            Out::Dropped(_, message) => message,
            Out::Failed(error) => &error.message,
        }
    }
}
