//! Which share of their time workers spend in tasks, by their number.

use crate::measure::{self, Figures, MEASURES};
use crate::peers::{Processes, Rayon, Threads};
use crate::plan::Plan;
use crate::report::{load, median, short};
use crate::{Peer, Result};

const PEERS: [Peer; 3] = [
    ("procpool", measure::scaling::<Processes>),
    ("procpool threads", measure::scaling::<Threads>),
    ("rayon", measure::scaling::<Rayon>),
];

/// Measures pools of each of these numbers of workers, in turns, and prints a table: medians over the rounds.
pub(crate) fn report(plan: &Plan, counts: &[usize], rounds: usize, only: Option<&[String]>) -> Result<()> {
    let peers: Vec<Peer> =
        PEERS.into_iter().filter(|(name, _)| only.is_none_or(|only| only.iter().any(|o| o == name))).collect();
    if peers.is_empty() {
        return Err(format!("--scaling measures only: {}", PEERS.map(|(name, _)| name).join(", ")).into());
    }
    let before = load();
    let mut samples = vec![vec![Figures::new(); counts.len()]; peers.len()];
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (column, &workers) in counts.iter().enumerate() {
            for ((_, measure), samples) in peers.iter().zip(&mut samples) {
                for (name, values) in measure(&Plan { workers, ..plan.clone() })? {
                    samples[column].entry(name).or_default().extend(values);
                }
            }
        }
    }
    println!(
        "{} CPUs; share of all workers' time in tasks, %; medians, rounds: {rounds}; load average {before} before, {} after\n",
        procpool::available_cpus(),
        load()
    );
    let heads: Vec<String> =
        counts.iter().map(|count| format!("{count} worker{}", if *count == 1 { "" } else { "s" })).collect();
    println!("| work | pool | {} |", heads.join(" | "));
    println!("|---|---{}|", "|---:".repeat(counts.len()));
    for (measure, label, _) in MEASURES {
        for ((name, _), samples) in peers.iter().zip(&samples) {
            let cells: Vec<String> =
                samples.iter().filter_map(|figures| figures.get(measure).map(|values| short(median(values)))).collect();
            if !cells.is_empty() {
                println!("| {} | {name} | {} |", label.trim_end_matches(": cores used"), cells.join(" | "));
            }
        }
    }
    Ok(())
}
