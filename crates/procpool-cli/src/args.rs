//! The command line as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ArgPredicate;
use clap::{Args, Parser, Subcommand, ValueEnum};
use encoding_rs::Encoding;

use crate::frame::units::{Limit, bytes, duration};
use crate::jobs::logs::Wanted;
use crate::jobs::logs::filter;
use crate::jobs::logs::time::Bound;

mod dataset;
mod table;
mod thumbs;

pub(crate) use dataset::{DatasetArgs, Dedup, EncodingArg, SampleFit, SetFormat};
pub(crate) use table::{TableArgs, TableFormat, TableSource};
pub(crate) use thumbs::{CropArg, FilterArg, FitArg, FormatArg, PictureArgs, ThumbsArgs};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "procpool",
    version,
    about = "Works on many files at once, in worker processes: a file that breaks its worker fails alone.",
    after_help = "\
Exit codes: 0 all done, 1 some inputs failed, 2 wrong usage or nothing to do;
130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, 141 if nobody reads on.
Ctrl-C finishes what runs and begins nothing more; a second Ctrl-C ends at once."
)]
pub(crate) struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub job: JobArgs,
}

/// The jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobArgs {
    Thumbs(ThumbsArgs),
    Count(CountArgs),
    Logs(LogsArgs),
    Table(TableArgs),
    Dataset(DatasetArgs),
    Bench(BenchArgs),
}

/// Count bytes, lines, words and characters of every file, as wc does
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procpool count notes.txt letters/
  procpool count -r src/ --by-extension       sums by extension too
  procpool count 'logs/**/*.log.gz' --json
  procpool count -m -r /etc --pids            characters, and who counted them
  find . -name '*.md' -print0 | procpool count --files-from -

All figures are those of GNU wc in the locale C.UTF-8, to the last digit: bytes
that are not UTF-8 are no characters. A file that cannot be read is named and
counts 0; with --strict one that is not UTF-8 too.")]
pub(crate) struct CountArgs {
    #[command(flatten)]
    pub inputs: InputArgs,

    /// Show lines: line feeds
    #[arg(short, long)]
    pub lines: bool,

    /// Show words
    #[arg(short, long)]
    pub words: bool,

    /// Show characters
    #[arg(short = 'm', long, visible_alias = "chars")]
    pub characters: bool,

    /// Show bytes [default: lines, words, characters and bytes]
    #[arg(short = 'c', long)]
    pub bytes: bool,

    /// Sum up by extension too
    #[arg(long)]
    pub by_extension: bool,

    /// A file with anything in it that is not UTF-8, or not in the encoding, fails and counts 0
    #[arg(long)]
    pub strict: bool,

    /// The encoding of the files, such as latin1, utf-16 or shift_jis [default: UTF-8]
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    pub encoding: Option<&'static Encoding>,

    /// Count a line end of carriage return and line feed as one character, as Python's text files do
    #[arg(long)]
    pub universal_newlines: bool,

    /// Show the processes that counted each file
    #[arg(long)]
    pub pids: bool,

    #[command(flatten)]
    pub text: TextArgs,

    #[command(flatten)]
    pub common: CommonArgs,

    #[command(flatten)]
    pub sandbox: SandboxArgs,

    #[command(flatten)]
    pub log: LogArgs,
}

/// Statistics of web servers' access logs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procpool logs /var/log/nginx/access.log*    tables of what was asked, by whom
  procpool logs -r logs/ --report report.html the same for a browser
  procpool logs access.log --status 5xx --since 2026-11-20 --path '/api/**'
  procpool logs app.log --format '$remote_addr [$time_local] \"$request\" $status'

Formats: common and combined of Apache and nginx, with the virtual host in front
or without; JSON lines of Caddy and nginx; W3C, as IIS and CloudFront write it;
AWS ALB; or --format with what stands in nginx's log_format. Lines that are none
of the format are counted, and the first of them are shown.")]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub inputs: InputArgs,

    /// auto, common, combined, vhost, json, caddy, w3c, cloudfront, alb, or a format string of nginx
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = Wanted::parse)]
    pub format: Wanted,

    /// Only requests from this time on, such as 2026-11-21 or 2026-11-21T13:55; without a zone by the clock of the log
    #[arg(long, value_name = "TIME", value_parser = Bound::parse)]
    pub since: Option<Bound>,

    /// Only requests before this time
    #[arg(long, value_name = "TIME", value_parser = Bound::parse)]
    pub until: Option<Bound>,

    /// Only requests that ended so: 404, 5xx, 400-499; several with commas
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = filter::statuses)]
    pub status: Vec<(u16, u16)>,

    /// Only paths that match, without their queries; * stops at slashes, ** does not
    #[arg(long, value_name = "GLOB", value_parser = path_pattern)]
    pub path: Option<String>,

    /// Take paths with their queries
    #[arg(long)]
    pub query: bool,

    /// How many rows each table has
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub top: u32,

    /// Print CSV: table,item,requests,bytes
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,

    /// Also write a page for browsers, with charts
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    #[command(flatten)]
    pub text: TextArgs,

    #[command(flatten)]
    pub common: CommonArgs,

    #[command(flatten)]
    pub sandbox: SandboxArgs,

    #[command(flatten)]
    pub log: LogArgs,
}

/// How text files are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reading")]
pub(crate) struct TextArgs {
    /// Read files called .gz and .zst as they are, not what is packed in them
    #[arg(long)]
    pub no_unpack: bool,

    /// Share a larger file among the workers, so much at a time, or none for whole files
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "16MiB", hide_default_value = false)]
    pub chunk_size: Limit<u64>,
}

/// What is written down, and read again.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// Append everything that happens to this file, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// Skip what the log says is done, unless the file, its output or the options have changed since
    #[arg(long, requires = "log")]
    pub resume: bool,
}

/// The flags of jobs that read files from anywhere.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workers and output")]
pub(crate) struct SandboxArgs {
    /// Let workers open files, use the network and start programs, which they do not need
    #[arg(long)]
    pub no_sandbox: bool,
}

/// Measure how much faster the pool is than one process, on this machine
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Pictures to make thumbnails of [default: one that is built in]
    #[arg(value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,

    /// Number of tasks of each kind
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tasks: u32,

    /// How far each counting task counts
    #[arg(long, value_name = "N", default_value_t = 300_000_000)]
    pub count_to: u64,

    #[command(flatten)]
    pub common: CommonArgs,
}

/// What to work on.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// Files, folders, or patterns such as 'a/**/*.jpg'
    #[arg(value_name = "INPUT", default_value = ".", default_value_if("files_from", ArgPredicate::IsPresent, None))]
    pub inputs: Vec<PathBuf>,

    /// Look into sub-folders too
    #[arg(short, long)]
    pub recursive: bool,

    /// Also the inputs that this file lists, or standard input if it is -; their names end in NUL or line feed
    #[arg(long, value_name = "FILE")]
    pub files_from: Option<PathBuf>,
}

/// What a thread cannot be held to.
const PROCESSES_ONLY: [&str; 6] = ["timeout", "cpu_time", "memory", "retries", "retry_on", "worker_memory"];

/// The flags of every job.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workers and output")]
pub(crate) struct CommonArgs {
    /// Number of workers [default: one per CPU]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub jobs: Option<u32>,

    /// Work in threads of this process: no limits, and a file that breaks one ends all
    #[arg(long, conflicts_with_all = PROCESSES_ONLY)]
    pub threads: bool,

    /// Print one JSON object per file, and one at the end
    #[arg(long)]
    pub json: bool,

    /// Print failures only
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub limits: LimitArgs,
}

/// What one file may take, and when a worker is replaced.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Longest time for one file, such as 500ms, 60s, 2m or none [default: 60s for thumbs and dataset, else none]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Limit<Duration>>,

    /// Most CPU time for one file, of all threads together
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub cpu_time: Option<Limit<Duration>>,

    /// Most memory of a worker at work, such as 512MiB, 2G or none [default: 2GiB for thumbs, table and dataset, else none]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub memory: Option<Limit<u64>>,

    /// Further attempts for a file whose worker died or reached a limit [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub retries: Option<u32>,

    /// After what to try again: died, timed-out, out-of-memory [default: all of them]
    #[arg(
        long,
        value_name = "KINDS",
        requires = "retries",
        value_delimiter = ',',
        value_enum,
        hide_possible_values = true
    )]
    pub retry_on: Vec<RetryOn>,

    /// Replace a worker after so many files
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub tasks_per_worker: Option<u64>,

    /// Replace a worker that has more memory than this when it has finished a file
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub worker_memory: Option<Limit<u64>>,

    /// Replace a worker that is older than this when it has finished a file
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub worker_age: Option<Limit<Duration>>,
}

/// Failures that are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RetryOn {
    Died,
    TimedOut,
    OutOfMemory,
}

fn path_pattern(text: &str) -> Result<String, String> {
    filter::path_pattern(text).map(|_| text.to_owned())
}

fn encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.as_bytes())
        .ok_or_else(|| "write a name that web pages use, such as latin1 or utf-16".into())
}

fn size(text: &str) -> Result<u64, String> {
    bytes(text)?.at_most().ok_or_else(|| "write a size such as 512KiB, 8MiB or 1G".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::CommandLine::command().debug_assert();
    }
}
