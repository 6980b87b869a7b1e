//! What a log says of earlier runs: which inputs are done, and what came of them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::failure::reason;
use super::inputs::Stamp;

/// The inputs that were done, by their full path, with the same job and options as now. What was begun or has failed since is
/// not among them.
#[derive(Debug, Default)]
pub(crate) struct Past(HashMap<PathBuf, Done>);

#[derive(Debug)]
struct Done {
    stamp: Stamp,
    outputs: Vec<PathBuf>,
    result: Value,
}

/// The fields that matter here.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Line {
    procpool_log: Option<u32>,
    event: String,
    job: String,
    options: Value,
    folder: String,
    folder_bytes: Option<Vec<u8>>,
    input: String,
    input_bytes: Option<Vec<u8>>,
    outcome: String,
    outputs: Vec<OutputField>,
    result: Value,
    size: Option<u64>,
    mtime_ns: Option<i64>,
}

#[derive(Deserialize)]
struct OutputField {
    path: String,
    path_bytes: Option<Vec<u8>>,
}

/// A path as the log has it: as text, and where that is not all of it also as bytes.
fn path(text: String, bytes: Option<Vec<u8>>) -> PathBuf {
    bytes.map_or_else(|| text.into(), |bytes| OsString::from_vec(bytes).into())
}

impl Past {
    /// Reads a log. A last line without an end is passed over: whoever wrote it was killed. The error says what is wrong.
    pub(crate) fn read(file: &mut File, job: &str, options: &Value) -> Result<Past, String> {
        let failed = |error: std::io::Error| reason(&error);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut reader = BufReader::new(file);
        let mut past = Past::default();
        let (mut same, mut folder) = (false, PathBuf::new());
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            reader.read_until(b'\n', &mut bytes).map_err(failed)?;
            if bytes.last() != Some(&b'\n') {
                break;
            }
            let line: Line = serde_json::from_slice(&bytes).map_err(|_| format!("line {number} is no record of it"))?;
            match line.event.as_str() {
                "run_started" => {
                    if line.procpool_log != Some(1) {
                        return Err(format!("line {number} is of a version that this procpool does not know"));
                    }
                    same = line.job == job && line.options == *options;
                    folder = path(line.folder, line.folder_bytes);
                }
                // Until it has ended again, nobody knows which output is there.
                "input_begun" => drop(past.0.remove(&folder.join(path(line.input, line.input_bytes)))),
                "input_ended" => {
                    let input = folder.join(path(line.input, line.input_bytes));
                    past.0.remove(&input);
                    if let (true, "done", Some(size), Some(mtime_ns)) =
                        (same, line.outcome.as_str(), line.size, line.mtime_ns)
                    {
                        let outputs = line.outputs.into_iter().map(|field| path(field.path, field.path_bytes));
                        let outputs = outputs.map(|output| folder.join(output)).collect();
                        past.0.insert(input, Done { stamp: Stamp { size, mtime_ns }, outputs, result: line.result });
                    }
                }
                _ => {}
            }
        }
        Ok(past)
    }

    /// What came of an input, if it is done: the same file as then, and its outputs are where they would be put now.
    pub(crate) fn result(&self, here: &Path, input: &Path, outputs: &[&Path]) -> Option<&Value> {
        let done = self.0.get(&here.join(input))?;
        let is_same = Stamp::of(&fs::metadata(input).ok()?) == done.stamp;
        let is_there = |output: &PathBuf| fs::symlink_metadata(output).is_ok_and(|found| found.is_file());
        let outputs: Vec<PathBuf> = outputs.iter().map(|output| here.join(output)).collect();
        (is_same && outputs == done.outputs && outputs.iter().all(is_there)).then_some(&done.result)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;

    const START: &str = r#"{"procpool_log":1,"event":"run_started","job":"j","options":{"a":1},"folder":"/f"}"#;
    const OTHER: &str = r#"{"procpool_log":1,"event":"run_started","job":"j","options":{"a":2},"folder":"/f"}"#;
    const BEGUN: &str = r#"{"event":"input_begun","input":"x"}"#;
    const DONE: &str = r#"{"event":"input_ended","input":"x","outcome":"done","result":7,"size":1,"mtime_ns":2}"#;
    const FAILED: &str = r#"{"event":"input_ended","input":"x","outcome":"failed","size":1,"mtime_ns":2}"#;

    fn read(text: &[u8]) -> Result<Vec<PathBuf>, String> {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(text).expect("write");
        let past = Past::read(&mut file, "j", &json!({"a": 1}))?;
        assert!(past.0.values().all(|done| done.result == 7 && done.stamp == Stamp { size: 1, mtime_ns: 2 }));
        Ok(past.0.into_keys().collect())
    }

    fn lines(lines: &[&str]) -> Result<Vec<PathBuf>, String> {
        read((lines.join("\n") + "\n").as_bytes())
    }

    #[test]
    fn what_counts_is_the_last_that_is_known_of_an_input() {
        let x = || Ok(vec![PathBuf::from("/f/x")]);
        let none = || Ok(vec![]);
        assert_eq!(lines(&[START, BEGUN, DONE]), x());
        assert_eq!(lines(&[START, BEGUN, DONE, START, BEGUN]), none());
        assert_eq!(lines(&[START, BEGUN, DONE, START, BEGUN, FAILED]), none());
        assert_eq!(lines(&[START, FAILED, START, DONE]), x());
        assert_eq!(lines(&[OTHER, BEGUN, DONE]), none());
        assert_eq!(lines(&[START, DONE, OTHER, BEGUN, DONE]), none());
        assert_eq!(lines(&[OTHER, DONE, START, BEGUN, DONE, OTHER]), x());
        assert_eq!(lines(&[START, r#"{"event":"of a later version","more":[]}"#, DONE]), x());
    }

    #[test]
    fn only_the_last_line_may_be_torn() {
        let whole = [START, DONE].join("\n") + "\n";
        for torn in ["", "{", r#"{"event":"input_beg"#, BEGUN] {
            assert_eq!(read((whole.clone() + torn).as_bytes()), Ok(vec![PathBuf::from("/f/x")]), "{torn}");
        }
        assert_eq!(lines(&[START, r#"{"event":"inp"#, DONE]), Err("line 2 is no record of it".into()));
        assert_eq!(read(b""), Ok(vec![]));
        let later = START.replace("1", "2");
        assert_eq!(lines(&[&later]), Err("line 1 is of a version that this procpool does not know".into()));
    }

    #[test]
    fn names_may_be_any_bytes() {
        let done = DONE.replace(r#""x""#, r#""?","input_bytes":[255]"#);
        assert_eq!(lines(&[START, &done]), Ok(vec![PathBuf::from(OsString::from_vec(b"/f/\xff".to_vec()))]));
    }
}
