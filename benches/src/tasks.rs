//! What the workers do.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// As little as a task can do and still answer.
pub(crate) fn nothing(number: u64) -> u64 {
    black_box(number)
}

/// Takes bytes, gives back how many.
pub(crate) fn count(bytes: Vec<u8>) -> u64 {
    black_box(bytes).len() as u64
}

/// Takes bytes, gives them back.
pub(crate) fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// Takes numbers, gives them back.
pub(crate) fn echo_numbers(numbers: Vec<f64>) -> Vec<f64> {
    numbers
}

/// Reads a byte at the start, in the middle and at the end.
pub(crate) fn look(buffer: procpool::Buffer) -> u64 {
    [0, buffer.len() / 2, buffer.len() - 1].iter().map(|&at| u64::from(buffer[at])).sum()
}

/// A fixed amount of work: a chain of multiplications, which no compiler and no core can shorten.
pub(crate) fn compute(steps: u64) -> u64 {
    (0..steps).fold(steps, |x, _| black_box(x.wrapping_mul(6364136223846793005).wrapping_add(1)))
}

/// How many steps of [`compute`] take a microsecond on a core of its own.
///
/// Measured now, as the fastest of many tries. A task is work, not a time to wait for: a worker that shares its core must
/// not get away with it.
pub(crate) fn steps_per_us() -> f64 {
    const STEPS: u64 = 20_000;
    let once = || {
        let start = Instant::now();
        black_box(compute(black_box(STEPS)));
        start.elapsed()
    };
    let fastest = (0..100).map(|_| once()).min().unwrap_or(Duration::MAX);
    STEPS as f64 / (fastest.as_secs_f64() * 1e6)
}
