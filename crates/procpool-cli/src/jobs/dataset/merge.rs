//! What becomes of the pictures, decided one after the other in their order.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::DatasetPlan;
use super::similar::Similar;
use super::sinks::{Picture, Sink};
use super::sources::Source;
use super::splits::Splits;
use super::stats::Total;
use super::why::{Out, Reason};
use super::work::{Made, Recipe, Refusal};
use crate::frame::failure::JobError;
use crate::frame::names;
use crate::frame::record::Record;

/// Which pictures are taken for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Alike {
    /// None.
    None,
    /// Those of the same bytes.
    Exact,
    /// Those whose perceptual hashes differ in at most so many bits.
    Similar(u32),
}

/// What became of a picture.
pub(crate) struct Told {
    /// Its line of the manifest, but for its path.
    pub record: Record,
    /// Where it is, or why it is nowhere.
    pub outcome: Result<PathBuf, Out>,
}

/// The set so far.
pub(crate) struct Merge<'a> {
    recipe: &'a Recipe,
    splits: &'a Splits,
    sources: &'a [Source],
    classes: &'a [String],
    alike: Alike,
    sink: Box<dyn Sink + 'a>,
    /// The numbers of the pictures that are in, by their bytes.
    contents: HashMap<[u8; 32], usize>,
    similar: Similar,
    /// How many of each class are in each split.
    counts: Vec<Vec<u64>>,
    totals: Vec<Total>,
    dropped: BTreeMap<Reason, u64>,
}

impl<'a> Merge<'a> {
    /// An empty set.
    pub(crate) fn new(
        plan: &'a DatasetPlan,
        sources: &'a [Source],
        classes: &'a [String],
        sink: Box<dyn Sink + 'a>,
    ) -> Self {
        let splits = plan.splits.names().len();
        let distance = match plan.alike {
            Alike::Similar(distance) => distance,
            Alike::None | Alike::Exact => 0,
        };
        Merge {
            recipe: &plan.recipe,
            splits: &plan.splits,
            sources,
            classes,
            alike: plan.alike,
            sink,
            contents: HashMap::new(),
            similar: Similar::new(distance),
            counts: vec![vec![0; classes.len()]; splits],
            totals: vec![Total::default(); splits],
            dropped: BTreeMap::new(),
        }
    }

    /// The next picture, of this number among the sources. The error is that the set cannot be written.
    pub(crate) fn put(&mut self, number: usize, made: Result<Made, Out>) -> Result<Told, JobError> {
        let class = self.sources[number].class.as_ref().ok();
        let mut record = Record::default().with_known("class", class.map(|class| self.classes[*class].as_str()));
        let made = made.and_then(|made| made.check(self.recipe).map_err(Out::Failed).map(|()| made));
        let outcome = match made {
            Ok(made) => {
                record = record.with("sha256", hex(&made.sha256));
                let (width, height) = made.source_size;
                if width > 0 {
                    record = record.with("width", width).with("height", height);
                }
                self.take(number, &made)?
            }
            Err(out) => Err(out),
        };
        match outcome {
            Ok((place, more)) => Ok(Told { record: record.and(more), outcome: Ok(place) }),
            Err(out) => {
                if let Out::Dropped(reason, _) = out {
                    *self.dropped.entry(reason).or_default() += 1;
                }
                let record = record.with("dropped", out.name()).with("why", out.message());
                Ok(Told { record, outcome: Err(out) })
            }
        }
    }

    /// Takes a picture into the set, or says why not.
    fn take(&mut self, number: usize, made: &Made) -> Result<Result<(PathBuf, Record), Out>, JobError> {
        let (width, height) = made.source_size;
        let out = |reason, message: String| Ok(Err(Out::Dropped(reason, message)));
        let sample = match &made.outcome {
            Ok(sample) => sample,
            Err(Refusal::TooSmall) => return out(Reason::TooSmall, format!("is only {width} x {height} pixels large")),
            Err(Refusal::TooLong) => return out(Reason::TooLong, format!("is {width} x {height} pixels large")),
            Err(Refusal::Failed(error)) => return Ok(Err(Out::Failed(error.clone()))),
        };
        let Source { path, class } = &self.sources[number];
        let class = match class {
            Ok(class) => *class,
            Err(why) => return Ok(Err(why.clone())),
        };
        if self.alike != Alike::None
            && let Some(first) = self.contents.get(&made.sha256)
        {
            return out(Reason::Duplicate, format!("is the same as {}", self.show(*first)));
        }
        if let Alike::Similar(_) = self.alike
            && let Some((first, bits)) = self.similar.find(sample.look)
        {
            let first = self.show(first);
            let what = match bits {
                0 => "looks the same as".to_owned(),
                1 => "differs in 1 bit of its looks from".to_owned(),
                bits => format!("differs in {bits} bits of its looks from"),
            };
            return out(Reason::Similar, format!("{what} {first}"));
        }
        if self.alike != Alike::None {
            self.contents.insert(made.sha256, number);
        }
        let mut record = Record::default();
        if let Alike::Similar(_) = self.alike {
            self.similar.add(sample.look, number);
            record = record.with("dhash", format!("{:016x}", sample.look));
        }
        let split = self.splits.of(&made.sha256);
        let picture = Picture { split, class, source: path, sample };
        let (place, more) = self.sink.put(&picture)?;
        self.counts[split][class] += 1;
        self.totals[split].add(&sample.sums);
        Ok(Ok((place, record.with("split", self.splits.name(split)).and(more))))
    }

    fn show(&self, number: usize) -> String {
        names::show(&self.sources[number].path)
    }

    /// Ends what is being written.
    pub(crate) fn finish(&mut self) -> Result<(), JobError> {
        self.sink.finish()
    }

    /// How many pictures there are.
    pub(crate) fn len(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// How many pictures each split has.
    pub(crate) fn of_splits(&self) -> impl Iterator<Item = (&str, u64)> {
        self.splits.names().zip(&self.counts).map(|(name, counts)| (name, counts.iter().sum()))
    }

    /// How many were left out, and why.
    pub(crate) fn dropped(&self) -> &BTreeMap<Reason, u64> {
        &self.dropped
    }

    /// Mean and standard deviation of the training pixels, where there are any.
    pub(crate) fn training(&self) -> Option<([f64; 3], [f64; 3])> {
        let total = &self.totals[self.splits.training()];
        total.mean().zip(total.deviation())
    }

    /// What is told of the whole set.
    pub(crate) fn summary(&self) -> Record {
        let split = |split: usize| {
            let counts = &self.counts[split];
            let classes: serde_json::Map<String, Value> =
                self.classes.iter().zip(counts).map(|(class, count)| (class.clone(), (*count).into())).collect();
            let (mean, deviation) = (self.totals[split].mean(), self.totals[split].deviation());
            json!({"pictures": counts.iter().sum::<u64>(), "classes": classes, "mean": mean, "std": deviation})
        };
        let splits: serde_json::Map<String, Value> =
            self.splits.names().enumerate().map(|(number, name)| (name.to_owned(), split(number))).collect();
        let dropped: serde_json::Map<String, Value> =
            self.dropped.iter().map(|(reason, count)| (reason.name().to_owned(), (*count).into())).collect();
        let (mean, deviation) = self.training().unzip();
        Record::default()
            .with("classes", self.classes)
            .with("splits", splits)
            .with("mean", mean.map(Vec::from))
            .with("std", deviation.map(Vec::from))
            .with("dropped", dropped)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
