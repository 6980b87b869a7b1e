//! The command line as it is typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ArgPredicate;
use clap::{Args, Parser, Subcommand, ValueEnum};
use encoding_rs::Encoding;

use crate::frame::units::{Limit, bounds, bytes, colour, duration, pixels};
use crate::jobs::logs::Wanted;
use crate::jobs::logs::filter;
use crate::jobs::logs::time::Bound;
use procpool_cli::picture::Bounds;

mod dataset;

pub(crate) use dataset::{DatasetArgs, Dedup, EncodingArg, SampleFit, SetFormat};

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

/// Make a thumbnail of every picture
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procpool thumbs                            pictures here, into thumbs/
  procpool thumbs photos/ -r -o small/       all below photos/, into small/
  procpool thumbs *.jpg --suffix _small      a_small.jpg beside a.jpg
  procpool thumbs a.png --size 400x300 --format webp
  procpool thumbs --size 96 --fit cover --crop attention --gallery index.html
  procpool thumbs -r --log run.log --resume  what an earlier run has not done

Of a folder, files ending in .jpg .jpeg .jpe .jfif .png .webp .gif .tif .tiff
.bmp .dib .avif are taken, hidden ones not. A file that is named is always tried.
A thumbnail replaces an older one of the same name, but never an input.")]
pub(crate) struct ThumbsArgs {
    #[command(flatten)]
    pub inputs: InputArgs,

    /// Folder for the thumbnails [default: thumbs]
    #[arg(short, long, value_name = "DIR", conflicts_with = "suffix")]
    pub output: Option<PathBuf>,

    /// Put each thumbnail beside its picture, with this added to the name
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub suffix: Option<OsString>,

    /// Pass over pictures whose thumbnails are there and newer than they are. Goes by time alone; --log and --resume notice
    /// changed options too
    #[arg(long)]
    pub skip_existing: bool,

    /// Also make a picture of all thumbnails with their names, such as sheet.jpg (or .png, .webp); 100 on a page, the further
    /// pages are sheet-page-2.jpg and so on
    #[arg(long, value_name = "FILE")]
    pub contact_sheet: Option<PathBuf>,

    /// Also make a page for browsers that shows all thumbnails, such as index.html
    #[arg(long, value_name = "FILE")]
    pub gallery: Option<PathBuf>,

    #[command(flatten)]
    pub picture: PictureArgs,

    #[command(flatten)]
    pub common: CommonArgs,

    #[command(flatten)]
    pub sandbox: SandboxArgs,

    #[command(flatten)]
    pub log: LogArgs,
}

/// How thumbnails are made.
#[derive(Debug, Args)]
pub(crate) struct PictureArgs {
    /// Width and height in pixels: 128, 400x300, 256x for the width alone, x256 for the height alone. Given several times,
    /// each picture is decoded once and gets a thumbnail of each size, with it behind its name: a_128.jpg
    #[arg(long, value_name = "SIZE", default_value = "128", value_parser = bounds)]
    pub size: Vec<Bounds>,

    /// How the picture gets this size
    #[arg(long, value_enum, default_value_t = FitArg::Inside)]
    pub fit: FitArg,

    /// What stays of a picture that --fit cover cuts
    #[arg(long, value_enum, default_value_t = CropArg::Centre)]
    pub crop: CropArg,

    /// How pixels are weighed when the size changes
    #[arg(long, value_enum, default_value_t = FilterArg::Bicubic)]
    pub filter: FilterArg,

    /// Colour of the bars of --fit contain, such as #33aa77 or black [default: clear if the picture has alpha, else white]
    #[arg(long, value_name = "COLOUR", value_parser = colour)]
    pub background: Option<[u8; 3]>,

    /// Blur the picture first, with this radius in its own pixels
    #[arg(long, value_name = "RADIUS", value_parser = blur_radius)]
    pub blur: Option<f32>,

    /// Quality of JPEG, WebP and AVIF thumbnails, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 75, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: u8,

    /// File format of the thumbnails; the same as the picture's, but PNG for GIF, TIFF and BMP
    #[arg(long, value_enum, default_value_t = FormatArg::Same)]
    pub format: FormatArg,

    /// Leave pictures as they are stored, whatever their camera says about which side is up
    #[arg(long)]
    pub no_rotate: bool,

    /// Keep the colours and the colour profile of each picture, instead of converting to sRGB
    #[arg(long)]
    pub keep_profile: bool,

    /// Progressive JPEG: coarse at first, then finer
    #[arg(long)]
    pub progressive: bool,

    /// Keep every pixel in WebP thumbnails, as PNG does anyhow; JPEG and AVIF cannot
    #[arg(long)]
    pub lossless: bool,

    /// Keep animated GIF and WebP pictures moving: WebP thumbnails, of all their frames
    #[arg(long)]
    pub animated: bool,

    /// Refuse pictures of more pixels, before memory is set aside for them; such as 500M
    #[arg(long, value_name = "N", default_value = "500M", value_parser = pixels)]
    pub max_pixels: u64,

    /// Keep what can be read of damaged pictures, and say so
    #[arg(long)]
    pub lenient: bool,

    /// Decode JPEG files no larger than needed also for --blur and --fit: faster, half a level off on average, single
    /// pixels up to 10
    #[arg(long)]
    pub fast: bool,

    /// Look for damage also in what a small thumbnail leaves out: the details of progressive JPEG files. Takes longer
    #[arg(long)]
    pub verify: bool,
}

/// How a picture gets the wanted size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FitArg {
    /// As large as fits inside, in its own proportions; never enlarged
    Inside,
    /// Exactly this size, filled: what juts out is cut off
    Cover,
    /// Exactly this size, with bars beside the whole picture
    Contain,
    /// Exactly this size, out of proportion if need be
    Fill,
}

/// What stays of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CropArg {
    /// The middle
    #[value(alias = "center")]
    Centre,
    /// Where brightness varies most
    Entropy,
    /// Where there is most to look at: detail, strong colours, skin
    Attention,
}

/// How pixels are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FilterArg {
    /// Sharp, with faint halos
    Bicubic,
    /// Softer, without halos
    Bilinear,
    /// Sharpest, with more halos
    Lanczos,
    /// The mean over each pixel's area
    #[value(alias = "area")]
    Box,
}

/// File formats of thumbnails. The help text tells about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    Same,
    Jpeg,
    Png,
    Webp,
    Avif,
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

/// Make one table of the records of many files
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procpool table sales/ -o sales.parquet             every .csv .tsv .json .jsonl .xml
  procpool table 'logs/**/*.jsonl.gz' -o all.arrow --file-column file
  procpool table feeds/*.xml --record channel/item --columns title=title,url=link -o items.csv
  procpool table api/*.json --record data.items --columns id,user=owner.name -o items.jsonl

The columns and their types come from the beginning of every file; where files
disagree a column becomes as wide as it must, at last text. A value that still
does not fit is left out and recorded in OUTPUT.misfits.jsonl. A file that cannot
be read to its end, or is changed meanwhile, gives no records; the others are
done. Memory is bounded whatever the size of a file, packed or not; a record may
have 16 MiB. The output is there whole or not at all, and the same whatever -j
and --chunk are.")]
pub(crate) struct TableArgs {
    #[command(flatten)]
    pub inputs: InputArgs,

    /// File to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// What to write [default: by the name of the output]
    #[arg(long, value_enum)]
    pub format: Option<TableFormat>,

    #[command(flatten)]
    pub records: RecordArgs,

    #[command(flatten)]
    pub common: CommonArgs,

    #[command(flatten)]
    pub sandbox: SandboxArgs,

    /// Append everything that happens to this file, one JSON object per line
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    pub log: Option<PathBuf>,
}

/// Where records are and what becomes of them.
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// How the files are written [default: by name and content]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub from: Option<TableSource>,

    /// Where records are: a path as in data.items to a list in JSON, or as in channel/item to an element in XML
    /// [default: the list or the repeated element that is least deep]
    #[arg(long, value_name = "PATH")]
    pub record: Option<String>,

    /// Columns to take, as name=path or just a path: a field, a member as in user.name, an element or attribute as in
    /// user/@id [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = table_column)]
    pub columns: Option<Vec<(String, String)>>,

    /// Add a column of this name with the file that each record is from
    #[arg(long, value_name = "NAME")]
    pub file_column: Option<String>,

    /// What separates values: one character, or tab [default: by the first line]
    #[arg(long, value_name = "CHAR", value_parser = separator)]
    pub separator: Option<u8>,

    /// The first line of separated values is a record, not the names of the columns
    #[arg(long)]
    pub no_header: bool,

    /// How much of every file is looked at for its columns and types, or all (256 MiB at most)
    #[arg(long, value_name = "SIZE", default_value = "32KiB", value_parser = sample_size)]
    pub sample: u64,

    /// Where to record what did not fit [default: OUTPUT.misfits.jsonl, if there is anything]
    #[arg(long, value_name = "FILE")]
    pub misfits: Option<PathBuf>,

    /// How much of the inputs, unpacked, makes a row group of Parquet or a batch of Arrow
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = size)]
    pub row_group: u64,

    /// How much of the inputs a worker takes at once, in whole row groups
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = size)]
    pub chunk: u64,
}

/// What a table is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    Parquet,
    Arrow,
    Csv,
    Jsonl,
}

/// What records are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableSource {
    Csv,
    Tsv,
    Json,
    Jsonl,
    Xml,
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

fn blur_radius(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(radius) if radius > 0.0 && radius <= 1000.0 => Ok(radius),
        _ => Err("write a radius in pixels above 0 and up to 1000, such as 2 or 0.5".into()),
    }
}

fn table_column(text: &str) -> Result<(String, String), String> {
    let (name, path) = text.split_once('=').unwrap_or((text, text));
    if name.is_empty() || path.is_empty() {
        return Err("write name=path or a path".into());
    }
    Ok((name.into(), path.into()))
}

fn separator(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" => Ok(b'\t'),
        &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => Ok(byte),
        _ => Err("write one ASCII character that is not a quote or a line end, or tab".into()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    bytes(text)?.at_most().ok_or_else(|| "write a size such as 512KiB, 8MiB or 1G".into())
}

fn sample_size(text: &str) -> Result<u64, String> {
    if text == "all" { Ok(u64::MAX) } else { size(text) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::CommandLine::command().debug_assert();
    }
}
