//! An object per line: Caddy's access log, and what nginx is commonly told to write.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use super::super::entry::{Entry, known, micros, number, status};
use super::super::time;
use super::Line;
use super::clf::without_port;

/// A text or a number, as text.
#[derive(Debug, Default)]
struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    fn bytes(&self) -> &[u8] {
        known(self.0.as_bytes())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }

        from.deserialize_any(Visitor)
    }
}

/// The names that are known, of Caddy and nginx together.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Object<'a> {
    #[serde(borrow)]
    ts: Text<'a>,
    time_local: Text<'a>,
    time_iso8601: Text<'a>,
    time: Text<'a>,
    msec: Text<'a>,
    #[serde(deserialize_with = "request")]
    request: Request<'a>,
    request_method: Text<'a>,
    request_uri: Text<'a>,
    uri: Text<'a>,
    remote_addr: Text<'a>,
    host: Text<'a>,
    server_name: Text<'a>,
    http_host: Text<'a>,
    status: Text<'a>,
    size: Text<'a>,
    body_bytes_sent: Text<'a>,
    bytes_sent: Text<'a>,
    http_referer: Text<'a>,
    http_user_agent: Text<'a>,
    request_time: Text<'a>,
    duration: Text<'a>,
}

/// A request line, or Caddy's object.
#[derive(Debug, Default)]
struct Request<'a> {
    line: Text<'a>,
    caddy: Option<Box<Caddy<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Caddy<'a> {
    #[serde(borrow)]
    client_ip: Text<'a>,
    remote_ip: Text<'a>,
    remote_addr: Text<'a>,
    method: Text<'a>,
    host: Text<'a>,
    uri: Text<'a>,
    headers: Headers<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Headers<'a> {
    #[serde(borrow, rename = "User-Agent")]
    agent: Vec<Text<'a>>,
    #[serde(rename = "Referer")]
    referrer: Vec<Text<'a>>,
}

fn request<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Request<'a>, D::Error> {
    struct Visitor;

    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Request<'de>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a request line or an object")
        }

        fn visit_borrowed_str<E>(self, line: &'de str) -> Result<Request<'de>, E> {
            Ok(Request { line: Text(Cow::Borrowed(line)), caddy: None })
        }

        fn visit_str<E>(self, line: &str) -> Result<Request<'de>, E> {
            Ok(Request { line: Text(Cow::Owned(line.to_owned())), caddy: None })
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Request<'de>, A::Error> {
            let caddy = Caddy::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
            Ok(Request { line: Text::default(), caddy: Some(Box::new(caddy)) })
        }
    }

    from.deserialize_any(Visitor)
}

/// The first that is there.
fn first<'t>(texts: &[&'t Text<'_>]) -> &'t [u8] {
    texts.iter().map(|text| text.bytes()).find(|bytes| !bytes.is_empty()).unwrap_or_default()
}

/// Reads a line and hands the request to `take`. An object without a status is no request: servers write other things too.
pub(super) fn read(line: &[u8], take: impl FnOnce(&Entry<'_>)) -> Line {
    if line.first() != Some(&b'{') {
        return Line::Malformed;
    }
    let Ok(object) = serde_json::from_slice::<Object<'_>>(line) else { return Line::Malformed };
    if object.status.0.is_empty() {
        return Line::Nothing;
    }
    match entry(&object) {
        Some(entry) => {
            take(&entry);
            Line::Entry
        }
        None => Line::Malformed,
    }
}

fn entry<'o>(object: &'o Object<'_>) -> Option<Entry<'o>> {
    let mut entry = Entry {
        client: first(&[&object.remote_addr]),
        host: first(&[&object.host, &object.http_host, &object.server_name]),
        status: status(object.status.0.as_bytes())?,
        bytes: number_or_none(first(&[&object.size, &object.body_bytes_sent, &object.bytes_sent]))?,
        referrer: first(&[&object.http_referer]),
        agent: first(&[&object.http_user_agent]),
        micros: micros(first(&[&object.duration, &object.request_time])),
        ..Entry::default()
    };
    if let Some(caddy) = &object.request.caddy {
        entry.client = first(&[&caddy.client_ip, &caddy.remote_ip, &caddy.remote_addr]);
        entry.host = caddy.host.bytes();
        (entry.method, entry.path) = (caddy.method.bytes(), caddy.uri.bytes());
        entry.agent = caddy.headers.agent.first().map_or(entry.agent, Text::bytes);
        entry.referrer = caddy.headers.referrer.first().map_or(entry.referrer, Text::bytes);
    } else if !object.request.line.0.is_empty() {
        entry.set_request(object.request.line.0.as_bytes());
    } else {
        entry.method = object.request_method.bytes();
        entry.path = first(&[&object.request_uri, &object.uri]);
    }
    entry.host = without_port(entry.host);
    let times = [&object.time_iso8601, &object.time_local, &object.time, &object.msec, &object.ts];
    let time = first(&times);
    if !time.is_empty() {
        let unix = || std::str::from_utf8(time).ok()?.parse().ok().and_then(time::unix);
        entry.time = Some(time::iso(time).or_else(|| time::clf(time)).or_else(unix)?);
    }
    Some(entry)
}

/// The size of an answer; what is not said is 0.
fn number_or_none(text: &[u8]) -> Option<u64> {
    if text.is_empty() { Some(0) } else { number(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> Result<String, Line> {
        let mut shown = String::new();
        let read = read(line.as_bytes(), |entry| {
            let parts = [entry.client, entry.host, entry.method, entry.path, entry.referrer, entry.agent];
            let parts = parts.map(String::from_utf8_lossy).join("|");
            let time = entry.time.map(|time| time.utc());
            shown = format!("{parts}|{}|{}|{:?}|{time:?}", entry.status, entry.bytes, entry.micros);
        });
        if read == Line::Entry { Ok(shown) } else { Err(read) }
    }

    #[test]
    fn caddy_and_nginx_are_read() {
        let caddy = r#"{"level":"info","ts":1646861401.5,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"127.0.0.1","remote_port":"41342","client_ip":"10.0.0.9","proto":"HTTP/2.0","method":"GET","host":"localhost:8443","uri":"/a?b=\u00e9","headers":{"User-Agent":["curl/7.82.0"],"Accept":["*/*"]}},"bytes_read":0,"duration":0.000929675,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"]}}"#;
        assert_eq!(
            shown(caddy),
            Ok("10.0.0.9|localhost|GET|/a?b=é||curl/7.82.0|200|10900|Some(930)|Some(1646861401)".into())
        );
        let nginx = r#"{"time_iso8601":"2026-11-21T13:55:36+01:00","remote_addr":"::1","request":"POST /x HTTP/1.1","status":"404","body_bytes_sent":"12","http_referer":"-","http_user_agent":"A \"b\"","request_time":"0.1"}"#;
        assert_eq!(shown(nginx), Ok("::1||POST|/x||A \"b\"|404|12|Some(100000)|Some(1795265736)".into()));
        let split = r#"{"request_method":"GET","uri":"/y","status":200}"#;
        assert_eq!(shown(split), Ok("||GET|/y|||200|0|None|None".into()));
    }

    #[test]
    fn what_is_no_request_is_told_from_what_is_no_object() {
        assert_eq!(shown(r#"{"level":"error","msg":"no request"}"#), Err(Line::Nothing));
        let deep = format!("{{\"a\":{}", "[".repeat(1_000_000));
        for wrong in [
            "{",
            "[]",
            "{\"status\":\"OK\"}",
            "{\"status\":[200]}",
            "{\"status\":200}x",
            "{\"ts\":\"soon\",\"status\":200}",
            &deep,
        ] {
            assert_eq!(shown(wrong), Err(Line::Malformed), "{}", &wrong[..wrong.len().min(40)]);
        }
    }
}
