//! What the allocator of a worker keeps.

/// Blocks up to this size stay with the process when they are freed.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 1 << 30;

/// Makes the C library keep what is freed, large blocks too. By itself it gives each back to the kernel, and the next task
/// pays for fresh pages: many times what the copy into them costs. To be followed by [`trim`] when there is nothing to do.
pub(crate) fn keep() {
    #[cfg(target_env = "gnu")]
    // SAFETY: these change two numbers of the allocator, at a time when this process has one thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Gives what is free back to the kernel.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator may be asked this at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
