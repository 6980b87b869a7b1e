//! rayon: threads. `spawn` and a channel for single tasks, a parallel iterator for many.

use std::sync::mpsc;

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Result;
use crate::measure::Peer;
use crate::tasks;

pub(crate) struct Rayon(ThreadPool);

impl Rayon {
    /// Spawns `tasks` tasks, then takes their results from one channel.
    fn spawn_and_receive(&self, tasks: u64, task: impl Fn(u64) -> u64 + Copy + Send + 'static) -> Result<()> {
        let (sender, receiver) = mpsc::channel();
        for number in 0..tasks {
            let sender = sender.clone();
            self.0.spawn(move || {
                // The receiver is there until all have sent.
                let _ = sender.send(task(number));
            });
        }
        for _ in 0..tasks {
            receiver.recv()?;
        }
        Ok(())
    }
}

impl Peer for Rayon {
    fn start(workers: usize) -> Result<Self> {
        Ok(Self(ThreadPoolBuilder::new().num_threads(workers).build()?))
    }

    fn round_trip(&self) -> Result<()> {
        self.spawn_and_receive(1, tasks::nothing)
    }

    fn gather(&self, tasks: u64) -> Result<()> {
        self.spawn_and_receive(tasks, tasks::nothing)
    }

    fn map(&self, tasks: u64) -> Option<Result<()>> {
        std::hint::black_box(self.0.install(|| (0..tasks).into_par_iter().map(tasks::nothing).collect::<Vec<_>>()));
        Some(Ok(()))
    }

    fn gather_work(&self, tasks: u64, steps: u64) -> Result<()> {
        self.spawn_and_receive(tasks, move |_| tasks::compute(steps))
    }

    fn map_work(&self, tasks: u64, steps: u64) -> Option<Result<()>> {
        let work = || (0..tasks).into_par_iter().map(|_| tasks::compute(steps)).collect::<Vec<_>>();
        std::hint::black_box(self.0.install(work));
        Some(Ok(()))
    }

    fn map_skewed(&self, steps: &[u64]) -> Option<Result<()>> {
        let work = || steps.par_iter().map(|&steps| tasks::compute(steps)).collect::<Vec<_>>();
        std::hint::black_box(self.0.install(work));
        Some(Ok(()))
    }

    fn send(&self, _bytes: Vec<u8>) -> Option<Result<u64>> {
        None
    }

    fn echo(&self, _bytes: Vec<u8>) -> Option<Result<Vec<u8>>> {
        None
    }

    /// Dropping a rayon pool tells its threads to end, and does not wait for that.
    fn shut_down(self) {}
}
