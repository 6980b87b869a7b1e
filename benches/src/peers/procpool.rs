//! procpool itself: with worker processes, and with worker threads.

use std::time::{Duration, Instant};

use procpool::{Buffer, Pool};

use crate::Result;
use crate::measure::Peer;
use crate::tasks;

/// A procpool whose workers are threads or processes.
pub(crate) struct Procpool<const THREADS: bool>(Pool);

pub(crate) type Processes = Procpool<false>;
pub(crate) type Threads = Procpool<true>;

impl<const THREADS: bool> Peer for Procpool<THREADS> {
    fn start(workers: usize) -> Result<Self> {
        let builder = Pool::builder().workers(workers);
        let builder = if THREADS { builder.threads() } else { builder };
        Ok(Self(builder.build()?))
    }

    fn round_trip(&self) -> Result<()> {
        self.0.submit(tasks::nothing, 1)?.wait()?;
        Ok(())
    }

    fn gather(&self, tasks: u64) -> Result<()> {
        let futures = (0..tasks).map(|number| self.0.submit(tasks::nothing, number));
        for future in futures.collect::<procpool::Result<Vec<_>>>()? {
            future.wait()?;
        }
        Ok(())
    }

    fn map(&self, tasks: u64) -> Option<Result<()>> {
        Some(self.0.map(tasks::nothing, 0..tasks).try_for_each(|outcome| outcome.map(|_| ()).map_err(Into::into)))
    }

    fn gather_work(&self, tasks: u64, steps: u64) -> Result<()> {
        let futures = (0..tasks).map(|_| self.0.submit(tasks::compute, steps));
        for future in futures.collect::<procpool::Result<Vec<_>>>()? {
            future.wait()?;
        }
        Ok(())
    }

    fn map_work(&self, tasks: u64, steps: u64) -> Option<Result<()>> {
        let inputs = (0..tasks).map(|_| steps);
        Some(self.0.map(tasks::compute, inputs).try_for_each(|outcome| outcome.map(|_| ()).map_err(Into::into)))
    }

    fn map_skewed(&self, steps: &[u64]) -> Option<Result<()>> {
        let inputs = steps.iter().copied();
        Some(self.0.map(tasks::compute, inputs).try_for_each(|outcome| outcome.map(|_| ()).map_err(Into::into)))
    }

    fn send(&self, bytes: Vec<u8>) -> Option<Result<u64>> {
        let sent = || Ok(self.0.submit(tasks::count, bytes)?.wait()?);
        Some(sent())
    }

    fn echo(&self, bytes: Vec<u8>) -> Option<Result<Vec<u8>>> {
        let sent = || Ok(self.0.submit(tasks::echo, bytes)?.wait()?);
        Some(sent())
    }

    fn echo_numbers(&self, numbers: Vec<f64>) -> Option<Result<Vec<f64>>> {
        let sent = || Ok(self.0.submit(tasks::echo_numbers, numbers)?.wait()?);
        Some(sent())
    }

    fn hand(&self, bytes: Vec<u8>, times: u32) -> Option<Result<Vec<Duration>>> {
        // What is sent is kept here, so that giving it back to the system is not measured too.
        let buffer = Buffer::from(bytes);
        let once = |_| {
            let start = Instant::now();
            self.0.submit(tasks::look, buffer.clone())?.wait()?;
            Ok(start.elapsed())
        };
        Some((0..times).map(once).collect())
    }

    fn lend(&self, bytes: &[u8], times: u32) -> Option<Result<Vec<Duration>>> {
        let lent = || {
            let buffer = Buffer::copy_from(bytes)?;
            // Until both workers have it.
            let futures: procpool::Result<Vec<_>> =
                (0..64).map(|_| self.0.submit(tasks::look, buffer.clone())).collect();
            futures?.into_iter().try_for_each(|future| future.wait().map(drop))?;
            let once = |_| {
                let start = Instant::now();
                self.0.submit(tasks::look, buffer.clone())?.wait()?;
                Ok(start.elapsed())
            };
            (0..times).map(once).collect()
        };
        Some(lent())
    }

    fn shut_down(self) {
        self.0.shutdown();
    }
}
