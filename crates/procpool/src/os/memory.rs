//! Anonymous shared memory: memfds, sealed against changing their size, and their mappings.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise};

use super::copy::{Region, Room, copy};

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

/// Makes a memfd of `len` bytes that only the mapping made with it can write to: whoever gets the descriptor can read and do
/// nothing else. It begins with `bytes`, one after the other, and the rest is zero. All its pages are there; those of `bytes` are
/// not mapped yet ([`Mapping::settle`]), which is quicker than to make pages and copy into them: the kernel need not clear a page
/// that it writes at once.
pub(crate) fn create_lent(name: &str, len: usize, bytes: [&[u8]; 2]) -> io::Result<(OwnedFd, Mapping)> {
    let file = File::from(create_growing(name)?);
    file.set_len(len as u64)?;
    file.write_all_at(bytes[0], 0)?;
    file.write_all_at(bytes[1], bytes[0].len() as u64)?;
    let fd = OwnedFd::from(file);
    let mapping = Mapping::map(fd.as_fd(), len, ProtFlags::READ | ProtFlags::WRITE)?;
    fcntl_add_seals(&fd, FIXED_SIZE | SealFlags::FUTURE_WRITE)?;
    mapping.touch_from(bytes[0].len() + bytes[1].len(), Advice::LinuxPopulateWrite)?;
    Ok((fd, mapping))
}

/// Makes a zeroed memfd of `len` bytes whose size is fixed, and a writable mapping of it. All its pages are there.
pub(crate) fn create_touched(name: &str, len: usize) -> io::Result<(OwnedFd, Mapping)> {
    let fd = create_fixed(name, len)?;
    let mapping = Mapping::writable(&fd, len)?;
    mapping.touch(Advice::LinuxPopulateWrite)?;
    Ok((fd, mapping))
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

    /// Maps the whole of `fd` for reading and writing, whatever its size is.
    ///
    /// # Errors
    /// If its size is not sealed or more than `most`.
    pub(crate) fn whole(fd: impl AsFd, most: usize) -> io::Result<Self> {
        let len = usize::try_from(size_of_file(fd.as_fd())?).unwrap_or(usize::MAX);
        if len > most {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "shared memory is larger than it may be"));
        }
        let mapping = Self::writable(fd, len)?;
        // What is not mapped now is mapped when it is read.
        let _ = mapping.touch(Advice::LinuxPopulateRead);
        Ok(mapping)
    }

    /// Maps the whole of `fd` for reading.
    ///
    /// # Errors
    /// If its size is not sealed.
    pub(crate) fn readable(fd: impl AsFd) -> io::Result<Self> {
        require_seals(fd.as_fd(), FIXED_SIZE)?;
        let len = usize::try_from(size_of_file(fd.as_fd())?).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mapping = Self::map(fd.as_fd(), len, ProtFlags::READ)?;
        let _ = mapping.touch(Advice::LinuxPopulateRead);
        Ok(mapping)
    }

    /// Maps all pages, before they are written to anew. A shared page that was mapped to be read can be written to as well, and
    /// pages to be read are mapped several at a time.
    pub(crate) fn settle(&self) {
        let _ = self.touch(Advice::LinuxPopulateRead);
    }

    /// Makes all pages be there, so that no access has to wait for one, or fail for want of memory.
    fn touch(&self, advice: Advice) -> io::Result<()> {
        self.touch_from(0, advice)
    }

    /// The same from the page on in which byte `at` lies.
    fn touch_from(&self, at: usize, advice: Advice) -> io::Result<()> {
        let at = at.min(self.len) / rustix::param::page_size() * rustix::param::page_size();
        if at == self.len {
            return Ok(());
        }
        // SAFETY: the range lies inside this mapping and begins at a page, and the advice changes no byte of it.
        match unsafe { madvise(self.ptr.as_ptr().add(at).cast(), self.len - at, advice) } {
            // Kernels before 5.14 do not know it: then pages come as they are touched.
            Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Copies `bytes` to `at`, as far as they find room there. For writable mappings.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        let at = at.min(self.len);
        let len = bytes.len().min(self.len - at);
        // SAFETY: the range lies inside the mapping, to which no Rust reference points. Whoever reads it does so by copy, and
        // only what was published.
        unsafe { copy(bytes.as_ptr(), self.ptr.as_ptr().add(at), len) };
    }

    /// Copies `len` bytes from `from` in another mapping to `at`, as far as both have them.
    pub(crate) fn write_from(&self, at: usize, other: &Self, from: usize, len: usize) {
        let (at, from) = (at.min(self.len), from.min(other.len));
        let len = len.min(self.len - at).min(other.len - from);
        // SAFETY: both ranges lie inside their mappings, to which no Rust reference points; `copy_to` allows an overlap.
        unsafe { other.ptr.as_ptr().add(from).copy_to(self.ptr.as_ptr().add(at), len) };
    }

    /// The 32-bit word with this number, counted from the start of the mapping; `None` behind its end.
    pub(crate) fn word(&self, number: usize) -> Option<&AtomicU32> {
        let at = number.checked_mul(size_of::<AtomicU32>())?;
        if at + size_of::<AtomicU32>() > self.len {
            return None;
        }
        // SAFETY: the word lies inside the mapping, which begins at a page, and lives as long as `self`. An atomic is valid
        // whatever its bits are, and its concurrent change by another process is defined.
        Some(unsafe { self.ptr.as_ptr().add(at).cast::<AtomicU32>().as_ref()? })
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

/// Memory that is being filled by this process alone, to be frozen then.
#[derive(Debug)]
pub(crate) struct Draft {
    fd: OwnedFd,
    mapping: Mapping,
}

impl Draft {
    /// Zeroed memory of `len` bytes.
    pub(crate) fn new(name: &str, len: usize) -> io::Result<Self> {
        let fd = create_growing(name)?;
        rustix::fs::ftruncate(&fd, len as u64)?;
        let mapping = Mapping::map(fd.as_fd(), len, ProtFlags::READ | ProtFlags::WRITE)?;
        mapping.touch(Advice::LinuxPopulateWrite)?;
        Ok(Self { fd, mapping })
    }

    /// Copies `bytes` to its start.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.mapping.write(0, bytes);
    }

    /// The memory.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the range is mapped and zeroed. Nobody else has this mapping or a descriptor of this memfd, so for as long
        // as `self` is borrowed the slice is the only way to these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.ptr.as_ptr(), self.mapping.len) }
    }

    /// Makes it unchangeable.
    pub(crate) fn freeze(self) -> io::Result<OwnedFd> {
        let Self { fd, mapping } = self;
        drop(mapping);
        freeze(fd)
    }
}

/// Makes a memfd unchangeable.
pub(crate) fn freeze(fd: OwnedFd) -> io::Result<OwnedFd> {
    fcntl_add_seals(&fd, FIXED_SIZE | SealFlags::WRITE)?;
    Ok(fd)
}

/// A part of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    memory: Arc<Mapping>,
    offset: usize,
    len: usize,
}

impl Part {
    /// The part of `len` bytes from `offset` on; `None` if the mapping has no such part.
    pub(crate) fn new(memory: Arc<Mapping>, offset: usize, len: usize) -> Option<Self> {
        (offset <= memory.len && len <= memory.len - offset).then_some(Self { memory, offset, len })
    }

    /// A part of it.
    pub(super) fn part(&self, at: usize, len: usize) -> Option<Self> {
        let fits = at <= self.len && len <= self.len - at;
        fits.then(|| Self { memory: Arc::clone(&self.memory), offset: self.offset + at, len })
    }

    /// The bytes in their place.
    ///
    /// # Safety
    /// Nobody may write to them as long as they are borrowed.
    // SAFETY: of an unsafe function its callers argue.
    pub(super) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: the range lies inside the mapping (checked in `new`), which lives as long as `self`, and does not change (the
        // caller's promise).
        unsafe { std::slice::from_raw_parts(self.memory.ptr.as_ptr().add(self.offset), self.len) }
    }
}

impl Region for Part {
    fn len(&self) -> usize {
        self.len
    }

    fn copy(&self, at: usize, room: &mut Room<'_>) {
        let at = at.min(self.len);
        // SAFETY: the range lies inside the part (its start is checked here, `room` takes no more than is asked for), the part
        // inside the mapping (checked in `new`), and the mapping lives as long as `self`. Room is never in shared memory.
        unsafe {
            let start = self.memory.ptr.as_ptr().add(self.offset + at);
            room.put_raw(start, room.left().min(self.len - at));
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
    fn lent_memory_cannot_be_written_by_who_gets_it() {
        let (fd, memory) = create_lent("test", 8192, [&[]; 2]).unwrap();
        memory.write(100, b"hello");
        assert!(Mapping::writable(&fd, 8192).is_err());
        assert!(rustix::io::pwrite(&fd, b"x", 0).is_err());
        assert!(reopen(fd.as_fd()).is_ok_and(|again| rustix::io::pwrite(&again, b"x", 0).is_err()));
        let part = Part::new(Arc::new(Mapping::readable(&fd).unwrap()), 100, 5).unwrap();
        memory.write(101, b"a");
        let mut bytes = Vec::new();
        crate::os::copy::append(&mut bytes, 100, |room| part.copy(1, room));
        assert_eq!(bytes, b"allo");
        memory.write(8190, b"too much");
    }

    #[test]
    fn lent_memory_begins_with_what_it_was_made_of_and_has_all_its_pages() {
        let (fd, memory) = create_lent("test", 5 * 4096, [b"hel", b"lo"]).unwrap();
        assert_eq!(fstat(&fd).unwrap().st_blocks, 5 * 4096 / 512);
        let part = Part::new(Arc::new(memory), 0, 7).unwrap();
        let mut bytes = Vec::new();
        crate::os::copy::append(&mut bytes, 7, |room| part.copy(0, room));
        assert_eq!(bytes, b"hello\0\0");
    }

    #[test]
    fn parts_and_words_lie_inside() {
        let (_, memory) = create_touched("test", 4096).unwrap();
        let memory = Arc::new(memory);
        assert!(memory.word(1023).is_some());
        assert!(memory.word(1024).is_none() && memory.word(usize::MAX).is_none());
        for (offset, len) in [(4096, 1), (0, 4097), (usize::MAX, 1), (1, usize::MAX)] {
            assert!(Part::new(Arc::clone(&memory), offset, len).is_none());
        }
        assert!(Part::new(memory, 4096, 0).is_some());
    }

    #[test]
    fn a_small_memfd_is_refused() {
        let fd = create_fixed("test", 4096).unwrap();
        assert!(Mapping::writable(&fd, 8192).is_err());
        assert_eq!(Mapping::writable(&fd, 4096).unwrap().len(), 4096);
    }
}
