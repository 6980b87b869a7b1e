//! Which output belongs to which input, decided for all of them before the first is worked on.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::{FileId, Found, Input, file_id};
use crate::frame::names;
use crate::frame::outputs::{Output, Root};
use crate::frame::units::bounds;
use procpool_cli::picture::{Bounds, OutFormat};

/// The endings of the files that are taken from folders, in lower case.
pub(crate) const EXTENSIONS: &[&str] =
    &["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "tif", "tiff", "bmp", "dib", "avif"];

/// Where thumbnails go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into this folder, under the same name.
    Folder(PathBuf),
    /// Beside the input, with this before the dot.
    Suffix(OsString),
}

/// True for a name that ends like a picture.
pub(crate) fn is_picture_name(path: &Path) -> bool {
    extension(path).is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

fn extension(path: &Path) -> Option<String> {
    path.extension()?.to_str().map(str::to_ascii_lowercase)
}

/// An input with its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// The picture.
    pub(super) path: PathBuf,
    /// The thumbnails, one for each size.
    pub(super) outputs: Vec<Output>,
    /// The format of the thumbnails. It is settled by the name, so that ending and contents always agree;
    /// [`OutFormat::Same`], which goes by the contents, is left to names without a picture's ending.
    pub(super) format: OutFormat,
}

/// An input with its output, or why it has none.
pub(super) type Named = Result<Pair, (PathBuf, JobError)>;

/// Names the outputs: of several sizes, each has its size behind its name. Also returns how many inputs were passed over because
/// an earlier run made them.
pub(super) fn name_all(found: Vec<Found>, place: &Place, format: OutFormat, sizes: &[Bounds]) -> (Vec<Named>, usize) {
    let labels: Vec<String> = match sizes {
        [_] => vec![String::new()],
        sizes => sizes.iter().map(|size| format!("_{}", label(*size))).collect(),
    };
    let before = found.len();
    let found: Vec<Found> = match place {
        Place::Folder(_) => found,
        Place::Suffix(suffix) => {
            found.into_iter().filter(|found| !found.as_ref().is_ok_and(|input| is_product(input, suffix))).collect()
        }
    };
    let skipped = before - found.len();
    let inputs: HashSet<FileId> = found.iter().flatten().flat_map(|input| input.ids).collect();
    let mut taken: HashMap<PathBuf, Input> = HashMap::new();
    let mut roots: HashMap<PathBuf, Root> = HashMap::new();
    let mut named = Vec::with_capacity(found.len());
    for found in found {
        let input = match found {
            Ok(input) => input,
            Err(failure) => {
                named.push(Err(failure));
                continue;
            }
        };
        let (folder, below) = output(&input, place, format);
        let root = roots.entry(folder).or_insert_with_key(|folder| Root::new(folder));
        let outputs = labels.iter().map(|label| Output::new(root, &with_label(&below, label)));
        let outputs: Vec<Output> = outputs.collect();
        // The same file given twice needs one thumbnail and no complaint.
        let earlier: Vec<(&Output, &Input)> =
            outputs.iter().filter_map(|output| Some((output, taken.get(output.path())?))).collect();
        if earlier.len() == outputs.len() && earlier.iter().all(|(_, first)| first.ids[0] == input.ids[0]) {
            continue;
        }
        if let Some((output, first)) = earlier.first() {
            let message = format!(
                "was left out: its thumbnail {} would replace that of {}",
                names::show(output.path()),
                names::show(&first.path)
            );
            named.push(Err((input.path, JobError::new(Cause::NameTaken, message))));
            continue;
        }
        let is_input =
            |output: &&Output| fs::symlink_metadata(output.path()).is_ok_and(|there| inputs.contains(&file_id(&there)));
        if let Some(output) = outputs.iter().find(is_input) {
            let message = format!("was left out: its thumbnail {} would replace an input", names::show(output.path()));
            named.push(Err((input.path, JobError::new(Cause::WouldReplaceInput, message))));
            continue;
        }
        for output in &outputs {
            taken.insert(output.path().to_owned(), input.clone());
        }
        let format = settle(&input.path, format);
        named.push(Ok(Pair { path: input.path, outputs, format }));
    }
    (named, skipped)
}

/// True for a thumbnail of an earlier run: a name with the suffix, met in a folder or beside the picture it is of.
fn is_product(input: &Input, suffix: &OsStr) -> bool {
    let stem = input.path.file_stem().unwrap_or_default().as_bytes();
    let original =
        stem.strip_suffix(suffix.as_bytes()).or_else(|| without_label(stem)?.strip_suffix(suffix.as_bytes()));
    match original {
        None | Some(b"") => false,
        Some(original) => !input.named || has_original(&input.path, OsStr::from_bytes(original)),
    }
}

/// How a size is written in names, and on the command line.
pub(crate) fn label(Bounds { width, height }: Bounds) -> String {
    match (width, height) {
        (Some(width), Some(height)) if width == height => width.to_string(),
        (width, height) => {
            let side = |side: Option<u32>| side.map(|side| side.to_string()).unwrap_or_default();
            format!("{}x{}", side(width), side(height))
        }
    }
}

/// A name without the size behind it, if there is one.
fn without_label(stem: &[u8]) -> Option<&[u8]> {
    let at = stem.iter().rposition(|&byte| byte == b'_')?;
    let label = std::str::from_utf8(&stem[at + 1..]).ok()?;
    bounds(label).is_ok_and(|size| self::label(size) == label).then_some(&stem[..at])
}

/// The path with `label` before the dot of its name.
fn with_label(path: &Path, label: impl AsRef<OsStr>) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(label.as_ref());
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn has_original(product: &Path, stem: &OsStr) -> bool {
    let with_extension = |extension: &OsStr| {
        let mut name = stem.to_owned();
        name.push(".");
        name.push(extension);
        product.with_file_name(name).exists()
    };
    product.extension().is_some_and(with_extension)
        || EXTENSIONS.iter().any(|extension| with_extension(OsStr::new(extension)))
}

/// The folder that was there before the run or was asked for, and where below it the output goes.
fn output(input: &Input, place: &Place, format: OutFormat) -> (PathBuf, PathBuf) {
    match place {
        Place::Folder(folder) => (folder.clone(), with_format(&input.below, format)),
        Place::Suffix(suffix) => {
            let renamed = with_label(&with_format(&input.below, format), suffix);
            let mut folder = input.path.clone();
            for _ in input.below.components() {
                folder.pop();
            }
            (folder, renamed)
        }
    }
}

/// The format that [`OutFormat::Same`] means for a file of this name.
fn settle(input: &Path, format: OutFormat) -> OutFormat {
    match (format, extension(input).as_deref()) {
        (OutFormat::Same, Some("jpg" | "jpeg" | "jpe" | "jfif")) => OutFormat::Jpeg,
        (OutFormat::Same, Some("webp")) => OutFormat::WebP,
        (OutFormat::Same, Some("avif")) => OutFormat::Avif,
        (OutFormat::Same, Some("png" | "gif" | "tif" | "tiff" | "bmp" | "dib")) => OutFormat::Png,
        _ => format,
    }
}

/// The path with the ending of `format`, unless it has a fitting one already.
fn with_format(path: &Path, format: OutFormat) -> PathBuf {
    let fitting: &[&str] = match settle(path, format) {
        OutFormat::Same => return path.to_owned(),
        OutFormat::Jpeg => &["jpg", "jpeg", "jpe", "jfif"],
        OutFormat::Png => &["png"],
        OutFormat::WebP => &["webp"],
        OutFormat::Avif => &["avif"],
    };
    if extension(path).is_some_and(|extension| fitting.contains(&extension.as_str())) {
        path.to_owned()
    } else if is_picture_name(path) {
        path.with_extension(fitting[0])
    } else {
        // `scan.2024` has no ending to replace.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(fitting[0]);
        path.with_file_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(path: &str, below: &str, id: u64) -> Input {
        Input { path: path.into(), below: below.into(), named: true, len: 1, ids: [(1, id), (1, id)] }
    }

    #[test]
    fn outputs_keep_their_name_and_sub_folder() {
        let folder = Place::Folder("out".into());
        let input = input("in/sub/A b.JPG", "sub/A b.JPG", 1);
        let name = |place: &Place, format| {
            let (root, below) = output(&input, place, format);
            root.join(below).display().to_string()
        };
        assert_eq!(name(&folder, OutFormat::Same), "out/sub/A b.JPG");
        assert_eq!(name(&folder, OutFormat::Jpeg), "out/sub/A b.JPG");
        assert_eq!(name(&folder, OutFormat::WebP), "out/sub/A b.webp");
        let beside = Place::Suffix("_thumbnail".into());
        assert_eq!(name(&beside, OutFormat::Same), "in/sub/A b_thumbnail.JPG");
        assert_eq!(name(&beside, OutFormat::Png), "in/sub/A b_thumbnail.png");
    }

    #[test]
    fn ending_and_format_agree() {
        let same = |name: &str| {
            let path = Path::new(name);
            (with_format(path, OutFormat::Same).display().to_string(), settle(path, OutFormat::Same))
        };
        assert_eq!(same("a.JPE"), ("a.JPE".into(), OutFormat::Jpeg));
        assert_eq!(same("a.webp"), ("a.webp".into(), OutFormat::WebP));
        assert_eq!(same("a.gif"), ("a.png".into(), OutFormat::Png));
        assert_eq!(same("a.tiff"), ("a.png".into(), OutFormat::Png));
        assert_eq!(same("a"), ("a".into(), OutFormat::Same));
    }

    #[test]
    fn endings_that_are_no_picture_endings_are_kept() {
        let with = |name: &str| with_format(Path::new(name), OutFormat::Jpeg).display().to_string();
        assert_eq!(with("scan.2024"), "scan.2024.jpg");
        assert_eq!(with("scan"), "scan.jpg");
        assert_eq!(with("scan.jpeg"), "scan.jpeg");
        assert_eq!(with("scan.tiff"), "scan.jpg");
    }

    #[test]
    fn the_second_input_with_an_output_name_is_left_out() {
        let found =
            vec![Ok(input("a/x.png", "x.png", 1)), Ok(input("a/x.png", "x.png", 1)), Ok(input("b/x.jpg", "x.jpg", 2))];
        let (named, skipped) =
            name_all(found, &Place::Folder("/nonexistent/out".into()), OutFormat::Jpeg, &[Bounds::square(128)]);
        let message = "was left out: its thumbnail /nonexistent/out/x.jpg would replace that of a/x.png";
        let expected = [
            Ok(Pair {
                path: "a/x.png".into(),
                outputs: vec![Output::new(&Root::new(Path::new("/nonexistent/out")), Path::new("x.jpg"))],
                format: OutFormat::Jpeg,
            }),
            Err(("b/x.jpg".into(), JobError::new(Cause::NameTaken, message))),
        ];
        assert_eq!(named, expected);
        assert_eq!(skipped, 0);
    }

    #[test]
    fn several_sizes_have_names_of_their_own() {
        let found = vec![
            Ok(input("in/x.png", "x.png", 1)),
            Ok(input("x_64.png", "x_64.png", 2)),
            Ok(input("in/x.png", "x.png", 1)),
        ];
        let sizes = [Bounds::square(64), Bounds { width: Some(64), height: None }, Bounds::both(64, 9)];
        let (named, _) = name_all(found, &Place::Folder("/nonexistent".into()), OutFormat::Same, &sizes);
        let paths = |named: &Named| -> Vec<String> {
            named.iter().flat_map(|pair| &pair.outputs).map(|output| output.path().display().to_string()).collect()
        };
        assert_eq!(paths(&named[0]), ["/nonexistent/x_64.png", "/nonexistent/x_64x.png", "/nonexistent/x_64x9.png"]);
        assert_eq!(paths(&named[1])[..1], ["/nonexistent/x_64_64.png"]);
        assert_eq!(named.len(), 2);
    }

    #[test]
    fn products_are_known_by_their_suffix_with_a_size_or_without() {
        let is = |path: &str| {
            let input = Input { named: false, ..input(path, path, 1) };
            is_product(&input, OsStr::new("_t"))
        };
        assert!(["a_t.jpg", "a_t_64.jpg", "a_t_64x.jpg", "a_t_x64.jpg", "a_t_64x32.jpg"].iter().all(|path| is(path)));
        assert!(
            !["a.jpg", "_t.jpg", "a_t_b.jpg", "a_64.jpg", "a_t_64x64.jpg", "a_t_0.jpg", "_t_64.jpg"]
                .iter()
                .any(|path| is(path))
        );
    }
}
