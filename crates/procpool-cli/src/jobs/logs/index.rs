//! Where the row of a hash is: open addressing, in the order of the hashes.
//!
//! The place of a hash is given by its first bits, however large the index is. So whoever looks up hashes in their order goes
//! through the index from its start to its end, and through the rows too, as far as they were added in this order.

/// Bits of a slot for the number of its row; the others are of the hash, so that few rows are looked at in vain.
const ROW_BITS: u32 = 22;
/// There may be no more rows than this.
pub(super) const MOST_ROWS: usize = (1 << ROW_BITS) - 1;

/// Row numbers by hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// The last bits of a hash, before the number of its row and one; 0 where there is none. A power of two of them, of which a
    /// third is empty at least.
    slots: Vec<u32>,
    rows: usize,
}

impl Index {
    /// An index in which there is room for so many rows.
    pub(super) fn with_room(rows: usize) -> Index {
        Index { slots: vec![0; (rows + rows / 2).next_power_of_two().max(4)], rows: 0 }
    }

    /// The slot that a hash has if no other one has it.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> (64 - self.slots.len().ilog2())) as usize
    }

    /// The row of this hash that is the right one.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let last = self.slots.len().checked_sub(1)?;
        let mut at = self.home(hash);
        // There are always empty ones.
        loop {
            let slot = self.slots[at & last];
            if slot == 0 {
                return None;
            }
            if (slot ^ tag(hash)) >> ROW_BITS == 0 {
                let row = row(slot)?;
                if is_it(row) {
                    return Some(row);
                }
            }
            at += 1;
        }
    }

    /// Adds a row, which is not there.
    pub(super) fn insert(&mut self, hash: u64, row: u32, hash_of: impl Fn(u32) -> u64) {
        if 3 * (self.rows + 1) > 2 * self.slots.len() {
            let mut larger = Index::with_room(2 * (self.rows + 1));
            self.in_order().for_each(|row| larger.put(hash_of(row), row));
            *self = larger;
        }
        self.put(hash, row);
    }

    fn put(&mut self, hash: u64, row: u32) {
        let last = self.slots.len() - 1;
        let mut at = self.home(hash);
        while self.slots[at & last] != 0 {
            at += 1;
        }
        self.slots[at & last] = tag(hash) | (row + 1);
        self.rows += 1;
    }

    /// All rows, about in the order of their hashes.
    pub(super) fn in_order(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().filter_map(|slot| row(*slot))
    }
}

/// What of a hash stands in its slot.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash as u32) << ROW_BITS
}

#[inline]
fn row(slot: u32) -> Option<u32> {
    (slot & MOST_ROWS as u32).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_and_come_in_the_order_of_their_hashes() {
        // Spread, but for a few that have the same first bits.
        let hashes: Vec<u64> =
            (1..2000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).chain(u64::MAX - 9..=u64::MAX).collect();
        let mut index = Index::default();
        assert!(index.find(0, |_| true).is_none());
        for (row, hash) in hashes.iter().enumerate() {
            assert_eq!(index.find(*hash, |row| hashes[row as usize] == *hash), None);
            index.insert(*hash, row as u32, |row| hashes[row as usize]);
        }
        for (row, hash) in hashes.iter().enumerate() {
            assert_eq!(index.find(*hash, |row| hashes[row as usize] == *hash), Some(row as u32));
        }
        assert_eq!(index.in_order().count(), hashes.len());
        // What shares its place with others comes a little later; those of the last one that have no room there begin anew.
        let places = index.in_order().map(|row| hashes[row as usize] >> 52);
        let places: Vec<u64> = places.filter(|place| *place != u64::MAX >> 52).collect();
        assert!(places.windows(2).all(|pair| pair[0] <= pair[1] + 4), "{places:?}");
    }
}
