//! Archives as the package `webdataset` reads them: of each picture a file with its bytes and one, `.cls`, with the number of
//! its class, both of the same name before the dot.
//!
//! Names are numbers, counted within the split, so that no name of a source, with its dots and slashes, is taken apart.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use tar::{Builder, EntryType, Header};

use super::shards::{Shard, Shards};
use super::{Picture, Setting, Sink};
use crate::frame::failure::JobError;
use crate::frame::outputs::Pending;
use crate::frame::record::Record;

/// Bytes that go to the system at a time.
const BUFFER: usize = 1 << 18;

/// The archives of all splits.
pub(crate) struct Archives<'a> {
    setting: Setting<'a>,
    shards: Vec<Shards<Archive>>,
    /// How many pictures each split has.
    pictures: Vec<u64>,
}

struct Archive(Builder<BufWriter<File>>);

impl Shard for Archive {
    fn begin(pending: &Pending, _: &Setting<'_>) -> io::Result<Archive> {
        Ok(Archive(Builder::new(BufWriter::with_capacity(BUFFER, pending.file().try_clone()?))))
    }

    fn end(self) -> io::Result<()> {
        self.0.into_inner()?.flush()
    }
}

impl Archive {
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        // The same whoever makes it and whenever.
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        self.0.append_data(&mut header, name, bytes)
    }
}

impl<'a> Archives<'a> {
    /// No archives yet.
    pub(crate) fn new(setting: Setting<'a>) -> Self {
        let shards = Shards::of(&setting);
        Archives { pictures: vec![0; shards.len()], shards, setting }
    }
}

impl Sink for Archives<'_> {
    fn put(&mut self, picture: &Picture<'_>) -> Result<(PathBuf, Record), JobError> {
        let bytes = &picture.sample.bytes;
        let name = |split: &str, number: usize| format!("{split}-{number:06}.tar");
        let slot = self.shards[picture.split].slot(&self.setting, bytes.len() as u64, name)?;
        let key = format!("{:09}", self.pictures[picture.split]);
        self.pictures[picture.split] += 1;
        let extension = self.setting.encoding.extension();
        let written = slot
            .shard
            .append(&format!("{key}.{extension}"), bytes)
            .and_then(|()| slot.shard.append(&format!("{key}.cls"), picture.class.to_string().as_bytes()));
        written.map_err(|error| slot.pending.failure(&error))?;
        Ok((slot.name.clone(), Record::default().with_path("output", slot.name).with("key", key)))
    }

    fn finish(&mut self) -> Result<(), JobError> {
        self.shards.iter_mut().try_for_each(Shards::finish)
    }
}
