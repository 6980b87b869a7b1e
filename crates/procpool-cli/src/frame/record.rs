//! JSON objects whose fields stay in the order they were put in, so that lines begin with what they are about.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// An object to be printed on one line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record(Vec<(String, Value)>);

impl Record {
    /// Adds a field.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.push((key.into(), value.into()));
        self
    }

    /// Adds a field if it is known.
    pub(crate) fn with_known(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a file name under `key`: as text, and where it is not UTF-8 also as a list of bytes under `key` + `_bytes`
    /// (the text then has U+FFFD where the bytes were).
    pub(crate) fn with_path(self, key: &str, path: &Path) -> Self {
        let bytes = path.as_os_str().as_bytes();
        match std::str::from_utf8(bytes) {
            Ok(text) => self.with(key, text),
            Err(_) => self.with(key, String::from_utf8_lossy(bytes)).with(&format!("{key}_bytes"), bytes),
        }
    }

    /// Adds the fields of `other`.
    pub(crate) fn and(mut self, other: Record) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The object as a line of JSON, without the line end.
    pub(crate) fn line(&self) -> String {
        // Every key is a string and every value a JSON value, so there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn fields_keep_their_order_and_names_their_bytes() {
        let record = Record::default()
            .with_path("input", Path::new("a\n.jpg"))
            .with_path("output", Path::new(OsStr::from_bytes(b"\xe9")))
            .and(Record::default().with("a", 1));
        assert_eq!(record.line(), "{\"input\":\"a\\n.jpg\",\"output\":\"\u{fffd}\",\"output_bytes\":[233],\"a\":1}");
    }
}
