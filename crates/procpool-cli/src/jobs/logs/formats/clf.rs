//! Common and combined log format, as Apache and nginx write them:
//!
//! ```text
//! [vhost[:port] ]client ident user [time] "request" status bytes[ "referrer" "agent"[ anything]]
//! ```

use memchr::{memchr, memchr2};

use super::super::entry::{Entry, known, number, status};
use super::super::time;

/// Reads a line.
#[inline]
pub(super) fn read(line: &[u8]) -> Option<Entry<'_>> {
    let mut entry = Entry::default();
    let open = memchr(b'[', line)?;
    // Client, ident and user, each with the space behind it; the user may have spaces in it.
    let head = &line[..open];
    let (first, rest) = head.split_at(memchr(b' ', head)?);
    let rest = &rest[1..];
    let second = &rest[..memchr(b' ', rest)?];
    let is_third = rest.len() > second.len() + 1;
    if first.is_empty() || !is_third || head.last() != Some(&b' ') {
        return None;
    }
    // With a virtual host in front, what is second is the client; else it is the ident, which nobody uses.
    if second != b"-" && rest[second.len() + 1..].starts_with(b"- ") && rest.len() > second.len() + 3 {
        (entry.host, entry.client) = (without_port(first), second);
    } else {
        entry.client = first;
    }
    let rest = &line[open + 1..];
    let time_len = if rest.get(26) == Some(&b']') { 26 } else { memchr(b']', rest)? };
    entry.time = Some(time::clf(&rest[..time_len])?);
    let rest = rest[time_len + 1..].strip_prefix(b" \"")?;
    let (request, rest) = quoted(rest)?;
    entry.set_request(request);
    let rest = rest.strip_prefix(b" ")?;
    let (code, rest) = rest.split_at(memchr(b' ', rest)?);
    entry.status = status(code)?;
    let rest = &rest[1..];
    let (bytes, rest) = rest.split_at(memchr(b' ', rest).unwrap_or(rest.len()));
    entry.bytes = number(bytes)?;
    if let Some(rest) = rest.strip_prefix(b" \"") {
        let (referrer, rest) = quoted(rest)?;
        entry.referrer = known(referrer);
        if let Some(rest) = rest.strip_prefix(b" \"") {
            entry.agent = known(quoted(rest)?.0);
        }
    }
    Some(entry)
}

/// Splits at the quote that ends a text, which may have escaped quotes in it.
#[inline]
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        let next = at + memchr2(b'"', b'\\', &text[at..])?;
        if text[next] == b'"' {
            return Some((&text[..next], &text[next + 1..]));
        }
        at = next + 2;
        if at > text.len() {
            return None;
        }
    }
}

/// A host without the port behind it.
pub(super) fn without_port(host: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', host) {
        Some(at) if !host[at + 1..].is_empty() && host[at + 1..].iter().all(u8::is_ascii_digit) => &host[..at],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Option<[String; 6]> {
        let entry = read(line.as_bytes())?;
        let parts = [entry.host, entry.client, entry.method, entry.path, entry.referrer, entry.agent];
        Some(parts.map(|part| String::from_utf8_lossy(part).into_owned()))
    }

    #[test]
    fn common_combined_and_virtual_hosts_are_read() {
        let common = r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#;
        let entry = read(common.as_bytes()).expect("an entry");
        assert_eq!((entry.status, entry.bytes, entry.micros), (200, 2326, None));
        assert_eq!(entry.time.map(|time| time.utc()), Some(971_211_336));
        assert_eq!(texts(common), Some(["", "127.0.0.1", "GET", "/apache_pb.gif", "", ""].map(String::from)));
        let combined =
            r#"::1 - Jo Q [10/Oct/2000:13:55:36 -0700] "POST /a \"b\" HTTP/1.1" 404 - "http://x/" "A \"b\"""#;
        let expected = ["", "::1", "POST", r#"/a \"b\""#, "http://x/", r#"A \"b\""#];
        assert_eq!(texts(combined), Some(expected.map(String::from)));
        let vhost = r#"example.org:443 1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5 "-" "-" 0.1"#;
        assert_eq!(texts(vhost), Some(["example.org", "1.2.3.4", "GET", "/", "", ""].map(String::from)));
        assert_eq!(
            texts(r#"1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "-" 408 0"#).map(|texts| texts[3].clone()),
            Some("-".into())
        );
    }

    #[test]
    fn what_is_torn_or_wrong_is_refused() {
        let whole = r#"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5 "ref" "agent""#;
        // Behind the bytes and behind the referrer a line may end.
        let ends = ["200 5", "200 5 ", "200 5 \"ref\"", "200 5 \"ref\" "]
            .map(|end| whole.find("\" 200").expect("status") + 2 + end.len());
        for cut in 0..whole.len() {
            assert_eq!(read(&whole.as_bytes()[..cut]).is_some(), ends.contains(&cut), "{}", &whole[..cut]);
        }
        for wrong in ["", "[", "\0\0", "a b c", r#"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" OK 5"#] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn ports_are_no_part_of_a_host() {
        let bare = |host: &str| String::from_utf8_lossy(without_port(host.as_bytes())).into_owned();
        assert_eq!(["a:80", "a", "a:", "[::1]:80"].map(bare), ["a", "a", "a:", "[::1]"]);
    }
}
