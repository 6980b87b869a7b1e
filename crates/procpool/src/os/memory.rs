//! Anonymous shared memory: memfds, sealed against changing their size, and their mappings.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use rustix::mm::{MapFlags, ProtFlags};

use super::fail::{Call, point};

const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Makes a zeroed memfd of `len` bytes that nobody can shrink or grow, so that no peer can make a mapping of it fault.
pub(crate) fn create_fixed(name: &str, len: usize) -> io::Result<OwnedFd> {
    let fd = create_growing(name)?;
    point(Call::Truncate)?;
    rustix::fs::ftruncate(&fd, len as u64)?;
    point(Call::Seal)?;
    fcntl_add_seals(&fd, FIXED_SIZE)?;
    Ok(fd)
}

/// Makes an empty memfd that grows as it is written.
pub(crate) fn create_growing(name: &str) -> io::Result<OwnedFd> {
    point(Call::Memfd)?;
    Ok(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?)
}

/// Makes a memfd that holds `bytes` and can never change again, so that a mapping of it is an ordinary slice.
pub(crate) fn create_frozen(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(create_growing(name)?);
    point(Call::Write)?;
    file.write_all(bytes)?;
    point(Call::Seal)?;
    fcntl_add_seals(&file, FIXED_SIZE | SealFlags::WRITE)?;
    Ok(file.into())
}

/// A second open file description of the same memfd: locks taken through one exclude the other.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    point(Call::Open)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(File::options().read(true).write(true).open(path)?.into())
}

/// A shared, writable mapping. The memory may be changed by another process at any moment, so it is only handed out as a
/// raw pointer.
#[derive(Debug)]
pub(crate) struct Mapping {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is plain memory without thread affinity; all access goes through raw pointers and atomics whose
// users state their own argument.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself offers no access at all.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` for reading and writing.
    ///
    /// # Errors
    /// If the memfd is smaller than `len` or its size is not sealed: such a mapping could fault later.
    pub(crate) fn writable(fd: impl AsFd, len: usize) -> io::Result<Self> {
        require_seals(fd.as_fd(), FIXED_SIZE)?;
        require_size(fd.as_fd(), len)?;
        Self::map(fd.as_fd(), len, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn map(fd: BorrowedFd<'_>, len: usize, prot: ProtFlags) -> io::Result<Self> {
        if len == 0 {
            return Ok(Self { ptr: NonNull::dangling(), len });
        }
        point(Call::Map)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of ours.
        let ptr = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED, fd, 0) }?;
        let ptr = NonNull::new(ptr.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { ptr, len })
    }

    /// The first byte; valid for [`Mapping::len`] bytes as long as the mapping lives.
    pub(crate) fn as_ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the range is exactly what `map` mapped, and no reference into it outlives `self`.
            let _ = unsafe { rustix::mm::munmap(self.ptr.as_ptr().cast(), self.len) };
        }
    }
}

/// A read-only mapping of a memfd that is sealed against writing: its bytes can never change, whoever else has it.
#[derive(Debug)]
pub(crate) struct Frozen(Mapping);

impl Frozen {
    /// Maps the whole of `fd`, checking first that it is sealed against every change and no larger than what half of this
    /// machine's memory holds: a sparse file of any size costs its maker nothing, but its reader everything.
    pub(crate) fn map(fd: impl AsFd) -> io::Result<Self> {
        require_seals(fd.as_fd(), FIXED_SIZE | SealFlags::WRITE)?;
        let size = size_of_file(fd.as_fd())?;
        if size > half_of_memory() {
            let text = format!("its {size} bytes are more than half of this machine's memory");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let len = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Self(Mapping::map(fd.as_fd(), len, ProtFlags::READ)?))
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the memfd is sealed against writing and resizing (checked in `map`), so these bytes are immutable and
        // mapped for as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.0.ptr.as_ptr(), self.0.len) }
    }
}

/// No value may be larger than this many bytes: whoever reads it has it there twice.
pub(crate) fn half_of_memory() -> u64 {
    let system = rustix::system::sysinfo();
    // The field is as wide as a register.
    #[allow(clippy::useless_conversion)]
    let total = u64::try_from(system.totalram).unwrap_or(u64::MAX);
    total.saturating_mul(u64::from(system.mem_unit)) / 2
}

fn size_of_file(fd: BorrowedFd<'_>) -> io::Result<u64> {
    point(Call::Stat)?;
    Ok(u64::try_from(fstat(fd)?.st_size).unwrap_or(0))
}

fn require_seals(fd: BorrowedFd<'_>, wanted: SealFlags) -> io::Result<()> {
    point(Call::Seal)?;
    if fcntl_get_seals(fd)?.contains(wanted) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory is not sealed as it must be"))
}

fn require_size(fd: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    if size_of_file(fd)? >= len as u64 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory is smaller than it must be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_memfd_holds_its_bytes_and_takes_no_more() {
        let fd = create_frozen("test", b"hello").unwrap();
        assert_eq!(Frozen::map(&fd).unwrap().bytes(), b"hello");
        assert!(File::from(fd).write_all(b"x").is_err());
    }

    #[test]
    fn an_unsealed_memfd_is_refused() {
        let fd = create_growing("test").unwrap();
        assert!(Frozen::map(&fd).is_err());
        assert!(Mapping::writable(&fd, 0).is_err());
    }

    #[test]
    fn a_hole_larger_than_memory_is_refused() {
        let fd = create_growing("test").unwrap();
        rustix::fs::ftruncate(&fd, half_of_memory() + 1).unwrap();
        fcntl_add_seals(&fd, FIXED_SIZE | SealFlags::WRITE).unwrap();
        assert_eq!(Frozen::map(&fd).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_small_memfd_is_refused() {
        let fd = create_fixed("test", 4096).unwrap();
        assert!(Mapping::writable(&fd, 8192).is_err());
        assert_eq!(Mapping::writable(&fd, 4096).unwrap().len(), 4096);
    }
}
