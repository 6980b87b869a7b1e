//! Takes what a worker shows: checked, handed on, nothing believed that does not fit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::super::{Beside, Books, Delivery, Frame, Large, Origin, Results};
use super::{Arrived, Link, PEEK};
use crate::attach::Attachment;
use crate::os::procfs;
use crate::ring::{Breach, FULL, Shown};
use crate::sched::{FrameId, Nanos, WorkerId};
use crate::wire::items::{Attached, Status, split_result, survey};

impl Link {
    /// Takes every published result.
    pub(in crate::supervisor) fn drain(&mut self, worker: WorkerId, books: &mut Books<'_>) -> Result<(), Breach> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let mut taken = false;
        while let Some(shown) = self.results.pop()? {
            taken = true;
            self.accept(shown, worker, books)?;
        }
        if taken && self.region.take_worker_sleep(FULL) {
            books.out.wakes.push(self.region.clone());
        }
        Ok(())
    }

    /// The result that an item in `range` of `bytes` says is elsewhere, and its number.
    fn beside(&mut self, bytes: &[u8], range: Range<usize>) -> Result<(u64, Large), Breach> {
        const NEVER_SENT: Breach = Breach("it names a large result that it never sent");
        let item = &bytes[range.clone()];
        let (number, attached) = Attached::parse(item).ok_or(Breach("it names a large result wrongly"))?;
        // The worker sends its messages before it publishes the item that needs them.
        let known = matches!(attached, Attached::Placed { place, with_fds: false, .. } if self.arrivals.knows(place));
        if !known {
            self.read_socket()?;
        }
        let mut only_fds = |needed: bool| match needed.then(|| self.arrived.remove(&number)) {
            None => Ok(Beside::default()),
            Some(Some(Arrived::Only(fds))) => Ok(fds),
            Some(_) => Err(NEVER_SENT),
        };
        let large = match attached {
            Attached::Placed { place, flag, with_fds } => {
                let fds = only_fds(with_fds)?;
                let arrived = self.arrivals.result(place, flag);
                Large::placed(arrived.ok_or(Breach("it names a large result outside its memory"))?, fds)
            }
            Attached::Inline(output) => Large::inline(range.end - output.len()..range.end, only_fds(true)?),
            Attached::Memfd => match self.arrived.remove(&number) {
                Some(Arrived::Memory(large)) => large,
                _ => return Err(NEVER_SENT),
            },
        };
        Ok((number, large))
    }

    /// Takes what the worker has finished of a frame that it has not published.
    pub(in crate::supervisor) fn peek(&mut self, worker: WorkerId, books: &mut Books<'_>) -> Result<(), Breach> {
        self.drain(worker, books)?;
        // What is long without a result may be so for much longer.
        self.peek_at = books.now + PEEK.max(books.now.saturating_sub(self.shown_at));
        if let Some(shown) = self.results.peek()? {
            let items = shown.items;
            let taken = self.accept(shown, worker, books)?;
            self.results.take_peeked(items, taken);
        }
        Ok(())
    }

    /// Something was shown, or begun, now.
    pub(super) fn touch(&mut self, now: Nanos) {
        self.shown_at = now;
        self.peek_at = now + PEEK;
    }

    /// Returns how many bytes the items take.
    fn accept(&mut self, shown: Shown, worker: WorkerId, books: &mut Books<'_>) -> Result<usize, Breach> {
        let Shown { frame, first, items, task_ns, mut bytes, was_peeked } = shown;
        let (len, failed) = survey(&bytes, items).ok_or(Breach("it wrote a result that is not well-formed"))?;
        let published = task_ns.is_some();
        if published && len != bytes.len() {
            return Err(Breach("it wrote more than its results"));
        }
        if items == 0 && was_peeked {
            return Ok(0);
        }
        bytes.truncate(len);
        let mut attached = self.claim_attached(&bytes)?;
        let held = attached.iter_mut().filter_map(|(&number, large)| large.beside().set_holds(false).then_some(number));
        let held: Vec<u64> = held.collect();
        let lent = |(_, _, frame): (FrameId, u32, &Arc<Frame>)| frame.extent.is_some();
        if !held.is_empty() && !books.sched.front(worker).is_some_and(lent) {
            return Err(Breach("it looks at an input that it was not lent"));
        }
        let id = FrameId(frame);
        let delivered = books.sched.finished(worker, id, first, items, task_ns, books.now).map_err(Breach)?;
        if let Some(front) = self.sent.front_mut() {
            front.next = first + items;
            if front.next == front.items.1 {
                self.sent.pop_front();
            }
        }
        // Of those in a frame that is still open the worker has not said how long they took.
        let seen_ns = books.now.saturating_sub(self.shown_at) / u64::from(items.max(1));
        self.touch(books.now);
        books.tasks.failed += u64::from(failed);
        books.tasks.ok += u64::from(items - failed);
        let frame = delivered.payload;
        self.held.extend(held.into_iter().map(|number| (number, Arc::clone(&frame))));
        let pid = self.pid();
        let peak_memory = pid.filter(|_| failed > 0 || books.log.is_listening()).and_then(procfs::peak_bytes);
        let origin = Origin { name: frame.function.name, pid, attempt: delivered.attempt, peak_memory };
        books.note_ends(worker, id, &frame, (first, first + items), &bytes, origin, task_ns.unwrap_or(seen_ns));
        let lent = frame.attachments.iter().filter_map(Attachment::memory).cloned().collect();
        let results = Results { bytes, at: 0, left: items, attached, lent, origin, task_ns };
        books.out.deliveries.push((frame, first, Delivery::Results(Box::new(results))));
        Ok(len)
    }

    /// The large results that these items name.
    fn claim_attached(&mut self, bytes: &[u8]) -> Result<BTreeMap<u64, Large>, Breach> {
        let mut attached = BTreeMap::new();
        let mut rest = bytes;
        while let Some((status, item, after)) = split_result(rest) {
            let end = bytes.len() - after.len();
            rest = after;
            if status == Status::Attached {
                let (number, large) = self.beside(bytes, end - item.len()..end)?;
                attached.insert(number, large);
            }
        }
        Ok(attached)
    }

    /// After the worker's end: takes every result that it finished, published or not. Returns whether it was running a
    /// task. What does not fit together is not believed, and then it was running whatever it had.
    pub(in crate::supervisor) fn last_words(&mut self, worker: WorkerId, books: &mut Books<'_>) -> bool {
        let drained = self.peek(worker, books);
        let Some(front) = self.sent.front() else { return false };
        let Ok(begun) = self.tasks.begun(front.slot, front.items) else { return true };
        if drained.is_err() || books.sched.is_in_breach(worker) {
            return begun > front.items.0;
        }
        books.sched.front(worker).is_some_and(|(_, next, _)| begun > next)
    }
}
