//! Loom's atomics for threads that die: before any change of memory that others see, as a killed process does.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

use loom::sync::atomic;
pub(crate) use loom::sync::atomic::fence;

loom::thread_local! {
    /// How many changes this thread lives to make.
    static LEFT: Cell<u32> = Cell::new(u32::MAX);
}

/// What a thread that dies unwinds with.
struct Dead;

/// Runs `life`, which ends before its change number `changes`, counted from 0. Returns whether it has come to its end before.
pub(crate) fn die_after(changes: u32, life: impl FnOnce()) -> bool {
    LEFT.with(|left| left.set(changes));
    let ended = catch_unwind(AssertUnwindSafe(life));
    LEFT.with(|left| left.set(u32::MAX));
    match ended {
        Ok(()) => true,
        Err(why) if why.is::<Dead>() => false,
        Err(why) => resume_unwind(why),
    }
}

/// To be called before each change.
pub(crate) fn live() {
    LEFT.with(|left| match left.get() {
        u32::MAX => {}
        0 => resume_unwind(Box::new(Dead)),
        some => left.set(some - 1),
    });
}

macro_rules! mortal {
    ($name:ident, $word:ty) => {
        /// Loom's, of a thread that may die.
        #[derive(Debug, Default)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) fn load(&self, order: Ordering) -> $word {
                self.0.load(order)
            }

            pub(crate) fn store(&self, word: $word, order: Ordering) {
                live();
                self.0.store(word, order);
            }

            #[allow(dead_code)]
            pub(crate) fn swap(&self, word: $word, order: Ordering) -> $word {
                live();
                self.0.swap(word, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                old: $word,
                new: $word,
                order: Ordering,
                failure: Ordering,
            ) -> Result<$word, $word> {
                live();
                self.0.compare_exchange(old, new, order, failure)
            }

            #[allow(dead_code)]
            pub(crate) fn compare_exchange_weak(
                &self,
                old: $word,
                new: $word,
                order: Ordering,
                failure: Ordering,
            ) -> Result<$word, $word> {
                live();
                self.0.compare_exchange_weak(old, new, order, failure)
            }
        }
    };
}

mortal!(AtomicU32, u32);
mortal!(AtomicU64, u64);
