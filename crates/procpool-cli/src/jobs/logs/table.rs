//! How often each of many texts was met.
//!
//! All texts lie one after the other in one piece of memory, and a table travels between processes [packed](Packed), as a few long
//! vectors. These have the rows in the order of their hashes, and so has a table to which such are added, for the most part: whoever
//! adds up goes through memory from start to end. With the rows in no order most of the time was waiting for memory.
//!
//! Memory is bounded: of more different texts than [`MOST`] those with the smallest hashes are kept. That is a fair sample,
//! the counts of what is kept are whole, and it is the same sample in whatever order and in however many parts the texts came:
//! what is among the smallest of all is among the smallest of each part.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::index::{Index, MOST_ROWS};

/// How many different texts a table keeps.
pub(super) const MOST: usize = 1 << 20;
const _: () = assert!(2 * MOST <= MOST_ROWS);
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
    index: Index,
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
        Table { texts: vec![], rows: vec![], index: Index::default(), most, largest_hash: u64::MAX, dropped: 0 }
    }

    /// Notes that a text was met, and returns its hash.
    #[inline]
    pub(super) fn note(&mut self, text: &[u8], bytes: u64) -> u64 {
        let text = &text[..text.len().min(LONGEST)];
        let hash = xxh3_64(text);
        self.add_row(hash, Counted { text, count: 1, bytes });
        hash
    }

    #[inline]
    fn add_row(&mut self, hash: u64, Counted { text, count, bytes }: Counted<'_>) {
        let is_it = |row: u32| {
            let row = &self.rows[row as usize];
            row.hash == hash && self.text(row) == text
        };
        if let Some(row) = self.index.find(hash, is_it) {
            let row = &mut self.rows[row as usize];
            row.count = row.count.saturating_add(count);
            row.bytes = row.bytes.saturating_add(bytes);
        } else if hash > self.largest_hash {
            self.dropped = self.dropped.saturating_add(count);
        } else {
            self.insert(Row { hash, start: 0, len: text.len() as u16, count, bytes }, text);
        }
    }

    fn insert(&mut self, row: Row, text: &[u8]) {
        let number = self.rows.len() as u32;
        self.rows.push(Row { start: self.texts.len() as u32, ..row });
        self.texts.extend_from_slice(text);
        let rows = &self.rows;
        self.index.insert(row.hash, number, |row| rows[row as usize].hash);
        if self.rows.len() >= 2 * self.most {
            let mut hashes: Vec<u64> = self.rows.iter().map(|row| row.hash).collect();
            let (_, largest, _) = hashes.select_nth_unstable(self.most - 1);
            self.keep_up_to(*largest);
        }
    }

    /// Keeps no text with a larger hash, now and later.
    fn keep_up_to(&mut self, largest: u64) {
        let old = std::mem::replace(self, Table::keeping(self.most));
        (self.largest_hash, self.dropped) = (largest.min(old.largest_hash), old.dropped);
        for row in &old.rows {
            if row.hash <= self.largest_hash {
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
    pub(super) fn add(&mut self, other: &impl Rows) {
        if self.rows.is_empty() {
            self.index = Index::with_room(other.len());
        }
        let (largest_hash, dropped) = other.left_out();
        self.dropped = self.dropped.saturating_add(dropped);
        if largest_hash < self.largest_hash {
            self.keep_up_to(largest_hash);
        }
        for (hash, row) in other.hashed() {
            self.add_row(hash, row);
        }
    }

    /// All that is kept, in no order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Counted<'_>> {
        self.hashed().map(|(_, row)| row)
    }

    /// The same as it travels.
    pub(super) fn pack(&self) -> Packed {
        let rows: Vec<&Row> = self.index.in_order().map(|row| &self.rows[row as usize]).collect();
        let mut texts = Vec::with_capacity(self.texts.len());
        rows.iter().for_each(|row| texts.extend_from_slice(self.text(row)));
        Packed(Columns {
            texts,
            lens: rows.iter().map(|row| row.len).collect(),
            counts: rows.iter().map(|row| row.count).collect(),
            bytes: rows.iter().map(|row| row.bytes).collect(),
            largest_hash: self.largest_hash,
            dropped: self.dropped,
        })
    }

    /// Whether it is a sample only.
    pub(super) fn is_sample(&self) -> bool {
        self.dropped > 0 || self.rows.len() > self.most
    }

    /// How many different texts are kept.
    pub(super) fn kept(&self) -> usize {
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

/// What can be added to a table.
pub(super) trait Rows {
    /// How many rows there are.
    fn len(&self) -> usize;

    /// The rows and the hashes of their texts.
    fn hashed(&self) -> impl Iterator<Item = (u64, Counted<'_>)>;

    /// The hash above which no text is there, and how often such texts were met.
    fn left_out(&self) -> (u64, u64);
}

impl Rows for Table {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn hashed(&self) -> impl Iterator<Item = (u64, Counted<'_>)> {
        self.rows.iter().map(|row| (row.hash, Counted { text: self.text(row), count: row.count, bytes: row.bytes }))
    }

    fn left_out(&self) -> (u64, u64) {
        (self.largest_hash, self.dropped)
    }
}

/// A table as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Columns")]
pub(super) struct Packed(Columns);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Columns {
    texts: Vec<u8>,
    lens: Vec<u16>,
    counts: Vec<u64>,
    bytes: Vec<u64>,
    largest_hash: u64,
    dropped: u64,
}

impl TryFrom<Columns> for Packed {
    type Error = &'static str;

    fn try_from(columns: Columns) -> Result<Packed, &'static str> {
        let rows = columns.lens.len();
        if rows >= 2 * MOST || columns.lens.iter().any(|len| usize::from(*len) > LONGEST) {
            return Err("a table has more in it than there may be");
        }
        let texts: usize = columns.lens.iter().map(|len| usize::from(*len)).sum();
        if [columns.counts.len(), columns.bytes.len(), rows] != [rows; 3] || columns.texts.len() != texts {
            return Err("the parts of a table do not fit each other");
        }
        Ok(Packed(columns))
    }
}

impl Rows for Packed {
    fn len(&self) -> usize {
        self.0.lens.len()
    }

    fn hashed(&self) -> impl Iterator<Item = (u64, Counted<'_>)> {
        let mut rest = self.0.texts.as_slice();
        let numbers = self.0.counts.iter().zip(&self.0.bytes);
        self.0.lens.iter().zip(numbers).map_while(move |(len, (count, bytes))| {
            let (text, after) = rest.split_at_checked(usize::from(*len))?;
            rest = after;
            Some((xxh3_64(text), Counted { text, count: *count, bytes: *bytes }))
        })
    }

    fn left_out(&self) -> (u64, u64) {
        (self.0.largest_hash, self.0.dropped)
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
        let json = serde_json::to_string(&table.pack()).expect("JSON");
        let packed: Packed = serde_json::from_str(&json).expect("JSON");
        let mut twice = Table::default();
        twice.add(&packed);
        twice.add(&table);
        assert_eq!(shown(twice.top(1)), [row("b", 4, 8)]);
        table.note(&[b'x'; 600], 0);
        table.note(&[b'x'; 700], 0);
        assert_eq!(table.top(9).iter().map(|row| row.text.len()).max(), Some(LONGEST));
        assert_eq!((table.kept(), table.is_sample()), (5, false));
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
                if reversed { whole.add(&table) } else { whole.add(&table.pack()) }
            }
            assert!(whole.is_sample());
            assert_eq!(whole.kept(), 50);
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
