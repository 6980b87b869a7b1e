//! A file for each picture: `split/class/name.jpg`.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Picture, Setting, Sink};
use crate::frame::failure::JobError;
use crate::frame::outputs::{self, Output};
use crate::frame::record::Record;

/// The longest name without its ending, in bytes.
const LONGEST: usize = 200;

/// The files so far.
pub(crate) struct Folders<'a> {
    setting: Setting<'a>,
    /// The names that are taken, and the number to try next for another one of the same name.
    taken: HashMap<(usize, usize, OsString), u64>,
}

impl<'a> Folders<'a> {
    /// No files yet.
    pub(crate) fn new(setting: Setting<'a>) -> Self {
        Folders { setting, taken: HashMap::new() }
    }

    /// The name of the source without its ending; a number makes it another one where it is taken.
    fn name(&mut self, picture: &Picture<'_>) -> OsString {
        let place = |name: OsString| (picture.split, picture.class, name);
        let stem = shortened(picture.source.file_stem().unwrap_or_default());
        let Some(next) = self.taken.get_mut(&place(stem.clone())) else {
            self.taken.insert(place(stem.clone()), 2);
            return stem;
        };
        let mut number = *next;
        let name = loop {
            let mut name = stem.clone();
            name.push(format!("-{number}"));
            number += 1;
            if !self.taken.contains_key(&place(name.clone())) {
                break name;
            }
        };
        self.taken.insert(place(stem), number);
        self.taken.insert(place(name.clone()), 2);
        name
    }
}

/// A name that leaves room for an ending.
fn shortened(stem: &OsStr) -> OsString {
    match stem.to_str() {
        Some(text) => text[..text.floor_char_boundary(LONGEST)].into(),
        None => OsString::from_vec(stem.as_bytes().iter().copied().take(LONGEST).collect()),
    }
}

impl Sink for Folders<'_> {
    fn put(&mut self, picture: &Picture<'_>) -> Result<(PathBuf, Record), JobError> {
        let mut name = self.name(picture);
        name.push(".");
        name.push(self.setting.encoding.extension());
        let split = self.setting.splits.name(picture.split);
        let below: PathBuf = Path::new(split).join(&self.setting.classes[picture.class]).join(name);
        outputs::write(&Output::new(self.setting.root, &below), &picture.sample.bytes)?;
        let record = Record::default().with_path("output", &below);
        Ok((below, record))
    }

    fn finish(&mut self) -> Result<(), JobError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::splits::Splits;
    use super::super::super::stats::Sums;
    use super::super::super::work::{Encoding, Sample};
    use super::*;
    use crate::frame::outputs::Root;

    #[test]
    fn equal_names_in_a_class_get_numbers() {
        let root = Root::new(Path::new("/nonexistent"));
        let splits = Splits::parse("train=1").expect("splits");
        let classes = ["a".to_owned(), "b".to_owned()];
        let setting =
            Setting { root: &root, splits: &splits, classes: &classes, encoding: Encoding::Jpeg, shard_size: 1 };
        let mut folders = Folders::new(setting);
        let sample = Sample { bytes: vec![], width: 1, height: 1, sums: Sums::default(), look: 0 };
        let long = "é".repeat(125);
        let sources = ["x/1.jpg", "y/1.png", "1-2.jpg", "z/1.jpg", "z/.hidden", "a\nb.tar.gif", &long];
        let names: Vec<String> = sources
            .iter()
            .map(|source| {
                let picture = Picture { split: 0, class: 0, source: Path::new(source), sample: &sample };
                folders.name(&picture).into_string().expect("text")
            })
            .collect();
        let cut = "é".repeat(100);
        assert_eq!(names, ["1", "1-2", "1-2-2", "1-3", ".hidden", "a\nb.tar", &cut]);
        let other = Picture { split: 0, class: 1, source: Path::new("1.jpg"), sample: &sample };
        assert_eq!(folders.name(&other), "1");
        let raw = Picture { split: 0, class: 1, source: Path::new(OsStr::from_bytes(b"\xff.jpg")), sample: &sample };
        assert_eq!(folders.name(&raw).as_bytes(), b"\xff");
    }
}
