//! Contiguous pieces of a circular buffer, taken and given back in order. The producer's private book-keeping.

use std::collections::VecDeque;

/// Books over `capacity` bytes. Positions count up for ever; an offset is a position modulo the capacity.
#[derive(Debug)]
pub(super) struct Space {
    capacity: u64,
    head: u64,
    tail: u64,
    /// Where each piece ends, oldest first.
    ends: VecDeque<u64>,
}

/// Where a piece can begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    start: u64,
    pub(super) offset: u32,
}

impl Space {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity as u64, head: 0, tail: 0, ends: VecDeque::new() }
    }

    /// Room for `len` contiguous bytes, or `None` until older pieces come back.
    pub(super) fn fit(&self, len: usize) -> Option<Room> {
        let start = self.start_for(len as u64);
        let offset = (start % self.capacity) as u32;
        (start + len as u64 - self.head <= self.capacity).then_some(Room { start, offset })
    }

    /// Takes the first `len` bytes of the room that [`Space::fit`] found last.
    pub(super) fn take(&mut self, room: Room, len: usize) {
        self.tail = room.start + len as u64;
        self.ends.push_back(self.tail);
    }

    /// Gives the oldest piece back.
    pub(super) fn release(&mut self) {
        if let Some(end) = self.ends.pop_front() {
            self.head = end;
        }
        if self.ends.is_empty() {
            // Start over at the same bytes, which are in the cache.
            self.head = 0;
            self.tail = 0;
        }
    }

    fn start_for(&self, len: u64) -> u64 {
        let offset = self.tail % self.capacity;
        if offset + len <= self.capacity { self.tail } else { self.tail - offset + self.capacity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(space: &mut Space, len: usize) -> Option<u32> {
        let room = space.fit(len)?;
        space.take(room, len);
        Some(room.offset)
    }

    #[test]
    fn pieces_are_contiguous_and_come_back_in_order() {
        let mut space = Space::new(100);
        assert_eq!(take(&mut space, 40), Some(0));
        assert_eq!(take(&mut space, 40), Some(40));
        assert_eq!(take(&mut space, 30), None, "the 20 bytes at the end are too few, the start is taken");
        space.release();
        assert_eq!(take(&mut space, 30), Some(0));
        assert_eq!(take(&mut space, 11), None);
        assert_eq!(take(&mut space, 10), Some(30));
        space.release();
        space.release();
        space.release();
        assert_eq!(take(&mut space, 100), Some(0), "an empty space starts over");
        assert!(space.fit(1).is_none());
    }

    #[test]
    fn a_piece_shorter_than_its_room_stays_where_the_room_was_found() {
        let mut space = Space::new(100);
        assert_eq!(take(&mut space, 80), Some(0));
        assert_eq!(take(&mut space, 5), Some(80));
        space.release();
        let room = space.fit(30).unwrap();
        assert_eq!(room.offset, 0, "wrapped, since 30 bytes do not fit behind 85");
        space.take(room, 2);
        assert_eq!(take(&mut space, 10), Some(2), "not behind 85, although 10 bytes would fit there");
    }
}
