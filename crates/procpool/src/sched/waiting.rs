//! The frames that wait for a worker: by priority, then first come, first served.

use std::collections::VecDeque;

use super::FrameId;

/// The number of priorities; the highest goes first.
pub(crate) const PRIORITIES: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_priority: [VecDeque<FrameId>; PRIORITIES],
    len: usize,
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

    pub(super) fn front(&self) -> Option<FrameId> {
        if self.len == 0 {
            return None;
        }
        self.by_priority.iter().rev().find_map(|queue| queue.front().copied())
    }

    pub(super) fn pop_front(&mut self) {
        if let Some(queue) = self.by_priority.iter_mut().rev().find(|queue| !queue.is_empty()) {
            queue.pop_front();
            self.len -= 1;
        }
    }

    pub(super) fn remove(&mut self, priority: u8, frame: FrameId) {
        let queue = self.of(priority);
        let before = queue.len();
        queue.retain(|f| *f != frame);
        self.len -= before - self.of(priority).len();
    }

    /// Everything, in the order in which it would have gone.
    pub(super) fn take_all(&mut self) -> Vec<FrameId> {
        self.len = 0;
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
        waiting.remove(5, FrameId(4));
        waiting.remove(5, FrameId(4));
        let mut order = Vec::new();
        while let Some(frame) = waiting.front() {
            order.push(frame.0);
            waiting.pop_front();
        }
        assert_eq!((order, waiting.len()), (vec![2, 5, 6, 1, 3], 0));
    }
}
