//! procspawn: processes, two IPC channels for each task.

use procspawn::{JoinHandle, Pool};

use crate::Result;
use crate::measure::Peer;
use crate::tasks;

pub(crate) struct Procspawn(Pool);

/// Tasks in flight at once. Each holds several file descriptors, and a process may commonly have 1024.
const IN_FLIGHT: u64 = 100;

impl Procspawn {
    fn in_batches(&self, tasks: u64, spawn: impl Fn(u64) -> JoinHandle<u64>) -> Result<()> {
        let mut next = 0;
        while next < tasks {
            let end = (next + IN_FLIGHT).min(tasks);
            for handle in (next..end).map(&spawn).collect::<Vec<_>>() {
                handle.join()?;
            }
            next = end;
        }
        Ok(())
    }
}

impl Peer for Procspawn {
    fn start(workers: usize) -> Result<Self> {
        Ok(Self(Pool::new(workers)?))
    }

    fn round_trip(&self) -> Result<()> {
        self.0.spawn(1, tasks::nothing).join()?;
        Ok(())
    }

    fn gather(&self, tasks: u64) -> Result<()> {
        self.in_batches(tasks, |number| self.0.spawn(number, tasks::nothing))
    }

    fn map(&self, _tasks: u64) -> Option<Result<()>> {
        None
    }

    fn gather_work(&self, tasks: u64, steps: u64) -> Result<()> {
        self.in_batches(tasks, |_| self.0.spawn(steps, tasks::compute))
    }

    fn map_work(&self, _tasks: u64, _steps: u64) -> Option<Result<()>> {
        None
    }

    fn send(&self, bytes: Vec<u8>) -> Option<Result<u64>> {
        Some(self.0.spawn(bytes, tasks::count).join().map_err(Into::into))
    }

    fn echo(&self, bytes: Vec<u8>) -> Option<Result<Vec<u8>>> {
        Some(self.0.spawn(bytes, tasks::echo).join().map_err(Into::into))
    }

    fn shut_down(self) {
        self.0.shutdown();
    }
}
