//! Access logs of AWS application load balancers, as its documentation lists their fields:
//!
//! ```text
//! type time elb client:port target:port request_time target_time response_time elb_status target_status
//! received sent "request" "agent" ...
//! ```

use memchr::memchr;

use super::super::entry::{Entry, known, micros, number, status};
use super::super::time;
use super::clf::without_port;

/// Reads a line.
pub(super) fn read(line: &[u8]) -> Option<Entry<'_>> {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.split_at(memchr(b' ', rest)?);
        rest = &after[1..];
        Some(word)
    };
    let kind = word()?;
    if !matches!(kind, b"http" | b"https" | b"h2" | b"grpcs" | b"ws" | b"wss") {
        return None;
    }
    let mut entry = Entry { time: Some(time::iso(word()?)?), ..Entry::default() };
    let _load_balancer = word()?;
    entry.client = without_port(word()?);
    let _target = word()?;
    // Each is -1 if it was not come to.
    let times = [word()?, word()?, word()?].map(micros);
    entry.micros = times.iter().any(Option::is_some).then(|| times.iter().flatten().sum());
    entry.status = status(word()?)?;
    let _target_status = word()?;
    let _received = word()?;
    entry.bytes = number(word()?)?;
    let mut quoted = rest.strip_prefix(b"\"")?;
    let request = &quoted[..memchr(b'"', quoted)?];
    entry.set_request(request);
    // The path is a whole address: http://host:80/path
    if let Some(at) = memchr::memmem::find(entry.path, b"://") {
        let address = &entry.path[at + 3..];
        let slash = memchr(b'/', address).unwrap_or(address.len());
        entry.host = without_port(&address[..slash]);
        entry.path = if slash < address.len() { &address[slash..] } else { b"/" };
    }
    quoted = &quoted[request.len() + 1..];
    if let Some(agent) = quoted.strip_prefix(b" \"") {
        entry.agent = known(&agent[..memchr(b'"', agent)?]);
    }
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let line = br#"h2 2018-07-02T22:23:00.186641Z app/my-balancer/50dc 10.0.1.252:48160 10.0.0.66:9000 0.001 0.050 0.000 200 200 5 257 "GET https://www.example.com:443/a?b HTTP/2.0" "curl/7.46.0" ECDHE TLSv1.2 arn "Root=1-2""#;
        let entry = read(line).expect("an entry");
        let parts = [entry.host, entry.client, entry.method, entry.path, entry.agent].map(String::from_utf8_lossy);
        assert_eq!(parts, ["www.example.com", "10.0.1.252", "GET", "/a?b", "curl/7.46.0"]);
        assert_eq!((entry.status, entry.bytes, entry.micros), (200, 257, Some(51_000)));
        let refused =
            br#"http 2018-07-02T22:23:00.186641Z app/x 1.1.1.1:2817 - -1 -1 -1 460 - 34 0 "- http://x:80- -" "-" - -"#;
        assert_eq!(read(refused).map(|entry| (entry.status, entry.micros)), Some((460, None)));
        for cut in 0..line.len() - 60 {
            assert!(read(&line[..cut]).is_none() || cut > 150, "{cut}");
        }
    }
}
