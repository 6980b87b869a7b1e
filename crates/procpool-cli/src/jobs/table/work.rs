//! What a worker does with a task.

use super::columns::Columns;
use super::encode::encode;
use super::plan::{GroupMade, Part, Spec, Task};
use super::read::Reader;
use crate::frame::failure::{Cause, JobError};

/// Reads groups of parts and makes each a group of rows. An error is a mistake of this program: what is wrong with a file is
/// told of its part.
pub(crate) fn shape(task: Task) -> Result<Vec<GroupMade>, JobError> {
    let mut reader = Reader::new(&task.spec);
    let mut made = Vec::new();
    // Where the last part of the group before has ended: if this group goes on with the same file, there.
    let mut next = None;
    for mut parts in task.groups {
        if let (Some(next), Some(first)) = (next, parts.first_mut())
            && first.from > 0
        {
            first.from = next;
            first.exact = true;
        }
        let group = group(&mut reader, parts, &task.spec)?;
        next = group.parts.last().filter(|part| part.failed.is_none()).map(|part| part.next);
        made.push(group);
    }
    Ok(made)
}

fn group(reader: &mut Reader<'_>, parts: Vec<Part>, spec: &Spec) -> Result<GroupMade, JobError> {
    let mut columns = Columns::new(spec.columns.iter().map(|column| column.kind));
    let mut misfits = Vec::new();
    let read = |(number, part)| reader.part(number as u32, part, &mut columns, &mut misfits);
    let parts = parts.into_iter().enumerate().map(read).collect();
    let rows = columns.rows() as u64;
    let (bytes, chunks) = if rows == 0 {
        (Vec::new(), Vec::new())
    } else {
        encode(columns, spec)
            .map_err(|message| JobError::new(Cause::Panicked, format!("its records could not be encoded: {message}")))?
    };
    Ok(GroupMade { parts, rows, bytes, chunks, misfits })
}
