//! Which parts of a segment are free. Private books of whoever gives them out.

use std::collections::BTreeMap;

/// The free ranges of a stretch of memory, by their start.
#[derive(Debug)]
pub(super) struct Ranges {
    free: BTreeMap<usize, usize>,
    start: usize,
    end: usize,
}

impl Ranges {
    /// All from `start` to `end` is free.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { free: BTreeMap::from([(start, end - start)]), start, end }
    }

    /// Takes the first `len` bytes that are free in one piece.
    pub(super) fn take(&mut self, len: usize) -> Option<usize> {
        let (&at, &room) = self.free.iter().find(|(_, room)| **room >= len)?;
        self.free.remove(&at);
        if room > len {
            self.free.insert(at + len, room - len);
        }
        Some(at)
    }

    /// Takes the `len` bytes from `at` on, if they are free.
    pub(super) fn take_at(&mut self, at: usize, len: usize) -> bool {
        match self.free.get(&at) {
            Some(&room) if room >= len => {
                self.free.remove(&at);
                if room > len {
                    self.free.insert(at + len, room - len);
                }
                true
            }
            _ => false,
        }
    }

    /// Gives back what was taken.
    pub(super) fn put_back(&mut self, mut at: usize, mut len: usize) {
        if len == 0 {
            return;
        }
        if let Some(room) = self.free.remove(&(at + len)) {
            len += room;
        }
        if let Some((&before, &room)) = self.free.range(..at).next_back()
            && before + room == at
        {
            self.free.remove(&before);
            (at, len) = (before, len + room);
        }
        self.free.insert(at, len);
    }

    /// Whether nothing is taken.
    pub(super) fn is_whole(&self) -> bool {
        self.free.get(&self.start) == Some(&(self.end - self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_come_back_and_join() {
        let mut ranges = Ranges::new(10, 110);
        assert!(ranges.is_whole());
        let taken: Vec<_> = (0..4).map(|_| ranges.take(25)).collect();
        assert_eq!(taken, [Some(10), Some(35), Some(60), Some(85)]);
        assert_eq!(ranges.take(1), None);
        ranges.put_back(35, 25);
        assert_eq!(ranges.take(26), None);
        assert!(ranges.take_at(35, 5), "the first piece grows into the second's place");
        assert!(!ranges.take_at(35, 5) && !ranges.take_at(40, 21));
        ranges.put_back(85, 25);
        ranges.put_back(60, 25);
        assert_eq!(ranges.take(70), Some(40), "three neighbours are one");
        ranges.put_back(40, 70);
        assert!(!ranges.is_whole());
        ranges.put_back(10, 30);
        assert!(ranges.is_whole());
    }
}
