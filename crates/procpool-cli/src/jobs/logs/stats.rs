//! What is found out about requests. Everything here can be added up in any order to the same result; what is added may come
//! from a worker that a log has taken over, so sums stay at the largest number, and nothing is longer than it can be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bots::is_bot;
use super::entry::Entry;
use super::hll::Seen;
use super::table::{Packed, Rows, Table};
use super::times::Times;

/// How many malformed lines are shown.
pub(super) const SAMPLES: usize = 10;
/// How much of one is shown, in bytes.
const SAMPLE_LEN: usize = 200;

/// Requests and the bytes that were sent for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Traffic {
    /// How many.
    pub requests: u64,
    /// Bytes sent.
    pub bytes: u64,
}

impl Traffic {
    #[inline]
    fn note(&mut self, bytes: u64) {
        self.requests += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn add(&mut self, other: Traffic) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A line that is none of its format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// The byte of the file where it begins, as unpacked.
    pub at: u64,
    /// Its beginning.
    pub text: String,
}

impl Sample {
    /// A sample of a line.
    pub(super) fn of(at: u64, line: &[u8]) -> Sample {
        let text = String::from_utf8_lossy(&line[..line.len().min(SAMPLE_LEN)]);
        Sample { at, text: crate::frame::names::show_message(&text) }
    }
}

/// Whose visit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastAgent {
    hash: u64,
    is_bot: bool,
}

/// The statistics.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Stats<T = Table> {
    /// All requests that were asked for.
    pub total: Traffic,
    /// Requests that the filters left out.
    pub left_out: u64,
    /// Lines that are none of the format.
    pub malformed: u64,
    /// The first of them.
    pub samples: Vec<Sample>,
    /// Clients with their agents, each day anew.
    pub visitors: Seen,
    /// By status.
    pub statuses: BTreeMap<u16, Traffic>,
    /// By hour of the day.
    pub hours: Vec<Traffic>,
    /// By day since 1970.
    pub days: BTreeMap<i32, Traffic>,
    /// By path without query.
    pub paths: T,
    /// Paths that were not found.
    pub not_found: T,
    /// By client.
    pub clients: T,
    /// By virtual host.
    pub hosts: T,
    /// By referrer.
    pub referrers: T,
    /// By agent.
    pub agents: T,
    /// By method.
    pub methods: T,
    /// Agents that are bots.
    pub bots: T,
    /// How long answers took.
    pub times: Times,
    /// What the agent before was.
    #[serde(skip)]
    last_agent: Option<LastAgent>,
    /// Which agents are bots, by hash.
    #[serde(skip)]
    known_agents: std::collections::HashMap<u64, bool, std::hash::BuildHasherDefault<Identity>>,
    /// The day and the status of the request before.
    #[serde(skip)]
    last: Option<(i32, u16)>,
    /// What was counted for them and is not yet in `days` and `statuses`.
    #[serde(skip)]
    pending: (Traffic, Traffic),
}

/// A hash is its own hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity(u64);

impl std::hash::Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// No more agents than this are remembered to be bots or not.
const AGENTS_REMEMBERED: usize = 1 << 16;

impl Stats {
    /// Adds a request. Its path is taken with the query if `with_query`.
    pub(super) fn note(&mut self, entry: &Entry<'_>, with_query: bool) {
        let bytes = entry.bytes;
        self.total.note(bytes);
        let path = if with_query { entry.path } else { entry.path_alone() };
        self.paths.note(path, bytes);
        if entry.status == 404 {
            self.not_found.note(path, bytes);
        }
        let client = self.clients.note(entry.client, bytes);
        if !entry.host.is_empty() {
            self.hosts.note(entry.host, bytes);
        }
        if !entry.referrer.is_empty() {
            self.referrers.note(entry.referrer, bytes);
        }
        let agent = self.agents.note(entry.agent, bytes);
        if self.is_bot(agent, entry.agent) {
            self.bots.note(entry.agent, bytes);
        }
        if !entry.method.is_empty() {
            self.methods.note(entry.method, bytes);
        }
        let day = entry.time.map(|time| {
            self.hours.resize(24, Traffic::default());
            self.hours[time.hour()].note(bytes);
            time.day()
        });
        let visitor =
            client ^ agent.rotate_left(21) ^ (day.unwrap_or_default() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.visitors.note(mix(visitor));
        self.note_day_and_status(day.unwrap_or(i32::MIN), entry.status, bytes);
        if let Some(micros) = entry.micros {
            self.times.note(micros);
        }
    }

    /// Neighbours mostly have the same day, and often the same status.
    fn note_day_and_status(&mut self, day: i32, status: u16, bytes: u64) {
        let last = self.last.replace((day, status));
        if last.is_some_and(|last| last.0 != day) {
            self.settle_day(last.map_or(i32::MIN, |last| last.0));
        }
        if last.is_some_and(|last| last.1 != status) {
            self.settle_status(last.map_or(0, |last| last.1));
        }
        self.pending.0.note(bytes);
        self.pending.1.note(bytes);
    }

    fn settle_day(&mut self, day: i32) {
        let traffic = std::mem::take(&mut self.pending.0);
        if day != i32::MIN {
            self.days.entry(day).or_default().add(traffic);
        }
    }

    fn settle_status(&mut self, status: u16) {
        let traffic = std::mem::take(&mut self.pending.1);
        self.statuses.entry(status).or_default().add(traffic);
    }

    /// To be called after the last request.
    pub(super) fn settle(&mut self) {
        if let Some((day, status)) = self.last.take() {
            self.settle_day(day);
            self.settle_status(status);
        }
        self.known_agents = Default::default();
    }

    fn is_bot(&mut self, hash: u64, agent: &[u8]) -> bool {
        if let Some(last) = self.last_agent.filter(|last| last.hash == hash) {
            return last.is_bot;
        }
        if self.known_agents.len() >= AGENTS_REMEMBERED {
            self.known_agents.clear();
        }
        let is_bot = *self.known_agents.entry(hash).or_insert_with(|| is_bot(agent));
        self.last_agent = Some(LastAgent { hash, is_bot });
        is_bot
    }

    /// Adds a line that is none of the format.
    pub(super) fn note_malformed(&mut self, at: u64, line: &[u8]) {
        self.malformed += 1;
        if self.samples.len() < SAMPLES {
            self.samples.push(Sample::of(at, line));
        }
    }

    /// Adds other statistics of the same text or of another one.
    pub(super) fn add<T: Rows>(&mut self, other: &Stats<T>) {
        self.total.add(other.total);
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.malformed = self.malformed.saturating_add(other.malformed);
        self.samples.extend(other.samples.iter().take(SAMPLES).cloned());
        self.samples.sort_by_key(|sample| sample.at);
        self.samples.truncate(SAMPLES);
        self.visitors.add(&other.visitors);
        for (status, traffic) in &other.statuses {
            self.statuses.entry(*status).or_default().add(*traffic);
        }
        self.hours.resize(self.hours.len().max(other.hours.len()).min(24), Traffic::default());
        for (hour, other) in self.hours.iter_mut().zip(&other.hours) {
            hour.add(*other);
        }
        for (day, traffic) in &other.days {
            self.days.entry(*day).or_default().add(*traffic);
        }
        self.times.add(&other.times);
        self.paths.add(&other.paths);
        self.not_found.add(&other.not_found);
        self.clients.add(&other.clients);
        self.hosts.add(&other.hosts);
        self.referrers.add(&other.referrers);
        self.agents.add(&other.agents);
        self.methods.add(&other.methods);
        self.bots.add(&other.bots);
    }

    /// The same as they travel.
    pub(super) fn pack(&self) -> Stats<Packed> {
        Stats {
            total: self.total,
            left_out: self.left_out,
            malformed: self.malformed,
            samples: self.samples.clone(),
            visitors: self.visitors.clone(),
            statuses: self.statuses.clone(),
            hours: self.hours.clone(),
            days: self.days.clone(),
            paths: self.paths.pack(),
            not_found: self.not_found.pack(),
            clients: self.clients.pack(),
            hosts: self.hosts.pack(),
            referrers: self.referrers.pack(),
            agents: self.agents.pack(),
            methods: self.methods.pack(),
            bots: self.bots.pack(),
            times: self.times.clone(),
            last_agent: None,
            known_agents: Default::default(),
            last: None,
            pending: Default::default(),
        }
    }
}

/// Spreads the bits of a hash that was put together from others (the finaliser of splitmix64).
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::time;
    use super::*;

    #[test]
    fn parts_add_up_to_the_whole() {
        let clients = ["1.1.1.1", "2.2.2.2", "3.3.3.3"];
        let agents = ["curl/8", "Firefox", ""];
        let entries: Vec<Entry<'_>> = (0..300)
            .map(|n: usize| Entry {
                client: clients[n % 3].as_bytes(),
                agent: agents[n / 3 % 3].as_bytes(),
                path: if n.is_multiple_of(5) { b"/a?x" } else { b"/b" },
                method: b"GET",
                status: if n.is_multiple_of(7) { 404 } else { 200 },
                bytes: n as u64,
                time: time::unix(86_400.0 * 20_000.0 + n as f64 * 600.0),
                micros: Some(n as u64),
                ..Entry::default()
            })
            .collect();
        let stats = |entries: &[Entry<'_>]| {
            let mut stats = Stats::default();
            entries.iter().for_each(|entry| stats.note(entry, false));
            stats.settle();
            stats
        };
        let whole = stats(&entries);
        assert_eq!(whole.total, Traffic { requests: 300, bytes: 300 * 299 / 2 });
        assert_eq!(whole.statuses[&404].requests, 43);
        assert_eq!(whole.days.values().map(|day| day.requests).collect::<Vec<_>>(), [144, 144, 12]);
        assert_eq!(whole.hours.iter().map(|hour| hour.requests).sum::<u64>(), 300);
        assert_eq!(whole.bots.top(9).iter().map(|row| row.count).collect::<Vec<_>>(), [102]);
        assert_eq!(whole.visitors.estimate(), 27);
        for size in [1, 7, 150] {
            let mut sum = Stats::default();
            entries.chunks(size).for_each(|chunk| sum.add(&stats(chunk)));
            let shown = |stats: &Stats| {
                let tables =
                    [&stats.paths, &stats.not_found, &stats.clients, &stats.agents, &stats.methods, &stats.bots];
                let tops: Vec<String> = tables.iter().map(|table| format!("{:?}", table.top(9))).collect();
                let Stats { total, statuses, hours, days, times, visitors, .. } = stats;
                format!("{tops:?} {total:?} {statuses:?} {hours:?} {days:?} {times:?} {}", visitors.estimate())
            };
            assert_eq!(shown(&sum), shown(&whole), "{size} at a time");
        }
    }
}
