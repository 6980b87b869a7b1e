//! The formats of access logs.

mod alb;
mod clf;
mod json;
mod pattern;
mod w3c;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use pattern::Pattern;
use w3c::Fields;

/// How many lines at the start of a file are looked at to tell its format.
const LINES_LOOKED_AT: usize = 50;

/// The format that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) enum Wanted {
    /// Whatever the file looks like.
    #[default]
    Any,
    /// Apache's and nginx's common or combined, with the virtual host in front or without.
    Clf,
    /// An object per line, as Caddy and nginx write them.
    Json,
    /// Extended log format: the fields are named in the file.
    W3c,
    /// W3C with the fields of CloudFront, should the file not name them.
    CloudFront,
    /// Of an application load balancer.
    Alb,
    /// As in nginx's `log_format`.
    Pattern(String),
}

impl Wanted {
    /// Reads a name of a format, or a format string. The error is a message for the user.
    pub(crate) fn parse(text: &str) -> Result<Wanted, String> {
        match text {
            "auto" => Ok(Wanted::Any),
            "common" | "combined" | "vhost" => Ok(Wanted::Clf),
            "json" | "caddy" => Ok(Wanted::Json),
            "w3c" | "iis" => Ok(Wanted::W3c),
            "cloudfront" => Ok(Wanted::CloudFront),
            "alb" => Ok(Wanted::Alb),
            text if text.contains('$') => Pattern::new(text).map(|_| Wanted::Pattern(text.into())),
            _ => Err("write auto, common, combined, vhost, json, caddy, w3c, cloudfront, alb, \
                      or a format string such as '$remote_addr - $remote_user [$time_local] \"$request\" $status'"
                .into()),
        }
    }

    /// The reader of a file of this format that begins with `head`, which may end in the middle of a line. None if the format
    /// cannot be told.
    pub(super) fn reader(&self, head: &[u8]) -> Option<Format> {
        Some(match self {
            Wanted::Any => return detect(head),
            Wanted::Clf => Format::Clf,
            Wanted::Json => Format::Json,
            Wanted::W3c => Format::W3c(Fields::of_head(head)),
            Wanted::CloudFront => Format::W3c(Fields::of_head(head).or_cloudfront()),
            Wanted::Alb => Format::Alb,
            Wanted::Pattern(text) => Format::Pattern(Pattern::new(text).ok()?),
        })
    }

    /// Whether lines may say how those behind them are to be read, so that a file can only be read from its start.
    pub(super) fn has_directives(&self, head: &[u8]) -> bool {
        match self {
            Wanted::Any => head.first() == Some(&b'#'),
            Wanted::W3c | Wanted::CloudFront => true,
            _ => false,
        }
    }
}

/// What a line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A request.
    Entry,
    /// Nothing that counts: an empty line, a comment.
    Nothing,
    /// Not of this format.
    Malformed,
}

/// Reads the lines of one file.
#[derive(Clone, Debug)]
pub(super) enum Format {
    Clf,
    Json,
    Alb,
    W3c(Fields),
    Pattern(Pattern),
}

impl Format {
    /// The name, for the report.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Format::Clf => "common or combined",
            Format::Json => "JSON lines",
            Format::Alb => "AWS ALB",
            Format::W3c(_) => "W3C",
            Format::Pattern(_) => "format string",
        }
    }

    /// Reads a line without its end and hands the request to `take`.
    #[inline]
    pub(super) fn read(&mut self, line: &[u8], take: impl FnOnce(&Entry<'_>)) -> Line {
        if line.is_empty() {
            return Line::Nothing;
        }
        match self {
            Format::Clf => taken(clf::read(line), take),
            Format::Json => json::read(line, take),
            Format::Alb => taken(alb::read(line), take),
            Format::W3c(fields) => fields.read(line, take),
            Format::Pattern(pattern) => taken(pattern.read(line), take),
        }
    }
}

#[inline]
fn taken(entry: Option<Entry<'_>>, take: impl FnOnce(&Entry<'_>)) -> Line {
    match entry {
        Some(entry) => {
            take(&entry);
            Line::Entry
        }
        None => Line::Malformed,
    }
}

/// The format in which most of the first lines are requests.
fn detect(head: &[u8]) -> Option<Format> {
    let mut best: Option<(usize, Format)> = None;
    for wanted in [Wanted::Clf, Wanted::Json, Wanted::Alb, Wanted::W3c] {
        let mut format = wanted.reader(head)?;
        let read = whole_lines(head).filter(|line| format.read(line, |_| {}) == Line::Entry).count();
        if read > best.as_ref().map_or(0, |(most, _)| *most) {
            best = Some((read, wanted.reader(head)?));
        }
    }
    best.map(|(_, format)| format)
}

/// The first lines of a file, without a last one that may be cut.
fn whole_lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = memchr::memrchr(b'\n', head).map_or(head.len(), |at| at + 1);
    head[..end].split(|byte| *byte == b'\n').map(without_return).take(LINES_LOOKED_AT)
}

/// A line without the carriage return of its end.
#[inline]
pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(head: &str) -> Option<&'static str> {
        detect(head.as_bytes()).map(|format| format.name())
    }

    #[test]
    fn formats_are_told_by_their_first_lines() {
        let combined = "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 2326 \"-\" \"curl\"\n";
        assert_eq!(name(combined), Some("common or combined"));
        assert_eq!(name(&format!("junk\n\n{combined}")), Some("common or combined"));
        assert_eq!(
            name("{\"status\":200,\"remote_addr\":\"::1\",\"request\":\"GET / HTTP/1.1\"}\n"),
            Some("JSON lines")
        );
        let w3c = "#Version: 1.0\n#Fields: date time c-ip cs-method cs-uri-stem sc-status\n\
                   2026-11-21 13:55:36 1.2.3.4 GET / 200\n";
        assert_eq!(name(w3c), Some("W3C"));
        assert_eq!(name("words and words\n"), None);
        assert_eq!(name(""), None);
        assert_eq!(name("\u{0}\u{0}\u{0}"), None);
    }

    #[test]
    fn no_line_is_too_strange() {
        let lines: [&[u8]; 5] = [
            b"v:80 1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 9999999999999999999 \"-\" \"c\"",
            b"{\"status\":200,\"ts\":1e300,\"request\":{\"uri\":\"/\"},\"size\":1}",
            b"http 2018-07-02T22:23:00.186641Z a 1.1.1.1:1 - 1e308 1e308 1 200 - 34 9 \"GET http://x:80/ HTTP/1.1\" \"-\"",
            b"2026-11-21\t13:55:36\tX\t1\t::1\tGET\th\t/\t200\t-\tx%\tq\t-\tHit\tid\th\thttps\t23\t0.001",
            b"200|/x|1.5",
        ];
        let formats = ["combined", "json", "alb", "w3c", "cloudfront", "$status|$uri|$request_time", "$uri|$status"];
        let mut state = 1_u64;
        let mut dice = |sides: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % sides
        };
        let mut entries = 0;
        for name in formats {
            let wanted = Wanted::parse(name).expect("a format");
            for number in 0..20_000 {
                let mut line = lines[number % lines.len()].to_vec();
                for _ in 0..dice(4) {
                    let (at, byte) = (dice(line.len()), b" \"[]\\:-/|\t%{}0\0\xff"[dice(16)]);
                    match dice(3) {
                        0 => line[at] = byte,
                        1 => line.insert(at, byte),
                        _ => line.truncate(at.max(1)),
                    }
                }
                let mut format = wanted.reader(&line).expect("a reader");
                entries += u64::from(format.read(&line, |_| {}) == Line::Entry);
                detect(&line);
            }
        }
        // Most lines are of another format, and some of each are whole.
        assert!((5_000..60_000).contains(&entries), "{entries}");
    }

    #[test]
    fn formats_have_names() {
        assert_eq!(Wanted::parse("combined"), Ok(Wanted::Clf));
        assert_eq!(Wanted::parse("$status"), Ok(Wanted::Pattern("$status".into())));
        assert!(Wanted::parse("apache").is_err() && Wanted::parse("$a$b").is_err() && Wanted::parse("").is_err());
    }
}
