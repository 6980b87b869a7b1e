//! The ring's own sources, compiled with loom's atomics, and models that try every order in which the parent and a worker
//! can meet in them. `crates/procpool/src/ring/README.md` says what each model shows and how each was seen to fail.
#![cfg(test)]

#[path = "../../../crates/procpool/src/ring/mod.rs"]
#[allow(dead_code, unsafe_code, unused_imports, unreachable_pub)]
mod ring;

#[allow(unsafe_code)]
mod os;

mod bells;
mod deaths;
mod handover;
mod results;
mod tasks;

/// Tries the orders of `run` in which at most so many times a thread is interrupted where it could have gone on, or as many
/// as `LOOM_MAX_PREEMPTIONS` says. Every bug of this kind that was put in on purpose needs two or fewer.
fn model(interruptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(interruptions);
    builder.check(run);
}
