//! A region that somebody writes into, for the fuzz targets of the ring and of what is above it.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{INLINE_MAX, Region, SLOTS};
use crate::os::memory::{Mapping, create_fixed};

/// Takes what it needs from the front of the input; zeros when there is no more.
#[derive(Debug)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    pub(crate) fn word(&mut self) -> u32 {
        u32::from_le_bytes([(); 4].map(|()| self.byte()))
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

/// A region and a second way to its bytes, as the worker has one.
#[derive(Debug)]
pub(crate) struct Hostile {
    memory: File,
    pub(crate) region: Region,
}

thread_local! {
    /// Memory of cases before; making it anew would be most of the work.
    static FREE: RefCell<Vec<File>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if let Ok(memory) = self.memory.try_clone() {
            FREE.with_borrow_mut(|free| free.push(memory));
        }
    }
}

/// The most bytes that the control words and slots take.
const CONTROL: usize = 16 * 1024;
/// The words that are not in a slot.
const WORDS: u32 = 6;

impl Hostile {
    /// An empty region.
    pub(crate) fn new() -> Option<Self> {
        let free = FREE.with_borrow_mut(Vec::pop);
        let memory = free.or_else(|| create_fixed("procpool-fuzz", Region::SIZE).ok().map(File::from))?;
        let region = Region::new(Mapping::writable(&memory, Region::SIZE).ok()?)?;
        memory.write_all_at(&[0; CONTROL], 0).ok()?;
        Some(Self { memory, region })
    }

    /// Writes a word: one of the control words, or anything anywhere in the slots. Returns whether an honest worker could go
    /// on: it believes what the parent writes.
    pub(crate) fn spoil(&self, input: &mut Input<'_>) -> bool {
        let (place, how) = (input.word(), input.byte());
        let at = match place % 2 {
            0 => place / 2 % WORDS * 64,
            _ => place / 2 % (CONTROL as u32 / 4) * 4,
        };
        let old = {
            let mut bytes = [0; 4];
            let _ = self.memory.read_exact_at(&mut bytes, u64::from(at));
            u32::from_le_bytes(bytes)
        };
        let new = match how % 8 {
            0 => old.wrapping_add(1),
            1 => old.wrapping_sub(1),
            2 => old.wrapping_add(SLOTS as u32),
            3 => u32::from(input.byte()),
            4 => u32::MAX,
            5 => INLINE_MAX as u32 + u32::from(input.byte()) - 128,
            6 => 1 << (input.byte() % 32),
            _ => input.word(),
        };
        let _ = self.memory.write_all_at(&new.to_le_bytes(), u64::from(at));
        // Neither the first two words nor a task slot; the result slots are the last in front of the payloads.
        let results = Region::SIZE - 8 * INLINE_MAX - SLOTS * 64;
        (128..WORDS * 64).contains(&at) || at as usize >= results
    }
}
