//! The thread that receives leaves while a worker publishes: the supervisor takes over, and no result stays behind. The
//! parts of `supervisor::receive` and `supervisor::thread` that decide who listens are restated here, step by step, since
//! the threads around them are made of system calls; the words they agree by are the ring's own.

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::bells::publish;
use crate::os::Bell;
use crate::ring::{Listener, Region, ResultConsumer, ResultProducer};

/// `supervisor::Core`, as far as it is about receiving.
struct Core {
    results: ResultConsumer,
    listener: Listener,
    leader: bool,
    got: Vec<u64>,
}

impl Core {
    fn listen(&mut self, region: &Region, listener: Listener) {
        if self.listener == listener && listener == Listener::Awake {
            return;
        }
        self.listener = listener;
        region.set_listener(listener);
    }

    fn drain(&mut self) {
        while let Some(result) = self.results.pop().unwrap() {
            self.got.push(result.frame);
        }
    }
}

struct Parent {
    core: Mutex<Core>,
    region: Region,
    leader_bell: Bell,
    supervisor_bell: Bell,
}

impl Parent {
    fn new(region: &Region) -> Self {
        let results = ResultConsumer::new(region);
        // The frame was sent while nobody waited.
        region.set_listener(Listener::Supervisor);
        let core = Core { results, listener: Listener::Supervisor, leader: false, got: Vec::new() };
        let (leader_bell, supervisor_bell) = (Bell::new(), Bell::new());
        Self { core: Mutex::new(core), region: region.clone(), leader_bell, supervisor_bell }
    }

    /// `Engine::wait`: leads until `enough` of `all` results are there, or gives up when it would have to sleep.
    fn lead(&self, enough: usize, all: usize, patient: bool) {
        {
            let mut core = self.core.lock().unwrap();
            core.leader = true;
            core.listen(&self.region, Listener::Awake);
        }
        loop {
            {
                let mut core = self.core.lock().unwrap();
                core.drain();
                if core.got.len() >= enough || !patient {
                    break;
                }
            }
            let quiet = {
                let mut core = self.core.lock().unwrap();
                core.listen(&self.region, Listener::Leader);
                core.results.is_empty() && core.got.len() < enough
            };
            if quiet {
                self.leader_bell.wait();
            }
            self.core.lock().unwrap().listen(&self.region, Listener::Awake);
        }
        let mut core = self.core.lock().unwrap();
        core.leader = false;
        core.listen(&self.region, Listener::Supervisor);
        // The latter ends the model: with nothing left to receive, nobody would wake the supervisor.
        if !core.results.is_empty() || core.got.len() == all {
            self.supervisor_bell.ring();
        }
    }

    /// `supervise`, until all results are there.
    fn supervise(&self, all: usize) {
        loop {
            let busy = {
                let mut core = self.core.lock().unwrap();
                core.drain();
                if core.got.len() == all {
                    // The engine tells a leader of what others have delivered.
                    self.leader_bell.ring();
                    return;
                }
                if !core.leader {
                    core.listen(&self.region, Listener::Supervisor);
                }
                !core.results.is_empty() && !core.leader
            };
            if !busy {
                self.supervisor_bell.wait();
            }
        }
    }
}

fn hand_over(results: u64, enough: usize, patient: bool) {
    crate::model(2, move || {
        let region = Region::in_heap();
        let parent = Arc::new(Parent::new(&region));
        let works = {
            let (region, parent) = (region.clone(), Arc::clone(&parent));
            thread::spawn(move || {
                let mut worker = ResultProducer::new(&region);
                let (leader, supervisor) = (&parent.leader_bell, &parent.supervisor_bell);
                (0..results).for_each(|frame| publish(&mut worker, &region, frame, leader, supervisor));
            })
        };
        let leads = {
            let parent = Arc::clone(&parent);
            thread::spawn(move || parent.lead(enough, results as usize, patient))
        };
        parent.supervise(results as usize);
        leads.join().unwrap();
        works.join().unwrap();
        assert!(parent.core.lock().unwrap().got.iter().copied().eq(0..results));
    });
}

#[test]
fn the_supervisor_takes_over_from_a_leader_that_has_what_it_wants() {
    hand_over(2, 1, true);
}

#[test]
fn a_leader_that_came_in_the_middle_of_a_ring_is_rung() {
    hand_over(2, 2, true);
}

#[test]
fn the_supervisor_takes_over_from_a_leader_that_gives_up() {
    hand_over(1, 1, false);
}
