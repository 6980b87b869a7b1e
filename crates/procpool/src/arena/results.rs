//! Large results: the worker's side and the parent's.
//!
//! The first page of a worker's segment holds flags, a word for each piece that it has given away. The worker sets one when
//! it publishes a result, the parent clears it when it has read the result. That is all that the parent writes there, and it
//! reads none of them.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

use super::ranges::Ranges;
use super::{PAGE, Piece, Pieces, SEGMENT, Writer, place_of, round_up};
use crate::os::memory::{Mapping, Part, create_touched};
use crate::wire::items::Place;
use crate::wire::value::Spill;

/// Results that one segment can hold.
const FLAGS: u32 = (PAGE / size_of::<u32>()) as u32;
/// Segments that one worker may have.
const MOST_SEGMENTS: usize = 64;

const FREE: u32 = 0;
const LENT: u32 = 1;

/// A worker's segments.
#[derive(Debug)]
pub(crate) struct Shelf {
    segments: Vec<Own>,
    total: usize,
    limit: usize,
    next: u64,
    /// How long the last result was that came here.
    last: usize,
    /// Segments of which the parent does not know yet.
    news: Vec<(u64, OwnedFd)>,
}

#[derive(Debug)]
struct Own {
    number: u64,
    memory: Arc<Mapping>,
    ranges: Ranges,
    /// By flag: where the piece begins and how long it is.
    lent: BTreeMap<u32, (usize, usize)>,
}

impl Own {
    /// Takes back what the parent has read.
    fn collect(&mut self) {
        let Self { memory, ranges, lent, .. } = self;
        lent.retain(|&flag, &mut (offset, len)| {
            let free = memory.word(flag as usize).is_none_or(|word| word.load(Acquire) == FREE);
            if free {
                ranges.put_back(offset, len);
            }
            !free
        });
    }
}

impl Shelf {
    /// A shelf of at most `limit` bytes. It has none yet.
    pub(crate) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { segments: Vec::new(), total: 0, limit, next: 1, last: 0, news: Vec::new() }
    }

    /// Runs `write` with something that takes what is large. If it says that all of a result is there: where that is,
    /// and the flag by which it is given back.
    #[inline]
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut dyn Spill) -> bool) -> Option<(Place, u32)> {
        let wish = self.last;
        let mut writer = Writer::new(self, wish);
        if !write(&mut writer) {
            return None;
        }
        let (piece, len) = writer.finish()?;
        self.lend(piece, len)
    }

    fn lend(&mut self, piece: Piece, len: usize) -> Option<(Place, u32)> {
        self.last = len;
        let own = self.segments.iter_mut().find(|own| own.number == piece.segment)?;
        let flag = (0..FLAGS).find(|flag| !own.lent.contains_key(flag))?;
        own.memory.word(flag as usize)?.store(LENT, Release);
        own.lent.insert(flag, (piece.offset, piece.len));
        Some((place_of(&piece, len), flag))
    }

    /// The segments of which the parent must be told before it is told of a result.
    pub(crate) fn news(&mut self) -> Vec<(u64, OwnedFd)> {
        std::mem::take(&mut self.news)
    }

    /// Whether there is no memory to give back.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Lets segments go in which nothing lies; returns their numbers.
    pub(crate) fn tidy(&mut self) -> Vec<u64> {
        self.segments.iter_mut().for_each(Own::collect);
        let gone: Vec<Own> = self.segments.extract_if(.., |own| own.ranges.is_whole()).collect();
        self.total -= gone.iter().map(|own| own.memory.len()).sum::<usize>();
        gone.into_iter().map(|own| own.number).collect()
    }

    fn find(&mut self, number: u64) -> Option<&mut Own> {
        self.segments.iter_mut().find(|own| own.number == number)
    }
}

#[allow(private_interfaces)]
impl Pieces for Shelf {
    fn take(&mut self, len: usize, wish: usize) -> Option<Piece> {
        let (least, wish) = (round_up(len, PAGE)?, round_up(wish.max(len), PAGE)?);
        self.segments.iter_mut().for_each(Own::collect);
        for len in [wish, least] {
            let fits = self.segments.iter_mut().filter(|own| own.lent.len() < FLAGS as usize);
            for own in fits {
                if let Some(offset) = own.ranges.take(len) {
                    return Some(Piece { memory: Arc::clone(&own.memory), segment: own.number, offset, len });
                }
            }
        }
        let left = self.limit.saturating_sub(self.total);
        let with_flags = least.checked_add(PAGE)?;
        let size = round_up(with_flags.max(self.total.min(8 * SEGMENT)), SEGMENT)?;
        let size = if size <= left { size } else { with_flags };
        if size > left || self.segments.len() >= MOST_SEGMENTS {
            return None;
        }
        let (fd, memory) = create_touched("procpool-results", size).ok()?;
        let (number, memory) = (self.next, Arc::new(memory));
        self.next += 1;
        self.total += size;
        let mut ranges = Ranges::new(PAGE, size);
        let len = wish.min(size - PAGE);
        let offset = ranges.take(len)?;
        self.segments.push(Own { number, memory: Arc::clone(&memory), ranges, lent: BTreeMap::new() });
        self.news.push((number, fd));
        Some(Piece { memory, segment: number, offset, len })
    }

    fn grow(&mut self, piece: &mut Piece, len: usize) -> bool {
        let Some(len) = round_up(len, PAGE) else { return false };
        let grown = len <= piece.len
            || (self.find(piece.segment))
                .is_some_and(|own| own.ranges.take_at(piece.offset + piece.len, len - piece.len));
        if grown {
            piece.len = piece.len.max(len);
        }
        grown
    }

    fn trim(&mut self, piece: &mut Piece, len: usize) {
        let Some(len) = round_up(len, PAGE).filter(|len| *len < piece.len) else { return };
        if let Some(own) = self.find(piece.segment) {
            own.ranges.put_back(piece.offset + len, piece.len - len);
            piece.len = len;
        }
    }

    fn give_back(&mut self, piece: Piece) {
        if let Some(own) = self.find(piece.segment) {
            own.ranges.put_back(piece.offset, piece.len);
        }
    }
}

/// A worker's segments as the parent knows them.
#[derive(Debug)]
pub(crate) struct Arrivals {
    segments: BTreeMap<u64, Arc<Mapping>>,
    total: usize,
    limit: usize,
}

impl Arrivals {
    /// The worker may have `limit` bytes of segments.
    pub(crate) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { segments: BTreeMap::new(), total: 0, limit }
    }

    /// The worker has a new segment. `None` if an honest worker would not say so.
    pub(crate) fn add(&mut self, number: u64, fds: Vec<OwnedFd>) -> Option<()> {
        let [fd] = <[OwnedFd; 1]>::try_from(fds).ok()?;
        if self.segments.len() >= MOST_SEGMENTS || self.segments.contains_key(&number) {
            return None;
        }
        let memory = Mapping::whole(fd, self.limit - self.total).ok()?;
        self.total += memory.len();
        self.segments.insert(number, Arc::new(memory));
        Some(())
    }

    /// The worker does without that segment.
    pub(crate) fn remove(&mut self, number: u64) {
        if let Some(memory) = self.segments.remove(&number) {
            self.total -= memory.len();
        }
    }

    /// Whether the worker has told of that segment.
    pub(crate) fn knows(&self, place: Place) -> bool {
        self.segments.contains_key(&place.segment)
    }

    /// Bytes of all segments.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// The result at this place; `None` if there is no such place.
    pub(crate) fn result(&self, place: Place, flag: u32) -> Option<Arrived> {
        let memory = self.segments.get(&place.segment)?;
        let (offset, len) = (usize::try_from(place.offset).ok()?, usize::try_from(place.len).ok()?);
        if offset < PAGE || flag >= FLAGS {
            return None;
        }
        let part = Part::new(Arc::clone(memory), offset, len)?;
        Some(Arrived { part, memory: Arc::clone(memory), flag })
    }
}

/// A large result in its place. The worker may use the place again when this is dropped.
#[derive(Debug)]
pub(crate) struct Arrived {
    part: Part,
    memory: Arc<Mapping>,
    flag: u32,
}

impl Arrived {
    /// Its bytes.
    pub(crate) fn part(&self) -> &Part {
        &self.part
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        if let Some(word) = self.memory.word(self.flag as usize) {
            word.store(FREE, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::{self, Region};

    fn put(shelf: &mut Shelf, run: &[u8]) -> Option<(Place, u32)> {
        shelf.write(|spill| spill.append(&run[..1], &run[1..]))
    }

    fn tell(shelf: &mut Shelf, arrivals: &mut Arrivals) {
        for (number, fd) in shelf.news() {
            arrivals.add(number, vec![fd]).unwrap();
        }
    }

    fn read(arrived: &Arrived) -> Vec<u8> {
        let mut bytes = Vec::new();
        bulk::append(&mut bytes, arrived.part().len(), |room| arrived.part().copy(0, room));
        bytes
    }

    #[test]
    fn a_place_is_used_again_once_its_result_was_read() {
        let (mut shelf, mut arrivals) = (Shelf::new(1 << 30), Arrivals::new(1 << 30));
        let (one, two) = (vec![1; 50_000], vec![2; 50_000]);
        let first = put(&mut shelf, &one).unwrap();
        let second = put(&mut shelf, &two).unwrap();
        tell(&mut shelf, &mut arrivals);
        let [first_read, second_read] = [first, second].map(|(place, flag)| arrivals.result(place, flag).unwrap());
        assert_eq!((read(&first_read), read(&second_read)), (one.clone(), two));
        assert!(shelf.tidy().is_empty() && !shelf.is_empty());
        drop(first_read);
        assert_eq!(put(&mut shelf, &one), Some(first));
        drop(second_read);
        drop(arrivals.result(first.0, first.1));
        assert_eq!((shelf.tidy(), shelf.is_empty()), (vec![1], true));
    }

    #[test]
    fn a_shelf_has_limits_and_what_was_not_kept_leaves_no_trace() {
        let mut shelf = Shelf::new(SEGMENT as u64);
        assert!(put(&mut shelf, &vec![1; SEGMENT]).is_none());
        assert!(put(&mut shelf, &vec![1; SEGMENT - PAGE]).is_some());
        assert!(put(&mut shelf, &[1; 2]).is_none());
        let mut shelf = Shelf::new(SEGMENT as u64);
        let mut appended = false;
        let write = |spill: &mut dyn Spill| {
            appended = spill.append(&[1], &[2]);
            false
        };
        assert_eq!((shelf.write(write), appended), (None, true));
        assert_eq!(shelf.tidy(), [1]);
    }

    #[test]
    fn more_results_than_flags_need_another_segment() {
        let (mut shelf, mut arrivals) = (Shelf::new(1 << 30), Arrivals::new(1 << 30));
        shelf.segments.clear();
        let places: Vec<_> = (0..1500).map(|_| put(&mut shelf, &[1, 2]).unwrap()).collect();
        tell(&mut shelf, &mut arrivals);
        let results: Vec<_> = places.iter().map(|&(place, flag)| arrivals.result(place, flag).unwrap()).collect();
        assert!(results.iter().all(|result| read(result) == [1, 2]));
        assert!(places.iter().any(|(place, _)| place.segment > 1));
        drop(results);
        assert!(!shelf.tidy().is_empty() && shelf.is_empty());
    }

    #[test]
    fn hostile_places_are_none() {
        let (mut shelf, mut arrivals) = (Shelf::new(1 << 30), Arrivals::new(SEGMENT as u64));
        let (place, flag) = put(&mut shelf, &[1; 100]).unwrap();
        assert!(!arrivals.knows(place) && arrivals.result(place, flag).is_none());
        tell(&mut shelf, &mut arrivals);
        assert!(arrivals.knows(place) && arrivals.result(place, flag).is_some());
        let wrong = [
            (Place { segment: 2, ..place }, flag),
            (Place { offset: 0, ..place }, flag),
            (Place { offset: u64::MAX, ..place }, flag),
            (Place { len: u64::MAX, ..place }, flag),
            (Place { len: SEGMENT as u64, ..place }, flag),
            (place, FLAGS),
            (place, u32::MAX),
        ];
        for (place, flag) in wrong {
            assert!(arrivals.result(place, flag).is_none(), "{place:?} {flag}");
        }
        let fd = |len| crate::os::memory::create_fixed("test", len).unwrap();
        assert!(arrivals.add(1, vec![fd(PAGE)]).is_none(), "there is one of that number");
        assert!(arrivals.add(2, vec![fd(PAGE)]).is_none(), "more than the limit");
        assert!(arrivals.add(2, vec![]).is_none());
        arrivals.remove(1);
        arrivals.remove(1);
        assert!(arrivals.add(2, vec![crate::os::memory::create_growing("test").unwrap()]).is_none(), "not sealed");
        assert!(arrivals.add(2, vec![fd(SEGMENT)]).is_some());
    }
}
