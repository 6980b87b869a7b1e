//! Pictures that look alike: perceptual hashes few bits apart.

use std::collections::HashMap;

/// Bits of a hash.
const BITS: u32 = 64;

/// The largest distance that can be asked for. Beyond it, pictures that have nothing in common count as alike.
pub(crate) const MAX_DISTANCE: u32 = 16;

/// The hashes so far, to be asked for one that is near.
///
/// Two hashes that differ in at most `d` bits agree in at least one of `d + 1` parts. So only those are compared that have a
/// part in common, by Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", 2007.
#[derive(Debug)]
pub(crate) struct Similar {
    distance: u32,
    /// Each hash and whose it is.
    hashes: Vec<(u64, usize)>,
    /// For each part, which hashes have it.
    parts: Vec<HashMap<u64, Vec<u32>>>,
}

impl Similar {
    /// Nothing yet, to be searched for what differs in at most `distance` bits, up to [`MAX_DISTANCE`].
    pub(crate) fn new(distance: u32) -> Similar {
        let distance = distance.min(MAX_DISTANCE);
        Similar { distance, hashes: Vec::new(), parts: vec![HashMap::new(); distance as usize + 1] }
    }

    /// Whose hash is near, the first one that was added, and how many bits lie between.
    pub(crate) fn find(&self, hash: u64) -> Option<(usize, u32)> {
        let near = |number: &u32| (self.hashes[*number as usize].0 ^ hash).count_ones() <= self.distance;
        let candidates = self.parts.iter().enumerate().filter_map(|(part, with)| with.get(&self.part(hash, part)));
        // Those of one part are in the order in which they were added.
        let first = candidates.filter_map(|numbers| numbers.iter().find(|number| near(number))).min()?;
        let (found, whose) = self.hashes[*first as usize];
        Some((whose, (found ^ hash).count_ones()))
    }

    /// Adds the hash of the picture `whose`.
    pub(crate) fn add(&mut self, hash: u64, whose: usize) {
        // Pictures that number more than this would take years.
        let Ok(number) = u32::try_from(self.hashes.len()) else { return };
        self.hashes.push((hash, whose));
        for part in 0..self.parts.len() {
            let bits = self.part(hash, part);
            self.parts[part].entry(bits).or_default().push(number);
        }
    }

    fn part(&self, hash: u64, part: usize) -> u64 {
        let count = self.parts.len() as u32;
        let (start, end) = (BITS * part as u32 / count, BITS * (part as u32 + 1) / count);
        (hash >> start) & (u64::MAX >> (BITS - (end - start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_the_first_that_a_search_through_all_finds() {
        for distance in [0, 1, 3, 10, MAX_DISTANCE] {
            let mut similar = Similar::new(distance);
            let mut all: Vec<u64> = Vec::new();
            let mut state = 7u64;
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state ^ (state >> 31)
            };
            let mut found_some = 0;
            for number in 0..400 {
                // Half of them are an earlier one with some bits changed.
                let hash = match all.get((random() % 500) as usize) {
                    Some(other) => (0..random() % 20).fold(*other, |hash, _| hash ^ (1 << (random() % 64))),
                    None => random(),
                };
                let expected = all.iter().position(|other| (other ^ hash).count_ones() <= distance);
                let found = similar.find(hash);
                assert_eq!(found.map(|(whose, _)| whose), expected.map(|index| index + 1000));
                if let (Some((_, bits)), Some(index)) = (found, expected) {
                    assert_eq!(bits, (all[index] ^ hash).count_ones());
                    found_some += 1;
                }
                similar.add(hash, number + 1000);
                all.push(hash);
            }
            assert!(found_some > 5, "{distance}: {found_some}");
        }
    }
}
