//! Tells Python of futures that have ended, if it wants to hear of it: by numbers, which a thread of Python's takes here. A
//! program that only waits for results never has such a thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

#[derive(Default)]
struct State {
    ended: VecDeque<u64>,
    closed: bool,
    woken: bool,
}

static STATE: Mutex<State> = Mutex::new(State { ended: VecDeque::new(), closed: false, woken: false });
static ARRIVED: Condvar = Condvar::new();

/// The future that was given this number has ended.
pub(crate) fn tell(token: u64) {
    STATE.lock().unwrap_or_else(PoisonError::into_inner).ended.push_back(token);
    ARRIVED.notify_one();
}

/// The numbers that were told since the last call, or none after `seconds` or [`wake_collector`]; None once nothing more is to be told.
#[pyfunction]
pub(crate) fn collect(py: Python<'_>, seconds: f64) -> Option<Vec<u64>> {
    py.detach(|| {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended.is_empty() && !state.closed && !state.woken {
            let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(3600));
            state = ARRIVED.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.woken = false;
        let ended: Vec<u64> = state.ended.drain(..).collect();
        (!ended.is_empty() || !state.closed).then_some(ended)
    })
}

/// Has [`collect`] return now, or when it is called next.
#[pyfunction]
pub(crate) fn wake_collector() {
    STATE.lock().unwrap_or_else(PoisonError::into_inner).woken = true;
    ARRIVED.notify_all();
}

/// Says that nobody will take any more (`closed`), or that somebody will again.
#[pyfunction]
pub(crate) fn close_collector(closed: bool) {
    STATE.lock().unwrap_or_else(PoisonError::into_inner).closed = closed;
    ARRIVED.notify_all();
}
