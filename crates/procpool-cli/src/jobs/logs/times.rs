//! How long answers took: a histogram whose buckets grow with the times, so that every quantile is known to within a share of
//! itself, and which is the same in whatever order the times came.

use serde::{Deserialize, Serialize};

/// Buckets for each doubling.
const STEPS: u64 = 64;
/// Below this each number has its own bucket.
const EXACT: u64 = 2 * STEPS;

/// What takes longer counts as this: nine years.
const LONGEST: u64 = 1 << 48;

/// By how much a quantile is off at most, as a share of it.
pub(super) const ERROR: f64 = 0.5 / STEPS as f64;

/// Times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Times {
    buckets: Vec<u64>,
    count: u64,
    sum: u64,
    most: u64,
}

fn bucket(micros: u64) -> usize {
    if micros < EXACT {
        return micros as usize;
    }
    let shift = u64::from((micros / EXACT).ilog2() + 1);
    (shift * STEPS + (micros >> shift)) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let first = (bucket - shift * STEPS) << shift;
    first + (1 << shift) / 2
}

impl Times {
    /// Notes a time.
    pub(super) fn note(&mut self, micros: u64) {
        let micros = micros.min(LONGEST);
        let bucket = bucket(micros);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(micros);
        self.most = self.most.max(micros);
    }

    /// Adds other times.
    pub(super) fn add(&mut self, other: &Times) {
        let most = bucket(LONGEST) + 1;
        if other.buckets.len() > self.buckets.len() {
            self.buckets.resize(other.buckets.len().min(most), 0);
        }
        for (bucket, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket = bucket.saturating_add(*other);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.most = self.most.max(other.most);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The mean; 0 of none.
    pub(super) fn mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }

    /// The longest.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// The time that a share of all is not above; 0 of none.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let wanted = ((share * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen = count.saturating_add(seen);
            if seen >= wanted {
                return middle(bucket).min(self.most);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        let mut last = 0;
        for (number, micros) in (0..100_000).chain((0..48).map(|bits| 1 << bits)).enumerate() {
            let at = bucket(micros);
            let off = middle(at).abs_diff(micros) as f64;
            assert!(off <= ERROR * micros as f64 + 0.5, "{micros}: {}", middle(at));
            if number < 100_000 {
                assert!(at == last || at == last + 1, "{micros}");
                last = at;
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let (mut odd, mut even) = (Times::default(), Times::default());
        for micros in 1..=10_000 {
            if micros % 2 == 0 { even.note(micros) } else { odd.note(micros) }
        }
        odd.add(&even);
        assert_eq!((odd.count(), odd.mean(), odd.most()), (10_000, 5000, 10_000));
        for (share, exact) in [(0.0, 1), (0.5, 5000), (0.9, 9000), (0.99, 9900), (1.0, 10_000)] {
            assert!(odd.quantile(share).abs_diff(exact) as f64 <= ERROR * exact as f64, "{share}");
        }
        assert_eq!((Times::default().quantile(0.5), Times::default().mean()), (0, 0));
    }
}
