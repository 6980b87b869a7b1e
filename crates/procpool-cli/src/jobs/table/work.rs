//! What a worker does with a task.

use std::rc::Rc;

use super::build::{Build, Scratch};
use super::plan::{GroupMade, Task};
use super::read::Reader;
use crate::frame::failure::JobError;

/// Reads groups of parts and makes each a group of rows, or several. An error is a mistake of this program: what is wrong with a
/// file is told of its part.
pub(crate) fn shape(task: Task) -> Result<Vec<GroupMade>, JobError> {
    let spec = Rc::new(task.spec);
    let mut reader = Reader::new(&spec);
    let mut scratch = task.scratch.map(|file| Scratch::new(file.into_file()));
    let mut made = Vec::new();
    // Where the last part of the group before has ended: if this group goes on with the same file, there.
    let mut next = None;
    for mut group in task.groups {
        if let (Some(next), Some(first)) = (next, group.first_mut())
            && first.from > 0
        {
            first.from = next;
            first.exact = true;
        }
        let mut build = Build::new(&spec, scratch.take());
        let mut parts = Vec::new();
        for (number, part) in group.into_iter().enumerate() {
            parts.push(reader.part(number as u32, part, &mut build)?);
        }
        next = parts.last().filter(|part| part.failed.is_none()).map(|part| part.next);
        let (rows, rest) = build.finish()?;
        scratch = rest;
        made.push(GroupMade { parts, rows });
    }
    Ok(made)
}
