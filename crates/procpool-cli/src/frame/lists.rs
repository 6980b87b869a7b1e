//! Lists of inputs, as `find` and `git ls-files` print them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::failure::reason;
use super::names;

/// The inputs that a file, or standard input if it is `-`, lists. The error is a message for the user.
pub(crate) fn read(list: &Path) -> Result<Vec<PathBuf>, String> {
    let mut bytes = Vec::new();
    let read = match list.as_os_str().as_bytes() {
        b"-" => io::stdin().lock().read_to_end(&mut bytes),
        _ => File::open(list).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    match read {
        Ok(_) => Ok(split(&bytes)),
        Err(error) => Err(format!("cannot read the list {}: {}", names::show(list), reason(&error))),
    }
}

/// Names that end in NUL if there is any, else in line feeds; empty ones are passed over.
fn split(list: &[u8]) -> Vec<PathBuf> {
    let end = if list.contains(&0) { 0 } else { b'\n' };
    list.split(|byte| *byte == end).filter(|name| !name.is_empty()).map(|name| OsStr::from_bytes(name).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_nul_or_in_line_feeds() {
        let names = |list: &[u8]| split(list).into_iter().map(|path| path.into_os_string()).collect::<Vec<_>>();
        assert_eq!(
            names(b"a\nb c\n\n\xff"),
            ["a", "b c"].map(OsStr::new).into_iter().chain([OsStr::from_bytes(b"\xff")]).collect::<Vec<_>>()
        );
        assert_eq!(names(b"a\nb\0c"), ["a\nb", "c"]);
        assert_eq!(names(b"\n\n"), [""; 0]);
    }

    #[test]
    fn a_list_that_is_missing_is_told() {
        let told = read(Path::new("/no/list"));
        assert_eq!(told, Err("cannot read the list /no/list: No such file or directory".into()));
    }
}
