//! The statistics as tables for people, as CSV and as JSON.

use std::collections::BTreeMap;
use std::io;
use std::io::IsTerminal;
use std::path::Path;

use serde_json::{Value, json};

use super::hll::STANDARD_ERROR;
use super::stats::{SAMPLES, Sample, Stats, Traffic};
use super::table::{Rows, Table};
use super::time::show_day;
use super::times;
use crate::frame::names::{self, show_message};
use crate::frame::record::Record;

/// The quantiles of the response times that are told.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Over more days than this those without a request are left out.
const MOST_DAYS: i32 = 400;

/// What all files say together.
pub(super) struct Summary {
    /// The statistics.
    pub stats: Stats,
    /// The first malformed lines: the number of the file, its name and the line.
    samples: Vec<(usize, String, Sample)>,
    /// How many files were read.
    pub files: u64,
    /// How many rows of a table are shown.
    pub top: usize,
}

impl Summary {
    /// Of no file.
    pub(super) fn new(top: usize) -> Summary {
        Summary { stats: Stats::default(), samples: Vec::new(), files: 0, top }
    }

    /// Malformed lines, each with its file.
    pub(super) fn samples(&self) -> impl ExactSizeIterator<Item = (&str, &Sample)> {
        self.samples.iter().map(|(_, file, sample)| (file.as_str(), sample))
    }

    /// Adds a file, in whatever order.
    pub(super) fn add<T: Rows>(&mut self, number: usize, file: &Path, stats: &Stats<T>) {
        self.files += 1;
        self.stats.add(stats);
        let name = names::show(file);
        let harmless = |sample: &Sample| Sample { text: show_message(&sample.text), at: sample.at };
        self.samples.extend(stats.samples.iter().take(SAMPLES).map(|sample| (number, name.clone(), harmless(sample))));
        self.samples.sort_by_key(|(number, _, sample)| (*number, sample.at));
        self.samples.truncate(SAMPLES);
    }
}

/// A table to show.
pub(super) struct Section {
    /// Its name for programs.
    pub key: &'static str,
    /// Its title for people.
    pub title: &'static str,
    /// Its rows: what, and how much of it.
    pub rows: Vec<(String, Traffic)>,
    /// What is to be said of it.
    pub remark: Option<String>,
    /// The rows are in the order of time.
    pub is_series: bool,
}

/// All tables that have anything in them.
pub(super) fn sections(summary: &Summary) -> Vec<Section> {
    let (stats, top) = (&summary.stats, summary.top);
    let mut classes: BTreeMap<&str, Traffic> = BTreeMap::new();
    for (status, traffic) in &stats.statuses {
        let class = classes.entry(class(*status)).or_default();
        class.requests = class.requests.saturating_add(traffic.requests);
        class.bytes = class.bytes.saturating_add(traffic.bytes);
    }
    let fixed =
        |key, title, rows: Vec<(String, Traffic)>, is_series| Section { key, title, rows, remark: None, is_series };
    let classes = classes.into_iter().map(|(class, traffic)| (class.to_owned(), traffic)).collect();
    let status =
        |(status, traffic): (&u16, &Traffic)| (if *status == 0 { "none".into() } else { status.to_string() }, *traffic);
    let mut all = vec![
        fixed("status_classes", "Status classes", classes, false),
        fixed("statuses", "Statuses", stats.statuses.iter().map(status).collect(), false),
        fixed("days", "Days", days(&stats.days), true),
        fixed(
            "hours",
            "Hours of the day",
            stats.hours.iter().zip(0..).map(|(t, hour)| (format!("{hour:02}"), *t)).collect(),
            true,
        ),
    ];
    let ranked = |key, title, table: &Table| {
        let text = |text: &[u8]| show_message(&String::from_utf8_lossy(text));
        let traffic = |count, bytes| Traffic { requests: count, bytes };
        let rows = table.top(top).iter().map(|row| (text(row.text), traffic(row.count, row.bytes))).collect();
        let sample = format!("a sample: there are more than the {} that are kept", table.kept());
        Section { key, title, rows, remark: table.is_sample().then_some(sample), is_series: false }
    };
    all.extend([
        ranked("methods", "Methods", &stats.methods),
        ranked("paths", "Paths", &stats.paths),
        ranked("not_found", "Not found (404)", &stats.not_found),
        ranked("hosts", "Virtual hosts", &stats.hosts),
        ranked("clients", "Clients", &stats.clients),
        ranked("referrers", "Referrers", &stats.referrers),
        ranked("agents", "Agents", &stats.agents),
        ranked("bots", "Bots", &stats.bots),
    ]);
    all.retain(|section| !section.rows.is_empty());
    all
}

/// The days in their order, also those between them without a request, unless there are too many.
fn days(days: &BTreeMap<i32, Traffic>) -> Vec<(String, Traffic)> {
    let row = |(day, traffic): (i32, Traffic)| (show_day(day), traffic);
    match (days.first_key_value(), days.last_key_value()) {
        (Some((first, _)), Some((last, _))) if last.saturating_sub(*first) <= MOST_DAYS => {
            (*first..=*last).map(|day| row((day, days.get(&day).copied().unwrap_or_default()))).collect()
        }
        _ => days.iter().map(|(day, traffic)| row((*day, *traffic))).collect(),
    }
}

fn class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    }
}

/// What is known of all requests together: name and value.
pub(super) fn overview(summary: &Summary) -> Vec<(&'static str, String)> {
    let stats = &summary.stats;
    let visitors = stats.visitors.estimate();
    let mut rows = vec![
        ("Requests", group(stats.total.requests)),
        ("Bytes sent", show_bytes(stats.total.bytes)),
        ("Unique visitors", format!("{} (estimated, standard error {:.1} %)", group(visitors), STANDARD_ERROR * 100.0)),
    ];
    if let (Some((first, _)), Some((last, _))) = (stats.days.first_key_value(), stats.days.last_key_value()) {
        let days =
            if first == last { show_day(*first) } else { format!("{} to {}", show_day(*first), show_day(*last)) };
        rows.push(("Days", days));
    }
    let bots = stats.bots.rows().fold(0_u64, |sum, row| sum.saturating_add(row.count));
    rows.push(("Requests by bots", format!("{} ({})", group(bots), share(bots, stats.total.requests))));
    if stats.times.count() > 0 {
        let times = &stats.times;
        let quantiles =
            QUANTILES.map(|share| format!("{} {}", quantile_name(share), show_micros(times.quantile(share))));
        let (mean, most) = (show_micros(times.mean()), show_micros(times.most()));
        rows.push(("Response times", format!("mean {mean}, {}, max {most}", quantiles.join(", "))));
    }
    if stats.left_out > 0 {
        rows.push(("Left out by filters", group(stats.left_out)));
    }
    rows.push(("Malformed lines", group(stats.malformed)));
    rows
}

fn quantile_name(share: f64) -> String {
    format!("p{}", (share * 1000.0).round() / 10.0)
}

/// The tables for people.
pub(super) fn tables(summary: &Summary) -> String {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
    let width = terminal.map_or(100, |size| usize::from(size.ws_col)).clamp(60, 200);
    tables_of_width(summary, width)
}

fn tables_of_width(summary: &Summary, width: usize) -> String {
    let mut text = String::new();
    for (name, value) in overview(summary) {
        text += &format!("{name:<20}{value}\n");
    }
    let total = summary.stats.total.requests;
    let bar_width = if width < 100 { 8 } else { 16 };
    for section in sections(summary) {
        text += &format!("\n{}\n", section.title);
        let most = section.rows.iter().map(|(_, traffic)| traffic.requests).max().unwrap_or(0);
        let digits = group(most).len().max(8);
        for (name, traffic) in &section.rows {
            let bar = bar(traffic.requests, most, bar_width as u64);
            let share = share(traffic.requests, total);
            let bytes = show_bytes(traffic.bytes);
            let front = format!("{:>digits$}  {share:>8}  {bytes:>10}  {bar:<bar_width$}  ", group(traffic.requests));
            let room = width.saturating_sub(front.chars().count()).max(20);
            text += front.as_str();
            text += &cut(name, room);
            text.push('\n');
        }
        if let Some(remark) = &section.remark {
            text += &format!("({remark})\n");
        }
    }
    if summary.samples().len() > 0 {
        let first = summary.samples().len();
        text += &format!("\nMalformed lines, the first {first} of {}\n", group(summary.stats.malformed));
        for (file, sample) in summary.samples() {
            let front = format!("{file}, byte {}: ", sample.at);
            let room = width.saturating_sub(front.chars().count()).max(20);
            text += &format!("{front}{}\n", cut(&sample.text, room));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// A bar of blocks, in eighths.
fn bar(value: u64, most: u64, width: u64) -> String {
    let eighths =
        if most == 0 { 0 } else { (u128::from(value) * u128::from(width) * 8).div_ceil(u128::from(most)) as usize };
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]);
    bar
}

/// No longer than `width` characters.
fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.into(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

/// A number with its thousands apart.
pub(super) fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share as a percentage.
pub(super) fn share(part: u64, whole: u64) -> String {
    format!("{:.2} %", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
}

/// A number of bytes with a unit.
pub(super) fn show_bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1023.95 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

fn show_micros(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros} us"),
        1000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// One table for programs: `table,item,requests,bytes`.
pub(super) fn csv(summary: &Summary) -> String {
    let stats = &summary.stats;
    let mut text = String::from("table,item,requests,bytes");
    let mut row = |table: &str, item: &str, traffic: Traffic| {
        text += &format!("\n{table},{},{},{}", csv_field(item), traffic.requests, traffic.bytes);
    };
    let count = |requests| Traffic { requests, bytes: 0 };
    row("total", "requests", stats.total);
    row("total", "unique_visitors", count(stats.visitors.estimate()));
    row("total", "malformed", count(stats.malformed));
    row("total", "left_out", count(stats.left_out));
    for section in sections(summary) {
        for (item, traffic) in &section.rows {
            row(section.key, item, *traffic);
        }
    }
    text
}

fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// The fields for the summary object.
pub(super) fn record(summary: &Summary) -> Record {
    let stats = &summary.stats;
    let mut record = Record::default()
        .with("requests", stats.total.requests)
        .with("bytes", stats.total.bytes)
        .with("unique_visitors", stats.visitors.estimate())
        .with("unique_visitors_error", STANDARD_ERROR)
        .with("malformed", stats.malformed)
        .with("left_out", stats.left_out);
    if stats.times.count() > 0 {
        let mut object = Record::default().with("count", stats.times.count()).with("mean", stats.times.mean());
        for share in QUANTILES {
            object = object.with(&quantile_name(share), stats.times.quantile(share));
        }
        object = object.with("max", stats.times.most()).with("error", times::ERROR);
        record = record.with("response_micros", json!(object));
    }
    for section in sections(summary) {
        let row = |(item, traffic): &(String, Traffic)| {
            json!(
                Record::default()
                    .with("item", item.as_str())
                    .with("requests", traffic.requests)
                    .with("bytes", traffic.bytes)
            )
        };
        record = record.with(section.key, section.rows.iter().map(row).collect::<Vec<Value>>());
    }
    let samples = summary.samples().map(|(file, sample)| {
        json!(Record::default().with("input", file).with("at", sample.at).with("text", sample.text.as_str()))
    });
    record.with("malformed_samples", samples.collect::<Vec<Value>>())
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::*;

    fn summary() -> Summary {
        let mut stats = Stats::default();
        for n in 0..4 {
            let path: &[u8] = if n == 0 { b"/a,\"b\"" } else { b"/\x1b[31m" };
            let entry =
                Entry { path, client: b"1.1.1.1", method: b"GET", status: 200, bytes: 1024, ..Entry::default() };
            stats.note(&Entry { micros: Some(1500), ..entry }, false);
        }
        stats.note_malformed(7, b"\x01junk");
        stats.settle();
        let mut summary = Summary::new(10);
        summary.add(0, Path::new("a.log"), &stats);
        summary
    }

    #[test]
    fn tables_line_up_and_are_harmless_to_a_terminal() {
        let text = tables_of_width(&summary(), 100);
        let expected = "\
Requests            4
Bytes sent          4.0 KiB
Unique visitors     1 (estimated, standard error 0.8 %)
Requests by bots    0 (0.00 %)
Response times      mean 1.5 ms, p50 1.5 ms, p90 1.5 ms, p99 1.5 ms, p99.9 1.5 ms, max 1.5 ms
Malformed lines     1

Status classes
       4  100.00 %     4.0 KiB  ████████████████  2xx

Statuses
       4  100.00 %     4.0 KiB  ████████████████  200

Methods
       4  100.00 %     4.0 KiB  ████████████████  GET

Paths
       3   75.00 %     3.0 KiB  ████████████████  /\\x1b[31m
       1   25.00 %     1.0 KiB  █████▍            /a,\"b\"
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("Malformed lines, the first 1 of 1\na.log, byte 7: \\x01junk"), "{text}");
    }

    #[test]
    fn days_without_requests_are_days_too() {
        let traffic = Traffic { requests: 1, bytes: 2 };
        let requests = |last| {
            days(&BTreeMap::from([(20_000, traffic), (last, traffic)]))
                .iter()
                .map(|row| row.1.requests)
                .collect::<Vec<_>>()
        };
        assert_eq!(requests(20_003), [1, 0, 0, 1]);
        assert_eq!(requests(60_000), [1, 1]);
        assert_eq!(days(&BTreeMap::new()), []);
    }

    #[test]
    fn the_first_malformed_lines_are_those_of_the_first_files_whichever_came_first() {
        let stats = |lines: u64| {
            let mut stats = Stats::default();
            (0..lines).for_each(|n| stats.note_malformed(n, b"x"));
            stats
        };
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut summary = Summary::new(10);
            for number in order {
                summary.add(number, Path::new(&number.to_string()), &stats([4, 5, 6][number]));
            }
            let samples: Vec<String> =
                summary.samples().map(|(file, sample)| format!("{file}:{}", sample.at)).collect();
            assert_eq!(samples.join(" "), "0:0 0:1 0:2 0:3 1:0 1:1 1:2 1:3 1:4 2:0");
            assert_eq!((summary.stats.malformed, summary.files), (15, 3));
        }
    }

    #[test]
    fn csv_is_quoted() {
        let text = csv(&summary());
        assert!(
            text.starts_with("table,item,requests,bytes\ntotal,requests,4,4096\ntotal,unique_visitors,1,0\n"),
            "{text}"
        );
        assert!(text.contains("\npaths,\"/a,\"\"b\"\"\",1,1024"), "{text}");
    }

    #[test]
    fn quantities_are_shown_for_people() {
        assert_eq!(
            ["0", "999", "1,000", "12,345,678"],
            [0, 999, 1000, 12_345_678].map(group).each_ref().map(String::as_str)
        );
        assert_eq!([show_bytes(1023), show_bytes(1024), show_bytes(1 << 40)], ["1023 B", "1.0 KiB", "1.0 TiB"]);
        assert_eq!([bar(0, 10, 4), bar(1, 1000, 4), bar(10, 10, 2)], ["", "▏", "██"]);
        assert_eq!([cut("abc", 3), cut("abcd", 3)], ["abc", "ab…"]);
        assert_eq!(share(1, 3), "33.33 %");
    }
}
