//! `procpool bench`: how much faster the pool is than one process, here.

use std::hint::black_box;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use procpool::Pool;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::frame::exit;
use crate::frame::failure::JobError;
use crate::frame::inputs;
use crate::frame::names::{self, RawPath};
use crate::frame::record::Record;
use crate::frame::report::{note, output_failure};
use crate::frame::run::Context;
use crate::frame::units::show_duration;
use procpool_cli::picture::{self, Options};

/// The picture that is used if none is named: 3840 x 2160 pixels, CC0 (images/LICENSE.txt).
const SAMPLE: &[u8] = include_bytes!("../../../../images/wren.jpg");

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct BenchPlan {
    /// Pictures to make thumbnails of; the built-in sample if there are none.
    pub pictures: Vec<PathBuf>,
    /// How many tasks of each kind.
    pub tasks: usize,
    /// How far each counting task counts.
    pub count_to: u64,
    /// How the thumbnails are made.
    pub options: Options,
}

/// A thumbnail to make and to throw away.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PictureTask {
    input: Option<RawPath>,
    options: Options,
}

/// Runs the job and returns the exit code.
pub(crate) fn bench(context: &Context, plan: &BenchPlan) -> u8 {
    match measure(context, plan) {
        Ok(code) => code,
        Err(message) => {
            note(None, &format!("procpool: {message}"));
            exit::FAILED
        }
    }
}

fn measure(context: &Context, plan: &BenchPlan) -> Result<u8, String> {
    let counting = vec![plan.count_to; plan.tasks];
    let named = plan.pictures.iter().map(|path| Some(RawPath::from(path.as_path())));
    let inputs: Vec<Option<RawPath>> = if plan.pictures.is_empty() { vec![None] } else { named.collect() };
    let picture = |input: &Option<RawPath>| PictureTask { input: input.clone(), options: plan.options.clone() };
    let pictures: Vec<PictureTask> = inputs.iter().cycle().take(plan.tasks).map(picture).collect();

    let counted_here = time(|| counting.iter().try_for_each(|&n| count_to(n).map(drop)));
    let made_here = time(|| pictures.iter().try_for_each(|task| make(task.clone()).map(drop)));
    let (counted_here, made_here) = (counted_here.map_err(|e| e.message)?, made_here.map_err(|e| e.message)?);

    let build = || context.pool.build(plan.tasks, None).map_err(|error| error.to_string());
    let begun = Instant::now();
    let pool = build()?;
    // The first answer of every worker ends the start.
    in_pool(&pool, count_to, vec![1; pool.workers()])?;
    let started = begun.elapsed();
    let counted_in_pool = time(|| in_pool(&pool, count_to, counting))?;
    let made_in_pool = time(|| in_pool(&pool, make, pictures))?;
    let workers = pool.workers();
    pool.shutdown();

    let rows = [
        Row { name: "count", what: format!("count to {}", plan.count_to), here: counted_here, pool: counted_in_pool },
        Row { name: "thumbnails", what: "make a thumbnail".into(), here: made_here, pool: made_in_pool },
    ];
    let text = if context.style.json {
        json_lines(&rows, plan.tasks, workers, started)
    } else {
        table(&rows, plan.tasks, workers, started)
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(exit::DONE),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::PIPE_CLOSED),
        Err(error) => {
            note(None, &output_failure(&error));
            Ok(exit::FAILED)
        }
    }
}

/// Work for the processor and nothing else.
fn count_to(n: u64) -> Result<u64, JobError> {
    let mut counted = 0;
    while counted < n {
        counted = black_box(counted + 1);
    }
    Ok(counted)
}

/// A thumbnail of a picture, not written anywhere. Returns its length in bytes.
fn make(task: PictureTask) -> Result<u64, JobError> {
    let read =
        |path: &RawPath| inputs::read(path.as_path(), super::thumbs::MAX_INPUT).map_err(|error| naming(path, error));
    let bytes = task.input.as_ref().map(read).transpose()?;
    let made = picture::thumbnail(bytes.as_deref().unwrap_or(SAMPLE), &task.options);
    let made = made.map_err(|error| match &task.input {
        Some(path) => naming(path, super::thumbs::job_error(&error)),
        None => super::thumbs::job_error(&error),
    })?;
    Ok(made.bytes.len() as u64)
}

fn naming(path: &RawPath, error: JobError) -> JobError {
    JobError::new(error.cause, format!("{}: {}", names::show(path.as_path()), error.message))
}

fn time<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
    let begun = Instant::now();
    work().map(|()| begun.elapsed())
}

fn in_pool<T, F>(pool: &Pool, work: F, tasks: Vec<T>) -> Result<(), String>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: Fn(T) -> Result<u64, JobError> + Copy + Send + 'static,
{
    for outcome in pool.map(work, tasks).chunk_size(1) {
        outcome.map_err(|error| error.to_string())?.map_err(|error| error.message)?;
    }
    Ok(())
}

struct Row {
    name: &'static str,
    what: String,
    here: Duration,
    pool: Duration,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.here.as_secs_f64() / self.pool.as_secs_f64().max(1e-9)
    }
}

fn table(rows: &[Row], tasks: usize, workers: usize, started: Duration) -> String {
    let mut cells =
        vec![[format!("{tasks} tasks"), "one process".into(), format!("pool of {workers}"), "ratio".into()]];
    cells.extend(rows.iter().map(|row| {
        let ratio = format!("{:.2}", row.ratio());
        [row.what.clone(), show_duration(row.here), show_duration(row.pool), ratio]
    }));
    cells.push(["start the pool".into(), "".into(), show_duration(started), "".into()]);
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let line = |[what, here, pool, ratio]: &[String; 4]| {
        let [a, b, c, d] = widths;
        let line = format!("{what:<a$}   {here:>b$}   {pool:>c$}   {ratio:>d$}");
        format!("{}\n", line.trim_end())
    };
    cells.iter().map(line).collect()
}

fn json_lines(rows: &[Row], tasks: usize, workers: usize, started: Duration) -> String {
    let row = |row: &Row| {
        let record = Record::default()
            .with("bench", row.name)
            .with("tasks", tasks)
            .with("one_process_seconds", row.here.as_secs_f64())
            .with("pool_seconds", row.pool.as_secs_f64())
            .with("ratio", row.ratio());
        record.line() + "\n"
    };
    let summary = Record::default()
        .with("summary", true)
        .with("job", "bench")
        .with("workers", workers)
        .with("start_seconds", started.as_secs_f64());
    rows.iter().map(row).collect::<String>() + &summary.line() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> [Row; 2] {
        let seconds = Duration::from_secs_f64;
        [
            Row { name: "count", what: "count to 300000000".into(), here: seconds(4.0), pool: seconds(2.0) },
            Row { name: "thumbnails", what: "make a thumbnail".into(), here: seconds(12.5), pool: seconds(0.5) },
        ]
    }

    #[test]
    fn the_table_lines_up() {
        let expected = "\
8 tasks              one process   pool of 2   ratio
count to 300000000        4.00 s      2.00 s    2.00
make a thumbnail          12.5 s      0.50 s   25.00
start the pool                       10.0 ms
";
        assert_eq!(table(&rows(), 8, 2, Duration::from_millis(10)), expected);
    }

    #[test]
    fn programs_get_one_object_per_line() {
        let expected = concat!(
            r#"{"bench":"count","tasks":8,"one_process_seconds":4.0,"pool_seconds":2.0,"ratio":2.0}"#,
            "\n",
            r#"{"bench":"thumbnails","tasks":8,"one_process_seconds":12.5,"pool_seconds":0.5,"ratio":25.0}"#,
            "\n",
            r#"{"summary":true,"job":"bench","workers":2,"start_seconds":0.25}"#,
            "\n",
        );
        assert_eq!(json_lines(&rows(), 8, 2, Duration::from_millis(250)), expected);
    }
}
