//! `procpool table`: what becomes a record, what does not, and that the output depends on nothing else.

mod common;

use std::fs::{self, File};
use std::io::Write;

use common::{Place, Ran};
use parquet::file::reader::{FileReader, SerializedFileReader};
use rustix::process::Signal;

fn table(place: &Place, args: &[&str]) -> Ran {
    place.run(&[&["table"], args].concat())
}

fn read(place: &Place, name: &str) -> String {
    fs::read_to_string(place.path(name)).expect("output")
}

/// A small linear congruential generator: the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 9] = ["a", "word", "é🦦", "\"", ",", "\n", "\r\n", "  ", "long long words"];
        (0..self.below(7)).map(|_| PIECES[self.below(9) as usize]).collect()
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Separated values with everything in them.
fn csv(chance: &mut Chance, rows: u64) -> String {
    let mut text = "id,note,amount,day\n".to_owned();
    for row in 0..rows {
        let note = quoted(&chance.text());
        let end = ["\n", "\r\n"][chance.below(2) as usize];
        let amount = match row % 150 {
            149 => "n/a".to_owned(),
            _ => format!("{}.{}", chance.below(100), chance.below(100)),
        };
        text += &format!("{row},{note},{amount},2026-01-{:02}{end}", 1 + chance.below(31));
    }
    text
}

fn json_lines(chance: &mut Chance, rows: u64) -> String {
    let line = |row| {
        let note = serde_json::json!({"id": row, "note": chance.text(), "deep": {"er": [chance.below(9)], "x": chance.below(2) == 0}});
        format!("{note}\n")
    };
    (0..rows).map(line).collect()
}

fn xml(chance: &mut Chance, rows: u64) -> String {
    let record = |row| format!("<r id='{row}'><note>n{}</note></r>\n", chance.below(1000));
    format!("<all>{}</all>", (0..rows).map(record).collect::<String>())
}

#[test]
fn separated_values_and_their_accidents() {
    let place = Place::new();
    place.write("in/a.csv", "\u{feff}id,name,price\r\n1,\"Ann \"\"A\"\" B\nC\",2.50\r\n\r\n2,5\" disk,\r\n3,\"\",1e2\r\n4\r\n5,x,7,more\r\n");
    place.write("in/b.tsv", "price\tid\tzip\n0.5\t6\t007");
    place.write("in/c.csv", "id;born\n7;2026-02-28\n");
    place.write("in/empty.csv", "");
    let ran = table(&place, &["in", "-o", "out.jsonl", "--file-column", "file"]);
    let expected = concat!(
        r#"{"id":1,"name":"Ann \"A\" B\nC","price":2.5,"file":"in/a.csv"}"#,
        "\n",
        r#"{"id":2,"name":"5\" disk","file":"in/a.csv"}"#,
        "\n",
        r#"{"id":3,"name":"","price":100.0,"file":"in/a.csv"}"#,
        "\n",
        r#"{"id":4,"file":"in/a.csv"}"#,
        "\n",
        r#"{"id":5,"name":"x","price":7.0,"file":"in/a.csv"}"#,
        "\n",
        r#"{"id":6,"price":0.5,"zip":"007","file":"in/b.tsv"}"#,
        "\n",
        r#"{"id":7,"born":"2026-02-28","file":"in/c.csv"}"#,
        "\n",
    );
    assert_eq!(read(&place, "out.jsonl"), expected);
    let lines = "in/a.csv: 5 records\nin/b.tsv: 1 record\nin/c.csv: 1 record\nin/empty.csv: 0 records\n7 records in 6 columns\n";
    assert_eq!(ran.stdout, lines);
    let summary = [
        "4 files read",
        "1 value left out, which did not fit: see out.jsonl.misfits.jsonl",
        "  field 4: 1 without a column",
    ];
    assert_eq!(ran.summary(), summary);
    let misfit = r#"{"input":"in/a.csv","record":5,"column":"field 4","why":"no-column","value":"more"}"#;
    assert_eq!(read(&place, "out.jsonl.misfits.jsonl"), format!("{misfit}\n"));
    assert_eq!(ran.code, 0);
    // The record of misfits goes with its reason, and what is written is no input.
    place.write("in/a.csv", "id\n1\n");
    assert_eq!(table(&place, &["in", ".", "-o", "out.jsonl", "--columns", "id"]).code, 0);
    assert_eq!(read(&place, "out.jsonl"), "{\"id\":1}\n{\"id\":6}\n{\"id\":7}\n");
    assert_eq!(place.listing("."), ["in/a.csv", "in/b.tsv", "in/c.csv", "in/empty.csv", "out.jsonl"]);
}

#[test]
fn documents_and_lines_of_json() {
    let place = Place::new();
    place.write(
        "a.json",
        r#"{"meta":{"n":1},"data":{"items":[{"id":1,"user":{"name":"Ann","tags":["x",1]}},{"id":"two"}]}}"#,
    );
    place.write("b.json", r#"{"data":{"items":[{"id":3,"user":null,"on":true}]}} {"data":{"items":[]}}"#);
    place.write("c.jsonl", "{\"id\":4,\"on\":false,\"big\":123456789012345678901}\n\n{\"id\":5.5}\r\n7");
    assert_eq!(table(&place, &["a.json", "b.json", "c.jsonl", "-o", "out.csv"]).code, 0);
    let expected = concat!(
        "id,user.name,user.tags,user,on,big,value\n",
        "1,Ann,\"[\"\"x\"\",1]\",,,,\n",
        "two,,,,,,\n",
        "3,,,,true,,\n",
        "4,,,,false,123456789012345678901,\n",
        "5.5,,,,,,\n",
        ",,,,,,7\n",
    );
    assert_eq!(read(&place, "out.csv"), expected);
    let args =
        ["a.json", "b.json", "--record", "data.items", "--columns", "who=user.name,id,user=user", "-o", "out.jsonl"];
    assert_eq!(table(&place, &args).code, 0);
    let expected = concat!(r#"{"who":"Ann","id":"1"}"#, "\n", r#"{"id":"two"}"#, "\n", r#"{"id":"3"}"#, "\n",);
    assert_eq!(read(&place, "out.jsonl"), expected);
}

#[test]
fn elements_of_xml() {
    let place = Place::new();
    place.write(
        "a.xml",
        "<rss><channel><title>t</title><item id='1'><t>One &amp; two</t><tag>x</tag><tag>y</tag></item>\
        <item id='2'>\n own <b/>text </item></channel></rss>",
    );
    place.write("b.xml", "<?xml version='1.0'?><rss><channel><item id='x'><t><![CDATA[<3>]]></t><at d='2026-01-01'/></item></channel></rss>");
    let ran = table(&place, &["a.xml", "b.xml", "-o", "out.csv"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let expected = "@id,t,tag,#text,at/@d\n1,One & two,x,,\n2,,,own text,\nx,<3>,,,2026-01-01\n";
    assert_eq!(read(&place, "out.csv"), expected);
    let misfit = r#"{"input":"a.xml","record":1,"column":"tag","why":"repeated","value":"y"}"#;
    assert_eq!(read(&place, "out.csv.misfits.jsonl"), format!("{misfit}\n"));
    let args = ["a.xml", "b.xml", "--record", "item", "--columns", "day=at/@d,number=@id", "-o", "out.csv"];
    assert_eq!(table(&place, &args).code, 0);
    assert_eq!(read(&place, "out.csv"), "day,number\n,1\n,2\n2026-01-01,x\n");
}

#[test]
fn values_that_do_not_fit_are_recorded() {
    let place = Place::new();
    let rows: String =
        (0..1000).map(|row| format!("{row},{}\n", if row == 900 { "n/a".into() } else { row.to_string() })).collect();
    place.write("a.csv", format!("id,value\n{rows}"));
    place.write(
        "b.jsonl",
        format!("{}{{\"id\":\"x\",\"value\":null,\"new\":{{\"a\":[1]}}}}\n", "{\"id\":1,\"value\":2}\n".repeat(100)),
    );
    for sizes in [["1G", "1G"], ["100", "1"]] {
        let args =
            ["a.csv", "b.jsonl", "-o", "out.csv", "--sample", "1000", "--row-group", sizes[0], "--chunk", sizes[1]];
        assert_eq!(table(&place, &args).code, 0);
        let misfits = concat!(
            r#"{"input":"a.csv","record":901,"column":"value","why":"type","type":"int","value":"n/a"}"#,
            "\n",
            r#"{"input":"b.jsonl","record":101,"column":"id","why":"type","type":"int","value":"x"}"#,
            "\n",
            r#"{"input":"b.jsonl","record":101,"column":"new","why":"no-column","value":"{\"a\":[1]}"}"#,
            "\n",
        );
        assert_eq!(read(&place, "out.csv.misfits.jsonl"), misfits);
        assert!(read(&place, "out.csv").contains("\n899,899\n900,\n901,901\n"));
    }
    let ran = table(&place, &["a.csv", "b.jsonl", "-o", "out.csv", "--sample", "1000", "--json"]);
    let last: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().expect("a line")).expect("JSON");
    let figures = serde_json::json!([
        {"column": "id", "why": "type", "values": 1},
        {"column": "new", "why": "no-column", "values": 1},
        {"column": "value", "why": "type", "values": 1},
    ]);
    assert_eq!((&last["misfits"], &last["misfits_by_column"]), (&3.into(), &figures), "{ran:?}");
    // With all of it looked at everything fits.
    assert_eq!(
        table(&place, &["a.csv", "b.jsonl", "-o", "out.csv", "--sample", "all", "--misfits", "m.jsonl"]).code,
        0
    );
    assert!(read(&place, "out.csv").contains("\n900,n/a,\n"));
    assert!(read(&place, "out.csv").ends_with("\nx,,[1]\n"));
    assert_eq!(read(&place, "m.jsonl"), "");
}

/// Files of every kind, small and large, and one of each kind that fails late.
fn all_kinds(place: &Place) {
    let mut chance = Chance(11);
    for (name, rows) in [("a", 3), ("b", 400), ("c", 1), ("d", 50)] {
        place.write(format!("in/{name}.csv"), csv(&mut chance, rows));
        place.write(format!("in/{name}.jsonl"), json_lines(&mut chance, rows));
        place.write(format!("in/{name}.xml"), xml(&mut chance, rows));
        place
            .write(format!("in/{name}.json"), format!("[{}]", json_lines(&mut chance, rows).trim().replace('\n', ",")));
    }
    place.write("in/bad.csv", csv(&mut chance, 300) + "1,\"not closed");
    place.write("in/bad.jsonl", json_lines(&mut chance, 300) + "{");
    place.write("in/bad.xml", xml(&mut chance, 300) + "<");
}

#[test]
fn the_output_is_the_same_whatever_the_workers_and_the_chunks() {
    let place = Place::new();
    all_kinds(&place);
    for format in ["parquet", "arrow", "csv", "jsonl"] {
        let (output, misfits) = (format!("out.{format}"), format!("out.{format}.misfits.jsonl"));
        let mut first = None;
        for (jobs, chunk) in [("1", "1G"), ("2", "1"), ("7", "5001"), ("2", "20001")] {
            let args = ["in", "-o", &output, "--row-group", "3333", "-j", jobs, "--chunk", chunk, "--sample", "900"];
            let ran = table(&place, &args);
            assert_eq!((ran.code, ran.failures().len()), (1, 3), "{ran:?}");
            let made = (fs::read(place.path(&output)).expect("output"), read(&place, &misfits), ran.stdout);
            assert!(made == *first.get_or_insert(made.clone()), "{format} with -j {jobs} --chunk {chunk}");
        }
        fs::remove_file(place.path(&misfits)).expect("remove");
        fs::remove_file(place.path(&output)).expect("remove");
    }
}

#[test]
fn lines_are_the_same_wherever_files_are_cut() {
    let place = Place::new();
    all_kinds(&place);
    let cut = |inputs: &[&str], output: &str, group: &str| {
        let options = ["-o", output, "--row-group", group, "--chunk", "4000", "-j", "2", "--file-column", "file"];
        table(&place, &[inputs, &options].concat());
        read(&place, output)
    };
    for output in ["out.csv", "out.jsonl"] {
        let whole = cut(&["in"], output, "1G");
        for group in ["100", "1999", "30000"] {
            assert!(cut(&["in"], output, group) == whole, "{output} with --row-group {group}");
        }
        // Each cut is a task or two, so only some files byte by byte.
        let few = ["in/a.csv", "in/a.jsonl", "in/c.csv"];
        let whole = cut(&few, output, "1G");
        for group in ["1", "7"] {
            assert!(cut(&few, output, group) == whole, "{output} with --row-group {group}");
        }
    }
}

#[test]
fn parquet_holds_what_the_lines_hold() {
    let place = Place::new();
    place.write("a.csv", "b,i,f,d,t,z,s\ntrue,1,1.5,2026-01-02,2026-01-02 03:04:05.25,2026-01-02T03:04:05+01:00,x\n,,,,,,\nfalse,-2,2,1969-12-31,1969-12-31 23:59:59,1970-01-01T00:00:00Z,y\n");
    place.write("b.csv", "i,s\n3,z\n");
    let size = fs::metadata(place.path("a.csv")).expect("input").len().to_string();
    assert_eq!(table(&place, &["a.csv", "b.csv", "-o", "out.parquet", "--row-group", &size]).code, 0);
    let reader = SerializedFileReader::new(File::open(place.path("out.parquet")).expect("output")).expect("Parquet");
    assert_eq!(reader.metadata().num_row_groups(), 2);
    assert_eq!(reader.metadata().file_metadata().num_rows(), 4);
    let rows: Vec<String> = reader.get_row_iter(None).expect("rows").map(|row| row.expect("row").to_string()).collect();
    let expected = [
        "{b: true, i: 1, f: 1.5, d: 2026-01-02, t: 2026-01-02 03:04:05.250000 +00:00, z: 2026-01-02 02:04:05.000000 +00:00, s: \"x\"}",
        "{b: null, i: null, f: null, d: null, t: null, z: null, s: null}",
        "{b: false, i: -2, f: 2.0, d: 1969-12-31, t: 1969-12-31 23:59:59.000000 +00:00, z: 1970-01-01 00:00:00.000000 +00:00, s: \"y\"}",
        "{b: null, i: 3, f: null, d: null, t: null, z: null, s: \"z\"}",
    ];
    assert_eq!(rows, expected);
    let statistics = reader.metadata().row_group(0).column(1).statistics().expect("statistics");
    assert_eq!((statistics.min_bytes_opt(), statistics.null_count_opt()), (Some(&(-2i64).to_le_bytes()[..]), Some(1)));
}

#[test]
fn arrow_holds_what_the_lines_hold() {
    let place = Place::new();
    place.write("a.csv", "i,s\n1,x\n,\n");
    place.write("b.csv", "s,i\nz,3\n");
    assert_eq!(table(&place, &["a.csv", "b.csv", "-o", "out.arrow", "--row-group", "12"]).code, 0);
    let file = File::open(place.path("out.arrow")).expect("output");
    let reader = arrow_ipc::reader::FileReader::try_new(file, None).expect("Arrow");
    assert_eq!(reader.num_batches(), 2);
    let batches: Vec<_> = reader.map(|batch| format!("{:?}", batch.expect("batch").columns())).collect();
    assert_eq!(batches[0].matches("null").count(), 2, "{batches:?}");
    assert!(batches[1].contains("\"z\"") && batches[1].contains('3'), "{batches:?}");
}

#[test]
fn a_hostile_file_fails_alone() {
    let place = Place::new();
    let bomb = "<!DOCTYPE r [<!ENTITY a \"haha\"><!ENTITY b \"&a;&a;&a;\">]><r><x>1</x><x>&b;</x></r>";
    place.write("bomb.xml", bomb);
    place.write("deep.xml", "<a>".repeat(1_000_000));
    place.write("deep.json", "[".repeat(1_000_000));
    place.write("deep.jsonl", "{\"a\":".repeat(1_000_000));
    place.write("good.csv", "a\n1\n");
    place.write("quote.csv", format!("a\n{}\"never closed\n{}", "1\n".repeat(10), "2\n".repeat(100_000)));
    place.write("long.csv", format!("a\n1\n\"{}", "x".repeat(40 << 20)));
    place.write("long.jsonl", format!("{{\"a\":1}}\n{{\"a\":\"{}\"}}\n", "x".repeat(40 << 20)));
    place.write("header.csv", "a".repeat(1 << 20));
    place.write("nul.csv", "a\n1\n\0\n");
    place.write("nul.jsonl", "{\"a\":1}\n\0\n");
    place.write("utf16.csv", [0xff, 0xfe, b'a', 0, b'\n', 0, b'1', 0]);
    place.write("latin1.csv", b"a\ncaf\xe9\n");
    place.write("latin1.xml", "<?xml version='1.0' encoding='latin1'?><r><x>\u{e9}</x><x>2</x></r>");
    place.write("cut.csv.gz", [0x1f, 0x8b, 8, 0]);
    place.write("last.csv", "a\n2\n");
    let ran = table(&place, &[".", "-o", "out.csv", "--columns", "a"]);
    let depth = |limit, at| format!("is nested more than {limit} deep (at byte {at})");
    let long = |at| format!("has a record of more than 16 MiB at byte {at}, or one that does not end");
    let expected = [
        format!(
            "bomb.xml: uses the entity &b; which is not one of XML's own and is not expanded (at byte {})",
            bomb.find("&b;</x>").expect("place")
        ),
        "cut.csv.gz: the gzip data is cut off".into(),
        format!("deep.json: {}", depth(128, 128)),
        format!("deep.jsonl: {}", depth(128, 5 * 128)),
        format!("deep.xml: {}", depth(256, 3 * 256)),
        "header.csv: has no end of its first line in its first 32768 bytes".into(),
        "latin1.csv: is not UTF-8 text (first at byte 5)".into(),
        "latin1.xml: is written in latin1, which is not read; convert it to UTF-8 (at byte 0)".into(),
        format!("long.csv: {}", long(4)),
        format!("long.jsonl: {}", long(8)),
        "nul.csv: is not text: there is a NUL byte at byte 4".into(),
        "nul.jsonl: is not text: there is a NUL byte at byte 8".into(),
        "quote.csv: has a quote that is not closed, in the record at byte 22".into(),
        "utf16.csv: is written in UTF-16, which is not read; convert it to UTF-8".into(),
    ];
    assert_eq!(ran.failures(), expected);
    assert_eq!((ran.code, read(&place, "out.csv").as_str()), (1, "a\n1\n2\n"));
    let summary = "14 failed: 2 too large, 8 damaged, 4 not UTF-8";
    assert_eq!(ran.summary(), ["2 files read", summary]);
}

#[test]
fn packed_files_are_read_as_they_are() {
    let place = Place::new();
    let plain = csv(&mut Chance(5), 100);
    place.write("a.csv", &plain);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain.as_bytes()).expect("pack");
    place.write("b.csv.gz", encoder.finish().expect("pack"));
    place.write("c.csv.zst", zstd::encode_all(plain.as_bytes(), 1).expect("pack"));
    assert_eq!(table(&place, &["a.csv", "-o", "one.jsonl", "--row-group", "500"]).code, 0);
    assert_eq!(table(&place, &["a.csv", "b.csv.gz", "c.csv.zst", "-o", "three.jsonl", "--row-group", "500"]).code, 0);
    assert_eq!(read(&place, "three.jsonl"), read(&place, "one.jsonl").repeat(3));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("pack");
    encoder.finish().expect("pack")
}

#[test]
fn a_packed_file_has_the_groups_of_rows_that_it_has_unpacked() {
    let place = Place::new();
    let mut chance = Chance(17);
    for (name, text) in [("a.csv", csv(&mut chance, 300)), ("b.jsonl", json_lines(&mut chance, 300))] {
        place.write(format!("plain/{name}"), &text);
        place.write(format!("gz/{name}.gz"), gzip(text.as_bytes()));
        place.write(format!("zst/{name}.zst"), zstd::encode_all(text.as_bytes(), 1).expect("pack"));
    }
    for format in ["parquet", "arrow", "csv", "jsonl"] {
        let make = |folder: &str, jobs: &str, chunk: &str| {
            let output = format!("{folder}.{format}");
            let args = [folder, "-o", &output, "--row-group", "3333", "--sample", "900", "-j", jobs, "--chunk", chunk];
            let ran = table(&place, &args);
            assert_eq!(ran.code, 0, "{ran:?}");
            let misfits = read(&place, &format!("{output}.misfits.jsonl")).replace(&format!("{folder}/"), "");
            let names = misfits.replace(".gz\"", "\"").replace(".zst\"", "\"");
            (fs::read(place.path(&output)).expect("output"), names)
        };
        let plain = make("plain", "2", "1");
        assert!(!plain.1.is_empty());
        for (folder, jobs, chunk) in [("gz", "1", "1G"), ("gz", "2", "1"), ("zst", "2", "4000")] {
            assert!(make(folder, jobs, chunk) == plain, "{format} out of {folder} with --chunk {chunk}");
        }
    }
}

#[test]
fn a_packed_file_or_a_document_that_fails_at_its_end_gives_nothing() {
    let place = Place::new();
    let good = "{\"a\":1,\"b\":\"x\"}\n".repeat(200);
    place.write("a.jsonl", "{\"a\":2,\"b\":\"first\"}\n");
    place.write("b.jsonl.gz", gzip(format!("{good}{{\"a\":").as_bytes()));
    place.write("c.json.gz", gzip(format!("[{}", good.replace('\n', ",")).as_bytes()));
    place.write("d.jsonl.gz", gzip(b"{\"a\":3,\"b\":4}\n"));
    place.write("e.jsonl", "{\"a\":5,\"b\":\"last\"}\n");
    for group in ["100", "1000", "1M"] {
        let ran = table(&place, &[".", "-o", "out.csv", "--row-group", group]);
        let failures = [
            "b.jsonl.gz: is not JSON: expected a value (at byte 3205)",
            "c.json.gz: is not JSON: expected a value (at byte 3201)",
        ];
        assert_eq!(ran.failures(), failures);
        assert_eq!(read(&place, "out.csv"), "a,b\n2,first\n3,4\n5,last\n", "{group}");
        fs::remove_file(place.path("out.csv")).expect("remove");
    }
}

#[test]
fn memory_is_bounded_whatever_comes_out_of_a_packed_file() {
    let place = Place::new();
    // 320 MiB each, out of members and frames of 1 MiB.
    let block = |record: &str| record.repeat((1 << 20) / record.len());
    let (lines, elements) = (block("1,\"some words\",2.5\n"), block("{\"id\":1,\"note\":\"some words\"},"));
    let packed = gzip(lines.as_bytes()).repeat(320);
    place.write("a.csv.gz", [gzip(b"id,note,price\n"), packed].concat());
    let frame = |text: &str| zstd::encode_all(text.as_bytes(), 1).expect("pack");
    let packed = [frame("{\"meta\":[[]],\"items\":["), frame(&elements).repeat(320), frame("{}]}")].concat();
    place.write("b.json.zst", packed);
    let ran = table(&place, &[".", "-o", "out.parquet", "--record", "items", "--memory", "160MiB", "-j", "2"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let rows = |text: &str, record: &str| 320 * text.matches(record).count();
    let (a, b) = (rows(&lines, "\n"), rows(&elements, "{") + 1);
    let last = format!("a.csv.gz: {a} records\nb.json.zst: {b} records\n{} records in 3 columns\n", a + b);
    assert_eq!(ran.stdout, last);
    let reader = SerializedFileReader::new(File::open(place.path("out.parquet")).expect("output")).expect("Parquet");
    assert_eq!(reader.metadata().file_metadata().num_rows(), (a + b) as i64);
    assert!(reader.metadata().num_row_groups() >= 2 * 320 / 8);
    assert_eq!(place.listing("."), ["a.csv.gz", "b.json.zst", "out.parquet"]);
}

#[test]
fn a_file_that_changes_while_it_is_read_gives_nothing() {
    let place = Place::new();
    let path = place.write("a.json.gz", gzip(format!("[{}1]", "1,".repeat(20_000_000)).as_bytes()));
    place.write("b.json", "[2]");
    let running = place.start(&["table", ".", "-o", "out.csv", "-j", "1"]);
    running.worker_reading(&path);
    fs::OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(b"more")).expect("append");
    let ran = running.finish();
    let message = "a.json.gz: was changed after it was looked at; try again when nobody writes to it";
    assert_eq!((ran.code, ran.failures()), (1, vec![message]));
    assert_eq!(read(&place, "out.csv"), "value\n2\n");
}

#[test]
fn a_picked_column_for_which_nothing_is_seen_is_told() {
    let place = Place::new();
    place.write("a.jsonl", "{\"id\":1,\"user\":{\"name\":\"Ann\"}}\n");
    let args = ["a.jsonl", "-o", "out.csv", "--columns", "id,who=user.nane,x"];
    let ran = table(&place, &args);
    let lines: Vec<&str> = ran.stderr.lines().take(2).collect();
    let expected = [
        "procpool: no record that was looked at has user.nane, for the column who; did you mean user.name?",
        "procpool: no record that was looked at has x; there is id, user.name",
    ];
    assert_eq!((ran.code, lines.as_slice()), (0, &expected[..]));
    assert_eq!(read(&place, "out.csv"), "id,who,x\n1,,\n");
    let ran = table(&place, &[&args[..], &["--json"]].concat());
    let last: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().expect("a line")).expect("JSON");
    let unseen = serde_json::json!([
        {"column": "who", "path": "user.nane", "nearest": ["user.name"]},
        {"column": "x", "path": "x", "nearest": ["id", "user.name"]},
    ]);
    assert_eq!((&last["unseen_columns"], ran.stderr.as_str()), (&unseen, ""));
    assert_eq!(table(&place, &["a.jsonl", "-o", "out.csv", "--columns", "id,user.name", "--quiet"]).stderr, "");
}

#[test]
fn a_file_that_ends_its_worker_fails_alone() {
    let place = Place::new();
    for name in ["a", "c"] {
        place.write(format!("{name}.json"), format!("[{{\"v\":\"{name}\"}}]"));
    }
    let many = "{\"v\":\"0123456789012345678901234567890123456789\"},".repeat(2_500_000);
    place.write("b.json", format!("[{many}{{}}]"));
    let args = [".", "-o", "out.csv", "--row-group", "1G", "--memory", "200MiB", "-j", "2"];
    let ran = table(&place, &args);
    assert_eq!(ran.failures().len(), 1, "{ran:?}");
    assert!(ran.failures()[0].starts_with("b.json: "), "{ran:?}");
    assert_eq!(ran.summary(), ["2 files read", "1 failed: 1 needed too much memory"]);
    assert_eq!((ran.code, read(&place, "out.csv").as_str()), (1, "v\na\nc\n"));
}

#[test]
fn without_records_nothing_is_written() {
    let place = Place::new();
    place.write("a.csv", b"\xff\xfe");
    let ran = table(&place, &["a.csv", "none.csv", "-o", "out.csv"]);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let expected = [
        "a.csv: is written in UTF-16, which is not read; convert it to UTF-8",
        "none.csv: there is no such file",
        "procpool: there are no records, so nothing was written",
    ];
    assert_eq!((ran.code, lines.as_slice()), (1, &expected[..]));
    assert_eq!(place.listing("."), ["a.csv"]);
    place.write("a.csv", "a,b\n");
    assert_eq!(table(&place, &["a.csv", "-o", "out.csv"]).code, 0);
    assert_eq!(read(&place, "out.csv"), "a,b\n");
}

#[test]
fn an_interrupted_run_writes_nothing() {
    let place = Place::new();
    place.write("out.csv", "old\n");
    // What is packed is read through the position of the open file, which a test can see.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(format!("[{}1]", "1,".repeat(20_000_000)).as_bytes()).expect("pack");
    let packed = encoder.finish().expect("pack");
    for number in 0..50 {
        place.write(format!("in/{number}.json.gz"), &packed);
    }
    let running = place.start(&["table", "in", "-o", "out.csv", "-j", "1"]);
    running.worker_reading(&place.path("in/0.json.gz"));
    running.signal_group(Signal::INT);
    let ran = running.finish();
    assert_eq!(ran.code, 130, "{ran:?}");
    assert_eq!(read(&place, "out.csv"), "old\n");
    assert_eq!(place.listing(".").len(), 51);
}

#[test]
fn threads_make_the_same_and_the_log_says_so() {
    let place = Place::new();
    place.write("in/a.csv", csv(&mut Chance(3), 100));
    place.write("in/b.csv", "a\n\"");
    for (output, more) in [("one.parquet", &["-j", "1"][..]), ("two.parquet", &["--threads", "--log", "run.log"][..])] {
        assert_eq!(table(&place, &[&["in", "-o", output], more].concat()).code, 1);
    }
    assert!(
        fs::read(place.path("one.parquet")).expect("output") == fs::read(place.path("two.parquet")).expect("output")
    );
    let log = read(&place, "run.log");
    let events: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let inputs: Vec<_> = events.iter().filter(|event| event["event"] == "input_ended").collect();
    assert_eq!((&inputs[0]["input"], &inputs[0]["result"]["records"]), (&"in/a.csv".into(), &100.into()));
    assert_eq!((&inputs[1]["input"], &inputs[1]["error"]["kind"]), (&"in/b.csv".into(), &"damaged".into()));
    assert_eq!(events.last().map(|event| &event["event"]), Some(&"run_ended".into()));
}

#[test]
fn wrong_usage_is_refused() {
    let place = Place::new();
    let message = "procpool: there are no files of CSV, JSON or XML in . (-r looks into sub-folders too)";
    let ran = table(&place, &["-o", "out.csv"]);
    assert_eq!((ran.code, ran.stderr.lines().next()), (2, Some(message)));
    place.write("a.csv", "a\n1\n");
    let refused = |args: &[&str]| {
        let ran = table(&place, args);
        (ran.code, ran.stderr.lines().next().unwrap_or_default().to_owned())
    };
    let message = "procpool: out.txt ends in none of .parquet .arrow .csv .jsonl; say with --format what to write";
    assert_eq!(refused(&["a.csv", "-o", "out.txt"]), (2, message.into()));
    let message = "procpool: --columns has a twice; give one of them another name, as in other=a";
    assert_eq!(refused(&["a.csv", "-o", "out.csv", "--columns", "a,a=b"]), (2, message.into()));
    let message = "procpool: the files have a column a already; give --file-column another name";
    assert_eq!(refused(&["a.csv", "-o", "out.csv", "--file-column", "a"]), (2, message.into()));
    let message = "a.csv: was left out: it would be replaced by the output";
    assert_eq!(refused(&["a.csv", "-o", "a.csv"]), (1, message.into()));
    assert_eq!(read(&place, "a.csv"), "a\n1\n");
    assert_eq!(place.listing("."), ["a.csv"]);
}
