//! The command line, resolved: defaults filled in, contradictions refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use procpool::Kind;

use crate::args::{
    BenchArgs, CommonArgs, CountArgs, CropArg, DatasetArgs, Dedup, EncodingArg, FilterArg, FitArg, FormatArg,
    InputArgs, JobArgs, LogArgs, LogsArgs, PictureArgs, RetryOn, SampleFit, SetFormat, TableArgs, TableFormat,
    TableSource, TextArgs, ThumbsArgs,
};
use crate::frame::lists;
use crate::frame::log::LogPlan;
use crate::frame::names;
use crate::frame::reader::TextPlan;
use crate::frame::report::Style;
use crate::frame::run::PoolPlan;
use crate::frame::units::Limit;
use crate::jobs::bench::BenchPlan;
use crate::jobs::count::{self, CountPlan, Figure};
use crate::jobs::dataset::{Alike, DatasetPlan, Encoding, Format as SetOut, Recipe};
use crate::jobs::logs::filter::Filter;
use crate::jobs::logs::{LogsPlan, Settings, Shape};
use crate::jobs::table::{OutFormat as TableOut, Syntax, TablePlan, format_by_name};
use crate::jobs::thumbs::{OverviewPlan, Place, ThumbsPlan, label, sheet_format};
use procpool_cli::picture::{self, Crop, Exactness, Fit, Options, OutFormat, SampleOptions};

/// What to do.
#[derive(Clone, Debug)]
pub(crate) enum JobPlan {
    /// Make thumbnails.
    Thumbs(ThumbsPlan),
    /// Count characters.
    Count(CountPlan),
    /// Statistics of access logs.
    Logs(LogsPlan),
    /// Make a table.
    Table(TablePlan),
    /// Make a training set.
    Dataset(DatasetPlan),
    /// Measure.
    Bench(BenchPlan),
}

/// What to do, where, and how to report it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What to do.
    pub job: JobPlan,
    /// The pool to do it in.
    pub pool: PoolPlan,
    /// How to report.
    pub style: Style,
    /// What to log, if anything.
    pub log: Option<LogPlan>,
}

/// Resolves a command line. The error is a message for the user.
pub(crate) fn resolve(args: JobArgs) -> Result<Plan, String> {
    match args {
        JobArgs::Thumbs(args) => thumbs(args),
        JobArgs::Count(args) => count_plan(args),
        JobArgs::Logs(args) => logs(args),
        JobArgs::Table(args) => table(args),
        JobArgs::Dataset(args) => dataset(args),
        JobArgs::Bench(args) => Ok(bench(args)),
    }
}

fn thumbs(args: ThumbsArgs) -> Result<Plan, String> {
    check(&args.picture)?;
    let place = match args.suffix {
        None => Place::Folder(args.output.unwrap_or_else(|| "thumbs".into())),
        Some(suffix) if is_suffix(&suffix) => Place::Suffix(suffix),
        Some(_) => {
            return Err("--suffix takes text that can be part of a name, such as _thumbnail".into());
        }
    };
    let sizes = args.picture.size.clone();
    if let Some((_, size)) = sizes.iter().enumerate().find(|(at, size)| sizes[..*at].contains(size)) {
        return Err(format!("--size {} is given twice", label(*size)));
    }
    if args.picture.crop != CropArg::Centre && args.picture.fit != FitArg::Cover {
        return Err("--crop says what --fit cover keeps; with any other --fit nothing is cut".into());
    }
    let overview = OverviewPlan { sheet: args.contact_sheet, gallery: args.gallery };
    if let Some(sheet) = overview.sheet.as_deref().filter(|sheet| sheet_format(sheet).is_none()) {
        return Err(format!(
            "--contact-sheet takes a name that ends in .jpg, .png or .webp, not {}",
            names::show(sheet)
        ));
    }
    if let Some(gallery) = overview.gallery.as_deref().filter(|gallery| gallery.file_name().is_none()) {
        return Err(format!("--gallery takes the name of a file, and {} is none", names::show(gallery)));
    }
    let (timeout, memory) = (Duration::from_secs(60), 2 << 30);
    let sandbox = !args.sandbox.no_sandbox;
    let pool = pool(&args.common, Limit::AtMost(timeout), Limit::AtMost(memory), sandbox);
    let recursive = args.inputs.recursive;
    let job = JobPlan::Thumbs(ThumbsPlan {
        inputs: inputs(args.inputs)?,
        recursive,
        place,
        sizes,
        options: options(&args.picture),
        skip_existing: args.skip_existing,
        overview,
    });
    Ok(Plan { job, pool, style: style(&args.common), log: log(args.log) })
}

fn count_plan(args: CountArgs) -> Result<Plan, String> {
    let asked = [args.lines, args.words, args.characters, args.bytes];
    let chosen = |(figure, asked): (Figure, bool)| asked.then_some(figure);
    let figures: Vec<Figure> = Figure::ALL.into_iter().zip(asked).filter_map(chosen).collect();
    let recursive = args.inputs.recursive;
    let job = JobPlan::Count(CountPlan {
        inputs: inputs(args.inputs)?,
        recursive,
        text: text(&args.text),
        figures: if figures.is_empty() { Figure::ALL.into() } else { figures },
        pids: args.pids,
        by_extension: args.by_extension,
        settings: count::Settings {
            encoding: args.encoding.filter(|encoding| *encoding != encoding_rs::UTF_8),
            strict: args.strict,
            universal_newlines: args.universal_newlines,
        },
    });
    let pool = pool(&args.common, Limit::None, Limit::None, !args.sandbox.no_sandbox);
    Ok(Plan { job, pool, style: style(&args.common), log: log(args.log) })
}

fn logs(args: LogsArgs) -> Result<Plan, String> {
    let recursive = args.inputs.recursive;
    let filter = Filter { since: args.since, until: args.until, statuses: args.status, path: args.path };
    let job = JobPlan::Logs(LogsPlan {
        inputs: inputs(args.inputs)?,
        recursive,
        text: text(&args.text),
        settings: Settings { format: args.format, filter, with_query: args.query },
        top: args.top as usize,
        shape: if args.csv { Shape::Csv } else { Shape::Tables },
        report: args.report,
    });
    let pool = pool(&args.common, Limit::None, Limit::None, !args.sandbox.no_sandbox);
    Ok(Plan { job, pool, style: style(&args.common), log: log(args.log) })
}

/// The inputs that were named and those that were listed.
fn inputs(args: InputArgs) -> Result<Vec<PathBuf>, String> {
    let mut inputs = args.inputs;
    if let Some(list) = &args.files_from {
        inputs.extend(lists::read(list)?);
        if inputs.is_empty() {
            return Err(format!("the list {} names no inputs", names::show(list)));
        }
    }
    Ok(inputs)
}

fn text(args: &TextArgs) -> TextPlan {
    TextPlan { unpack: !args.no_unpack, chunk: args.chunk_size.at_most() }
}

fn table(args: TableArgs) -> Result<Plan, String> {
    let format = match args.format {
        Some(TableFormat::Parquet) => TableOut::Parquet,
        Some(TableFormat::Arrow) => TableOut::Arrow,
        Some(TableFormat::Csv) => TableOut::Csv,
        Some(TableFormat::Jsonl) => TableOut::Lines,
        None => format_by_name(&args.output).ok_or_else(|| {
            let output = names::show(&args.output);
            format!("{output} ends in none of .parquet .arrow .csv .jsonl; say with --format what to write")
        })?,
    };
    if args.output.file_name().is_none() {
        return Err(format!("-o takes the name of a file, and {} is none", names::show(&args.output)));
    }
    let records = args.records;
    let mut names: Vec<&str> = records.columns.iter().flatten().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(name) = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) {
        return Err(format!("--columns has {name} twice; give one of them another name, as in other={name}"));
    }
    let recursive = args.inputs.recursive;
    let job = JobPlan::Table(TablePlan {
        inputs: inputs(args.inputs)?,
        recursive,
        output: args.output,
        format,
        syntax: records.from.map(|from| match from {
            TableSource::Csv => Syntax::Csv { separator: 0 },
            TableSource::Tsv => Syntax::Csv { separator: b'\t' },
            TableSource::Json => Syntax::Json,
            TableSource::Jsonl => Syntax::Lines,
            TableSource::Xml => Syntax::Xml,
        }),
        separator: records.separator,
        no_header: records.no_header,
        record: records.record,
        picks: records.columns,
        source: records.file_column,
        misfits: records.misfits,
        sample: records.sample,
        row_group: records.row_group,
        chunk: records.chunk,
        resume: args.resume,
    });
    let pool = pool(&args.common, Limit::None, Limit::AtMost(2 << 30), !args.sandbox.no_sandbox);
    let log = args.log.map(|path| LogPlan { path, resume: false });
    Ok(Plan { job, pool, style: style(&args.common), log })
}

fn dataset(args: DatasetArgs) -> Result<Plan, String> {
    let (choice, sample) = (args.choice, args.sample);
    let files = InputArgs { inputs: args.inputs.inputs, recursive: true, files_from: args.inputs.files_from };
    let recipe = Recipe {
        sample: SampleOptions {
            size: sample.size,
            fit: match sample.fit {
                SampleFit::Cover => Fit::Cover,
                SampleFit::Contain => Fit::Contain,
                SampleFit::ShorterSide => Fit::Shorter,
                SampleFit::Fill => Fit::Fill,
            },
            filter: filter(sample.filter),
            rotate: !sample.no_rotate,
            ..SampleOptions::default()
        },
        encoding: match sample.encoding {
            EncodingArg::Jpeg => Encoding::Jpeg,
            EncodingArg::Png => Encoding::Png,
            EncodingArg::Webp => Encoding::WebP,
        },
        quality: sample.quality,
        min_size: choice.min_size.unwrap_or((1, 1)),
        max_aspect: choice.max_aspect,
        look: choice.dedup == Dedup::Similar,
    };
    let job = JobPlan::Dataset(DatasetPlan {
        inputs: inputs(files)?,
        labels: args.labels,
        output: args.output.unwrap_or_else(|| "dataset".into()),
        replace: args.replace,
        format: match args.format {
            SetFormat::Folder => SetOut::Folder,
            SetFormat::Webdataset => SetOut::WebDataset,
            SetFormat::Parquet => SetOut::Parquet,
        },
        recipe,
        alike: match choice.dedup {
            Dedup::None => Alike::None,
            Dedup::Exact => Alike::Exact,
            Dedup::Similar => Alike::Similar(choice.distance),
        },
        splits: choice.split,
        shard_size: choice.shard_size,
        resume: args.resume,
    });
    let (timeout, memory) = (Duration::from_secs(60), 2 << 30);
    let pool = pool(&args.common, Limit::AtMost(timeout), Limit::AtMost(memory), !args.sandbox.no_sandbox);
    let log = args.log.map(|path| LogPlan { path, resume: false });
    Ok(Plan { job, pool, style: style(&args.common), log })
}

fn bench(args: BenchArgs) -> Plan {
    let job = JobPlan::Bench(BenchPlan {
        pictures: args.pictures,
        tasks: args.tasks as usize,
        count_to: args.count_to,
        options: Options::default(),
    });
    // Its workers open the pictures by themselves.
    let pool = pool(&args.common, Limit::None, Limit::None, false);
    Plan { job, pool, style: style(&args.common), log: None }
}

/// Not empty, so that it makes another name; no slash, so that it stays in its folder.
fn is_suffix(suffix: &OsStr) -> bool {
    !suffix.is_empty() && !suffix.as_bytes().contains(&b'/')
}

/// What no thumbnail could be made with.
fn check(args: &PictureArgs) -> Result<(), String> {
    if args.lossless && matches!(args.format, FormatArg::Jpeg | FormatArg::Avif) {
        return Err("JPEG and AVIF always lose some detail; --lossless goes with --format webp or png".into());
    }
    if args.animated && !matches!(args.format, FormatArg::Same | FormatArg::Webp) {
        return Err("--animated makes WebP thumbnails; leave out --format".into());
    }
    Ok(())
}

fn options(args: &PictureArgs) -> Options {
    Options {
        bounds: args.size[0],
        fit: match args.fit {
            FitArg::Inside => Fit::Inside,
            FitArg::Cover => Fit::Cover,
            FitArg::Contain => Fit::Contain,
            FitArg::Fill => Fit::Fill,
        },
        crop: match args.crop {
            CropArg::Centre => Crop::Centre,
            CropArg::Entropy => Crop::Entropy,
            CropArg::Attention => Crop::Attention,
        },
        exactness: if args.fast { Exactness::Close } else { Exactness::Exact },
        filter: filter(args.filter),
        blur: args.blur,
        quality: args.quality,
        format: match args.format {
            // The name of a thumbnail is settled before anybody has looked whether its picture moves.
            FormatArg::Same if args.animated => OutFormat::WebP,
            FormatArg::Same => OutFormat::Same,
            FormatArg::Jpeg => OutFormat::Jpeg,
            FormatArg::Png => OutFormat::Png,
            FormatArg::Webp => OutFormat::WebP,
            FormatArg::Avif => OutFormat::Avif,
        },
        rotate: !args.no_rotate,
        verify: args.verify,
        keep_profile: args.keep_profile,
        progressive: args.progressive,
        lossless: args.lossless,
        background: args.background,
        animated: args.animated,
        lenient: args.lenient,
        // How many are left over is known only with the inputs.
        threads: 1,
        max_pixels: args.max_pixels,
    }
}

fn filter(filter: FilterArg) -> picture::Filter {
    match filter {
        FilterArg::Bicubic => picture::Filter::Bicubic,
        FilterArg::Bilinear => picture::Filter::Bilinear,
        FilterArg::Lanczos => picture::Filter::Lanczos,
        FilterArg::Box => picture::Filter::Box,
    }
}

fn pool(args: &CommonArgs, timeout: Limit<Duration>, memory: Limit<u64>, sandbox: bool) -> PoolPlan {
    let limits = &args.limits;
    let kind = |on: &RetryOn| match on {
        RetryOn::Died => Kind::Died,
        RetryOn::TimedOut => Kind::TimedOut,
        RetryOn::OutOfMemory => Kind::OutOfMemory,
    };
    PoolPlan {
        workers: args.jobs.map_or_else(procpool::available_cpus, |jobs| jobs as usize),
        threads: args.threads,
        timeout: limits.timeout.unwrap_or(timeout).at_most().filter(|_| !args.threads),
        cpu_time: limits.cpu_time.and_then(Limit::at_most),
        memory: limits.memory.unwrap_or(memory).at_most().filter(|_| !args.threads),
        retries: limits.retries.unwrap_or(0),
        retry_on: limits.retry_on.iter().map(kind).collect(),
        tasks_per_worker: limits.tasks_per_worker,
        worker_memory: limits.worker_memory.and_then(Limit::at_most),
        worker_age: limits.worker_age.and_then(Limit::at_most),
        sandbox: sandbox && !args.threads,
    }
}

fn log(args: LogArgs) -> Option<LogPlan> {
    Some(LogPlan { path: args.log?, resume: args.resume })
}

fn style(args: &CommonArgs) -> Style {
    Style { json: args.json, quiet: args.quiet }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::CommandLine;

    fn plan(line: &str) -> Result<Plan, String> {
        let args = CommandLine::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        resolve(args.job)
    }

    fn pool_of(line: &str) -> PoolPlan {
        plan(line).expect("a good command line").pool
    }

    #[test]
    fn thumbnails_go_to_thumbs_unless_told_otherwise() {
        let place = |line: &str| match plan(line).map(|plan| plan.job) {
            Ok(JobPlan::Thumbs(plan)) => Ok(plan.place),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(place("procpool thumbs"), Ok(Place::Folder("thumbs".into())));
        assert_eq!(place("procpool thumbs a.jpg -o x/y"), Ok(Place::Folder("x/y".into())));
        assert_eq!(place("procpool thumbs --suffix -small"), Ok(Place::Suffix("-small".into())));
        assert!(place("procpool thumbs --suffix a/b").is_err());
        assert!(place("procpool thumbs --suffix=").is_err());
        assert!(place("procpool thumbs --suffix _t -o x").is_err());
    }

    #[test]
    fn limits_have_defaults_for_pictures_and_none_in_threads() {
        let limits = |line: &str| {
            let pool = pool_of(line);
            (pool.timeout.map(|timeout| timeout.as_secs()), pool.memory)
        };
        assert_eq!(limits("procpool thumbs"), (Some(60), Some(2 << 30)));
        assert_eq!(limits("procpool thumbs --timeout none --memory 512MiB"), (None, Some(512 << 20)));
        assert_eq!(limits("procpool thumbs --threads"), (None, None));
        assert_eq!(limits("procpool count"), (None, None));
        assert!(plan("procpool thumbs --threads --timeout 5s").is_err());
        let none = PoolPlan {
            workers: 3,
            threads: false,
            timeout: None,
            cpu_time: None,
            memory: None,
            retries: 2,
            retry_on: Vec::new(),
            tasks_per_worker: None,
            worker_memory: None,
            worker_age: None,
            sandbox: true,
        };
        assert_eq!(pool_of("procpool count -j 3 --retries 2"), none);
        let all = PoolPlan {
            timeout: Some(Duration::from_secs(5)),
            cpu_time: Some(Duration::from_secs(2)),
            memory: Some(1 << 30),
            retry_on: vec![Kind::Died, Kind::OutOfMemory],
            tasks_per_worker: Some(100),
            worker_memory: Some(1 << 20),
            worker_age: Some(Duration::from_secs(60)),
            ..none
        };
        let flags = "--timeout 5s --cpu-time 2s --memory 1G --retries 2 --retry-on died,out-of-memory \
                     --tasks-per-worker 100 --worker-memory 1MiB --worker-age 1m";
        for job in ["thumbs", "count", "bench"] {
            let pool = PoolPlan { sandbox: true, ..pool_of(&format!("procpool {job} -j 3 {flags}")) };
            assert_eq!(pool, all, "{job}");
        }
        assert!(plan("procpool count --retry-on died").is_err(), "without --retries it says nothing");
        assert!(plan("procpool count --retries 1 --retry-on panicked").is_err());
        assert!(plan("procpool count --threads --cpu-time 5s").is_err());
        assert!(plan("procpool count --threads --tasks-per-worker 5").is_ok());
        assert!(plan("procpool count -j 0").is_err());
    }

    #[test]
    fn workers_are_confined_unless_told_otherwise_or_threads() {
        for job in ["thumbs", "count"] {
            let confined = |flags: &str| pool_of(format!("procpool {job} {flags}").trim()).sandbox;
            assert_eq!([confined(""), confined("--no-sandbox"), confined("--threads")], [true, false, false]);
        }
        assert!(!pool_of("procpool bench").sandbox);
    }
}
