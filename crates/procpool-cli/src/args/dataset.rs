//! The command line of `procpool dataset`.

use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{Args, ValueEnum};
use procpool_cli::picture::Bounds;

use super::{CommonArgs, FilterArg, SandboxArgs, size};
use crate::frame::units::bounds;
use crate::jobs::dataset::{MAX_DISTANCE, Splits};

/// Make a training set of pictures
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procpool dataset photos/ -o set               photos/cat/1.jpg is a cat, in set/train/cat/1.jpg
  procpool dataset photos/ --labels labels.csv -o set --format parquet
  procpool dataset photos/ -o set --split train=0.8,val=0.1,test=0.1 --format webdataset
  procpool dataset photos/ -o set --size 256 --dedup similar --min-size 128

The class of a picture is the folder below the input that it lies in, at any depth;
of a file that is named, the folder it lies in; or what the labels say: a CSV file
with the columns path and label, whose paths are as the inputs are named or below
them. The split depends on the content of the file alone: it stays the same when
other pictures come or go. manifest.jsonl tells what became of each picture, and
dataset.json has the classes, and the mean and standard deviation of each split.

The set is the same whatever -j is, to the last byte. It is there whole or not at
all: a run that is stopped or cannot write leaves nothing.

With --resume, given from the start, a run that is killed, stopped or loses its
power leaves the pictures that it had made in the folder .OUTPUT.unfinished. The
same command makes the others, and the set that one run would have made. The
folder takes as much room as the set, and goes when that is there. With another
size, fit, encoding or procpool all are made again. Without --resume nothing is
kept.")]
pub(crate) struct DatasetArgs {
    #[command(flatten)]
    pub inputs: DatasetInputArgs,

    /// Folder to make [default: dataset]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Take the classes from this CSV file
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// What to write: files in split/class/, tar archives, or Parquet tables
    #[arg(long, value_enum, default_value_t = SetFormat::Folder)]
    pub format: SetFormat,

    /// Replace a set that is there
    #[arg(long)]
    pub replace: bool,

    /// Keep what is finished beside the output until the output is there, and take over what a run that was killed or
    /// stopped has kept
    #[arg(long)]
    pub resume: bool,

    #[command(flatten)]
    pub choice: ChoiceArgs,

    #[command(flatten)]
    pub sample: SampleArgs,

    #[command(flatten)]
    pub common: CommonArgs,

    #[command(flatten)]
    pub sandbox: SandboxArgs,

    /// Append everything that happens to this file, one JSON object per line
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    pub log: Option<PathBuf>,
}

/// Where the pictures of a set are.
#[derive(Debug, Args)]
pub(crate) struct DatasetInputArgs {
    /// Folders, which are looked into at any depth, files, or patterns such as 'a/**/*.jpg'
    #[arg(value_name = "INPUT", default_value = ".", default_value_if("files_from", ArgPredicate::IsPresent, None))]
    pub inputs: Vec<PathBuf>,

    /// Folders are looked into at any depth in any case
    #[arg(short, long, hide = true)]
    pub recursive: bool,

    /// Also the inputs that this file lists, or standard input if it is -; their names end in NUL or line feed
    #[arg(long, value_name = "FILE")]
    pub files_from: Option<PathBuf>,
}

/// Which pictures go where.
#[derive(Debug, Args)]
pub(crate) struct ChoiceArgs {
    /// Splits and their shares of the pictures
    #[arg(long, value_name = "NAME=SHARE,...", default_value = "train=1", value_parser = Splits::parse)]
    pub split: Splits,

    /// Leave out pictures of fewer pixels across or down
    #[arg(long, value_name = "WxH", value_parser = both_sides)]
    pub min_size: Option<(u32, u32)>,

    /// Leave out pictures with one side more than so many times as long as the other
    #[arg(long, value_name = "N", value_parser = aspect)]
    pub max_aspect: Option<f64>,

    /// Which pictures to leave out when one before is the same: none, those of the same bytes, or those that look alike too
    #[arg(long, value_enum, default_value_t = Dedup::Exact)]
    pub dedup: Dedup,

    /// How many of the 64 bits of their perceptual hashes (dHash) may differ where pictures look alike, up to 16
    #[arg(long, value_name = "BITS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_DISTANCE)))]
    pub distance: u32,

    /// How large an archive or a table may become
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    pub shard_size: u64,
}

/// How the pictures of a set are made.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pictures")]
pub(crate) struct SampleArgs {
    /// Width and height in pixels, or one number for a square
    #[arg(long, value_name = "WxH", default_value = "224", value_parser = both_sides)]
    pub size: (u32, u32),

    /// How a picture gets this size
    #[arg(long, value_enum, default_value_t = SampleFit::Cover)]
    pub fit: SampleFit,

    /// How pixels are weighed when the size changes
    #[arg(long, value_enum, default_value_t = FilterArg::Bicubic)]
    pub filter: FilterArg,

    /// File format of the pictures
    #[arg(long, value_enum, default_value_t = EncodingArg::Jpeg)]
    pub encoding: EncodingArg,

    /// Quality of JPEG and WebP pictures, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: u8,

    /// Leave pictures as they are stored, whatever their camera says about which side is up
    #[arg(long)]
    pub no_rotate: bool,
}

/// What a set is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SetFormat {
    Folder,
    Webdataset,
    Parquet,
}

/// Which pictures are left out as duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dedup {
    None,
    Exact,
    Similar,
}

/// How a picture of a set gets its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SampleFit {
    /// Exactly this size, filled: what juts out is cut off
    Cover,
    /// Exactly this size, with white bars beside the whole picture
    Contain,
    /// The shorter side as long as the smaller number, the longer one in proportion
    ShorterSide,
    /// Exactly this size, out of proportion if need be
    Fill,
}

/// File formats of the pictures of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EncodingArg {
    Jpeg,
    Png,
    Webp,
}

fn both_sides(text: &str) -> Result<(u32, u32), String> {
    let Bounds { width, height } = bounds(text)?;
    width.zip(height).ok_or_else(|| "write both sides, such as 224x224, or 224 for a square".into())
}

fn aspect(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(aspect) if (1.0..=65_535.0).contains(&aspect) => Ok(aspect),
        _ => Err("write a number from 1 up, such as 3 or 2.5".into()),
    }
}
