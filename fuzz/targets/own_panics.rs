//! Panics that count. Some of a library are expected and caught where it is called; libFuzzer's crate would end the process at
//! any, caught or not.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::abort;
use std::sync::Mutex;

static LATEST: Mutex<String> = Mutex::new(String::new());

/// Lets panics pass for now, and keeps what the latest says.
pub fn keep() {
    set_hook(Box::new(|panic| {
        if let Ok(mut latest) = LATEST.lock() {
            *latest = panic.to_string();
        }
    }));
}

/// Runs something, and ends the process if a panic comes out of it.
pub fn end_on(run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        eprintln!("{}", LATEST.lock().map_or_else(|latest| latest.into_inner().clone(), |latest| latest.clone()));
        abort();
    }
}
