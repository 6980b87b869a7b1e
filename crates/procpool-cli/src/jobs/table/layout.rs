//! Which parts of which files become a group of rows. It depends on nothing but the order and the sizes of the files and on
//! the size of a group, so the output does not depend on how many workers there are or how much each takes at once.
//!
//! Small files share a group; what is larger than a group has groups of its own. So a file that fails after many good
//! records can be taken back out of the output as a whole.

use std::ops::Range;

use super::plan::MAX_OPEN;

/// The most files in a group, and in a task.
const MAX_PARTS: usize = 2000;

/// A file to lay out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sized {
    /// Its number.
    pub file: usize,
    /// Its length in bytes.
    pub len: u64,
    /// Whether it can be read from the middle.
    pub divisible: bool,
    /// Whether it travels as an open file.
    pub open: bool,
}

/// A file, or what lies between two places of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The number of the file.
    pub file: usize,
    /// From this byte on.
    pub from: u64,
    /// Up to here; to the end, if it is the last.
    pub to: u64,
    /// It is not the whole file.
    pub partial: bool,
    /// It travels as an open file.
    pub open: bool,
}

fn open_files(slices: &[Slice]) -> usize {
    slices.iter().filter(|slice| slice.open).count()
}

/// The groups, each of them with the bytes that it has.
pub(crate) fn groups(files: impl Iterator<Item = Sized>, size: u64) -> Vec<(Vec<Slice>, u64)> {
    let mut groups: Vec<(Vec<Slice>, u64)> = Vec::new();
    let (mut open, mut filled) = (Vec::new(), 0);
    let close = |open: &mut Vec<Slice>, filled: &mut u64, groups: &mut Vec<(Vec<Slice>, u64)>| {
        if !open.is_empty() {
            groups.push((std::mem::take(open), std::mem::take(filled)));
        }
    };
    for Sized { file, len, divisible, open: travels_open } in files {
        if divisible && len > size {
            close(&mut open, &mut filled, &mut groups);
            let mut from = 0;
            while from < len {
                let last = len - from <= size;
                let to = if last { u64::MAX } else { from + size };
                groups.push((vec![Slice { file, from, to, partial: true, open: true }], size.min(len - from)));
                from = from.saturating_add(size);
            }
            continue;
        }
        let full = open.len() >= MAX_PARTS || (travels_open && open_files(&open) >= MAX_OPEN);
        if full || filled.saturating_add(len) > size {
            close(&mut open, &mut filled, &mut groups);
        }
        open.push(Slice { file, from: 0, to: u64::MAX, partial: false, open: travels_open });
        filled += len;
    }
    close(&mut open, &mut filled, &mut groups);
    groups
}

/// Which groups a worker takes at once: as many as have `chunk` bytes together, and at least one. Those that are `known` need not
/// be read.
pub(crate) fn tasks(groups: &[(Vec<Slice>, u64)], chunk: u64, known: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut tasks = Vec::new();
    let (mut first, mut bytes, mut open, mut parts) = (0, 0u64, 0, 0);
    for (number, (slices, len)) in groups.iter().enumerate() {
        if known(number) {
            if number > first {
                tasks.push(first..number);
            }
            (first, bytes, open, parts) = (number + 1, 0, 0, 0);
            continue;
        }
        let more_open = open_files(slices);
        let too_many = open + more_open > MAX_OPEN || parts + slices.len() > MAX_PARTS;
        if number > first && (too_many || bytes.saturating_add(*len) > chunk) {
            tasks.push(first..number);
            (first, bytes, open, parts) = (number, 0, 0, 0);
        }
        bytes += len;
        open += more_open;
        parts += slices.len();
    }
    if first < groups.len() {
        tasks.push(first..groups.len());
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_share_a_group_and_large_ones_have_several() {
        let sizes = [(3, true), (4, true), (5, true), (25, true), (0, true), (30, false), (1, true)];
        let files =
            sizes.iter().enumerate().map(|(file, &(len, divisible))| Sized { file, len, divisible, open: false });
        let groups = groups(files, 10);
        let show = |slice: &Slice| (slice.file, slice.from, slice.to.min(99), slice.partial);
        let shown: Vec<Vec<_>> = groups.iter().map(|(slices, _)| slices.iter().map(show).collect()).collect();
        let expected = [
            vec![(0, 0, 99, false), (1, 0, 99, false)],
            vec![(2, 0, 99, false)],
            vec![(3, 0, 10, true)],
            vec![(3, 10, 20, true)],
            vec![(3, 20, 99, true)],
            vec![(4, 0, 99, false)],
            vec![(5, 0, 99, false)],
            vec![(6, 0, 99, false)],
        ];
        assert_eq!(shown, expected);
        let all = |chunk| tasks(&groups, chunk, |_| false);
        assert_eq!(all(1), (0..8).map(|n| n..n + 1).collect::<Vec<_>>());
        assert_eq!(all(20), [0..2, 2..4, 4..6, 6..7, 7..8]);
        assert_eq!(all(u64::MAX).len(), 1);
        assert!(tasks(&[], 1, |_| false).is_empty());
        assert_eq!(tasks(&groups, u64::MAX, |number| [0, 3, 4, 7].contains(&number)), [1..3, 5..7]);
        assert_eq!(tasks(&groups, 20, |number| number == 2), [0..2, 3..6, 6..7, 7..8]);
        assert!(tasks(&groups, 1, |_| true).is_empty());
    }

    #[test]
    fn a_group_has_no_more_files_than_can_travel() {
        let lens = |open| {
            let files = (0..70).map(move |file| Sized { file, len: 0, divisible: true, open: open && file % 2 == 0 });
            let groups = groups(files, 10);
            assert_eq!(tasks(&groups, u64::MAX, |_| false), (0..groups.len()).map(|n| n..n + 1).collect::<Vec<_>>());
            groups.iter().map(|(slices, _)| slices.len()).collect::<Vec<_>>()
        };
        assert_eq!(lens(true), [56, 14]);
        assert_eq!(lens(false), [70]);
    }
}
