use super::*;

/// Collects every leaf with its path.
#[derive(Default)]
struct Leaves {
    paths: Vec<String>,
    seen: Vec<(String, String)>,
}

impl Visit for Leaves {
    type Node = usize;

    fn child(&mut self, node: usize, key: &str) -> Option<usize> {
        if key == "unwanted" {
            return None;
        }
        let path = format!("{}/{key}", self.paths[node]);
        self.paths.push(path);
        Some(self.paths.len() - 1)
    }

    fn whole(&self, node: usize) -> bool {
        self.paths[node].ends_with("whole")
    }

    fn scalar(&mut self, node: usize, value: Scalar<'_>) {
        let text = match value {
            Scalar::Null => "null".into(),
            Scalar::Plain(value, text) => format!("{text}:{}", value.kind().name()),
            Scalar::Text(text) => format!("'{text}'"),
            Scalar::Raw(text) => format!("<{text}>"),
        };
        self.seen.push((self.paths[node].clone(), text));
    }

    fn text(&mut self, _: usize, _: &str) {}

    fn end_record(&mut self) {
        self.seen.push((String::new(), "end".into()));
    }
}

fn leaves(text: &str) -> Result<Vec<(String, String)>, Wrong> {
    let mut visit = Leaves { paths: vec![String::new()], seen: vec![] };
    let mut scanner = Scanner::new(text, 0);
    scanner.value(&mut visit, 0, 0)?;
    if scanner.is_at_end() { Ok(visit.seen) } else { Err(Wrong { at: scanner.at(), what: "more" }) }
}

#[test]
fn objects_are_walked_and_lists_stay_as_they_are() {
    let text = r#" {"a": 1, "b" :{"c":"x\n\u00e9\ud83e\udda6\ud800","d":[1, {"e":2}]},"unwanted":[{"f":[]}],
        "whole":{"g": 3},"n":null,"t":true,"x":1.5e3,"big":123456789012345678901} "#;
    let expected = [
        ("/a", "1:int"),
        ("/b/c", "'x\né🦦\u{fffd}'"),
        ("/b/d", r#"<[1, {"e":2}]>"#),
        ("/whole", r#"<{"g": 3}>"#),
        ("/n", "null"),
        ("/t", "true:bool"),
        ("/x", "1.5e3:float"),
        ("/big", "123456789012345678901:text"),
    ];
    let expected: Vec<_> = expected.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    assert_eq!(leaves(text), Ok(expected));
}

#[test]
fn what_is_accepted_is_what_serde_accepts() {
    let texts = [
        "{}",
        "[]",
        "{\"a\":}",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        "{\"a\":1",
        "[1",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\",
        "01",
        "-",
        "1.",
        ".5",
        "+1",
        "1e5",
        "-0",
        "tru",
        "nul",
        "nulll",
        "NaN",
        "-inf",
        "\"a\nb\"",
        "\"\u{1f}\"",
        "\"\u{7f}é\"",
        "{\"a\":1}{",
        "",
        " ",
        "{a:1}",
        "{'a':1}",
        "[1]]",
        "\"12345678\u{1}\"",
        "\"12345678\\n\"",
        "[true,false,null]",
        "{\"a\":{\"b\":[{}]}}",
        "1 ",
        "tr\"ue\"",
    ];
    for text in texts {
        let serde = serde_json::from_str::<serde_json::Value>(text).is_ok();
        assert_eq!(leaves(text).is_ok(), serde, "{text:?}");
        let as_element = format!("[{text}]");
        let serde = serde_json::from_str::<serde_json::Value>(&as_element).is_ok();
        assert_eq!(leaves(&as_element).is_ok(), serde, "{as_element:?}");
    }
}

#[test]
fn records_are_found_at_their_path() {
    let read = |text: &str, path: &[&str]| {
        let path: Path = path.iter().map(|&step| step.to_owned()).collect();
        let mut visit = Leaves { paths: vec![String::new()], seen: vec![] };
        records(text, &path, &mut visit)?;
        Ok::<_, Wrong>(visit.seen.iter().map(|(path, value)| format!("{path}={value}")).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(read(r#"[{"a":1},{"a":2}]"#, &[]).as_deref(), Ok("/a=1:int =end /a=2:int =end"));
    assert_eq!(read(r#"{"a":1} {"a":2}"#, &[]).as_deref(), Ok("/a=1:int =end /a=2:int =end"));
    assert_eq!(read(r#"[1,[2]]"#, &[]).as_deref(), Ok("/value=1:int =end /value=<[2]> =end"));
    let deep = r#"{"x":[],"r":{"i":[{"a":1},{"a":2}]},"y":{"i":[{"a":3}]}}"#;
    assert_eq!(read(deep, &["r", "i"]).as_deref(), Ok("/a=1:int =end /a=2:int =end"));
    assert_eq!(read(r#"[{"i":{"a":1}},{"i":[{"a":2}]}]"#, &["i"]).as_deref(), Ok("/a=1:int =end /a=2:int =end"));
    assert_eq!(read("[{}", &[]).map_err(|wrong| wrong.at), Err(3));
    let path = |steps: &[&str]| steps.iter().map(|&step| step.to_owned()).collect::<Path>();
    assert_eq!(lists(deep), [(path(&["r", "i"]), 2), (path(&["y", "i"]), 1)]);
    assert_eq!(lists(r#"[{"a":[{}]},{"#), [(path(&[]), 2)]);
}

#[test]
fn depth_has_a_limit() {
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
    assert!(leaves(&nested("[", "]", 128)).is_ok());
    assert!(leaves(&nested("{\"a\":", "}", 128)).is_ok());
    for text in [nested("[", "]", 129), nested("{\"a\":", "}", 129), "[".repeat(1_000_000), "{\"a\":".repeat(1_000_000)]
    {
        assert_eq!(leaves(&text).map_err(|wrong| wrong.what), Err("is nested more than 128 deep"));
    }
}

#[test]
fn strings_are_written_as_serde_writes_them() {
    for text in ["", "plain", "a \"quote\" and a \\", "\n\r\t\u{1}\u{1f}\u{7f}", "é🦦 and more than eight bytes\n"] {
        let mut out = Vec::new();
        write_string(&mut out, text.as_bytes());
        assert_eq!(serde_json::from_slice::<String>(&out).ok().as_deref(), Some(text));
    }
}
