//! How long to look, the same for every peer.

use serde::Serialize;

/// What one round of one peer consists of.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    /// Workers of each pool: as many as are asked for, else two.
    pub(crate) workers: usize,
    /// How often a pool is built, asked for one result and shut down.
    pub(crate) starts: u32,
    /// Round trips before those that count.
    pub(crate) warm_up: u32,
    /// How long to repeat round trips, in seconds.
    pub(crate) round_trips_s: f64,
    /// Throughput is measured with more and more tasks, until a run takes this many seconds.
    pub(crate) throughput_s: f64,
    /// Size of the large input and output in bytes.
    pub(crate) bytes: usize,
    /// How often the large ones travel.
    pub(crate) transfers: u32,
    /// Run times of the tasks that compute, in microseconds.
    pub(crate) task_us: [u64; 3],
}

impl Plan {
    pub(crate) fn full() -> Self {
        Self {
            workers: 2,
            starts: 5,
            warm_up: 500,
            round_trips_s: 0.4,
            throughput_s: 0.15,
            bytes: 64 << 20,
            transfers: 3,
            task_us: [5, 20, 100],
        }
    }

    pub(crate) fn quick() -> Self {
        Self { starts: 2, warm_up: 100, round_trips_s: 0.1, throughput_s: 0.04, transfers: 2, ..Self::full() }
    }
}
