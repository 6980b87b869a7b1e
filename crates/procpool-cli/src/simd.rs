//! Hot loops compiled for the processor at hand.

use std::sync::LazyLock;

use fearless_simd::{Level, dispatch};

static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);

/// What vector instructions this processor has.
pub fn level() -> Level {
    *LEVEL
}

/// Runs `work` compiled for the best vector instructions of this processor (AVX2 where the
/// compiler alone would have to make do with SSE2). `work` and all it calls must be inlined.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    dispatch!(*LEVEL, _simd => work())
}
