//! What of a set is finished, for a run that goes on from here: what a worker has made of each picture. All that depends on other
//! pictures (what is a duplicate, what lies in which file) is decided anew, as for pictures that have just been made.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::work::{Made, Recipe, Refusal};
use crate::frame::inputs::Stamp;
use crate::frame::kept::{self, Blob, Kept, Key, key_of};

/// The kind of what is kept, as the journal has it.
const PICTURE: &str = "picture";

/// The store of a run.
#[derive(Debug)]
pub(crate) struct Keep {
    kept: Kept,
    /// Nothing can be kept any more; what was kept is there.
    full: bool,
}

/// What is kept of a picture.
#[derive(Serialize, Deserialize)]
struct Picture {
    /// What was made of it, without the bytes.
    made: Made,
    bytes: Option<Blob>,
}

impl Keep {
    /// Opens the store of an output, and says what is to be said of it. The error is a message for the user.
    pub(crate) fn open(output: &Path, recipe: &Recipe) -> Result<(Keep, Option<String>), String> {
        let (kept, earlier) = Kept::open(output, "dataset", json!(recipe))?;
        Ok((Keep { kept, full: false }, earlier.note()))
    }

    /// What the picture is found by.
    pub(crate) fn key(path: &Path, stamp: Stamp) -> Option<Key> {
        key_of(&(path.as_os_str().as_bytes(), stamp))
    }

    /// What was made of a picture; nothing if it is not what it was any more.
    pub(crate) fn find(&self, key: Key) -> Option<Made> {
        let Picture { mut made, bytes } = self.kept.find(key)?;
        if let Ok(sample) = &mut made.outcome {
            sample.bytes = self.kept.read(&bytes?)?;
        }
        Some(made)
    }

    /// Keeps what was made of a picture, unless it has failed and may not fail again. An error is a message for the user; then
    /// nothing can be kept any more.
    pub(crate) fn picture(&mut self, key: Key, made: &mut Made) -> Result<(), String> {
        let is_final = !matches!(&made.outcome, Err(Refusal::Failed(error)) if !error.is_of_file());
        if self.full || !is_final {
            return Ok(());
        }
        self.write(key, made).map_err(|error| {
            self.full = true;
            kept::lost(&error)
        })
    }

    fn write(&mut self, key: Key, made: &mut Made) -> io::Result<()> {
        let bytes = made.outcome.as_mut().ok().map(|sample| std::mem::take(&mut sample.bytes));
        let kept = bytes.as_deref().map(|bytes| self.kept.bytes(bytes)).transpose();
        let thing = kept.as_ref().ok().map(|bytes| json!({"made": made, "bytes": bytes}));
        if let (Ok(sample), Some(bytes)) = (&mut made.outcome, bytes) {
            sample.bytes = bytes;
        }
        kept?;
        self.kept.put(PICTURE, thing.map(|thing| (key, thing)))
    }

    /// Whether there is nothing in the store.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.count(PICTURE) == 0
    }

    /// Removes the store.
    pub(crate) fn remove(self) {
        self.kept.remove();
    }
}
