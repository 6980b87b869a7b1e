//! procpool beside other pools: one program, one run, one table.
//!
//! The peers take turns, round after round, and each figure is the median over the rounds, so that a noisy minute of the
//! machine hits all of them or none. Nothing is asserted: the program says what it measured.

mod idle;
mod measure;
mod peers;
mod plan;
mod report;
mod scaling;
mod tasks;

use std::process::ExitCode;
use std::time::Duration;

use peers::{Processes, Procspawn, Rayon, Threads, python};
use plan::Plan;
use report::Report;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
pool-bench: measures procpool beside other pools

  --quick         fewer and shorter rounds
  --rounds N      how many rounds
  --only A,B      only these peers
  --workers N     how many workers each pool has [default: 2]
  --json FILE     also write every sample to FILE
  --scaling N,N   instead: which share of their time pools of so many workers spend in tasks
  --idle SECONDS  instead: what a pool uses that is left alone so long, and what tasks take that wait
  --profile WHAT=N
                  instead: procpool alone does N empty tasks, for a profiler to watch; WHAT is trips, gather or map,
                  and with gather:US and map:US the tasks compute for so many microseconds. With
                  --only 'procpool threads' the workers are threads, which valgrind can follow
  --help          this text
";

/// What was asked for on the command line.
struct Args {
    plan: Plan,
    rounds: usize,
    only: Option<Vec<String>>,
    json: Option<String>,
    scaling: Option<Vec<usize>>,
    idle: Option<u64>,
    profile: Option<String>,
}

/// A pool to be measured: its name, and what measures it once.
type Peer = (&'static str, fn(&Plan) -> Result<measure::Figures>);

const PEERS: [Peer; 5] = [
    ("procpool", measure::round::<Processes>),
    ("procpool threads", measure::round::<Threads>),
    ("rayon", measure::round::<Rayon>),
    ("procspawn", measure::round::<Procspawn>),
    ("ProcessPoolExecutor", python::round),
];

fn main() -> ExitCode {
    // Each returns at once unless this process was started as its worker: by arguments the first, by environment the second.
    procpool::init();
    procspawn::init();
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprint!("pool-bench: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("pool-bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line; `None` if it asks for help.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Args>> {
    let mut parsed =
        Args { plan: Plan::full(), rounds: 5, only: None, json: None, scaling: None, idle: None, profile: None };
    let (mut rounds, mut workers) = (None, None);
    let number = |text: &str| text.parse::<usize>().ok().filter(|&number| number > 0);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--quick" => (parsed.plan, parsed.rounds) = (Plan::quick(), 3),
            "--rounds" => rounds = Some(number(&value()?).ok_or("--rounds needs a number")?),
            "--workers" => workers = Some(number(&value()?).ok_or("--workers needs a number")?),
            "--scaling" => {
                let counts = value()?.split(',').map(number).collect::<Option<_>>();
                parsed.scaling = Some(counts.ok_or("--scaling needs numbers of workers with commas between them")?);
            }
            "--only" => parsed.only = Some(value()?.split(',').map(str::to_string).collect()),
            "--json" => parsed.json = Some(value()?),
            "--idle" => parsed.idle = Some(value()?.parse().map_err(|_| "--idle needs a number of seconds")?),
            "--profile" => parsed.profile = Some(value()?),
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("unknown argument {arg}").into()),
        }
    }
    parsed.rounds = rounds.unwrap_or(parsed.rounds);
    parsed.plan.workers = workers.unwrap_or(parsed.plan.workers);
    let names = PEERS.map(|(name, _)| name);
    if let Some(unknown) = parsed.only.iter().flatten().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("unknown peer {unknown:?}; there are: {}", names.join(", ")).into());
    }
    Ok(Some(parsed))
}

/// Does as many empty tasks as `what` says, and nothing else.
fn profile<P: measure::Peer>(what: &str, workers: usize) -> Result<()> {
    let (what, tasks) = what.split_once('=').ok_or("--profile needs WHAT=N")?;
    let tasks: u64 = tasks.parse().map_err(|_| "--profile needs a number of tasks")?;
    let pool = P::start(workers)?;
    if let Some((what, us)) = what.split_once(':') {
        let us: f64 = us.parse().map_err(|_| "--profile WHAT:US needs a number of microseconds")?;
        let steps = (tasks::steps_per_us() * us) as u64;
        match what {
            "gather" => pool.gather_work(tasks, steps)?,
            "map" => pool.map_work(tasks, steps).unwrap_or(Ok(()))?,
            _ => return Err(format!("unknown profile {what:?}; there are: gather:US, map:US").into()),
        }
        pool.shut_down();
        return Ok(());
    }
    match what {
        "trips" => (0..tasks).try_for_each(|_| pool.round_trip())?,
        "gather" => pool.gather(tasks)?,
        "map" => pool.map(tasks).unwrap_or(Ok(()))?,
        _ => return Err(format!("unknown profile {what:?}; there are: trips, gather, map").into()),
    }
    pool.shut_down();
    Ok(())
}

fn run(args: &Args) -> Result<()> {
    if let Some(seconds) = args.idle {
        return idle::report(Duration::from_secs(seconds));
    }
    if let Some(what) = &args.profile {
        return match args.only.as_deref() {
            Some([threads]) if threads == "procpool threads" => profile::<Threads>(what, args.plan.workers),
            _ => profile::<Processes>(what, args.plan.workers),
        };
    }
    if let Some(counts) = &args.scaling {
        return scaling::report(&args.plan, counts, args.rounds, args.only.as_deref());
    }
    let asked_for = |name: &str| args.only.as_ref().is_none_or(|only| only.iter().any(|o| o == name));
    let mut peers: Vec<Peer> = PEERS.into_iter().filter(|(name, _)| asked_for(name)).collect();
    let mut report = Report::new(&peers.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let mut failed = Vec::new();
        let turns = peers.len();
        for turn in 0..turns {
            // Another one begins each round: whoever is first may find the machine cold.
            let (name, measure) = peers[(round + turn) % turns];
            match measure(&args.plan) {
                Ok(figures) => report.add(name, figures),
                Err(why) => {
                    eprintln!("{name} is left out: {why}");
                    failed.push(name);
                }
            }
        }
        peers.retain(|(name, _)| !failed.contains(name));
        failed.iter().for_each(|name| report.leave_out(name));
    }
    print!("{}", report.text(&args.plan, args.rounds));
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&report.json(&args.plan, args.rounds))?;
        std::fs::write(path, json).map_err(|e| format!("cannot write {path}: {e}"))?;
    }
    Ok(())
}
