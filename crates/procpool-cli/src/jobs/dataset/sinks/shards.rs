//! Files of many pictures, one after the other for each split.

use std::path::PathBuf;

use super::Setting;
use crate::frame::failure::JobError;
use crate::frame::outputs::{Output, Pending};

/// A file of many pictures that is being written.
pub(crate) trait Shard: Sized {
    /// Begins one.
    fn begin(pending: &Pending, setting: &Setting<'_>) -> std::io::Result<Self>;

    /// Writes what is not written.
    fn end(self) -> std::io::Result<()>;
}

/// The shards of one split.
pub(crate) struct Shards<S> {
    split: usize,
    /// How many there have been.
    begun: usize,
    current: Option<Current<S>>,
}

struct Current<S> {
    shard: S,
    pending: Pending,
    name: PathBuf,
    bytes: u64,
    pictures: u64,
}

/// Where a picture goes.
pub(crate) struct Slot<'a, S> {
    /// The shard.
    pub shard: &'a mut S,
    /// The file, for what goes wrong with it.
    pub pending: &'a Pending,
    /// Its name below the folder of the set.
    pub name: &'a PathBuf,
    /// How many pictures it has already.
    pub before: u64,
}

impl<S: Shard> Shards<S> {
    /// For each split none.
    pub(crate) fn of(setting: &Setting<'_>) -> Vec<Shards<S>> {
        (0..setting.splits.names().len()).map(|split| Shards { split, begun: 0, current: None }).collect()
    }

    /// The place for the next picture, of `len` bytes: in the same file as the one before, unless that would become too large.
    /// `name` makes a file name of the split's and a number.
    pub(crate) fn slot(
        &mut self,
        setting: &Setting<'_>,
        len: u64,
        name: impl Fn(&str, usize) -> String,
    ) -> Result<Slot<'_, S>, JobError> {
        if self.current.as_ref().is_some_and(|current| current.bytes + len > setting.shard_size) {
            self.finish()?;
        }
        let current = match self.current.take() {
            Some(current) => current,
            None => {
                let name = PathBuf::from(name(setting.splits.name(self.split), self.begun));
                let pending = Pending::begin(&Output::new(setting.root, &name))?;
                let shard = S::begin(&pending, setting).map_err(|error| pending.failure(&error))?;
                self.begun += 1;
                Current { shard, pending, name, bytes: 0, pictures: 0 }
            }
        };
        let Current { shard, pending, name, bytes, pictures } = self.current.insert(current);
        *bytes += len;
        *pictures += 1;
        Ok(Slot { shard, pending, name, before: *pictures - 1 })
    }

    /// Ends the present one.
    pub(crate) fn finish(&mut self) -> Result<(), JobError> {
        let Some(Current { shard, pending, .. }) = self.current.take() else { return Ok(()) };
        shard.end().map_err(|error| pending.failure(&error))?;
        pending.keep()
    }
}
