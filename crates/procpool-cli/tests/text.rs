//! `procpool count` beside `wc`, whatever is in the files, however they are packed and cut.

mod common;

use std::fs::File;
use std::io::Write;
use std::process::Command;

use common::{Dice, Place, Ran, other_program, python};

/// What is put together to texts that are hard to count.
const PIECES: [&[u8]; 40] = [
    b" ",
    b"\n",
    b"\t",
    b"\r",
    b"\r\n",
    b"a",
    b"word",
    b"\x01",
    b"\x7f",
    b"\0",
    b"\xff",
    b"\xfe",
    b"\xc2\xa0",
    b"\xe2\x80\xa8",
    b"\xe2\x82",
    b"\xe3\x80\x80",
    b"\xe6\x97\xa5",
    b"\xc3\xa9",
    b"\xf0\x9f\xa6\xa6",
    b"\xf0\x9f",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xf8\x88\x80\x80\x80",
    b"\xf8\x87\xbf\xbf\xbf",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80",
    b"\x80",
    b"\xe2\x81\xa0",
    b"\xcc\x81",
    b"\x85",
    b"\xc2\x85",
    b"\x0b\x0c",
    b"\x1b[31m",
    b"\xef\xbb\xbf",
    b"\xee\x80\x80",
    b"plain words of a longer line\n",
];

/// Texts of all kinds, named by number.
fn texts(place: &Place) -> Vec<String> {
    let mut dice = Dice(7);
    let names: Vec<String> = (0..150).map(|n| format!("{n:03}")).collect();
    for name in &names {
        let kinds = 1 + dice.roll(PIECES.len());
        let from = dice.roll(PIECES.len());
        let len = [0, 1, 4, 50, 3000, 20_000][dice.roll(6)];
        let mut text: Vec<u8> = Vec::new();
        if dice.roll(4) == 0 {
            text.extend((0..len).map(|_| dice.roll(256) as u8));
        } else {
            (0..len).for_each(|_| text.extend(PIECES[(from + dice.roll(kinds)) % PIECES.len()]));
        }
        if dice.roll(4) == 0 {
            text = [b"only ASCII here \n".repeat(500), text, b"and there too\n".repeat(500)].concat();
        }
        place.write(name, text);
    }
    names
}

/// Lines, words, characters and bytes of each file and of all.
fn figures(ran: &Ran) -> Vec<[u64; 4]> {
    let figures = |line: &str| {
        let mut figures = line.split_whitespace().map(|figure| figure.parse().expect("a figure"));
        [(); 4].map(|()| figures.next().expect("four figures"))
    };
    ran.stdout.lines().skip(1).map(|line| figures(&line[..line.len().min(line.rfind("  ").expect("a name"))])).collect()
}

/// What `wc` says, which writes the same figures in the same order; `None` if there is no GNU `wc` that ignores what cannot be
/// printed, as those before coreutils 9.5 do.
fn wc(place: &Place, names: &[String]) -> Option<Vec<[u64; 4]>> {
    let wc = || {
        let mut command = Command::new("wc");
        command.args(["-l", "-w", "-m", "-c"]).env("LC_ALL", "C.UTF-8").current_dir(place.path("."));
        command
    };
    let read = |output: Vec<u8>| {
        let text = String::from_utf8(output).expect("text");
        let figures = |line: &str| {
            let mut figures = line.split_whitespace().map_while(|figure| figure.parse().ok());
            [(); 4].map(|()| figures.next().expect("four figures"))
        };
        text.lines().map(figures).collect::<Vec<[u64; 4]>>()
    };
    let probe = read(other_program(wc(), b"\x01 \xfc\x84\x80\x80\x80\x80 \xc3\xa9\n")?);
    if probe != [[1, 1, 6, 13]] {
        eprintln!(
            "SKIPPED: the wc of this system counts otherwise than that of coreutils 9.1 with glibc 2.36: {probe:?}"
        );
        return None;
    }
    let mut command = wc();
    command.args(names);
    Some(read(other_program(command, b"")?))
}

#[test]
fn all_figures_are_those_of_wc_however_files_are_cut() {
    let place = Place::new();
    let names = texts(&place);
    let count = |flags: &[&str]| {
        let args: Vec<&str> =
            ["count"].into_iter().chain(flags.iter().copied()).chain(names.iter().map(String::as_str)).collect();
        let ran = place.run(&args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        figures(&ran)
    };
    let counted = count(&[]);
    assert_eq!(counted.len(), names.len() + 1);
    for flags in [
        "-j 1 --chunk-size 977",
        "-j 2 --chunk-size 1",
        "-j 7 --chunk-size 4096",
        "-j 7 --chunk-size none",
        "--threads",
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        // A task for each byte is a lot of tasks.
        if flags.last() == Some(&"1") {
            let few: Vec<&str> =
                ["count"].into_iter().chain(flags).chain(names[..12].iter().map(String::as_str)).collect();
            assert_eq!(figures(&place.run(&few))[..12], counted[..12]);
        } else {
            assert_eq!(count(&flags), counted, "{flags:?}");
        }
    }
    if let Some(expected) = wc(&place, &names) {
        for ((name, counted), expected) in names.iter().chain([&"total".into()]).zip(&counted).zip(&expected) {
            assert_eq!(counted, expected, "{name}");
        }
    }
}

#[test]
fn every_character_is_what_wc_takes_it_for() {
    let place = Place::new();
    // 256 characters to a file, each alone on its line and between two letters.
    let names: Vec<String> = (0..0x1100).map(|block| format!("{block:04x}")).collect();
    for (name, block) in names.iter().zip((0..0x11_0000_u32).step_by(256)) {
        let characters = (block..block + 256).filter_map(char::from_u32);
        place.write(name, characters.map(|c| format!("{c}\na{c}b\n")).collect::<String>());
    }
    let Some(expected) = wc(&place, &names) else { return };
    let list = place.write("list", names.join("\n"));
    let list = list.to_string_lossy();
    let counted = figures(&place.run(&["count", "--files-from", &list]));
    for ((name, counted), expected) in names.iter().zip(&counted).zip(&expected) {
        assert_eq!(
            counted, expected,
            "U+{name}00 and the 255 behind it; the tables are made by tests/text/characters.py"
        );
    }
}

/// gzip and zstd, packed by others.
#[test]
fn what_is_packed_is_counted_as_what_it_was() {
    let place = Place::new();
    let text = "some words and \u{1f9a6}\n".repeat(40_000);
    place.write("plain", &text);
    let plain = place.run(&["count", "plain"]);
    let script = "import gzip, sys; t = sys.stdin.buffer.read(); \
                  sys.stdout.buffer.write(gzip.compress(t[:1000]) + gzip.compress(t[1000:]) + b'\\0' * 512)";
    let mut gzip = python();
    gzip.args(["-c", script]);
    let mut zstd = Command::new("zstd");
    zstd.arg("-c");
    for (name, command) in [("a.gz", gzip), ("a.zst", zstd)] {
        let Some(packed) = other_program(command, text.as_bytes()) else { continue };
        place.write(name, &packed);
        assert_eq!(figures(&place.run(&["count", name])), figures(&plain), "{name}");
        let ran = place.run(&["count", "-c", "--no-unpack", name]);
        assert_eq!(ran.stdout.split_whitespace().next(), Some(packed.len().to_string().as_str()));
        // Cut off: named, and counted as nothing; the other file is done.
        place.write("cut.gz", &packed[..packed.len() / 2]);
        place.write("cut.zst", &packed[..packed.len() / 2]);
        let cut = if name == "a.gz" { "cut.gz" } else { "cut.zst" };
        let ran = place.run(&["count", cut, "plain"]);
        assert_eq!((ran.code, figures(&ran)[0]), (1, [0; 4]));
        assert_eq!(figures(&ran)[1..2], figures(&plain)[..1]);
        assert!(ran.failures()[0].contains("data is cut off"), "{}", ran.stderr);
    }
}

#[test]
fn other_encodings_are_counted_as_python_decodes_them() {
    let place = Place::new();
    let text = "Käse\u{a0}日本 und\tmehr\r\n".repeat(3000);
    place.write("utf8", &text);
    let expected = figures(&place.run(&["count", "utf8"]))[0];
    for (encoding, name) in
        [("utf-16", "utf-16"), ("utf-16-be", "utf-16be"), ("shift_jis", "shift_jis"), ("gb18030", "gb18030")]
    {
        let mut command = python();
        // Shift JIS has neither the umlaut nor the space.
        let script = format!(
            "import sys; t = sys.stdin.buffer.read().decode(); \
             sys.stdout.buffer.write((t.replace('ä', 'a').replace('\\xa0', ' ') if '{encoding}' == 'shift_jis' else t).encode('{encoding}'))"
        );
        command.args(["-c", &script]);
        let Some(encoded) = other_program(command, text.as_bytes()) else { return };
        place.write(encoding, &encoded);
        for chunk in ["none", "1000"] {
            let ran = place.run(&["count", "--strict", "--encoding", name, "--chunk-size", chunk, encoding]);
            let [lines, words, characters, bytes] = figures(&ran)[0];
            assert_eq!([lines, words, characters], expected[..3], "{encoding} {chunk}");
            assert_eq!(bytes, encoded.len() as u64);
        }
    }
    place.write("odd", b"\xff\xfea\0b");
    let ran = place.run(&["count", "--strict", "--encoding", "utf-16", "odd"]);
    assert_eq!((ran.code, ran.failures()), (1, vec!["odd: is not UTF-16LE text (first at byte 4)"]));
}

#[test]
fn one_line_of_a_gigabyte_and_a_bomb_need_no_memory() {
    let place = Place::new();
    File::create(place.path("hole")).and_then(|file| file.set_len(1 << 30)).expect("a file of holes");
    // A quarter of a gigabyte of zeros.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..256).for_each(|_| bomb.write_all(&[0; 1 << 20]).expect("pack"));
    place.write("bomb.gz", bomb.finish().expect("pack"));
    let ran = place.run(&["count", "-mc", "--memory", "64MiB", "hole", "bomb.gz", "--log", "l", "-j", "2"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines: Vec<Vec<&str>> = ran.stdout.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["1073741824", "1073741824", "hole"]);
    assert_eq!(lines[1], ["268435456", "268435456", "bomb.gz"]);
}

#[test]
fn extensions_are_summed_up_and_lists_are_read() {
    let place = Place::new();
    for (name, text) in
        [("a.txt", "one\n"), ("b.txt", "two words\n"), ("c.rs", "x"), ("none", "1 2 3"), ("odd\nname.rs", "yy")]
    {
        place.write(name, text);
    }
    let list = place.write("l/list", b"a.txt\0b.txt\0odd\nname.rs\0none\0c.rs\0gone.txt");
    let ran = place.run(&["count", "-wc", "--by-extension", "--files-from", &list.to_string_lossy()]);
    let expected = "\
words  bytes  file
    1      4  a.txt
    2     10  b.txt
    1      2  odd\\nname.rs
    3      5  none
    1      1  c.rs
    0      0  gone.txt
    3      5  (no extension) in 1 file
    2      3  .rs in 2 files
    3     14  .txt in 3 files
    8     22  total of 6 files
";
    assert_eq!((ran.code, ran.stdout.as_str()), (1, expected));
    assert_eq!(ran.failures(), ["gone.txt: there is no such file"]);
    let records = place.run(&["count", "--by-extension", "--json", "c.rs"]).records();
    assert_eq!(records[1]["by_extension"][0]["extension"], ".rs");
    assert_eq!((&records[0]["bytes"], &records[0]["words"]), (&1.into(), &1.into()));
    let ran = place.run(&["count", "--files-from", "no/list"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (2, "procpool: cannot read the list no/list: No such file or directory\n")
    );
}

#[test]
fn limits_hold_for_all_pieces_of_a_file_together() {
    let place = Place::new();
    place.write("big", b"some words of a line\n".repeat(3 << 20));
    for (flags, message) in [
        (["--cpu-time", "5ms"], "big: it used more CPU time than its limit of 5ms"),
        (["--timeout", "5ms"], "big: it took longer than its timeout of 5ms"),
    ] {
        let ran = place.run(&[&["count", "big", "-j", "2", "--chunk-size", "16KiB"], &flags[..]].concat());
        assert_eq!((ran.code, ran.failures().len()), (1, 1), "{ran:?}");
        assert!(ran.failures()[0].starts_with(message), "{ran:?}");
    }
}
