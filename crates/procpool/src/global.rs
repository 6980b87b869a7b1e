//! One pool for the whole program.

use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::pool::{Pool, PoolBuilder};

static GLOBAL: OnceLock<Pool> = OnceLock::new();

/// The program's own pool, made at the first call: a worker per CPU, started as tasks need them and kept warm from then on. It
/// lives as long as the program; its workers end with it.
///
/// ```
/// # fn main() -> procpool::Result<()> {
/// # procpool::init();
/// let lengths = procpool::global()?.map(|s: String| s.len(), ["a".to_string(), "bcd".to_string()]);
/// assert_eq!(lengths.sum::<procpool::Result<usize>>()?, 4);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the pool cannot be made, as [`PoolBuilder::build`] says; the next call tries again.
pub fn global() -> Result<&'static Pool> {
    if let Some(pool) = GLOBAL.get() {
        return Ok(pool);
    }
    let pool = Pool::builder().build()?;
    // Another thread may have been quicker; a pool that was given no task has no worker, so this one costs nothing.
    Ok(GLOBAL.get_or_init(|| pool))
}

impl PoolBuilder {
    /// Makes this the pool that [`global`] gives from now on.
    ///
    /// # Errors
    /// As [`PoolBuilder::build`]; [`Kind::Usage`](crate::Kind::Usage) if there is a global pool already.
    pub fn build_global(self) -> Result<()> {
        let taken = || Error::usage("the global pool is there already; build it before it is first used");
        if GLOBAL.get().is_some() {
            return Err(taken());
        }
        GLOBAL.set(self.build()?).map_err(|_| taken())
    }
}
