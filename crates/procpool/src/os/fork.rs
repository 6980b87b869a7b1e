//! Tells a process from a copy of it that `fork` has made.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

const PAGE: usize = size_of::<AtomicU32>();

/// A word that is 1 in the process that made it and 0 in every copy: the kernel empties its page in the child of any kind
/// of fork. Looking at it costs no system call.
#[derive(Debug)]
pub(crate) struct Original(NonNull<AtomicU32>);

impl Original {
    /// Marks this process as the original.
    pub(crate) fn new() -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of ours.
        let page = unsafe { mmap_anonymous(std::ptr::null_mut(), PAGE, access, MapFlags::PRIVATE) }?;
        let original = Self(NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?);
        // SAFETY: the range was mapped just now, and its emptying in a child is an atomic word becoming 0.
        unsafe { madvise(page, PAGE, Advice::LinuxWipeOnFork) }?;
        original.word().store(1, Relaxed);
        Ok(original)
    }

    /// Whether this process is a copy.
    pub(crate) fn is_copy(&self) -> bool {
        self.word().load(Relaxed) == 0
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped as long as `self` lives, is aligned, and holds a valid atomic whatever its bits are.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_knows_what_it_is() {
        let original = Original::new().unwrap();
        assert!(!original.is_copy());
        // SAFETY: the child looks at a word of its own memory and leaves.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(i32::from(original.is_copy()));
            }
            let mut status = 0;
            libc::waitpid(child, &mut status, 0);
            libc::WEXITSTATUS(status)
        };
        assert_eq!(status, 1);
        assert!(!original.is_copy());
    }
}
