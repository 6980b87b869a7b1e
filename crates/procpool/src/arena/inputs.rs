//! The parent's side for inputs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ranges::Ranges;
use super::{PAGE, Piece, Pieces, SEGMENT, Writer, place_of, round_up};
use crate::os::memory::{Mapping, create_lent};
use crate::wire::items::Place;
use crate::wire::value::Spill;

/// Segments for the large inputs of one pool. Workers can read them, and write nothing.
#[derive(Debug)]
pub(crate) struct Arena {
    state: Mutex<State>,
    /// The most bytes of all segments together.
    limit: usize,
    /// How long the last input was that came here.
    last: AtomicUsize,
    /// Whether there is a segment that nobody looks after yet.
    news: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    segments: Vec<Books>,
    total: usize,
}

/// A segment and which of it is taken.
#[derive(Debug)]
struct Books {
    segment: Arc<Segment>,
    ranges: Ranges,
    used: Instant,
    /// Whether it came with its first value in it, whose pages are not mapped yet.
    raw: bool,
}

/// Memory that workers may be told of.
#[derive(Debug)]
pub(crate) struct Segment {
    number: u64,
    fd: OwnedFd,
    memory: Arc<Mapping>,
}

impl Segment {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn len(&self) -> usize {
        self.memory.len()
    }
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A first value of so many bytes makes its segment; for less it is not worth it.
const FILLED: usize = SEGMENT / 2;
/// How long a segment may lie unused before its memory is given back.
const IDLE: Duration = Duration::from_secs(1);

impl Arena {
    /// An arena of at most `limit` bytes. It has none yet.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), limit, last: AtomicUsize::new(0), news: AtomicBool::new(false) })
    }

    /// Runs `write` with something that takes what is large. Returns its result, and what was taken, if anything was.
    pub(crate) fn write<R>(self: &Arc<Self>, write: impl FnOnce(&mut dyn Spill) -> R) -> (R, Option<Extent>) {
        let mut pieces = self.as_ref();
        let mut writer = Writer::new(&mut pieces, self.last.load(Relaxed));
        let result = write(&mut writer);
        let written = writer.finish().map(|(piece, len)| {
            self.last.store(len, Relaxed);
            Extent { arena: Arc::clone(self), segment: self.segment(piece.segment), piece: Some(piece), len }
        });
        (result, written)
    }

    fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        let state = self.lock();
        state.segments.iter().map(|books| &books.segment).find(|segment| segment.number == number).cloned()
    }

    /// Whether segments were made since this was asked last.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Relaxed) && self.news.swap(false, Relaxed)
    }

    /// Lets segments go that are not used. Returns their numbers, and when to look again, if there are others.
    pub(crate) fn tidy(&self, now: Instant) -> (Vec<u64>, Option<Duration>) {
        let mut gone = Vec::new();
        let mut state = self.lock();
        let idle = |books: &Books| books.ranges.is_whole() && now.saturating_duration_since(books.used) >= IDLE;
        for books in state.segments.extract_if(.., |books| idle(books)) {
            gone.push((books.segment.number, books.segment.len()));
        }
        state.total -= gone.iter().map(|(_, len)| len).sum::<usize>();
        let oldest = state.segments.iter().map(|books| match books.ranges.is_whole() {
            true => IDLE.saturating_sub(now.saturating_duration_since(books.used)),
            false => IDLE,
        });
        // Not to the nanosecond, or it is looked at just before it is time.
        let next = oldest.min().map(|wait| wait + Duration::from_millis(1));
        (gone.into_iter().map(|(number, _)| number).collect(), next)
    }

    /// Bytes of all segments.
    #[cfg(test)]
    fn total(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A piece, and whether the pages of its segment are to be mapped first.
    fn take(&mut self, len: usize) -> Option<(Piece, bool)> {
        self.segments.iter_mut().find_map(|books| {
            let offset = books.ranges.take(len)?;
            Some((books.piece(offset, len), std::mem::take(&mut books.raw)))
        })
    }

    fn books(&mut self, number: u64) -> Option<&mut Books> {
        self.segments.iter_mut().find(|books| books.segment.number == number)
    }
}

impl Books {
    fn piece(&self, offset: usize, len: usize) -> Piece {
        Piece { memory: Arc::clone(&self.segment.memory), segment: self.segment.number, offset, len }
    }
}

impl Arena {
    /// A piece of at least `len` bytes, better of `wish`, with these bytes at its start.
    fn place(&self, len: usize, wish: usize, bytes: [&[u8]; 2]) -> Option<Piece> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let (least, wish) = (round_up(len, PAGE)?, round_up(wish.max(len), PAGE)?);
        let free = {
            let mut state = self.lock();
            state.take(wish).or_else(|| state.take(least))
        };
        if let Some((piece, raw)) = free {
            if raw {
                piece.memory.settle();
            }
            piece.write(bytes);
            return Some(piece);
        }
        let size = {
            let mut state = self.lock();
            // Twice as much each time, so that they stay few; but a segment for something huge is not made twice as huge.
            let left = self.limit.saturating_sub(state.total);
            let size = round_up(least.max(state.total.min(8 * SEGMENT)), SEGMENT)?;
            let size = if size <= left { size } else { least };
            if size > left {
                return None;
            }
            state.total += size;
            size
        };
        // Without the lock: this takes a while.
        let raw = bytes[0].len() + bytes[1].len() >= FILLED;
        let made = create_lent("procpool-inputs", size, if raw { bytes } else { [&[]; 2] });
        let mut state = self.lock();
        let Ok((fd, memory)) = made else {
            state.total -= size;
            return None;
        };
        self.news.store(true, Relaxed);
        let segment = Segment { number: NUMBER.fetch_add(1, Relaxed), fd, memory: Arc::new(memory) };
        let mut ranges = Ranges::new(0, size);
        let len = wish.min(size);
        let offset = ranges.take(len)?;
        let books = Books { segment: Arc::new(segment), ranges, used: Instant::now(), raw };
        let piece = books.piece(offset, len);
        state.segments.push(books);
        drop(state);
        if !raw {
            piece.write(bytes);
        }
        Some(piece)
    }
}

#[allow(private_interfaces)]
impl Pieces for &Arena {
    fn take(&mut self, len: usize, wish: usize) -> Option<Piece> {
        self.place(len, wish, [&[]; 2])
    }

    fn take_with(&mut self, bytes: [&[u8]; 2], wish: usize) -> Option<Piece> {
        self.place(bytes[0].len().checked_add(bytes[1].len())?, wish, bytes)
    }

    fn grow(&mut self, piece: &mut Piece, len: usize) -> bool {
        let Some(len) = round_up(len, PAGE) else { return false };
        let grown = len <= piece.len
            || (self.lock().books(piece.segment))
                .is_some_and(|books| books.ranges.take_at(piece.offset + piece.len, len - piece.len));
        if grown {
            piece.len = piece.len.max(len);
        }
        grown
    }

    fn trim(&mut self, piece: &mut Piece, len: usize) {
        let Some(len) = round_up(len, PAGE).filter(|len| *len < piece.len) else { return };
        if let Some(books) = self.lock().books(piece.segment) {
            books.ranges.put_back(piece.offset + len, piece.len - len);
            piece.len = len;
        }
    }

    fn give_back(&mut self, piece: Piece) {
        if let Some(books) = self.lock().books(piece.segment) {
            books.ranges.put_back(piece.offset, piece.len);
            books.used = Instant::now();
        }
    }
}

/// A large input in its place. The place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Extent {
    arena: Arc<Arena>,
    segment: Option<Arc<Segment>>,
    piece: Option<Piece>,
    len: usize,
}

impl Extent {
    /// Where it is, as the ring says it.
    pub(crate) fn place(&self) -> Option<Place> {
        self.piece.as_ref().map(|piece| place_of(piece, self.len))
    }

    /// The memory of which the worker must know.
    pub(crate) fn segment(&self) -> Option<&Arc<Segment>> {
        self.segment.as_ref()
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        if let Some(piece) = self.piece.take() {
            self.arena.as_ref().give_back(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::{self, Region};
    use crate::os::memory::Part;

    fn extent(arena: &Arc<Arena>, runs: &[&[u8]]) -> Option<Extent> {
        arena.write(|spill| runs.iter().all(|run| spill.append(&[], run))).1
    }

    fn read(extent: &Extent) -> Vec<u8> {
        let place = extent.place().unwrap();
        let memory = Arc::new(Mapping::readable(&**extent.segment().unwrap()).unwrap());
        let part = Part::new(memory, place.offset as usize, place.len as usize).unwrap();
        let mut bytes = Vec::new();
        bulk::append(&mut bytes, place.len as usize, |room| part.copy(0, room));
        bytes
    }

    #[test]
    fn inputs_lie_side_by_side_and_their_places_are_used_again() {
        let arena = Arena::new(64 << 20);
        let (one, two) = (vec![1u8; 100_000], vec![2u8; 100_000]);
        let first = extent(&arena, &[&one, &two]).unwrap();
        let second = extent(&arena, &[&two]).unwrap();
        assert_eq!((read(&first), read(&second)), ([&one[..], &two[..]].concat(), two));
        assert_eq!(first.place().unwrap().segment, second.place().unwrap().segment);
        assert!(arena.has_news() && !arena.has_news());
        let before = first.place().unwrap();
        drop(first);
        assert_eq!(extent(&arena, &[&one]).unwrap().place().unwrap().offset, before.offset);
        assert_eq!(arena.total(), SEGMENT);
    }

    #[test]
    fn a_segment_that_came_with_its_first_value_is_used_again() {
        let arena = Arena::new(64 << 20);
        let (one, two) = (vec![1u8; 5 * SEGMENT + 3], vec![2u8; SEGMENT]);
        let first = arena.write(|spill| spill.append(b"staged", &one)).1.unwrap();
        assert_eq!(read(&first), [b"staged", &one[..]].concat());
        let second = extent(&arena, &[&two[..7]]).unwrap();
        assert_eq!((read(&second), read(&first)), (two[..7].to_vec(), [b"staged", &one[..]].concat()));
        let (before, total) = (first.place().unwrap(), arena.total());
        drop(first);
        let third = extent(&arena, &[&two, &one]).unwrap();
        assert_eq!(read(&third), [&two[..], &one].concat());
        let fourth = extent(&arena, &[&two]);
        assert_eq!(fourth.as_ref().and_then(Extent::place).map(|place| place.segment), Some(before.segment));
        assert!(arena.total() > total, "the third was too long for the place of the first");
    }

    #[test]
    fn what_outgrows_its_place_moves_and_what_outgrows_the_limit_is_given_back() {
        let arena = Arena::new(3 * SEGMENT);
        let run = vec![7u8; SEGMENT - PAGE];
        let blocked = extent(&arena, &[&run]).unwrap();
        let moved = extent(&arena, &[&run[..PAGE], &run]).unwrap();
        assert_eq!(read(&moved), [&run[..PAGE], &run].concat());
        let (bytes, none) = arena.write(|spill| {
            assert!(spill.append(b"a", &run[..PAGE - 1]) && !spill.append(&[], &vec![0; 3 * SEGMENT]));
            let mut bytes = b"before".to_vec();
            spill.give_back(&mut bytes);
            bytes
        });
        assert!(none.is_none());
        assert_eq!(bytes, [b"beforea", &run[..PAGE - 1]].concat());
        drop((blocked, moved));
        assert!(extent(&Arena::new(0), &[&run]).is_none());
    }

    #[test]
    fn unused_segments_go_after_a_while() {
        let arena = Arena::new(64 << 20);
        assert_eq!(arena.tidy(Instant::now()), (vec![], None));
        let used = extent(&arena, &[&[1; SEGMENT]]).unwrap();
        drop(extent(&arena, &[&[1; 2 * SEGMENT]]).unwrap());
        let (gone, next) = arena.tidy(Instant::now());
        assert!(gone.is_empty() && next.is_some_and(|next| next <= IDLE + Duration::from_millis(1)));
        assert_eq!(arena.tidy(Instant::now() + IDLE).0.len(), 1);
        drop(used);
        let (gone, next) = arena.tidy(Instant::now() + IDLE + IDLE);
        assert_eq!((gone.len(), next, arena.total()), (1, None, 0));
    }
}
