//! File names: any bytes but NUL, whatever the locale says.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A path that travels to a worker byte for byte. (Serde's own `PathBuf` refuses names that are not UTF-8.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawPath(Vec<u8>);

impl RawPath {
    /// The path again.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl From<&Path> for RawPath {
    fn from(path: &Path) -> Self {
        RawPath(path.as_os_str().as_bytes().to_vec())
    }
}

/// The name for people, always on one line and harmless to a terminal: control characters, backslashes, characters
/// that change the direction of text and bytes that are not UTF-8 are escaped.
pub(crate) fn show(path: &Path) -> String {
    let mut shown = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        chunk.valid().chars().for_each(|c| match c {
            '\\' => shown.push_str("\\\\"),
            c => push(&mut shown, c),
        });
        chunk.invalid().iter().for_each(|&byte| escape_byte(&mut shown, byte));
    }
    shown
}

/// A message from elsewhere, made as harmless as a name. Backslashes stay, since such a message may be escaped already.
pub(crate) fn show_message(message: &str) -> String {
    let mut shown = String::new();
    message.chars().for_each(|c| push(&mut shown, c));
    shown
}

fn push(shown: &mut String, c: char) {
    match c {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        c if c.is_ascii_control() => escape_byte(shown, c as u8),
        c if c.is_control() || reorders(c) => shown.extend(c.escape_unicode()),
        c => shown.push(c),
    }
}

fn escape_byte(shown: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(shown, "\\x{byte:02x}");
}

/// Characters that are invisible or make a terminal show later text in another order or on another line.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// True for a name that begins with a dot.
pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_on_one_line() {
        let show = |bytes: &[u8]| show(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(show("photos/Käse 日本.jpg".as_bytes()), "photos/Käse 日本.jpg");
        assert_eq!(show(b"a\nb\r\t\\.jpg"), "a\\nb\\r\\t\\\\.jpg");
        assert_eq!(show(b"\x1b[31mred"), "\\x1b[31mred");
        assert_eq!(show(b"caf\xe9.jpg"), "caf\\xe9.jpg");
        assert_eq!(show("gpj.\u{202e}exe".as_bytes()), "gpj.\\u{202e}exe");
        assert_eq!(show("\u{85}".as_bytes()), "\\u{85}");
    }

    #[test]
    fn messages_keep_their_backslashes() {
        assert_eq!(show_message("begins with \"\\n\"\n"), "begins with \"\\n\"\\n");
    }

    #[test]
    fn a_raw_path_keeps_every_byte() {
        let path = Path::new(OsStr::from_bytes(b"-\xff\n"));
        assert_eq!(RawPath::from(path).as_path(), path);
    }
}
