//! Views of memory that its owner keeps as it is until he is told that nobody looks any more.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::copy::{Region, Room};
use super::memory::Part;

/// A part of a mapping that may be looked at in place: its owner writes to it no more until every view of it is gone.
#[derive(Debug)]
pub(crate) struct Lendable {
    part: Part,
    views: Arc<Views>,
}

/// How many views there are of something.
#[derive(Default)]
pub(crate) struct Views(Mutex<State>);

#[derive(Default)]
struct State {
    count: usize,
    /// What to do when there is none any more.
    at_last: Option<Box<dyn FnOnce() + Send>>,
}

impl Lendable {
    /// Only of memory whose owner keeps that promise.
    pub(crate) fn new(part: Part) -> Self {
        Self { part, views: Arc::default() }
    }

    /// The views of it, if there are any.
    pub(crate) fn views(&self) -> Option<&Arc<Views>> {
        (self.views.lock().count > 0).then_some(&self.views)
    }
}

impl Region for Lendable {
    fn len(&self) -> usize {
        self.part.len()
    }

    fn copy(&self, at: usize, room: &mut Room<'_>) {
        self.part.copy(at, room);
    }

    fn view(&self, at: usize, len: usize) -> Option<Lent> {
        let part = self.part.part(at, len)?;
        self.views.lock().count += 1;
        Some(Lent { part, views: Arc::clone(&self.views) })
    }
}

impl Views {
    /// Does `act` when the last view is gone, which may be now.
    pub(crate) fn at_last(&self, act: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.count > 0 {
            state.at_last = Some(Box::new(act));
        } else {
            drop(state);
            act();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Views").field("count", &self.lock().count).finish_non_exhaustive()
    }
}

/// A view of lent memory.
#[derive(Debug)]
pub(crate) struct Lent {
    part: Part,
    views: Arc<Views>,
}

impl Lent {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a view is only made of memory that nobody writes to until the last view of it is gone: `Lendable::new` is
        // given inputs in the parent's arena alone. Only the parent can write there, and it keeps a place as it is until every
        // task that reads it has ended and every worker that said it has views of it has said that they are gone, or is dead.
        unsafe { self.part.bytes() }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let act = {
            let mut state = self.views.lock();
            state.count -= 1;
            if state.count == 0 { state.at_last.take() } else { None }
        };
        if let Some(act) = act {
            act();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::os::memory::create_lent;

    #[test]
    fn whoever_wants_to_know_is_told_when_the_last_view_is_gone() {
        let (_fd, memory) = create_lent("procpool-test", 4096, [&[]; 2]).unwrap();
        memory.write(10, b"hello");
        let lendable = Lendable::new(Part::new(Arc::new(memory), 10, 5).unwrap());
        assert!(lendable.views().is_none());
        assert!(lendable.view(3, 3).is_none() && lendable.view(usize::MAX, 2).is_none());
        let (one, other) = (lendable.view(0, 5).unwrap(), lendable.view(1, 3).unwrap());
        assert_eq!((one.bytes(), other.bytes()), (&b"hello"[..], &b"ell"[..]));
        let told = Arc::new(AtomicU32::new(0));
        let tell = || {
            let told = Arc::clone(&told);
            move || {
                told.fetch_add(1, Relaxed);
            }
        };
        lendable.views().unwrap().at_last(tell());
        let views = Arc::clone(lendable.views().unwrap());
        drop((one, lendable));
        assert_eq!(told.load(Relaxed), 0);
        drop(other);
        assert_eq!(told.load(Relaxed), 1);
        views.at_last(tell());
        assert_eq!(told.load(Relaxed), 2, "there is none, so it is told at once");
    }
}
