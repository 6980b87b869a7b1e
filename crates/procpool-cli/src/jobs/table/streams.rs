//! What is read piece by piece has the records that it has as a whole, wherever the pieces end.

use std::rc::Rc;

use super::build::Build;
use super::plan::{Column, Content, Held, OutFormat, Pack, Part, PartMade, Spec, Syntax};
use super::read::Reader;
use super::value::Type;

/// A small linear congruential generator: the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn space(&mut self) -> &'static str {
        self.one(&["", "", "", " ", "\n", "\r\n\t  "])
    }
}

fn json_value(chance: &mut Chance, depth: usize) -> String {
    let scalars = [
        "1",
        "-0.5e+10",
        "12345678901234567890",
        "true",
        "false",
        "null",
        "\"\"",
        "\"x\"",
        "\"é🦦\"",
        "\"a\\\"b\\\\\"",
        "\"\\u00e9\\ud83e\\udda6\"",
        "[]",
        "{}",
        "7",
    ];
    if depth == 0 || chance.below(3) == 0 {
        return chance.one(&scalars).to_owned();
    }
    let keys = ["a", "b", "data", "items", "k\\n", "é"];
    let list = chance.below(2) == 0;
    let mut members = Vec::new();
    for _ in 0..chance.below(4) {
        let value = json_value(chance, depth - 1);
        let key = if list { String::new() } else { format!("\"{}\"{}:", chance.one(&keys), chance.space()) };
        members.push(format!("{}{key}{}{value}{}", chance.space(), chance.space(), chance.space()));
    }
    let (open, close) = if list { ("[", "]") } else { ("{", "}") };
    format!("{open}{}{}{close}", chance.space(), members.join(","))
}

/// Documents one after the other, most of them with records at `data.items`.
fn json(chance: &mut Chance) -> String {
    let mut text = chance.one(&["", "", "\u{feff}"]).to_owned();
    for _ in 0..1 + chance.below(3) {
        let records: Vec<String> = (0..chance.below(6)).map(|_| json_value(chance, 3)).collect();
        let records = records.join(",");
        text += &match chance.below(4) {
            0 => format!("[{records}]"),
            1 => json_value(chance, 4),
            _ => format!(
                "{{\"meta\":{},\"data\":{{\"x\":{},\"items\":[{records}]}}}}",
                json_value(chance, 4),
                json_value(chance, 2)
            ),
        };
        text += chance.one(&[" ", "\n"]);
    }
    if chance.below(20) == 0 {
        let depth = 120 + chance.below(12);
        text += &format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    }
    text
}

fn json_lines(chance: &mut Chance) -> String {
    let mut text = chance.one(&["", "", "\u{feff}"]).to_owned();
    for _ in 0..chance.below(9) {
        text += &json_value(chance, 3).replace(['\n', '\r'], " ");
        text += chance.one(&["\n", "\r\n", "\n\n", " \n  "]);
    }
    text
}

fn xml_element(chance: &mut Chance, depth: usize) -> String {
    let name = chance.one(&["a", "b", "r", "r", "é"]);
    let attributes = chance.one(&["", "", " a='1'", " b=\"x&amp;é\" a='>'", "\n a = '2' "]);
    if chance.below(4) == 0 {
        return format!("<{name}{attributes}/>");
    }
    let mut inner = String::new();
    for _ in 0..chance.below(4) {
        let plain =
            ["text", " \r\n ", "é🦦", "&lt;", "&#233;", "<![CDATA[<x>]]>", "<!-- a -- comment -->", "<?do it?>", "7"];
        inner += &if depth > 0 && chance.below(2) == 0 {
            xml_element(chance, depth - 1)
        } else {
            chance.one(&plain).replace("a -- c", "c")
        };
    }
    format!("<{name}{attributes}>{inner}</{name}>")
}

fn xml(chance: &mut Chance) -> String {
    let start = chance.one(&[
        "",
        "\u{feff}",
        "<?xml version='1.0'?>",
        "<?xml version='1.0' encoding='UTF-8'?>\n<!DOCTYPE all [<!ENTITY e 'x'>]>",
        "<?xml version='1.0' encoding='latin1'?>",
    ]);
    let elements: String = (0..chance.below(6)).map(|_| xml_element(chance, 3)).collect();
    format!("{start}<all>{elements}</all>{}", chance.space())
}

fn csv(chance: &mut Chance) -> String {
    let mut text = format!("{}a,b,k{}", chance.one(&["", "\u{feff}"]), chance.one(&["\n", "\r\n", "\r"]));
    for _ in 0..chance.below(9) {
        let fields = ["1", "x", "", "\"\"", "\"a\"\"b\"", "\"é\n,🦦\r\n\"", "5\" disk", "\"ab\"c", "2026-01-01"];
        let fields: Vec<&str> = (0..1 + chance.below(4)).map(|_| chance.one(&fields)).collect();
        text += &fields.join(",");
        text += chance.one(&["\n", "\r\n", "\r", "\n\n"]);
    }
    text
}

/// Spoils a text somewhere.
fn spoil(chance: &mut Chance, text: &mut Vec<u8>) {
    if text.is_empty() {
        return;
    }
    let at = chance.below(text.len());
    match chance.below(3) {
        0 => text.truncate(at),
        1 => text[at] = b"\0\xff\"{}[],:<>&x1\\"[chance.below(15)],
        _ => drop(text.remove(at)),
    }
}

/// The records as lines, what did not fit, and how many groups of rows there are; or what is wrong.
fn read(
    bytes: &[u8],
    syntax: Syntax,
    packed: bool,
    row_group: u64,
    step: usize,
) -> Result<(String, String, usize), String> {
    let column = |name: &str, kind, path: &[&str]| Column {
        name: name.to_owned(),
        kind,
        paths: vec![path.iter().map(|&step| step.to_owned()).collect()],
    };
    let spec = Rc::new(Spec {
        columns: vec![
            column("a", Type::Int, &["a"]),
            column("b", Type::Text, &["b"]),
            column("@a", Type::Int, &["@a"]),
            column("k", Type::Text, &["k\n"]),
            column("value", Type::Text, &["value"]),
        ],
        source: None,
        json_path: vec!["data".into(), "items".into()],
        xml_pattern: "r".into(),
        picked: false,
        no_header: false,
        format: OutFormat::Lines,
        row_group,
    });
    let mut reader = Reader::new(&spec);
    reader.step = step;
    let mut build = Build::new(&spec, None);
    let part = Part {
        content: Content::Bytes(bytes.to_vec()),
        name: String::new(),
        syntax,
        packing: packed.then_some(Pack::Gzip),
        fields: vec![Some(0), Some(1), Some(3)],
        from: 0,
        to: u64::MAX,
        exact: true,
        stamp: None,
    };
    let PartMade { records, next, failed, .. } = reader.part(0, part, &mut build).expect("built");
    let (made, _) = build.finish().expect("built");
    let (mut lines, mut misfits) = (Vec::new(), String::new());
    for rows in &made {
        let (Held::Here(bytes), Held::Here(more)) = (&rows.bytes, &rows.misfits) else { panic!("in a file") };
        lines.extend_from_slice(bytes);
        misfits += &format!("{more:?}").replace(['[', ']'], "");
        misfits += if more.is_empty() { "" } else { ", " };
    }
    assert_eq!(made.iter().map(|rows| rows.rows).sum::<u64>(), records);
    match failed {
        Some(error) => {
            assert!(made.is_empty());
            Err(error.message)
        }
        None => {
            assert_eq!(next, bytes.len() as u64);
            Ok((String::from_utf8(lines).expect("text"), misfits, made.len()))
        }
    }
}

fn pieces_are_the_whole(syntax: Syntax, make: impl Fn(&mut Chance) -> String) {
    let documents = matches!(syntax, Syntax::Json | Syntax::Xml);
    let mut chance = Chance(7);
    let (mut good, mut bad) = (0, 0);
    for round in 0..600 {
        let mut bytes = make(&mut chance).into_bytes();
        if round % 3 == 0 {
            spoil(&mut chance, &mut bytes);
        }
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let whole = read(&bytes, syntax, false, 1 << 40, 1 << 20);
        if whole.is_ok() {
            good += 1
        } else {
            bad += 1
        }
        for (row_group, step) in [(1, 1), (20, 2), (1, 7), (50, 64), (1, 1 << 20), (1 << 40, 3)] {
            let pieces = read(&bytes, syntax, !documents, row_group, step);
            match (&whole, &pieces) {
                (Ok(whole), Ok(pieces)) => assert_eq!((&whole.0, &whole.1), (&pieces.0, &pieces.1), "{shown}"),
                // What is no text is told first where all is there, and else what is wrong first.
                // The same of an encoding that is not read, which is only wrong where there is more than ASCII.
                (Err(whole), Err(_)) if whole.contains("latin1") => {}
                (Err(whole), Err(pieces)) => {
                    let is_no_text = whole.contains("text");
                    assert!(whole == pieces || is_no_text, "{whole}; {row_group} {step}: {pieces} in {shown}");
                }
                _ => panic!("{whole:?} but {pieces:?} by {row_group} {step} in {shown}"),
            }
        }
    }
    assert!(good > 300 && bad > 20, "{good} {bad}");
}

#[test]
fn json_documents_are_read_piece_by_piece_as_they_are_as_a_whole() {
    pieces_are_the_whole(Syntax::Json, json);
}

#[test]
fn xml_documents_are_read_piece_by_piece_as_they_are_as_a_whole() {
    pieces_are_the_whole(Syntax::Xml, xml);
}

#[test]
fn packed_lines_are_read_piece_by_piece_as_they_are_as_a_whole() {
    pieces_are_the_whole(Syntax::Lines, json_lines);
}

#[test]
fn packed_separated_values_are_read_piece_by_piece_as_they_are_as_a_whole() {
    pieces_are_the_whole(Syntax::Csv { separator: b',' }, csv);
}

#[test]
fn groups_of_rows_end_where_they_do_in_a_file_that_is_not_packed() {
    let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
    let text = format!("a\n{lines}");
    // 292 bytes: a group for every 50, and the header is no record.
    let (_, _, groups) = read(text.as_bytes(), Syntax::Csv { separator: b',' }, true, 50, 7).expect("read");
    assert_eq!(groups, 6);
    // The last record begins at byte 810.
    let elements = format!("{{\"data\":{{\"items\":[{}{{}}]}}}}", "{\"a\":1},".repeat(99));
    let (_, _, groups) = read(elements.as_bytes(), Syntax::Json, false, 100, 7).expect("read");
    assert_eq!(groups, 9);
}
