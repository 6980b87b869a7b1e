//! The samples of all peers, as a table for people and as JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::measure::{Figures, MEASURES};
use crate::plan::Plan;

/// All samples so far.
pub(crate) struct Report {
    peers: Vec<(&'static str, Figures)>,
    load_before: String,
}

impl Report {
    pub(crate) fn new(names: &[&'static str]) -> Self {
        Self { peers: names.iter().map(|name| (*name, Figures::new())).collect(), load_before: load() }
    }

    /// Adds the samples of one round.
    pub(crate) fn add(&mut self, peer: &str, figures: Figures) {
        let Some((_, all)) = self.peers.iter_mut().find(|(name, _)| *name == peer) else { return };
        for (measure, samples) in figures {
            all.entry(measure).or_default().extend(samples);
        }
    }

    /// Forgets a peer that could not be measured.
    pub(crate) fn leave_out(&mut self, peer: &str) {
        self.peers.retain(|(name, _)| *name != peer);
    }

    /// A table: a line for each measure, a column for each peer.
    pub(crate) fn text(&self, plan: &Plan, rounds: usize) -> String {
        let head =
            ["".to_string(), "".to_string()].into_iter().chain(self.peers.iter().map(|(name, _)| name.to_string()));
        let mut lines: Vec<Vec<String>> = vec![head.collect()];
        for (measure, label, unit) in MEASURES {
            let cells =
                self.peers.iter().map(|(_, figures)| figures.get(measure).map_or("n/a".into(), |s| short(median(s))));
            lines.push([label.to_string(), unit.to_string()].into_iter().chain(cells).collect());
        }
        let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.peers.len() + 2).map(width).collect();
        let mut text = format!(
            "{} workers, {} CPUs; medians, rounds: {rounds}; load average {} before, {} after\n\n",
            plan.workers,
            procpool::available_cpus(),
            self.load_before,
            load()
        );
        if self.load_before.parse::<f64>().is_ok_and(|load| load > 0.5) {
            text.insert_str(
                text.len() - 1,
                "Something else was using this machine: compare the columns, not the figures of another run.\n",
            );
        }
        for line in &lines {
            let (labels, cells) = line.split_at(2);
            let _ = write!(text, "{:<2$}  {:<3$}", labels[0], labels[1], widths[0], widths[1]);
            for (cell, width) in cells.iter().zip(&widths[2..]) {
                let _ = write!(text, "  {cell:>width$}");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text.push_str(
            "\nn/a: the pool has no such call, or hands the bytes over without a copy. Cores used: run time of the tasks, each\n\
             alone on a core, by the time that all workers took. rayon's shutdown does not wait for its threads.\n",
        );
        text
    }

    /// Every sample.
    pub(crate) fn json(&self, plan: &Plan, rounds: usize) -> Value {
        let measures = MEASURES.map(|(measure, label, unit)| {
            let peers = self.peers.iter().filter_map(|(name, figures)| {
                let samples = figures.get(measure)?;
                Some((name.to_string(), json!({ "median": median(samples), "samples": samples })))
            });
            json!({ "name": measure, "label": label, "unit": unit, "peers": Value::Object(peers.collect()) })
        });
        json!({
            "cpus": procpool::available_cpus(),
            "load_before": self.load_before,
            "load_after": load(),
            "rounds": rounds,
            "plan": plan,
            "measures": measures,
        })
    }
}

/// Of any samples; not a number if there are none.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Three digits, or all that are in front of the point.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let digits = format!("{value:.decimals$}");
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut grouped = String::new();
    for (k, digit) in whole.chars().enumerate() {
        if k > 0 && (whole.len() - k) % 3 == 0 {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

/// The load average of the last minute, as the kernel says.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_string()
}
