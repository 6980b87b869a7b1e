//! Which agents are programs that nobody sits in front of, by what they say of themselves.

/// Parts of the names of crawlers and of libraries, in small letters.
const MARKS: [&[u8]; 28] = [
    b"bot",
    b"crawl",
    b"spider",
    b"slurp",
    b"archiver",
    b"scrap",
    b"monitor",
    b"pingdom",
    b"uptime",
    b"facebookexternalhit",
    b"mediapartners",
    b"feedfetcher",
    b"curl/",
    b"wget/",
    b"libwww",
    b"python",
    b"go-http-client",
    b"java/",
    b"okhttp",
    b"axios",
    b"node-fetch",
    b"apache-httpclient",
    b"ruby",
    b"perl",
    b"php/",
    b"zgrab",
    b"masscan",
    b"headlesschrome",
];

/// Whether an agent says that it is one.
pub(super) fn is_bot(agent: &[u8]) -> bool {
    let small = agent.to_ascii_lowercase();
    MARKS.iter().any(|mark| memchr::memmem::find(&small, mark).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crawlers_and_libraries_are_known() {
        let bots = [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "curl/8.5.0",
            "Python-urllib/3.11",
        ];
        let people = ["Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0", ""];
        assert!(bots.iter().all(|agent| is_bot(agent.as_bytes())));
        assert!(!people.iter().any(|agent| is_bot(agent.as_bytes())));
    }
}
