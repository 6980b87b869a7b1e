//! Shared memory for what is large: segments that stay mapped on both sides and whose pages stay there.
//!
//! Whoever writes owns the segments and keeps the books, in memory of its own: the parent for inputs ([`Arena`]), each worker
//! for its results ([`Shelf`]). The other side is told of a segment once, by the control socket; after that a place is three
//! numbers in the ring. README.md beside this file says who may do what to them.

mod inputs;
mod ranges;
mod results;

use std::sync::Arc;

pub(crate) use inputs::{Arena, Extent};
pub(crate) use results::{Arrivals, Arrived, Shelf};

use crate::bulk::{self, Region as _};
use crate::os::memory::{Mapping, Part};
use crate::wire::items::Place;
use crate::wire::value::Spill;

/// Pieces are whole pages.
const PAGE: usize = 4096;
/// Segments are no smaller than this.
const SEGMENT: usize = 2 << 20;

/// A range of a segment, taken until it is given back.
#[derive(Debug)]
struct Piece {
    memory: Arc<Mapping>,
    segment: u64,
    offset: usize,
    len: usize,
}

impl Piece {
    /// Writes these bytes to its start.
    fn write(&self, bytes: [&[u8]; 2]) {
        self.memory.write(self.offset, bytes[0]);
        self.memory.write(self.offset + bytes[0].len(), bytes[1]);
    }
}

/// Gives pieces out.
pub(crate) trait Pieces {
    /// Takes a piece of at least `len` bytes, better of `wish`. `None` if there is no memory, or not to be.
    #[allow(private_interfaces)]
    fn take(&mut self, len: usize, wish: usize) -> Option<Piece>;
    /// Takes a piece that has these bytes at its start and is as long as they are or longer, better of `wish`.
    #[allow(private_interfaces)]
    fn take_with(&mut self, bytes: [&[u8]; 2], wish: usize) -> Option<Piece> {
        let piece = self.take(bytes[0].len().checked_add(bytes[1].len())?, wish)?;
        piece.write(bytes);
        Some(piece)
    }
    /// Makes a piece longer where it lies, to `len` bytes or more.
    #[allow(private_interfaces)]
    fn grow(&mut self, piece: &mut Piece, len: usize) -> bool;
    /// Gives the end of a piece back, all but `len` bytes or a little more.
    #[allow(private_interfaces)]
    fn trim(&mut self, piece: &mut Piece, len: usize);
    /// Gives a piece back.
    #[allow(private_interfaces)]
    fn give_back(&mut self, piece: Piece);
}

/// Writes into one piece that grows.
struct Writer<'p, P: Pieces> {
    pieces: &'p mut P,
    piece: Option<Piece>,
    len: usize,
    /// How long it may become.
    wish: usize,
}

impl<'p, P: Pieces> Writer<'p, P> {
    fn new(pieces: &'p mut P, wish: usize) -> Self {
        Self { pieces, piece: None, len: 0, wish }
    }

    /// The piece and how much of it was written; `None` if nothing was.
    fn finish(mut self) -> Option<(Piece, usize)> {
        let mut piece = self.piece.take()?;
        self.pieces.trim(&mut piece, self.len);
        Some((piece, self.len))
    }

    fn make_room(&mut self, len: usize) -> bool {
        let Some(piece) = &mut self.piece else { return false };
        let generous = len.saturating_add(len / 2);
        if piece.len < len && !self.pieces.grow(piece, generous) && !self.pieces.grow(piece, len) {
            let Some(larger) = self.pieces.take(len, generous) else { return false };
            larger.memory.write_from(larger.offset, &piece.memory, piece.offset, self.len);
            self.pieces.give_back(std::mem::replace(piece, larger));
        }
        true
    }
}

impl<P: Pieces> Spill for Writer<'_, P> {
    fn append(&mut self, staged: &[u8], run: &[u8]) -> bool {
        let Some(len) = self.len.checked_add(staged.len()).and_then(|len| len.checked_add(run.len())) else {
            return false;
        };
        if self.piece.is_none() {
            self.piece = self.pieces.take_with([staged, run], self.wish);
            self.len = self.piece.as_ref().map_or(0, |_| len);
            return self.piece.is_some();
        }
        if !self.make_room(len) {
            return false;
        }
        if let Some(piece) = &self.piece {
            piece.memory.write(piece.offset + self.len, staged);
            piece.memory.write(piece.offset + self.len + staged.len(), run);
            self.len = len;
        }
        true
    }

    fn give_back(&mut self, bytes: &mut Vec<u8>) {
        if let Some(piece) = self.piece.take() {
            if let Some(part) = Part::new(Arc::clone(&piece.memory), piece.offset, self.len) {
                bulk::append(bytes, self.len, |room| part.copy(0, room));
            }
            self.pieces.give_back(piece);
        }
        self.len = 0;
    }
}

impl<P: Pieces> Drop for Writer<'_, P> {
    fn drop(&mut self) {
        if let Some(piece) = self.piece.take() {
            self.pieces.give_back(piece);
        }
    }
}

/// Where a piece's first `len` bytes are, as the ring says it.
fn place_of(piece: &Piece, len: usize) -> Place {
    Place { segment: piece.segment, offset: piece.offset as u64, len: len as u64 }
}

fn round_up(len: usize, to: usize) -> Option<usize> {
    len.max(1).checked_next_multiple_of(to)
}
