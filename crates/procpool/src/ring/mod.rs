//! Single-producer single-consumer rings over one region of shared memory per worker.
//!
//! Tasks go one way ([`TaskProducer`] to [`TaskConsumer`]), results the other ([`ResultProducer`] to [`ResultConsumer`]).
//! The parent treats everything the worker can write as hostile: every word is copied before it is checked, and every
//! offset and length is checked before it is used. Nothing here makes a system call: whoever must sleep is told so and
//! does it elsewhere. README.md beside this file explains the protocol and its memory ordering.

#[cfg(any(all(test, not(loom)), fuzzing))]
pub(crate) mod fuzz;
mod layout;
mod results;
mod space;
mod sync;
mod tasks;

pub(crate) use layout::{ENOUGH, FULL, Listener, Region, SLEEPING, SLOTS};
pub(crate) use results::{ResultConsumer, ResultProducer, Shown};
pub(crate) use tasks::{TaskConsumer, TaskHeader, TaskProducer};

/// The worker has written something that no honest worker writes. It must be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Breach(pub(crate) &'static str);

/// The largest payload in bytes that travels inside a ring; larger ones lie in the arena, or in a memfd
/// of their own.
pub(crate) const INLINE_MAX: usize = layout::DATA / 4;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(test)]
#[cfg(not(loom))]
mod stress;
