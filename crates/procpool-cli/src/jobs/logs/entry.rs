//! One request, as all formats have it.

use super::time::Moment;

/// A request that a line tells of. Empty is what the line does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Entry<'a> {
    /// The address or name of the client.
    pub client: &'a [u8],
    /// The host that was asked.
    pub host: &'a [u8],
    /// When.
    pub time: Option<Moment>,
    /// GET and so on.
    pub method: &'a [u8],
    /// The path with the query.
    pub path: &'a [u8],
    /// The status; 0 if there was no answer.
    pub status: u16,
    /// Bytes sent.
    pub bytes: u64,
    /// Where the client says it comes from.
    pub referrer: &'a [u8],
    /// What the client says it is.
    pub agent: &'a [u8],
    /// How long the answer took, in microseconds.
    pub micros: Option<u64>,
}

impl<'a> Entry<'a> {
    /// Sets method and path from a request line such as `GET /path HTTP/1.1`. Of what is none, all is the path.
    pub(super) fn set_request(&mut self, request: &'a [u8]) {
        let method_len = request.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        if !(1..=20).contains(&method_len) || request.get(method_len) != Some(&b' ') {
            (self.method, self.path) = (b"", request);
            return;
        }
        let (method, rest) = (&request[..method_len], &request[method_len + 1..]);
        let path = match memchr::memrchr(b' ', rest) {
            Some(at) if rest[at + 1..].starts_with(b"HTTP/") => &rest[..at],
            _ => rest,
        };
        (self.method, self.path) = (method, path);
    }

    /// The path without the query.
    pub(super) fn path_alone(&self) -> &'a [u8] {
        memchr::memchr(b'?', self.path).map_or(self.path, |at| &self.path[..at])
    }
}

/// What stands for nothing in most formats.
pub(super) fn known(value: &[u8]) -> &[u8] {
    if value == b"-" { b"" } else { value }
}

/// A whole number; `-` is 0.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text == b"-" {
        return Some(0);
    }
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| sum * 10 + u64::from(digit))
    })
}

/// A status of three digits; `-` is 0.
pub(super) fn status(text: &[u8]) -> Option<u16> {
    match number(text)? {
        status @ (0 | 100..=999) => Some(status as u16),
        _ => None,
    }
}

/// Seconds such as `0.042`, in microseconds. Nothing if it is no such number.
pub(super) fn micros(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..1e9).contains(seconds))?;
    Some((seconds * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_have_a_method_and_a_path() {
        let split = |request: &'static str| {
            let mut entry = Entry::default();
            entry.set_request(request.as_bytes());
            [entry.method, entry.path, entry.path_alone()].map(|part| String::from_utf8_lossy(part).into_owned())
        };
        assert_eq!(split("GET /a?b=c HTTP/1.1"), ["GET", "/a?b=c", "/a"]);
        assert_eq!(split("GET /a b HTTP/2.0"), ["GET", "/a b", "/a b"]);
        assert_eq!(split("GET /old"), ["GET", "/old", "/old"]);
        assert_eq!(split("\\x16\\x03\\x01"), ["", "\\x16\\x03\\x01", "\\x16\\x03\\x01"]);
        assert_eq!(split("-"), ["", "-", "-"]);
        assert_eq!(split(""), ["", "", ""]);
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(
            [number(b"0"), number(b"1234567890123456789"), number(b"-")],
            [Some(0), Some(1234567890123456789), Some(0)]
        );
        assert_eq!([number(b""), number(b"+1"), number(b"1 "), number(b"12345678901234567890")], [None; 4]);
        assert_eq!([status(b"200"), status(b"-"), status(b"99"), status(b"1000")], [Some(200), Some(0), None, None]);
        assert_eq!(
            [micros(b"0.042"), micros(b"12"), micros(b"-1"), micros(b"x")],
            [Some(42_000), Some(12_000_000), None, None]
        );
    }
}
