//! What a log says of earlier runs: which inputs are done, and where it says what came of them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::failure::reason;
use super::inputs::Stamp;

/// The inputs that were done, by their full path, with the same job and options as now. What was begun or has failed since is
/// not among them. Their results stay in the file until they are asked for: together they may be more than memory should hold.
#[derive(Debug, Default)]
pub(crate) struct Past {
    log: Option<File>,
    done: HashMap<PathBuf, Done>,
}

#[derive(Debug)]
struct Done {
    stamp: Stamp,
    outputs: Vec<PathBuf>,
    /// Where its line begins in the log, and how long it is, in bytes.
    line: (u64, usize),
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
    size: Option<u64>,
    mtime_ns: Option<i64>,
}

/// The one field of a line that is not looked at before it is asked for.
#[derive(Deserialize)]
struct ResultField {
    #[serde(default)]
    result: Value,
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
        let mut past = Past { log: Some(file.try_clone().map_err(failed)?), done: HashMap::new() };
        let mut reader = BufReader::new(file);
        let (mut same, mut folder) = (false, PathBuf::new());
        let mut bytes = Vec::new();
        let mut at = 0;
        for number in 1.. {
            at += bytes.len() as u64;
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
                "input_begun" => drop(past.done.remove(&folder.join(path(line.input, line.input_bytes)))),
                "input_ended" => {
                    let input = folder.join(path(line.input, line.input_bytes));
                    past.done.remove(&input);
                    if let (true, "done", Some(size), Some(mtime_ns)) =
                        (same, line.outcome.as_str(), line.size, line.mtime_ns)
                    {
                        let outputs = line.outputs.into_iter().map(|field| path(field.path, field.path_bytes));
                        let outputs = outputs.map(|output| folder.join(output)).collect();
                        let line = (at, bytes.len());
                        past.done.insert(input, Done { stamp: Stamp { size, mtime_ns }, outputs, line });
                    }
                }
                _ => {}
            }
        }
        Ok(past)
    }

    /// What came of an input, if it is done: the same file as then, and its outputs are where they would be put now.
    pub(crate) fn result(&self, here: &Path, input: &Path, outputs: &[&Path]) -> Option<Value> {
        let done = self.done.get(&here.join(input))?;
        let is_same = Stamp::of(&fs::metadata(input).ok()?) == done.stamp;
        let is_there = |output: &PathBuf| fs::symlink_metadata(output).is_ok_and(|found| found.is_file());
        let outputs: Vec<PathBuf> = outputs.iter().map(|output| here.join(output)).collect();
        if is_same && outputs == done.outputs && outputs.iter().all(is_there) { self.read_result(done) } else { None }
    }

    /// Nothing if the log cannot be read any more: then the input is done again.
    fn read_result(&self, done: &Done) -> Option<Value> {
        let (at, len) = done.line;
        let mut line = vec![0; len];
        self.log.as_ref()?.read_exact_at(&mut line, at).ok()?;
        let ResultField { result } = serde_json::from_slice(&line).ok()?;
        Some(result)
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
        let stamp = Stamp { size: 1, mtime_ns: 2 };
        assert!(past.done.values().all(|done| past.read_result(done) == Some(json!(7)) && done.stamp == stamp));
        Ok(past.done.into_keys().collect())
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
