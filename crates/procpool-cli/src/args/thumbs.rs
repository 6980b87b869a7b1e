//! The command line of `procpool thumbs`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use procpool_cli::picture::Bounds;

use super::{CommonArgs, InputArgs, LogArgs, SandboxArgs};
use crate::frame::units::{bounds, colour, pixels};

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

    /// Decode JPEG files no larger than needed also for --blur and --fit, and blur in one step: faster, a fifth of a level off
    /// on average, single pixels up to 6
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

fn blur_radius(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(radius) if radius > 0.0 && radius <= 1000.0 => Ok(radius),
        _ => Err("write a radius in pixels above 0 and up to 1000, such as 2 or 0.5".into()),
    }
}
