//! Where this program's code lies in memory and which build it is.

use std::ops::Range;
use std::os::unix::fs::MetadataExt;

/// The main executable as it is mapped in this process.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Addresses of its executable segments.
    pub(crate) text: Range<usize>,
    /// Bytes that are the same in two processes only if both run the same executable: the linker's build id where there
    /// is one, and the identity of the file.
    pub(crate) identity: Vec<u8>,
}

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;
const NT_GNU_BUILD_ID: u32 = 3;

impl Image {
    /// Reads the program headers that the kernel passed to this process.
    ///
    /// # Errors
    /// A sentence, if the headers cannot be found or name no code (a program that is not an ELF executable).
    pub(crate) fn of_this_process() -> Result<Self, String> {
        let mut found = Found::default();
        // SAFETY: the callback gets a valid `dl_phdr_info` from the dynamic linker and the pointer we pass along.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
        let text = found.text.ok_or("the program headers of this executable name no code")?;
        let file = std::fs::metadata("/proc/self/exe").map_err(|e| format!("cannot look at /proc/self/exe: {e}"))?;
        let mut identity = found.build_id;
        for word in [file.dev(), file.ino(), file.size(), text.len() as u64] {
            identity.extend_from_slice(&word.to_le_bytes());
        }
        Ok(Self { text, identity })
    }
}

#[derive(Default)]
struct Found {
    text: Option<Range<usize>>,
    build_id: Vec<u8>,
}

/// Looks at the first object, which is the main executable, and stops there.
// SAFETY: called by the dynamic linker alone, with a valid `info` and the `found` that `of_this_process` passes.
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    found: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: both pointers are valid for the duration of this call, as `of_this_process` and the linker promise.
    let (info, found) = unsafe { (&*info, &mut *found.cast::<Found>()) };
    // SAFETY: `dlpi_phdr` points to `dlpi_phnum` headers of a loaded object.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let base = info.dlpi_addr as usize;
    for header in headers {
        let start = base.wrapping_add(header.p_vaddr as usize);
        if header.p_type == PT_LOAD && header.p_flags & PF_X != 0 {
            let end = start + header.p_memsz as usize;
            let text = found.text.get_or_insert(start..end);
            *text = text.start.min(start)..text.end.max(end);
        }
        if header.p_type == PT_NOTE {
            // SAFETY: a PT_NOTE segment of a loaded object is mapped and readable over its whole length.
            let notes = unsafe { std::slice::from_raw_parts(start as *const u8, header.p_memsz as usize) };
            if let Some(id) = build_id(notes, header.p_align as usize) {
                found.build_id = id.to_vec();
            }
        }
    }
    1
}

/// The GNU build id among the notes of a segment.
fn build_id(mut notes: &[u8], align: usize) -> Option<&[u8]> {
    let align = if align == 8 { 8 } else { 4 };
    loop {
        let word = |at: usize| Some(u32::from_le_bytes(notes.get(at..at + 4)?.try_into().ok()?));
        let (name_len, desc_len, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let desc_at = 12 + name_len.next_multiple_of(align.min(4));
        let desc = notes.get(desc_at..desc_at.checked_add(desc_len)?)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0") {
            return Some(desc);
        }
        notes = notes.get((desc_at + desc_len).next_multiple_of(align)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_function_lies_in_the_text() {
        let image = Image::of_this_process().unwrap();
        let here = this_function_lies_in_the_text as fn() as usize;
        assert!(image.text.contains(&here));
        assert_eq!(image.identity, Image::of_this_process().unwrap().identity);
    }

    #[test]
    fn a_build_id_is_found_behind_another_note_and_damage_is_none() {
        let mut notes = Vec::new();
        for (name, kind, desc) in [(b"GNU\0", 5u32, &[1u8, 2, 3, 4][..]), (b"GNU\0", 3, &[9u8; 20][..])] {
            notes.extend_from_slice(&4u32.to_le_bytes());
            notes.extend_from_slice(&(desc.len() as u32).to_le_bytes());
            notes.extend_from_slice(&kind.to_le_bytes());
            notes.extend_from_slice(name);
            notes.extend_from_slice(desc);
        }
        assert_eq!(build_id(&notes, 4), Some(&[9u8; 20][..]));
        assert_eq!(build_id(&notes[..30], 4), None);
        assert_eq!(build_id(&[255; 64], 4), None);
    }
}
