//! Lines in the notation of nginx's `log_format`: variables, and the text between them.

use memchr::memmem;

use super::super::entry::{Entry, known, micros, number, status};
use super::super::time;
use super::clf::without_port;

/// What a variable is for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Client,
    Host,
    TimeLocal,
    TimeIso,
    TimeUnix,
    Request,
    Method,
    Path,
    Status,
    Bytes,
    Referrer,
    Agent,
    Seconds,
    Nothing,
}

/// A format string, ready to read lines.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Pattern {
    /// The text before the first variable.
    begin: Vec<u8>,
    /// Each variable with the text behind it.
    parts: Vec<(Meaning, Vec<u8>)>,
}

impl Pattern {
    /// Reads a format string. The error is a message for the user.
    pub(super) fn new(text: &str) -> Result<Pattern, String> {
        let mut pieces = text.split('$');
        let begin = pieces.next().unwrap_or_default().as_bytes().to_vec();
        let mut parts = Vec::new();
        for piece in pieces {
            let (name, after) = match piece.strip_prefix('{').and_then(|piece| piece.split_once('}')) {
                Some(split) => split,
                None => {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    piece.split_at(piece.find(|c| !is_name(c)).unwrap_or(piece.len()))
                }
            };
            if name.is_empty() {
                return Err("a $ has no name of a variable behind it".into());
            }
            parts.push((meaning(name), after.as_bytes().to_vec()));
        }
        let between = parts.len().saturating_sub(1);
        if parts[..between].iter().any(|(_, after)| after.is_empty()) {
            return Err("two variables need something between them, to tell where the first one ends".into());
        }
        if !parts.iter().any(|(meaning, _)| *meaning == Meaning::Status) {
            return Err("there must be a $status in the format".into());
        }
        Ok(Pattern { begin, parts })
    }

    /// Reads a line.
    pub(super) fn read<'a>(&self, line: &'a [u8]) -> Option<Entry<'a>> {
        let mut rest = line.strip_prefix(self.begin.as_slice())?;
        let mut entry = Entry::default();
        for (number, (meaning, after)) in self.parts.iter().enumerate() {
            let is_last = number + 1 == self.parts.len();
            let end = match after.as_slice() {
                [] => rest.len(),
                after if is_last => {
                    rest.len().checked_sub(after.len()).filter(|at| rest.ends_with(after) && *at <= rest.len())?
                }
                [one] => memchr::memchr(*one, rest)?,
                after => memmem::find(rest, after)?,
            };
            meaning.put(&rest[..end], &mut entry)?;
            rest = &rest[(end + after.len()).min(rest.len())..];
        }
        Some(entry)
    }
}

fn meaning(name: &str) -> Meaning {
    match name {
        "remote_addr" | "realip_remote_addr" | "proxy_protocol_addr" => Meaning::Client,
        "host" | "server_name" | "http_host" => Meaning::Host,
        "time_local" => Meaning::TimeLocal,
        "time_iso8601" => Meaning::TimeIso,
        "msec" => Meaning::TimeUnix,
        "request" => Meaning::Request,
        "request_method" => Meaning::Method,
        "request_uri" | "uri" | "document_uri" => Meaning::Path,
        "status" => Meaning::Status,
        "body_bytes_sent" | "bytes_sent" => Meaning::Bytes,
        "http_referer" => Meaning::Referrer,
        "http_user_agent" => Meaning::Agent,
        "request_time" => Meaning::Seconds,
        _ => Meaning::Nothing,
    }
}

impl Meaning {
    fn put<'a>(self, text: &'a [u8], entry: &mut Entry<'a>) -> Option<()> {
        match self {
            Meaning::Client => entry.client = text,
            Meaning::Host => entry.host = without_port(known(text)),
            Meaning::TimeLocal => entry.time = Some(time::clf(text)?),
            Meaning::TimeIso => entry.time = Some(time::iso(text)?),
            Meaning::TimeUnix => entry.time = Some(time::unix(std::str::from_utf8(text).ok()?.parse().ok()?)?),
            Meaning::Request => entry.set_request(text),
            Meaning::Method => entry.method = text,
            Meaning::Path => entry.path = text,
            Meaning::Status => entry.status = status(text)?,
            Meaning::Bytes => entry.bytes = number(text)?,
            Meaning::Referrer => entry.referrer = known(text),
            Meaning::Agent => entry.agent = known(text),
            Meaning::Seconds => entry.micros = micros(text),
            Meaning::Nothing => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_format_string_are_read() {
        let pattern = Pattern::new(
            "<${host}> $remote_addr [$time_iso8601] \"$request\" $status $request_time \"$http_user_agent\"|",
        );
        let pattern = pattern.expect("a pattern");
        let line = br#"<a.b:8080> 1.2.3.4 [2026-11-21T13:55:36+01:00] "GET /x HTTP/1.1" 201 0.5 "cu|"rl"|"#;
        let entry = pattern.read(line).expect("an entry");
        let parts = [entry.host, entry.client, entry.method, entry.path, entry.agent].map(String::from_utf8_lossy);
        assert_eq!(parts, ["a.b", "1.2.3.4", "GET", "/x", "cu|\"rl"]);
        assert_eq!((entry.status, entry.micros), (201, Some(500_000)));
        for wrong in ["", "<a> 1.2.3.4 [x] \"GET / HTTP/1.1\" 200 0 \"\"|", "<a>", "\0"] {
            assert_eq!(pattern.read(wrong.as_bytes()), None, "{wrong}");
        }
        let open = Pattern::new("$status $http_user_agent").expect("a pattern");
        assert_eq!(open.read(b"200 a b").map(|entry| entry.agent), Some(&b"a b"[..]));
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for wrong in ["$status$request", "no variable", "$ $status", "$request", "${status"] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }
}
