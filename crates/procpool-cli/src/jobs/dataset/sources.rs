//! The pictures and their classes, before the first one is looked at.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::labels::Labels;
use super::why::{Out, Reason};
use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::{Found, Input};
use crate::frame::names;

/// The longest name of a class, in bytes: it is part of file names.
const LONGEST: usize = 200;

/// One picture, or what was to be one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    /// Where it is, as it was found.
    pub path: PathBuf,
    /// The number of its class, or why it is out already.
    pub class: Result<usize, Out>,
}

/// All pictures in their order, and the names of the classes, sorted.
pub(crate) fn classify(found: Vec<Found>, labels: Option<&Labels>) -> (Vec<Source>, Vec<String>) {
    let mut seen = HashSet::new();
    let found: Vec<Found> = found
        .into_iter()
        .filter(|found| match found {
            // What is named twice is there once.
            Ok(input) => seen.insert(input.path.clone()),
            Err(_) => true,
        })
        .collect();
    let files: Vec<&Input> = found.iter().flatten().collect();
    let (classes_of_files, unknown) = match labels {
        None => (files.iter().map(|input| class_by_folder(input)).collect(), Vec::new()),
        Some(labels) => {
            let labelled = labels.of(&files);
            let class = |found: Result<Option<&super::labels::Row>, JobError>| match found {
                Ok(Some(row)) => row.label().and_then(class_name).map_err(Out::Failed),
                Ok(None) => Err(Out::Dropped(Reason::NoClass, "is not named by the labels".into())),
                Err(error) => Err(Out::Failed(error)),
            };
            (labelled.of_inputs.into_iter().map(class).collect::<Vec<_>>(), labelled.unknown)
        }
    };
    let names: BTreeSet<String> = classes_of_files.iter().flatten().cloned().collect();
    let names: Vec<String> = names.into_iter().collect();
    let number = |class: String| names.binary_search(&class).unwrap_or_default();
    let mut classes_of_files = classes_of_files.into_iter();
    let source = |found: Found| match found {
        Ok(input) => {
            let class = classes_of_files.next().unwrap_or_else(|| Err(out_of_reach()));
            Source { path: input.path, class: class.map(number) }
        }
        Err((path, error)) => Source { path, class: Err(Out::Failed(error)) },
    };
    let mut sources: Vec<Source> = found.into_iter().map(source).collect();
    sources.extend(unknown.into_iter().map(|row| {
        let error = JobError::new(Cause::NotFound, "the labels name it, and it is not among the pictures");
        Source { path: row.path.clone(), class: Err(Out::Failed(error)) }
    }));
    (sources, names)
}

/// There is a class, or a reason, for each file.
fn out_of_reach() -> Out {
    Out::Dropped(Reason::NoClass, "has no class".into())
}

/// The class of a file that was met in a folder is the folder below that one that it lies in, at any depth; of one that was
/// named, the folder it lies in.
fn class_by_folder(input: &Input) -> Result<String, Out> {
    let folder = if input.named {
        input.path.parent().and_then(Path::file_name)
    } else {
        let mut components = input.below.components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(folder)), Some(_)) => Some(folder),
            _ => None,
        }
    };
    let Some(folder) = folder else {
        let message = "lies in no folder that could be its class; give the folder above, or --labels";
        return Err(Out::Dropped(Reason::NoClass, message.into()));
    };
    class_name(folder.as_bytes()).map_err(Out::Failed)
}

/// The class as it may be the name of a folder, a part of a file name, and text.
fn class_name(label: &[u8]) -> Result<String, JobError> {
    let refuse = |why: &str| {
        let shown = names::show(Path::new(OsStr::from_bytes(label)));
        let shown: String = shown.chars().take(80).collect();
        Err(JobError::new(Cause::NoClass, format!("its class \"{shown}\" {why}")))
    };
    match std::str::from_utf8(label) {
        Err(_) => refuse("is not UTF-8"),
        Ok("") => refuse("has no name"),
        Ok(text) if text.starts_with('.') => refuse("begins with a dot"),
        Ok(text) if text.contains('/') => refuse("has a slash"),
        Ok(text) if text.chars().any(char::is_control) => refuse("has control characters"),
        Ok(text) if text.len() > LONGEST => refuse("is longer than 200 bytes"),
        Ok(text) => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(path: &str, below: &str, named: bool) -> Found {
        Ok(Input { path: path.into(), below: below.into(), named, len: 1, ids: [(1, 1); 2] })
    }

    #[test]
    fn folders_are_classes() {
        let found = vec![
            input("in/dog/1.jpg", "dog/1.jpg", false),
            input("in/cat/deep/2.jpg", "cat/deep/2.jpg", false),
            input("in/3.jpg", "3.jpg", false),
            input("a/b/4.jpg", "4.jpg", true),
            input("5.jpg", "5.jpg", true),
            input("in/dog/1.jpg", "dog/1.jpg", false),
            Err(("gone.jpg".into(), JobError::new(Cause::NotFound, "there is no such file"))),
        ];
        let (sources, classes) = classify(found, None);
        assert_eq!(classes, ["b", "cat", "dog"]);
        let numbers: Vec<Option<usize>> = sources.iter().map(|source| source.class.clone().ok()).collect();
        assert_eq!(numbers, [Some(2), Some(1), None, Some(0), None, None]);
    }

    #[test]
    fn classes_that_cannot_be_folders_are_refused() {
        let refused = |label: &[u8]| class_name(label).map_err(|error| error.message);
        assert_eq!(refused("Käse 100 %".as_bytes()), Ok("Käse 100 %".into()));
        assert_eq!(refused(b".."), Err("its class \"..\" begins with a dot".into()));
        assert_eq!(refused(b"../../etc"), Err("its class \"../../etc\" begins with a dot".into()));
        assert_eq!(refused(b"a/b"), Err("its class \"a/b\" has a slash".into()));
        assert_eq!(refused(b""), Err("its class \"\" has no name".into()));
        assert_eq!(refused(b"a\nb"), Err("its class \"a\\nb\" has control characters".into()));
        assert_eq!(refused(b"caf\xe9"), Err("its class \"caf\\xe9\" is not UTF-8".into()));
        assert_eq!(refused(b"a\0"), Err("its class \"a\\x00\" has control characters".into()));
        assert!(refused(&[b'x'; 201]).is_err() && refused(&[b'x'; 200]).is_ok());
    }
}
