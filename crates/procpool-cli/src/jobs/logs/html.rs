//! The report for browsers: one page with everything in it, charts as SVG, no script, nothing fetched from anywhere.

use super::show::{Section, Summary, group, overview, sections, share, show_bytes};

const STYLE: &str = "
:root{--ink:#1c2733;--soft:#5d6b7a;--line:#d9e0e7;--paper:#fff;--back:#f4f6f8;--bar:#2f6fde;--pale:#dbe7fb}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#9aa8b7;--line:#2d3946;--paper:#18212b;--back:#10171f;--bar:#5b93f5;--pale:#223654}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
main{max-width:1100px;margin:0 auto;padding:24px 16px}
h1{font-size:24px;margin:0 0 4px}
h2{font-size:17px;margin:0 0 10px}
p{margin:0;color:var(--soft)}
section{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:16px;margin-top:16px}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));gap:12px;margin:0}
dt{color:var(--soft);font-size:13px}
dd{margin:0;font-size:18px;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;table-layout:fixed}
th,td{padding:4px 8px;text-align:right;font-variant-numeric:tabular-nums;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:normal;font-size:13px}
th:first-child,td:first-child{text-align:left;width:52%;overflow-wrap:anywhere}
td:first-child{background:linear-gradient(90deg,var(--pale) var(--w),transparent var(--w));border-radius:3px}
tr:last-child td{border-bottom:0}
svg{width:100%;height:auto;display:block}
svg rect{fill:var(--bar)}
svg text{fill:var(--soft);font:11px system-ui,sans-serif}
svg line{stroke:var(--line)}
code{font:12px ui-monospace,monospace;overflow-wrap:anywhere}
li{margin-bottom:4px}
";

/// The page.
pub(super) fn page(summary: &Summary) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Access log statistics</title>\n<style>{STYLE}</style>\n<main>\n<h1>Access log statistics</h1>\n"
    );
    let files = if summary.files == 1 { "1 file".into() } else { format!("{} files", group(summary.files)) };
    page += &format!("<p>{files}, by procpool {}</p>\n<section><dl>\n", env!("CARGO_PKG_VERSION"));
    for (name, value) in overview(summary) {
        page += &format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(&value));
    }
    page += "</dl></section>\n";
    for section in sections(summary) {
        page += &format!("<section><h2>{}</h2>\n", section.title);
        page += &if section.is_series { chart(&section) } else { table(&section, summary.stats.total.requests) };
        if let Some(remark) = &section.remark {
            page += &format!("<p>{}</p>\n", escape(remark));
        }
        page += "</section>\n";
    }
    if summary.samples().len() > 0 {
        page += &format!(
            "<section><h2>Malformed lines</h2>\n<p>The first of {}:</p>\n<ul>\n",
            group(summary.stats.malformed)
        );
        for (file, sample) in summary.samples() {
            let text = if sample.text.is_empty() { " " } else { &sample.text };
            page += &format!("<li>{}, byte {}: <code>{}</code></li>\n", escape(file), sample.at, escape(text));
        }
        page += "</ul></section>\n";
    }
    page + "</main>\n</html>\n"
}

fn table(section: &Section, total: u64) -> String {
    let most = section.rows.iter().map(|(_, traffic)| traffic.requests).max().unwrap_or(0).max(1);
    let mut text = String::from("<table><tr><th>&nbsp;</th><th>Requests</th><th>Share</th><th>Bytes</th></tr>\n");
    for (name, traffic) in &section.rows {
        let width = traffic.requests as f64 * 100.0 / most as f64;
        let name = if name.is_empty() { "(none)".into() } else { escape(name) };
        let (requests, bytes) = (group(traffic.requests), show_bytes(traffic.bytes));
        let share = share(traffic.requests, total);
        text += &format!(
            "<tr><td style=\"--w:{width:.1}%\">{name}</td><td>{requests}</td><td>{share}</td><td>{bytes}</td></tr>\n"
        );
    }
    text + "</table>\n"
}

/// Bars in the order of time.
fn chart(section: &Section) -> String {
    const WIDTH: f64 = 1000.0;
    const HEIGHT: f64 = 180.0;
    const LEFT: f64 = 64.0;
    /// Half a name.
    const RIGHT: f64 = 30.0;
    let rows = &section.rows;
    let quarter = round_up(rows.iter().map(|(_, traffic)| traffic.requests).max().unwrap_or(0).div_ceil(4));
    let most = quarter * 4;
    let step = (WIDTH - LEFT - RIGHT) / rows.len() as f64;
    let mut text =
        format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">\n", HEIGHT + 24.0, section.title);
    for line in 0..=4_u64 {
        let y = HEIGHT - HEIGHT * line as f64 / 4.0 * 0.92;
        let value = group(quarter * line);
        text += &format!("<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>", WIDTH - RIGHT);
        text += &format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n", LEFT - 6.0, y + 4.0);
    }
    // No more names than there is room for.
    let every = (rows.len() as f64 * 76.0 / (WIDTH - LEFT - RIGHT)).ceil().max(1.0) as usize;
    let every = if rows.iter().all(|(name, _)| name.len() <= 2) { 1 } else { every };
    for (number, (name, traffic)) in rows.iter().enumerate() {
        let height = traffic.requests as f64 / most as f64 * HEIGHT * 0.92;
        let x = LEFT + step * number as f64;
        let bar = (step * 0.8).clamp(0.5, 60.0);
        let left = x + (step - bar) / 2.0;
        let name = escape(name);
        text += &format!(
            "<rect x=\"{left:.2}\" y=\"{:.2}\" width=\"{bar:.2}\" height=\"{height:.2}\" rx=\"1.5\"><title>{name}: {} requests, {}</title></rect>",
            HEIGHT - height,
            group(traffic.requests),
            show_bytes(traffic.bytes)
        );
        if number % every == 0 {
            let middle = x + step / 2.0;
            text += &format!("<text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>", HEIGHT + 17.0);
        }
        text.push('\n');
    }
    text + "</svg>\n"
}

/// The next number that reads well: one digit, or two of which the second is a 5.
fn round_up(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    let digits = number.div_ceil(unit);
    let digits = if digits > 10 { digits.div_ceil(5) * 5 } else { digits.max(1) };
    digits * unit
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::entry::Entry;
    use super::super::stats::Stats;
    use super::super::time;
    use super::*;

    #[test]
    fn axes_have_numbers_that_read_well() {
        assert_eq!([0, 1, 7, 11, 86_127, 25_005, 100].map(round_up), [1, 1, 7, 15, 90_000, 30_000, 100]);
    }

    #[test]
    fn what_a_log_says_is_text_and_nothing_else() {
        let mut stats = Stats::default();
        let hostile = b"/<script>alert(1)</script>\"'&";
        let time = time::iso(b"2026-11-21T13:00:00Z");
        stats.note(&Entry { path: hostile, agent: hostile, status: 404, time, ..Entry::default() }, false);
        stats.note_malformed(0, hostile);
        stats.settle();
        let mut summary = Summary::new(10);
        summary.add(0, Path::new("<b>.log"), &stats);
        let page = page(&summary);
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("/&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
        assert_eq!(page.matches("<svg").count(), 2);
    }
}
