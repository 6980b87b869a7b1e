//! W3C extended log format: the fields of a line are named by a directive before it. IIS and CloudFront write it.

use std::borrow::Cow;

use memchr::memchr;

use super::super::entry::{Entry, known, number, status};
use super::super::time;
use super::{Line, without_return};

/// The fields of CloudFront's standard log that matter here, in its order.
const CLOUDFRONT: &str = "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status \
                          cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id \
                          x-host-header cs-protocol cs-bytes time-taken";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Date,
    Time,
    Client,
    Method,
    Host,
    Stem,
    Query,
    Status,
    Bytes,
    Referrer,
    Agent,
    Taken,
    Other,
}

/// The fields of the lines that follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Fields {
    fields: Vec<Field>,
    /// `time-taken` is in seconds, as CloudFront has it, not in milliseconds, as IIS has it.
    in_seconds: bool,
}

impl Fields {
    /// What the start of a file says.
    pub(super) fn of_head(head: &[u8]) -> Fields {
        let mut fields = Fields::default();
        for line in super::whole_lines(head).take_while(|line| line.first() == Some(&b'#')) {
            fields.directive(line);
        }
        fields
    }

    /// If nothing is said, what CloudFront writes.
    pub(super) fn or_cloudfront(mut self) -> Fields {
        if self.fields.is_empty() {
            self.directive(CLOUDFRONT.as_bytes());
        }
        self
    }

    fn directive(&mut self, line: &[u8]) {
        let Some(names) = line.strip_prefix(b"#Fields:") else { return };
        let names = || names.split(|byte| matches!(byte, b' ' | b'\t')).filter(|name| !name.is_empty());
        self.fields = names().map(field).collect();
        self.in_seconds = names().any(|name| name == b"x-edge-location");
    }

    /// Reads a line and hands the request to `take`.
    pub(super) fn read(&mut self, line: &[u8], take: impl FnOnce(&Entry<'_>)) -> Line {
        let line = without_return(line);
        if line.first() == Some(&b'#') {
            self.directive(line);
            return Line::Nothing;
        }
        match self.entry(line, take) {
            Some(()) => Line::Entry,
            None => Line::Malformed,
        }
    }

    fn entry(&self, line: &[u8], take: impl FnOnce(&Entry<'_>)) -> Option<()> {
        if self.fields.is_empty() {
            return None;
        }
        let mut entry = Entry::default();
        let (mut day, mut clock, mut query): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        let (mut agent, mut referrer) = (Cow::Borrowed(&b""[..]), Cow::Borrowed(&b""[..]));
        let separator = if memchr(b'\t', line).is_some() { b'\t' } else { b' ' };
        let mut values = line.split(|byte| *byte == separator);
        for field in &self.fields {
            let value = values.next()?;
            match field {
                Field::Date => day = value,
                Field::Time => clock = value,
                Field::Client => entry.client = value,
                Field::Method => entry.method = known(value),
                Field::Host => entry.host = known(value),
                Field::Stem => entry.path = known(value),
                Field::Query => query = known(value),
                Field::Status => entry.status = status(value)?,
                Field::Bytes => entry.bytes = number(value)?,
                Field::Referrer => referrer = plain(known(value)),
                Field::Agent => agent = plain(known(value)),
                Field::Taken => entry.micros = self.taken(value),
                Field::Other => {}
            }
        }
        if !day.is_empty() {
            entry.time = Some(time::date_and_clock(day, clock)?);
        }
        // CloudFront has values behind those it names in older files, others must not.
        if values.next().is_some() && !self.in_seconds {
            return None;
        }
        let whole;
        if !query.is_empty() {
            whole = [entry.path, b"?", query].concat();
            entry.path = &whole;
        }
        (entry.agent, entry.referrer) = (&agent, &referrer);
        take(&entry);
        Some(())
    }

    fn taken(&self, value: &[u8]) -> Option<u64> {
        let unit = if self.in_seconds { 1e6 } else { 1e3 };
        let time = std::str::from_utf8(value).ok()?.parse::<f64>().ok()?;
        (0.0..1e12).contains(&time).then(|| (time * unit).round() as u64)
    }
}

fn field(name: &[u8]) -> Field {
    match name {
        b"date" => Field::Date,
        b"time" => Field::Time,
        b"c-ip" => Field::Client,
        b"cs-method" => Field::Method,
        b"cs-host" | b"cs(Host)" | b"x-host-header" => Field::Host,
        b"cs-uri-stem" | b"cs-uri" => Field::Stem,
        b"cs-uri-query" => Field::Query,
        b"sc-status" => Field::Status,
        b"sc-bytes" => Field::Bytes,
        b"cs(Referer)" => Field::Referrer,
        b"cs(User-Agent)" => Field::Agent,
        b"time-taken" => Field::Taken,
        _ => Field::Other,
    }
}

/// A value whose spaces are written as `+` or `%20`.
fn plain(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(value);
    }
    let hex = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match after {
                [high, low, ..] if hex(*high).is_some() && hex(*low).is_some() => {
                    rest = &after[2..];
                    hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default()
                }
                _ => byte,
            },
            byte => byte,
        });
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(fields: &mut Fields, line: &str) -> Option<String> {
        let mut shown = None;
        let read = fields.read(line.as_bytes(), |entry| {
            let parts = [entry.client, entry.host, entry.method, entry.path, entry.referrer, entry.agent];
            let parts = parts.map(String::from_utf8_lossy).join("|");
            shown = Some(format!("{parts}|{}|{}|{:?}", entry.status, entry.bytes, entry.micros));
        });
        assert_eq!(read == Line::Entry, shown.is_some());
        shown
    }

    #[test]
    fn iis_and_cloudfront_are_read() {
        let mut iis = Fields::of_head(b"#Software: IIS\r\n#Fields: date time c-ip cs-method cs-uri-stem cs-uri-query sc-status cs(User-Agent) time-taken\r\n");
        let line = "2026-11-21 13:55:36 ::1 GET /a q=1 200 Mozilla/5.0+(X) 15\r";
        assert_eq!(shown(&mut iis, line), Some("::1||GET|/a?q=1||Mozilla/5.0 (X)|200|0|Some(15000)".into()));
        assert_eq!(shown(&mut iis, "2026-11-21 13:55:36 ::1 GET /a"), None);
        assert_eq!(shown(&mut iis, "2026-11-21 13:55:36 ::1 GET /a - 200 x 1 more"), None);
        assert_eq!(iis.read(b"#Fields: sc-status", |_| {}), Line::Nothing);
        assert_eq!(shown(&mut iis, "404"), Some("||||||404|0|None".into()));
        let mut cloudfront = Fields::default().or_cloudfront();
        let line = "2019-12-04\t21:02:31\tLAX1\t392\t192.0.2.100\tGET\td1.cloudfront.net\t/index.html\t200\t-\tMozilla/5.0%20(W)\t-\t-\tHit\tid\td1.cloudfront.net\thttps\t23\t0.001\t-\tTLSv1.2";
        let expected = "192.0.2.100|d1.cloudfront.net|GET|/index.html||Mozilla/5.0 (W)|200|392|Some(1000)";
        assert_eq!(shown(&mut cloudfront, line), Some(expected.into()));
        assert_eq!(shown(&mut Fields::default(), line), None);
    }

    #[test]
    fn escapes_that_are_none_are_left() {
        assert_eq!(plain(b"a%2fb%+c%zz%4").as_ref(), b"a/b% c%zz%4");
    }
}
