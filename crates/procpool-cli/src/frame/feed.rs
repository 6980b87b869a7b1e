//! What the pool is fed with: open inputs, one after the other, those that are large in pieces.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;

use super::failure::{Cause, JobError};
use super::inputs::{self, FileId, Stamp, file_id};
use super::pieces::Piece;
use super::run::{Item, Job};
use super::stream::Stream;

/// What the feed has done, for the run to look at between two outcomes.
#[derive(Debug, Default)]
pub(crate) struct Fed {
    /// The input and the piece of each task, by the number of the task.
    pub tasks: Vec<(usize, Piece)>,
    /// The inputs that could not be opened.
    pub refused: Vec<(usize, JobError)>,
    /// The pieces whose input could not be opened again.
    pub broken: Vec<(usize, Piece, JobError)>,
    /// The inputs that are fed to the end, and of how many pieces.
    pub whole: Vec<(usize, u64)>,
    /// Of how many pieces an input is likely to be.
    pub likely: BTreeMap<usize, u64>,
    /// The inputs of which no more is wanted, since a piece has failed.
    pub lost: BTreeSet<usize>,
}

/// An input that is being cut.
#[derive(Clone, Copy, Debug)]
struct Cutting {
    index: usize,
    len: u64,
    id: FileId,
    /// The number of the next piece.
    next: u64,
}

/// Hands out tasks until there are no more, or the run is to stop.
pub(crate) struct Feed<'a, J: Job> {
    items: &'a [Item<J::Plan>],
    /// The inputs that are left out, sorted.
    done_before: &'a [usize],
    stopping: &'a dyn Fn() -> bool,
    stream: &'a Stream,
    fed: &'a RefCell<Fed>,
    next: usize,
    cutting: Option<Cutting>,
    /// What was taken back and is to be fed again.
    again: VecDeque<(usize, Piece)>,
    /// The run is to stop, and what has begun is to be finished.
    finishing: bool,
}

impl<'a, J: Job> Feed<'a, J> {
    /// The feed of the inputs that were not done before.
    pub(crate) fn new(
        items: &'a [Item<J::Plan>],
        done_before: &'a [usize],
        stopping: &'a dyn Fn() -> bool,
        stream: &'a Stream,
        fed: &'a RefCell<Fed>,
    ) -> Self {
        let again = VecDeque::new();
        Feed { items, done_before, stopping, stream, fed, next: 0, cutting: None, again, finishing: false }
    }

    /// From now on the rest of what has begun is handed out and nothing else: the pieces that were taken back, and those of
    /// the input that was being cut, if it `has_begun`. `false` if there is no such rest.
    pub(crate) fn finish(&mut self, taken_back: Vec<(usize, Piece)>, has_begun: impl Fn(usize) -> bool) -> bool {
        self.finishing = true;
        self.again = taken_back.into_iter().filter(|(index, _)| has_begun(*index)).collect();
        self.cutting = self.cutting.filter(|cutting| has_begun(cutting.index));
        !self.again.is_empty() || self.cutting.is_some()
    }

    fn plan(&self, index: usize) -> Option<&'a J::Plan> {
        self.items[index].plan.as_ref().ok()
    }

    fn open(&mut self, index: usize) -> Option<J::Task> {
        let plan = self.plan(index)?;
        if self.done_before.binary_search(&index).is_ok() {
            return None;
        }
        let opened = inputs::open(&self.items[index].path).and_then(|file| {
            let metadata = file.metadata().map_err(|error| JobError::unreadable(&error))?;
            Ok((file, metadata))
        });
        match opened {
            Ok((file, metadata)) => {
                let cutting = Cutting { index, len: metadata.len(), id: file_id(&metadata), next: 0 };
                let piece = Piece::cut(0, cutting.len, J::piece_len(plan))?;
                if let Some(len) = J::piece_len(plan).filter(|_| piece.end != u64::MAX) {
                    self.fed.borrow_mut().likely.insert(index, cutting.len.div_ceil(len));
                }
                let stamp = Stamp::of(&metadata);
                self.go_on(cutting, piece);
                Some(self.task(index, plan, piece, file, Some(stamp)))
            }
            Err(error) => {
                self.fed.borrow_mut().refused.push((index, error));
                None
            }
        }
    }

    /// The next piece of the input that is being cut.
    fn cut(&mut self, cutting: Cutting) -> Option<J::Task> {
        let Cutting { index, len, id, next } = cutting;
        let plan = self.plan(index)?;
        let piece = Piece::cut(next, len, J::piece_len(plan)).filter(|_| !self.fed.borrow().lost.contains(&index));
        let Some(piece) = piece else {
            self.fed.borrow_mut().whole.push((index, next));
            return None;
        };
        let (file, len) = self.reopen(index, piece, id)?;
        if piece.start >= len {
            // It has become shorter meanwhile.
            self.fed.borrow_mut().whole.push((index, next));
            return None;
        }
        self.go_on(cutting, piece);
        Some(self.task(index, plan, piece, file, None))
    }

    fn go_on(&mut self, cutting: Cutting, piece: Piece) {
        if piece.end == u64::MAX {
            self.fed.borrow_mut().whole.push((cutting.index, piece.number + 1));
        } else {
            self.cutting = Some(Cutting { next: piece.number + 1, ..cutting });
        }
    }

    /// Each piece has its own open file, so that each worker reads at a place of its own.
    fn reopen(&mut self, index: usize, piece: Piece, id: FileId) -> Option<(File, u64)> {
        let opened = inputs::open(&self.items[index].path).and_then(|file| {
            let metadata = file.metadata().map_err(|error| JobError::unreadable(&error))?;
            if file_id(&metadata) != id {
                return Err(JobError::new(Cause::Unreadable, "was replaced while it was being read"));
            }
            Ok((file, metadata.len()))
        });
        match opened {
            Ok(opened) => Some(opened),
            Err(error) => {
                let mut fed = self.fed.borrow_mut();
                fed.broken.push((index, piece, error));
                fed.lost.insert(index);
                fed.whole.push((index, piece.number + 1));
                None
            }
        }
    }

    fn task(&self, index: usize, plan: &J::Plan, piece: Piece, file: File, stamp: Option<Stamp>) -> J::Task {
        self.fed.borrow_mut().tasks.push((index, piece));
        self.stream.fed(&self.items[index].path, stamp, piece.number == 0);
        J::piece(file.into(), plan, piece)
    }

    fn task_again(&mut self, index: usize, piece: Piece) -> Option<J::Task> {
        let plan = self.plan(index)?;
        if self.fed.borrow().lost.contains(&index) {
            return None;
        }
        match inputs::open(&self.items[index].path) {
            Ok(file) => Some(self.task(index, plan, piece, file, None)),
            Err(error) => {
                let mut fed = self.fed.borrow_mut();
                fed.broken.push((index, piece, error));
                fed.lost.insert(index);
                None
            }
        }
    }
}

impl<J: Job> Iterator for Feed<'_, J> {
    type Item = J::Task;

    fn next(&mut self) -> Option<J::Task> {
        loop {
            if (self.stopping)() && !self.finishing {
                return None;
            }
            let task = if let Some((index, piece)) = self.again.pop_front() {
                self.task_again(index, piece)
            } else if let Some(cutting) = self.cutting.take() {
                self.cut(cutting)
            } else if self.finishing || self.next == self.items.len() {
                return None;
            } else {
                self.next += 1;
                self.open(self.next - 1)
            };
            if task.is_some() {
                return task;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use procpool::SharedFile;

    use super::super::record::Record;
    use super::super::report::Words;
    use super::*;

    /// Hands out pieces of four bytes.
    struct Fours;

    impl Job for Fours {
        type Plan = ();
        type Task = (SharedFile, Piece);
        type Made = ();
        type Done = ();

        fn task(input: SharedFile, (): &()) -> (SharedFile, Piece) {
            (input, Piece::WHOLE)
        }

        fn piece_len((): &()) -> Option<u64> {
            Some(4)
        }

        fn piece(input: SharedFile, (): &(), piece: Piece) -> (SharedFile, Piece) {
            (input, piece)
        }

        fn keep((): &(), (): ()) -> Result<(), JobError> {
            Ok(())
        }

        fn words(&self) -> Words {
            Words { job: "fours", one: "", many: "", done: "", unchanged: "", lines_are_results: false, place: None }
        }

        fn options(&self) -> Record {
            Record::default()
        }

        fn done(&mut self, _: &Path, (): &(), (): &()) -> (String, Record) {
            Default::default()
        }
    }

    fn items(paths: &[&Path]) -> Vec<Item<()>> {
        paths.iter().map(|path| Item { path: PathBuf::from(path), plan: Ok(()) }).collect()
    }

    #[test]
    fn inputs_are_cut_one_after_the_other() {
        let folder = tempfile::tempdir().expect("folder");
        let [a, b, gone] = ["a", "b", "gone"].map(|name| folder.path().join(name));
        fs::write(&a, "123456789").expect("file");
        fs::write(&b, "").expect("file");
        let items = items(&[&a, &gone, &b]);
        let (stream, fed) = (Stream::new(None), RefCell::default());
        let never = || false;
        let feed = Feed::<Fours>::new(&items, &[], &never, &stream, &fed);
        let pieces: Vec<(u64, u64)> = feed.map(|(_, piece)| (piece.start, piece.end)).collect();
        assert_eq!(pieces, [(0, 4), (4, 8), (8, u64::MAX), (0, u64::MAX)]);
        let fed = fed.into_inner();
        assert_eq!(
            fed.tasks.iter().map(|(index, piece)| (*index, piece.number)).collect::<Vec<_>>(),
            [(0, 0), (0, 1), (0, 2), (2, 0)]
        );
        assert_eq!(fed.whole, [(0, 3), (2, 1)]);
        assert_eq!(fed.refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_file_that_is_replaced_between_two_pieces_is_lost_and_one_that_was_shortened_ends() {
        let folder = tempfile::tempdir().expect("folder");
        let [a, b, other] = ["a", "b", "other"].map(|name| folder.path().join(name));
        fs::write(&a, "123456789").expect("file");
        fs::write(&b, "123456789").expect("file");
        let items = items(&[&a, &b]);
        let (stream, fed) = (Stream::new(None), RefCell::default());
        let never = || false;
        let mut feed = Feed::<Fours>::new(&items, &[], &never, &stream, &fed);
        assert!(feed.next().is_some());
        fs::write(&other, "987654321").expect("file");
        fs::rename(&other, &a).expect("rename");
        let next = feed.next().expect("the next file");
        assert_eq!(next.1.number, 0);
        fs::write(&b, "123").expect("file");
        assert!(feed.next().is_none());
        let fed = fed.into_inner();
        let broken: Vec<&str> = fed.broken.iter().map(|(_, _, error)| error.message.as_str()).collect();
        assert_eq!(broken, ["was replaced while it was being read"]);
        assert_eq!(fed.whole, [(0, 2), (1, 1)]);
    }

    #[test]
    fn a_run_that_stops_finishes_what_has_begun() {
        let folder = tempfile::tempdir().expect("folder");
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&a, "123456789").expect("file");
        fs::write(&b, "123456789").expect("file");
        let items = items(&[&a, &b]);
        let (stream, fed) = (Stream::new(None), RefCell::default());
        let stopping = std::cell::Cell::new(false);
        let stop = || stopping.get();
        let mut feed = Feed::<Fours>::new(&items, &[], &stop, &stream, &fed);
        assert!(feed.next().is_some() && feed.next().is_some());
        stopping.set(true);
        assert!(feed.next().is_none());
        let taken_back = vec![(0, Piece { number: 1, start: 4, end: 8 })];
        assert!(feed.finish(taken_back.clone(), |index| index == 0));
        let numbers: Vec<u64> = feed.by_ref().map(|(_, piece)| piece.number).collect();
        assert_eq!(numbers, [1, 2]);
        assert!(!feed.finish(taken_back, |_| false));
        assert!(feed.next().is_none());
    }
}
