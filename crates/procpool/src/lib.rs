//! A process pool at the price of threads: plain functions run in real operating-system processes, and no single input can
//! take the batch down.
//!
//! ```
//! fn count_to(n: u64) -> u64 {
//!     (0..n).fold(0, |count, _| count + 1)
//! }
//!
//! fn main() -> procpool::Result<()> {
//!     procpool::init();
//!     let pool = procpool::Pool::new()?;
//!
//!     let future = pool.submit(count_to, 1_000)?;
//!     assert_eq!(future.wait()?, 1_000);
//!
//!     let counts: procpool::Result<Vec<u64>> = pool.map(count_to, [1, 2, 3]).collect();
//!     assert_eq!(counts?, [1, 2, 3]);
//!     Ok(())
//! }
//! ```
//!
//! # What a worker is
//! Each worker is this very program, started again; [`init`] at the top of `main` turns it into one. A task function is any
//! `fn` or closure that captures nothing, called by plain name: there is no registry and no macro. Inputs and outputs
//! travel through shared memory and must implement serde's `Serialize` and `DeserializeOwned`.
//!
//! # When a task fails
//! A panic, a crash, a kill, a timeout or too much memory costs exactly the task that was running: it ends with an
//! [`Error`] that says what happened, and the worker is replaced. A function's own `Result` comes back as the value it is:
//!
//! ```
//! # fn main() -> procpool::Result<()> {
//! # procpool::init();
//! # let pool = procpool::Pool::builder().workers(1).build()?;
//! fn parse(text: String) -> Result<i32, String> {
//!     text.parse().map_err(|e| format!("{text}: {e}"))
//! }
//! assert_eq!(pool.submit(parse, "12".to_string())?.wait()?, Ok(12));
//! assert_eq!(pool.submit(parse, "x".to_string())?.wait()?, Err("x: invalid digit found in string".to_string()));
//! # Ok(())
//! # }
//! ```
//!
//! Linux only.

mod arena;
mod attach;
mod buffer;
#[allow(unsafe_code)]
mod bulk;
#[allow(unsafe_code)]
mod call;
mod client;
mod error;
mod events;
mod future;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod global;
pub mod lang;
mod map;
mod options;
#[allow(unsafe_code)]
mod os;
mod pool;
mod process;
mod queue;
#[allow(unsafe_code)]
mod ring;
mod sandbox;
mod sched;
mod shared_file;
mod supervisor;
mod wire;
mod worker;

pub use buffer::{Buffer, BufferBuilder};
pub use call::Setup;
pub use error::{Blame, Error, Kind, Result};
pub use events::{Event, Limit, Limited, Means, Record};
pub use future::{Future, Outcome};
pub use global::global;
pub use map::{Map, MapUnordered};
pub use options::TaskOptions;
pub use pool::{Pool, PoolBuilder, Stats, available_cpus, init};
pub use process::{ExitStatus, Process};
pub use queue::Queue;
pub use sandbox::{Sandbox, SandboxReport};
pub use shared_file::SharedFile;
pub use supervisor::{Output, OutputLine, Stream};

/// For the tests of this crate: system calls that fail on demand.
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub mod failpoints {
    pub use crate::os::fail::{Call, arm, disarm};
}
