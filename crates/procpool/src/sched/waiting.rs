//! The frames that wait for a worker: by priority, then first come, first served.

use std::collections::VecDeque;

use super::FrameId;

/// The number of priorities; the highest goes first.
pub(crate) const PRIORITIES: usize = 10;

/// A frame that is [forgotten](Waiting::forget) does not count any more, but its number stays where it is until it comes to
/// the front: whoever cancels many does not search the queue for each.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_priority: [VecDeque<FrameId>; PRIORITIES],
    len: usize,
    forgotten: usize,
}

impl Waiting {
    fn of(&mut self, priority: u8) -> &mut VecDeque<FrameId> {
        &mut self.by_priority[usize::from(priority).min(PRIORITIES - 1)]
    }

    pub(super) fn push_back(&mut self, priority: u8, frame: FrameId) {
        self.of(priority).push_back(frame);
        self.len += 1;
    }

    /// Before the others of its priority: it was here first.
    pub(super) fn push_front(&mut self, priority: u8, frame: FrameId) {
        self.of(priority).push_front(frame);
        self.len += 1;
    }

    /// The next one; perhaps one that was forgotten.
    pub(super) fn front(&self) -> Option<FrameId> {
        if self.len + self.forgotten == 0 {
            return None;
        }
        self.by_priority.iter().rev().find_map(|queue| queue.front().copied())
    }

    /// The last one of a priority; perhaps one that was forgotten.
    pub(super) fn back(&mut self, priority: u8) -> Option<FrameId> {
        self.of(priority).back().copied()
    }

    pub(super) fn pop_front(&mut self) {
        self.len -= usize::from(self.take_front());
    }

    /// Takes the front away, which was forgotten.
    pub(super) fn pop_forgotten(&mut self) {
        self.forgotten -= usize::from(self.take_front());
    }

    fn take_front(&mut self) -> bool {
        let queue = self.by_priority.iter_mut().rev().find(|queue| !queue.is_empty());
        queue.is_some_and(|queue| queue.pop_front().is_some())
    }

    /// One of those in here has ended.
    pub(super) fn forget(&mut self) {
        self.len -= 1;
        self.forgotten += 1;
    }

    /// Everything, in the order in which it would have gone, with what was forgotten.
    pub(super) fn take_all(&mut self) -> Vec<FrameId> {
        (self.len, self.forgotten) = (0, 0);
        self.by_priority.iter_mut().rev().flat_map(std::mem::take).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_priority_goes_first_and_the_oldest_within_it() {
        let mut waiting = Waiting::default();
        for (priority, frame) in [(5, 1), (9, 2), (0, 3), (5, 4), (200, 5)] {
            waiting.push_back(priority, FrameId(frame));
        }
        waiting.push_front(5, FrameId(6));
        waiting.forget();
        assert_eq!((waiting.len(), waiting.back(5)), (5, Some(FrameId(4))));
        let mut order = Vec::new();
        while let Some(frame) = waiting.front() {
            if frame == FrameId(4) {
                waiting.pop_forgotten();
            } else {
                order.push(frame.0);
                waiting.pop_front();
            }
        }
        assert_eq!((order, waiting.len()), (vec![2, 5, 6, 1, 3], 0));
    }
}
