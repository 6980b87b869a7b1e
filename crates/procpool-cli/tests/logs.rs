//! `procpool logs`: beside GoAccess and Python, whatever is in the logs, however they are packed and cut.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use common::{Place, other_program, python};
use serde_json::Value;

/// A log made by the generator of the benchmarks.
fn made(place: &Place, name: &str, lines: u32) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/files/make_logs.py");
    let mut command = python();
    command.arg(script).args([lines.to_string(), "7".to_owned()]);
    let log = other_program(command, b"")?;
    place.write(name, &log);
    Some(String::from_utf8_lossy(&log).into_owned())
}

/// The summary without what differs from run to run.
fn summary(place: &Place, args: &[&str]) -> Value {
    let ran = place.run(&[&["logs", "--json"], args].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut summary = ran.records().pop().expect("a summary");
    for key in ["seconds", "per_second", "sandbox"] {
        summary.as_object_mut().expect("an object").remove(key);
    }
    summary
}

/// Requests by item of a table.
fn table(summary: &Value, key: &str) -> BTreeMap<String, u64> {
    let rows = summary[key].as_array().into_iter().flatten();
    rows.map(|row| (row["item"].as_str().expect("item").into(), row["requests"].as_u64().expect("requests"))).collect()
}

#[test]
fn figures_are_the_same_however_a_log_is_shared_and_packed() {
    let place = Place::new();
    if made(&place, "access.log", 6000).is_none() {
        return;
    }
    let expected = summary(&place, &["access.log", "-j", "1", "--chunk-size", "none"]);
    assert!(expected["malformed"].as_u64().is_some_and(|malformed| malformed > 0), "{expected}");
    for flags in [
        "-j 2 --chunk-size 100000",
        "-j 7 --chunk-size 7777",
        "-j 7 --chunk-size 1000",
        "--threads -j 2 --chunk-size 54321",
    ] {
        let args: Vec<&str> = ["access.log"].into_iter().chain(flags.split(' ')).collect();
        assert_eq!(summary(&place, &args), expected, "{flags}");
    }
    // In three files, one of them packed.
    let log = std::fs::read(place.path("access.log")).expect("log");
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    place.write("parts/1", lines[..1000].concat());
    place.write("parts/3", lines[4000..].concat());
    let packed = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&lines[1000..4000].concat()).expect("pack");
        encoder.finish().expect("pack")
    };
    place.write("parts/2.gz", packed);
    let mut parts = summary(&place, &["parts", "-j", "2"]);
    let mut expected = expected;
    for one in [&mut parts, &mut expected] {
        let object = one.as_object_mut().expect("an object");
        object.retain(|key, _| !["malformed_samples", "done"].contains(&key.as_str()));
    }
    assert_eq!(parts, expected);
    // What an earlier run has read is part of the sum.
    let args = ["parts", "-j", "2", "--log", "l", "--resume"];
    summary(&place, &args);
    let mut again = summary(&place, &args);
    assert_eq!((&again["done"], &again["unchanged"]), (&0.into(), &3.into()));
    for key in ["requests", "bytes", "unique_visitors", "paths", "clients", "days", "hours", "statuses", "malformed"] {
        assert_eq!(again[key].take(), expected[key], "{key}");
    }
}

#[test]
fn figures_are_those_of_goaccess() {
    let place = Place::new();
    if made(&place, "access.log", 20_000).is_none() {
        return;
    }
    let mut goaccess = Command::new("goaccess");
    goaccess.args(["access.log", "--log-format=COMBINED", "--no-global-config", "--no-query-string", "--no-progress"]);
    goaccess.args(["--4xx-to-unique-count", "-o", "goaccess.json"]).current_dir(place.path("."));
    if other_program(goaccess, b"").is_none() {
        return;
    }
    let text = std::fs::read_to_string(place.path("goaccess.json")).expect("GoAccess's figures");
    let theirs: Value = serde_json::from_str(&text).expect("JSON");
    let ours = summary(&place, &["access.log", "--top", "1000000"]);
    let general = &theirs["general"];
    assert_eq!(ours["requests"], general["valid_requests"]);
    assert_eq!(ours["bytes"], general["bandwidth"]);
    // A day, an address and an agent are one visitor for both; ours are estimated.
    let (estimate, exact) = (&ours["unique_visitors"], &general["unique_visitors"]);
    let (estimate, exact) = (estimate.as_f64().expect("a number"), exact.as_f64().expect("a number"));
    assert!((estimate - exact).abs() <= 4.0 * 0.0081 * exact, "{estimate} {exact}");
    let panel = |name: &str| -> BTreeMap<String, u64> {
        let mut rows = BTreeMap::new();
        for row in theirs[name]["data"].as_array().into_iter().flatten() {
            let item = row["data"].as_str().expect("data").to_owned();
            *rows.entry(item).or_default() += row["hits"]["count"].as_u64().expect("hits");
        }
        rows
    };
    let classes: BTreeMap<String, u64> =
        panel("status_codes").into_iter().map(|(item, hits)| (item[..3].to_owned(), hits)).collect();
    assert_eq!(table(&ours, "status_classes"), classes);
    let hours: BTreeMap<String, u64> = table(&ours, "hours").into_iter().filter(|(_, hits)| *hits > 0).collect();
    assert_eq!(hours, panel("visit_time"));
    assert_eq!(table(&ours, "not_found"), panel("not_found"));
    // GoAccess lists no more than 366 of each.
    let clients = table(&ours, "clients");
    let hosts = panel("hosts");
    assert_eq!(hosts.len(), 366);
    for (host, hits) in hosts {
        assert_eq!(clients.get(&host), Some(&hits), "{host}");
    }
    // A path has a row for each method there, and what is found in files is in a panel of its own.
    let paths = table(&ours, "paths");
    for (path, hits) in panel("requests").into_iter().take(20) {
        assert!(paths.get(&path).is_some_and(|ours| *ours >= hits), "{path} {hits}");
    }
}

#[test]
fn json_lines_are_read_as_python_reads_them() {
    let place = Place::new();
    let script = r#"
import json, random
r = random.Random(3)
total = {"requests": 0, "bytes": 0, "404": 0}
for n in range(3000):
    status, size = r.choice([200, 404, 500]), r.randrange(100000)
    print(json.dumps({"level": "info", "ts": 1.7e9 + n, "request": {"remote_ip": f"10.0.0.{n % 9}", "method": "GET",
        "host": "example.org", "uri": "/ü/" + chr(0x4e00 + n % 50), "headers": {"User-Agent": ["curl/8"]}},
        "duration": n / 1e6, "size": size, "status": status}, ensure_ascii=n % 2 == 0))
    total["requests"] += 1; total["bytes"] += size; total["404"] += status == 404
print("TOTAL" + json.dumps(total))
"#;
    let mut command = python();
    command.args(["-c", script]).env("PYTHONIOENCODING", "utf-8");
    let Some(output) = other_program(command, b"") else { return };
    let text = String::from_utf8(output).expect("UTF-8");
    let (log, total) = text.split_once("TOTAL").expect("the total");
    place.write("caddy.json", log);
    let total: Value = serde_json::from_str(total).expect("JSON");
    let ours = summary(&place, &["caddy.json", "--chunk-size", "5000"]);
    assert_eq!(
        (&ours["requests"], &ours["bytes"], &ours["malformed"]),
        (&total["requests"], &total["bytes"], &0.into())
    );
    assert_eq!(table(&ours, "statuses")["404"], total["404"].as_u64().expect("a number"));
    assert_eq!(table(&ours, "hosts"), BTreeMap::from([("example.org".to_owned(), 3000)]));
    assert_eq!(table(&ours, "bots"), BTreeMap::from([("curl/8".to_owned(), 3000)]));
    let micros = &ours["response_micros"];
    assert_eq!((&micros["count"], &micros["max"], &micros["mean"]), (&3000.into(), &2999.into(), &1499.into()));
}

const LOG: &str = "\
1.1.1.1 - - [20/Nov/2026:10:00:00 +0000] \"GET /a?x=1 HTTP/1.1\" 200 10 \"-\" \"Firefox\"
1.1.1.1 - - [21/Nov/2026:10:00:00 +0100] \"GET /api/b HTTP/1.1\" 500 20 \"-\" \"Firefox\"
not a line
2.2.2.2 - - [21/Nov/2026:11:00:00 +0000] \"POST /api/b/c HTTP/1.1\" 404 30 \"http://x/\" \"Googlebot\"
";

#[test]
fn filters_leave_out_what_was_not_asked_for() {
    let place = Place::new();
    place.write("a", LOG);
    let requests = |flags: &[&str]| {
        let summary = summary(&place, &[&["a"], flags].concat());
        (summary["requests"].as_u64().expect("a number"), summary["left_out"].as_u64().expect("a number"))
    };
    assert_eq!(requests(&[]), (3, 0));
    assert_eq!(requests(&["--since", "2026-11-21"]), (2, 1));
    assert_eq!(requests(&["--since", "2026-11-21T09:30Z", "--until", "2026-11-21T11:00:01Z"]), (1, 2));
    assert_eq!(requests(&["--status", "5xx,404"]), (2, 1));
    assert_eq!(requests(&["--path", "/api/*"]), (1, 2));
    assert_eq!(requests(&["--path", "/api/**", "--status", "200"]), (0, 3));
    let paths = |flags: &[&str]| table(&summary(&place, &[&["a"], flags].concat()), "paths").into_keys().next();
    assert_eq!(paths(&[]), Some("/a".into()));
    assert_eq!(paths(&["--query"]), Some("/a?x=1".into()));
    for wrong in [["--status", "abc"], ["--since", "soon"], ["--format", "apache"], ["--path", "["]] {
        assert_eq!(place.run(&[&["logs", "a"], &wrong[..]].concat()).code, 2, "{wrong:?}");
    }
}

#[test]
fn formats_are_told_and_named() {
    let place = Place::new();
    place.write("w3c", "#Fields: date time c-ip cs-uri-stem sc-status\n2026-11-21 10:00:00 ::1 /x 200\n#Fields: sc-status c-ip\n404 ::2\n");
    place.write("mine", "200|/x|1.5\n404|/y|0.5\nbad\n");
    place.write("words", "no log at all\n");
    place.write("empty", "");
    assert_eq!(summary(&place, &["w3c", "--chunk-size", "30"])["requests"], 2);
    let mine = summary(&place, &["mine", "--format", "$status|$uri|$request_time"]);
    assert_eq!(
        (&mine["requests"], &mine["malformed"], &mine["response_micros"]["max"]),
        (&2.into(), &1.into(), &1_500_000.into())
    );
    let ran = place.run(&["logs", "words", "empty", "w3c"]);
    assert_eq!(
        (ran.code, ran.failures()),
        (1, vec!["words: is no access log of a known format; --format names another"])
    );
    assert_eq!(ran.summary(), ["2 files read", "1 failed: 1 not supported"]);
}

#[test]
fn hostile_logs_are_counted_as_malformed_and_no_more() {
    let place = Place::new();
    let good = LOG.lines().next().expect("a line");
    File::create(place.path("hole")).and_then(|file| file.set_len(1 << 28)).expect("a file of holes");
    // A line that is too long between two good ones, and one at the end.
    let long = "x".repeat(3 << 20);
    place.write("long", format!("{good}\n{long}\n{good}\n{long}"));
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    place.write(
        "mixed",
        [good.as_bytes(), b"\n\0\0\0\n", &utf16, b"\n\xff\xfe\n\x1b[31m\n\n\r\n", good.as_bytes(), b"\r\n"].concat(),
    );
    for chunk in ["none", "1MiB", "100000"] {
        let long = summary(&place, &["long", "--chunk-size", chunk]);
        assert_eq!((&long["requests"], &long["malformed"]), (&2.into(), &2.into()), "{chunk}");
        let mixed = summary(&place, &["mixed", "--chunk-size", chunk]);
        assert_eq!((&mixed["requests"], &mixed["malformed"]), (&2.into(), &4.into()), "{chunk}");
        assert_eq!(mixed["malformed_samples"][3]["text"], "\\x1b[31m");
    }
    let ran = place.run(&["logs", "hole", "--format", "combined", "--json", "--memory", "64MiB"]);
    assert_eq!((ran.code, &ran.records()[0]["malformed"]), (0, &1.into()), "{ran:?}");
    let ran = place.run(&["logs", "long", "--csv"]);
    assert!(ran.stdout.starts_with("table,item,requests,bytes\ntotal,requests,2,20\n"), "{}", ran.stdout);
}

#[test]
fn a_report_is_one_page_and_replaces_no_log() {
    let place = Place::new();
    place.write("logs/a.log", LOG);
    let ran = place.run(&["logs", "logs", "--report", "logs/report.html"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("Requests            3\n") && ran.stdout.contains("\nBots\n"), "{}", ran.stdout);
    let page = std::fs::read_to_string(place.path("logs/report.html")).expect("the report");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n") && page.contains("Googlebot"));
    // The report is no log; a log is no place for a report.
    let ran = place.run(&["logs", "logs", "--report", "logs/report.html", "-q"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let ran = place.run(&["logs", "logs/a.log", "--report", "logs/a.log"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, "procpool: the report logs/a.log would replace an input\n"));
    let ran = place.run(&["logs", "logs/a.log", "--report", "no/folder/r.html", "-q"]);
    assert_eq!(ran.code, 1);
    assert_eq!(place.listing("logs"), ["a.log", "report.html"]);
}
