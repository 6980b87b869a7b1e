//! `table --resume` and `dataset --resume` on a disk that is full: nothing is there under the output's name, and once there is room,
//! another run goes on and makes what one run makes.
//!
//! The disk is one in memory, of a few hundred kilobytes, mounted in a namespace of the test's own. That needs no privileges, but a
//! system that lets everybody make namespaces; where it does not, the tests say that they are skipped.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use common::{BINARY, Dice, Place};

/// Runs a command twice on a disk of the given size mounted at `disk`, the second time with room, and copies what is there after each:
/// to `full`, and to `roomy`.
const SCRIPT: &str = r#"
size=$1; shift
mount -t tmpfs -o size="$size" none disk || exit 99
"$@" > full.out 2> full.err; echo $? > full.code
cp -a disk full
mount -o remount,size=64m disk
"$@" > roomy.out 2> roomy.err; echo $? > roomy.code
cp -a disk roomy
"#;

fn in_namespace() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command
}

/// Whether a disk can be mounted here; said aloud if not.
fn can_mount(place: &Place) -> bool {
    let mut command = in_namespace();
    command.arg("mount -t tmpfs -o size=64k none disk").current_dir(place.path(""));
    let why = match command.output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    eprintln!("SKIPPED: no disk can be mounted without privileges here: {why}");
    false
}

/// Every file below a folder and what it holds.
fn files(place: &Place, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| (name.clone(), fs::read(place.path(folder).join(name)).expect("a file"));
    place.listing(folder).into_iter().map(read).collect()
}

/// What the two runs have left of an output: what the first one said last and how many inputs the second one took over.
fn fill_up(place: &Place, size: &str, output: &str, arguments: &[&str]) -> (String, u64) {
    let mut command = in_namespace();
    command.args([SCRIPT, "sh", size, BINARY]).args(arguments).args(["-o", &format!("disk/{output}")]);
    command.args(["--resume", "--json"]);
    let ran = place.start_command(command).finish();
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = |name: &str| fs::read_to_string(place.path(name)).expect("a file");
    let errors = text("full.err");
    assert_eq!(text("full.code"), "1\n", "{size}: {errors}");
    assert_eq!(text("roomy.code"), "0\n", "{size}: {}", text("roomy.err"));
    // Nothing but the store is left, and that only if something was kept.
    let store = format!(".{output}.unfinished/");
    for name in place.listing("full") {
        assert!(name.starts_with(&store), "{size}: {name} is left");
    }
    let last =
        text("roomy.out").lines().last().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let unchanged = last.expect("a summary")["unchanged"].as_u64().expect("a number");
    fs::remove_dir_all(place.path("full")).expect("remove");
    (errors.lines().last().unwrap_or_default().to_owned(), unchanged)
}

const KEPT: &str = "; what is finished is kept for another run with --resume";

#[test]
fn a_table_goes_on_when_there_is_room_again() {
    let place = Place::new();
    fs::create_dir(place.path("disk")).expect("folder");
    if !can_mount(&place) {
        return;
    }
    let mut dice = Dice(5);
    for number in 0..30 {
        let rows: String = (0..300).map(|row| format!("{row},{:09}\n", dice.roll(1_000_000_000))).collect();
        place.write(format!("in/{number:02}.csv"), format!("id,note\n{rows}"));
    }
    for format in ["parquet", "arrow", "csv", "jsonl"] {
        let output = format!("all.{format}");
        let arguments = ["table", "in", "--row-group", "8KiB", "--chunk", "16KiB"];
        assert_eq!(place.run(&[&arguments[..], &["-o", &output]].concat()).code, 0);
        let made = fs::read(place.path(&output)).expect("a file");
        let mut most = 0;
        // From no room for the store to room for all but the last of it and the output.
        for part in [0, 4, 10, 17] {
            let size = format!("{}", (made.len() * part / 10).max(8192));
            let (said, taken_over) = fill_up(&place, &size, &output, &arguments);
            let kept = if taken_over > 0 { KEPT } else { "" };
            assert_eq!(said, format!("procpool: cannot write disk/{output}: No space left on device{kept}"), "{size}");
            assert!(taken_over >= most && taken_over < 30, "{taken_over} taken over of {size} bytes, {most} of fewer");
            most = taken_over;
            assert!(
                files(&place, "roomy") == BTreeMap::from([(output.clone(), made.clone())]),
                "{size}: {format} differs"
            );
            fs::remove_dir_all(place.path("roomy")).expect("remove");
        }
        assert!(most > 0, "{format}: nothing was taken over");
    }
}

#[test]
fn a_set_goes_on_when_there_is_room_again() {
    let place = Place::new();
    fs::create_dir(place.path("disk")).expect("folder");
    if !can_mount(&place) {
        return;
    }
    const PICTURES: u64 = 90;
    for number in 0..PICTURES {
        let mut dice = Dice(number);
        let data: Vec<u8> = (0..20 * 20 * 3).map(|_| dice.roll(256) as u8).collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 20, 20);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().and_then(|mut writer| writer.write_image_data(&data)).expect("encoded");
        place.write(format!("in/{}/{number:02}.png", ["cat", "dog"][number as usize % 2]), bytes);
    }
    for format in ["folder", "webdataset", "parquet"] {
        let arguments = ["dataset", "in", "--size", "20", "--split", "train=0.7,val=0.3", "--format", format];
        assert_eq!(place.run(&[&arguments[..], &["-o", "set"]].concat()).code, 0);
        let made = files(&place, "set");
        fs::remove_dir_all(place.path("set")).expect("remove");
        let mut most = 0;
        for size in ["40k", "100k", "160k"] {
            let (said, taken_over) = fill_up(&place, size, "set", &arguments);
            // The output is named as it is until it is whole.
            assert!(said.starts_with("procpool: cannot write disk/."), "{said}");
            let end = ": No space left on device; no set was made".to_owned() + if taken_over > 0 { KEPT } else { "" };
            assert!(said.ends_with(&end), "{said}");
            assert!(taken_over >= most && taken_over <= PICTURES, "{taken_over} taken over on {size}, {most} on less");
            most = taken_over;
            let now = files(&place, "roomy").into_iter();
            let now: BTreeMap<_, _> =
                now.map(|(name, bytes)| (name.strip_prefix("set/").unwrap_or(&name).to_owned(), bytes)).collect();
            assert!(now == made, "{size}: {format} differs");
            fs::remove_dir_all(place.path("roomy")).expect("remove");
        }
        assert!(most > 0, "{format}: nothing was taken over");
    }
}
