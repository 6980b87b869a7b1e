//! How often each of many texts was met.
//!
//! All texts lie one after the other in one piece of memory, so that a table travels between processes as a few long vectors.
//!
//! Memory is bounded: of more different texts than [`MOST`] those with the smallest hashes are kept. That is a fair sample,
//! the counts of what is kept are whole, and it is the same sample in whatever order and in however many parts the texts came:
//! what is among the smallest of all is among the smallest of each part.

use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// How many different texts a table keeps.
pub(super) const MOST: usize = 1 << 20;
/// Texts are cut to this length, in bytes.
const LONGEST: usize = 512;

/// The row of one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    hash: u64,
    start: u32,
    len: u16,
    count: u64,
    bytes: u64,
}

/// A text, how often it was met, and the bytes that were sent for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted<'a> {
    /// The text.
    pub text: &'a [u8],
    /// How often.
    pub count: u64,
    /// Bytes sent.
    pub bytes: u64,
}

/// Counts texts.
#[derive(Clone, Debug)]
pub(super) struct Table {
    texts: Vec<u8>,
    rows: Vec<Row>,
    index: HashTable<u32>,
    most: usize,
    /// No text with a larger hash is kept.
    largest_hash: u64,
    /// Texts that were met and not kept: how often.
    dropped: u64,
}

impl Default for Table {
    fn default() -> Self {
        Table::keeping(MOST)
    }
}

impl Table {
    fn keeping(most: usize) -> Table {
        Table { texts: vec![], rows: vec![], index: HashTable::new(), most, largest_hash: u64::MAX, dropped: 0 }
    }

    /// Notes that a text was met, and returns its hash.
    #[inline]
    pub(super) fn note(&mut self, text: &[u8], bytes: u64) -> u64 {
        self.add_row(text, 1, bytes)
    }

    #[inline]
    fn add_row(&mut self, text: &[u8], count: u64, bytes: u64) -> u64 {
        let text = &text[..text.len().min(LONGEST)];
        let hash = xxh3_64(text);
        let is_it = |row: &u32| {
            let row = &self.rows[*row as usize];
            row.hash == hash && &self.texts[row.start as usize..][..usize::from(row.len)] == text
        };
        if let Some(row) = self.index.find(hash, is_it) {
            let row = &mut self.rows[*row as usize];
            row.count = row.count.saturating_add(count);
            row.bytes = row.bytes.saturating_add(bytes);
        } else if hash > self.largest_hash {
            self.dropped = self.dropped.saturating_add(count);
        } else {
            self.insert(Row { hash, start: 0, len: text.len() as u16, count, bytes }, text);
        }
        hash
    }

    fn insert(&mut self, row: Row, text: &[u8]) {
        let number = self.rows.len() as u32;
        self.rows.push(Row { start: self.texts.len() as u32, ..row });
        self.texts.extend_from_slice(text);
        let rows = &self.rows;
        self.index.insert_unique(row.hash, number, |row| rows[*row as usize].hash);
        if self.rows.len() >= 2 * self.most {
            self.shrink();
        }
    }

    /// Keeps no more than there may be.
    fn shrink(&mut self) {
        if self.rows.len() <= self.most {
            return;
        }
        let mut hashes: Vec<u64> = self.rows.iter().map(|row| row.hash).collect();
        let (_, largest, _) = hashes.select_nth_unstable(self.most - 1);
        let largest = *largest;
        let old = std::mem::replace(self, Table::keeping(self.most));
        (self.largest_hash, self.dropped) = (largest.min(old.largest_hash), old.dropped);
        for row in &old.rows {
            if row.hash <= largest {
                self.insert(*row, old.text(row));
            } else {
                self.dropped = self.dropped.saturating_add(row.count);
            }
        }
    }

    fn text(&self, row: &Row) -> &[u8] {
        &self.texts[row.start as usize..][..usize::from(row.len)]
    }

    /// Adds what another table has.
    pub(super) fn add(&mut self, other: &Table) {
        self.largest_hash = self.largest_hash.min(other.largest_hash);
        self.dropped = self.dropped.saturating_add(other.dropped);
        for row in other.rows() {
            self.add_row(row.text, row.count, row.bytes);
        }
        let largest = self.largest_hash;
        if self.rows.iter().any(|row| row.hash > largest) {
            let most = self.most;
            let old = std::mem::replace(self, Table::keeping(most));
            (self.largest_hash, self.dropped) = (largest, old.dropped);
            for row in &old.rows {
                if row.hash <= largest {
                    self.insert(*row, old.text(row));
                } else {
                    self.dropped = self.dropped.saturating_add(row.count);
                }
            }
        }
    }

    /// All that is kept, in no order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Counted<'_>> {
        self.rows.iter().map(|row| Counted { text: self.text(row), count: row.count, bytes: row.bytes })
    }

    /// Whether it is a sample only.
    pub(super) fn is_sample(&self) -> bool {
        self.dropped > 0 || self.rows.len() > self.most
    }

    /// How many different texts are kept.
    pub(super) fn len(&self) -> usize {
        self.rows.len().min(self.most)
    }

    /// The `count` that were met most often, of equally many the ones that come first in the alphabet.
    pub(super) fn top(&self, count: usize) -> Vec<Counted<'_>> {
        let limit = if self.rows.len() > self.most {
            let mut hashes: Vec<u64> = self.rows.iter().map(|row| row.hash).collect();
            *hashes.select_nth_unstable(self.most - 1).1
        } else {
            u64::MAX
        };
        let kept = self.rows.iter().filter(|row| row.hash <= limit);
        let mut rows: Vec<Counted<'_>> =
            kept.map(|row| Counted { text: self.text(row), count: row.count, bytes: row.bytes }).collect();
        let before = |a: &Counted<'_>, b: &Counted<'_>| b.count.cmp(&a.count).then_with(|| a.text.cmp(b.text));
        if rows.len() > count && count > 0 {
            rows.select_nth_unstable_by(count - 1, before);
        }
        rows.truncate(count);
        rows.sort_unstable_by(before);
        rows
    }
}

/// How a table travels.
#[derive(Serialize, Deserialize)]
struct Packed {
    texts: Vec<u8>,
    lens: Vec<u16>,
    counts: Vec<u64>,
    bytes: Vec<u64>,
    largest_hash: u64,
    dropped: u64,
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let packed = Packed {
            texts: self.texts.clone(),
            lens: self.rows.iter().map(|row| row.len).collect(),
            counts: self.rows.iter().map(|row| row.count).collect(),
            bytes: self.rows.iter().map(|row| row.bytes).collect(),
            largest_hash: self.largest_hash,
            dropped: self.dropped,
        };
        packed.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let packed = Packed::deserialize(from)?;
        let mut table = Table { largest_hash: packed.largest_hash, dropped: packed.dropped, ..Table::default() };
        let mut rest = packed.texts.as_slice();
        for ((len, count), bytes) in packed.lens.into_iter().zip(packed.counts).zip(packed.bytes) {
            let Some((text, after)) = rest.split_at_checked(usize::from(len)) else {
                return Err(serde::de::Error::custom("a table's texts are too short"));
            };
            rest = after;
            table.add_row(text, count, bytes);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: Vec<Counted<'_>>) -> Vec<(String, u64, u64)> {
        rows.iter().map(|row| (String::from_utf8_lossy(row.text).into(), row.count, row.bytes)).collect()
    }

    #[test]
    fn texts_are_counted_and_the_most_frequent_come_first() {
        let mut table = Table::default();
        for (text, bytes) in [("b", 1), ("a", 2), ("b", 3), ("c", 4), ("", 5)] {
            table.note(text.as_bytes(), bytes);
        }
        let row = |text: &str, count, bytes| (text.to_owned(), count, bytes);
        assert_eq!(shown(table.top(3)), [row("b", 2, 4), row("", 1, 5), row("a", 1, 2)]);
        assert_eq!(shown(table.top(0)), []);
        let json = serde_json::to_string(&table).expect("JSON");
        let mut twice: Table = serde_json::from_str(&json).expect("JSON");
        twice.add(&table);
        assert_eq!(shown(twice.top(1)), [row("b", 4, 8)]);
        table.note(&[b'x'; 600], 0);
        table.note(&[b'x'; 700], 0);
        assert_eq!(table.top(9).iter().map(|row| row.text.len()).max(), Some(LONGEST));
        assert_eq!((table.len(), table.is_sample()), (5, false));
    }

    #[test]
    fn a_sample_is_the_same_in_whatever_parts_the_texts_come() {
        let texts: Vec<String> = (0..1000).map(|n| format!("text {}", n * n % 331)).collect();
        let all = |parts: usize, reversed: bool| {
            let mut whole = Table::keeping(50);
            for part in texts.chunks(texts.len().div_ceil(parts)) {
                let mut table = Table::keeping(50);
                let mut part: Vec<&String> = part.iter().collect();
                if reversed {
                    part.reverse();
                }
                for text in part {
                    table.note(text.as_bytes(), 1);
                }
                whole.add(&table);
            }
            assert!(whole.is_sample());
            assert_eq!(whole.len(), 50);
            shown(whole.top(1000))
        };
        let expected = all(1, false);
        assert_eq!(expected.len(), 50);
        for (text, count, bytes) in &expected {
            assert_eq!(texts.iter().filter(|other| *other == text).count() as u64, *count);
            assert_eq!(count, bytes);
        }
        for parts in [2, 3, 10, 1000] {
            assert_eq!(all(parts, false), expected, "{parts}");
            assert_eq!(all(parts, true), expected, "{parts}");
        }
    }
}
