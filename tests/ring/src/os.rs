//! What the ring asks of the operating system: memory from the heap, a futex and an eventfd made of a mutex and a condition
//! variable.

use loom::sync::{Condvar, Mutex};

use crate::ring::Region;

pub(crate) mod mortal;

pub(crate) mod memory {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::NonNull;

    /// Heap memory in place of a mapping.
    #[derive(Debug)]
    pub(crate) struct Mapping {
        ptr: NonNull<u8>,
        len: usize,
    }

    // SAFETY: plain memory without thread affinity; whoever uses the pointer states his own argument.
    unsafe impl Send for Mapping {}
    // SAFETY: as above.
    unsafe impl Sync for Mapping {}

    impl Mapping {
        pub(crate) fn in_heap(len: usize) -> Self {
            // SAFETY: the length is not zero.
            let ptr = NonNull::new(unsafe { alloc_zeroed(Self::layout(len)) }).unwrap();
            Self { ptr, len }
        }

        pub(crate) fn as_ptr(&self) -> NonNull<u8> {
            self.ptr
        }

        pub(crate) fn len(&self) -> usize {
            self.len
        }

        fn layout(len: usize) -> Layout {
            Layout::from_size_align(len, 4096).unwrap()
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: allocated by `in_heap` with the same layout. What loom has in it owns nothing.
            unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.len)) };
        }
    }
}

/// The kernel's part of a futex: compares the word and goes to sleep in one step.
#[derive(Debug)]
pub(crate) struct Futex {
    queue: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::new(()), woken: Condvar::new() }
    }

    /// The worker sleeps while `needed`. A wake-up that nobody gives is what loom calls a deadlock.
    pub(crate) fn sleep(&self, region: &Region, how: u32, needed: impl FnOnce() -> bool) {
        region.sleep(how, needed, |word, how| {
            let queue = self.queue.lock().unwrap();
            if word.load(std::sync::atomic::Ordering::SeqCst) == how {
                drop(self.woken.wait(queue).unwrap());
            }
        });
    }

    pub(crate) fn wake(&self) {
        let _queue = self.queue.lock().unwrap();
        self.woken.notify_one();
    }
}

/// An eventfd: stays rung until somebody hears it.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self { rung: Mutex::new(false), heard: Condvar::new() }
    }

    pub(crate) fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }

    pub(crate) fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }
}
