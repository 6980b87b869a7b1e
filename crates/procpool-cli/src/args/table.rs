//! The command line of `procpool table`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CommonArgs, InputArgs, SandboxArgs, size};

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
and --chunk are.

With --resume, given from the start, a run that is killed, stopped or loses its
power leaves what it had finished in the folder .OUTPUT.unfinished. The same
command reads the rest, and what has changed since or failed with its worker;
the output is that of one run. The folder takes as much room as the output, and
goes when that is there. With other options or another procpool all is read
again. Without --resume nothing is kept.")]
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

    /// Keep what is finished beside the output until the output is there, and take over what a run that was killed or
    /// stopped has kept
    #[arg(long)]
    pub resume: bool,

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

fn sample_size(text: &str) -> Result<u64, String> {
    if text == "all" { Ok(u64::MAX) } else { size(text) }
}
