//! The jobs: each plans its tasks, has a worker function and says how its results read.

pub(crate) mod bench;
pub(crate) mod count;
pub(crate) mod dataset;
pub(crate) mod logs;
pub(crate) mod table;
pub(crate) mod thumbs;

use std::path::PathBuf;

use crate::frame::failure::Cause;
use crate::frame::inputs::Found;
use crate::frame::names;
use crate::frame::report::note;

/// Says so if there is nothing at all to work on. A name that does not exist is not nothing: it is an input that fails.
fn nothing_found(found: &[Found], inputs: &[PathBuf], what: &str, recursive: bool) -> bool {
    let no_match = |found: &Found| matches!(found, Err((_, error)) if error.cause == Cause::NoMatch);
    if !found.iter().all(no_match) {
        return false;
    }
    let places: Vec<String> = inputs.iter().map(|input| names::show(input)).collect();
    let hint = if recursive { "" } else { " (-r looks into sub-folders too)" };
    note(None, &format!("procpool: there are no {what} in {}{hint}", places.join(", ")));
    true
}
