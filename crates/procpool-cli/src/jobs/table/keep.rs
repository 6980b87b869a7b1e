//! What of a table is finished, for a run that goes on from here: what was seen of each file, and each group of rows.
//!
//! A group is found by a hash of all that it depends on: the columns and the way of writing, and which parts of which files, of
//! what size and time of change. So what is taken over is what would be made again, whatever else has changed.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::TablePlan;
use super::build::lines_of;
use super::feed::Input;
use super::layout::Slice;
use super::plan::{GroupMade, Held, PartMade, RowsMade, Spec};
use super::sample::{Look, Seen};
use crate::frame::failure::JobError;
use crate::frame::inputs::Stamp;
use crate::frame::kept::{self, Blob, Kept, Key, key_of};
use crate::frame::names;

/// The store of a run, and what it has to say of it.
#[derive(Debug)]
pub(crate) struct Keep {
    kept: Kept,
    /// Files that are not what they were, by their numbers.
    changed: Vec<usize>,
    /// How many groups of rows there were in the store when the run began.
    groups: usize,
    /// Nothing can be kept any more; what was kept is there.
    full: bool,
}

/// What is kept of a file that was looked at.
#[derive(Serialize, Deserialize)]
struct Looked {
    stamp: Stamp,
    seen: Seen,
}

/// What is kept of a group.
#[derive(Serialize, Deserialize)]
struct Group {
    /// All that it has lies in the data of the store.
    made: GroupMade,
    /// The same places with their checksums.
    blobs: Vec<Blob>,
}

/// The kinds of what is kept, as the journal has them.
const SEEN: &str = "seen";
const GROUP: &str = "group";

impl Keep {
    /// Opens the store of an output, and says what is to be said of it. The error is a message for the user.
    pub(crate) fn open(plan: &TablePlan) -> Result<(Keep, Option<String>), String> {
        let picks = plan.picks.as_ref();
        let options = json!({
            "format": plan.format,
            "syntax": plan.syntax,
            "separator": plan.separator,
            "no_header": plan.no_header,
            "record": plan.record,
            "columns": picks,
            "file_column": plan.source,
            "sample": plan.sample,
            "row_group": plan.row_group,
        });
        let (kept, earlier) = Kept::open(&plan.output, "table", options)?;
        let groups = kept.count(GROUP);
        Ok((Keep { kept, changed: Vec::new(), groups, full: false }, earlier.note()))
    }

    /// What was seen of a file that is as it was; what it is now is noted there.
    pub(crate) fn seen(&mut self, number: usize, input: &Input, look: Look, spec: &Spec) -> Option<Seen> {
        let Looked { stamp, seen } = self.kept.find(look_key(input, look, spec)?)?;
        let now = Stamp::of(&fs::metadata(&input.path).ok()?);
        if stamp != now || input.stamp.get().is_some_and(|then| then != now) {
            if !self.changed.contains(&number) {
                self.changed.push(number);
            }
            return None;
        }
        input.stamp.set(Some(now));
        Some(seen)
    }

    /// Keeps what was seen of files. An error is a message for the user; then nothing can be kept any more.
    pub(crate) fn keep_seen<'a>(
        &mut self,
        seen: impl Iterator<Item = (&'a Input, &'a Seen)>,
        look: Look,
        spec: &Spec,
    ) -> Result<(), String> {
        let things = seen.filter_map(|(input, seen)| {
            let stamp = input.stamp.get()?;
            Some((look_key(input, look, spec)?, json!({"stamp": stamp, "seen": seen})))
        });
        let things: Vec<_> = things.collect();
        if self.full || things.is_empty() {
            return Ok(());
        }
        let put = self.kept.put(SEEN, things);
        self.checked(put)
    }

    /// The keys of groups of rows.
    pub(crate) fn keys(spec: &Spec, inputs: &[Input], groups: &[(Vec<Slice>, u64)]) -> Vec<Option<Key>> {
        let spec = key_of(spec);
        let input = |input: &Input| {
            let path = input.path.as_os_str().as_bytes();
            let syntax = input.seen.as_ref().ok().map(|seen| seen.syntax);
            Some(format!("{:x}", key_of(&(path, input.stamp.get()?, syntax, &input.fields))?))
        };
        let inputs: Vec<Option<String>> = inputs.iter().map(input).collect();
        let key = |(slices, _): &(Vec<Slice>, u64)| {
            let slice = |slice: &Slice| Some((inputs[slice.file].as_ref()?, slice.from, slice.to));
            let slices: Vec<_> = slices.iter().map(slice).collect::<Option<_>>()?;
            key_of(&("group", format!("{:x}", spec?), slices))
        };
        groups.iter().map(key).collect()
    }

    /// Which groups of these keys there are, and what is to be said of it.
    pub(crate) fn known(&self, keys: &[Option<Key>], inputs: &[Input]) -> (Vec<bool>, Option<String>) {
        let known: Vec<bool> = keys.iter().map(|key| key.is_some_and(|key| self.kept.has(key))).collect();
        let found = known.iter().filter(|known| **known).count();
        let why = match self.changed.as_slice() {
            [] => "the files are not the same as then".to_owned(),
            [one] => format!("{} has changed since", names::show(&inputs[*one].path)),
            [one, others @ ..] => {
                format!("{} and {} more have changed since", names::show(&inputs[*one].path), others.len())
            }
        };
        let note = (found < self.groups).then(|| match found {
            0 => format!("what was kept cannot be used, since {why}; everything is read again"),
            _ => format!("of {} groups of rows that were kept {found} can be used, since {why}", self.groups),
        });
        (known, note)
    }

    /// Keeps a group, parts of which may lie in the file that its worker was given, unless something has failed that may not
    /// fail again. An error is a message for the user; then nothing can be kept any more.
    pub(crate) fn group(&mut self, key: Key, made: &GroupMade, scratch: Option<&File>) -> Result<(), String> {
        if self.full || !made.parts.iter().all(is_final) {
            return Ok(());
        }
        let kept = self.write_group(key, made, scratch);
        self.checked(kept)
    }

    fn write_group(&mut self, key: Key, made: &GroupMade, scratch: Option<&File>) -> io::Result<()> {
        let (mut rows, mut blobs) = (Vec::new(), Vec::new());
        let from = || scratch.ok_or_else(|| io::Error::other("a worker has told of a place in no file"));
        for made in &made.rows {
            let bytes = match &made.bytes {
                Held::Here(bytes) => self.kept.bytes(bytes)?,
                &Held::Scratch { at, len } => self.kept.bytes_of(from()?, at, len)?,
            };
            let misfits = match &made.misfits {
                Held::Here(misfits) => self.kept.bytes(&lines_of(misfits)?)?,
                &Held::Scratch { at, len } => self.kept.bytes_of(from()?, at, len)?,
            };
            blobs.extend([bytes, misfits]);
            rows.push(RowsMade {
                rows: made.rows,
                bytes: place_of(&bytes),
                chunks: made.chunks.clone(),
                misfits: place_of(&misfits),
            });
        }
        let made = GroupMade { parts: made.parts.clone(), rows };
        self.kept.put(GROUP, [(key, json!(Group { made, blobs }))])
    }

    /// The group of a key, all parts of which lie in [the data](Self::data); nothing if it is not what it was any more.
    pub(crate) fn find(&self, key: Key) -> Option<GroupMade> {
        let Group { made, blobs } = self.kept.find(key)?;
        let places = |made: &RowsMade| [place_in(&made.bytes), place_in(&made.misfits)];
        let told: Option<Vec<(u64, u64)>> = made.rows.iter().flat_map(places).collect();
        let has: Vec<(u64, u64)> = blobs.iter().map(|blob| (blob.at, blob.len)).collect();
        let is_whole = told? == has && blobs.iter().all(|blob| self.kept.is_whole(blob));
        is_whole.then_some(made)
    }

    /// Where what was kept lies.
    pub(crate) fn data(&self) -> Arc<File> {
        self.kept.data()
    }

    /// Whether there is no group in the store.
    pub(crate) fn has_no_groups(&self) -> bool {
        self.kept.count(GROUP) == 0
    }

    /// Removes the store.
    pub(crate) fn remove(self) {
        self.kept.remove();
    }

    fn checked(&mut self, kept: io::Result<()>) -> Result<(), String> {
        kept.map_err(|error| {
            self.full = true;
            kept::lost(&error)
        })
    }
}

fn look_key(input: &Input, look: Look, spec: &Spec) -> Option<Key> {
    key_of(&("look", look, &spec.json_path, &spec.xml_pattern, input.path.as_os_str().as_bytes()))
}

fn place_of<T>(blob: &Blob) -> Held<T> {
    Held::Scratch { at: blob.at, len: blob.len }
}

fn place_in<T>(held: &Held<T>) -> Option<(u64, u64)> {
    match held {
        Held::Scratch { at, len } => Some((*at, *len)),
        Held::Here(_) => None,
    }
}

/// Whether a part would end the same way if it was read again: it has given records, or the fault lies in what the file holds.
fn is_final(part: &PartMade) -> bool {
    part.failed.as_ref().is_none_or(JobError::is_of_file)
}
