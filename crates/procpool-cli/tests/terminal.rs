//! What a person at a terminal sees: the bar, failures above it, colours.

mod common;

use std::fs::File;
use std::io::Read;
use std::process::Command;

use common::{BINARY, Place, Running};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The far end of a terminal of 60 columns.
struct Terminal {
    master: File,
    seen: String,
}

impl Terminal {
    fn start(place: &Place, args: &[&str], no_color: &str) -> (Terminal, Running) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("terminal");
        let name = ptsname(&master, Vec::new()).expect("name");
        let near = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("near end");
        let size = Winsize { ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&near, size).expect("size");
        let mut command = Command::new(BINARY);
        command.args(args).env("NO_COLOR", no_color).env("LC_ALL", "C").env("TERM", "xterm");
        let near = File::from(near);
        command.stdout(near.try_clone().expect("near end")).stderr(near);
        let running = place.start_on(command);
        (Terminal { master: master.into(), seen: String::new() }, running)
    }

    /// Reads until the text has been shown.
    fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            assert!(self.read(), "the run ended without showing {text:?}: {:?}", self.seen);
        }
    }

    /// False at the end, which a terminal tells as an error.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
                true
            }
        }
    }

    /// All that was shown.
    fn finish(mut self) -> String {
        while self.read() {}
        self.seen
    }
}

fn run(no_color: &str) -> String {
    let place = Place::new();
    File::create(place.path("big")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    place.write("small", "12345");
    let args = ["count", "-m", "-j", "1", "none", "big", "small"];
    let (mut terminal, running) = Terminal::start(&place, &args, no_color);
    running.worker_reading(&place.path("big"));
    terminal.wait_for("1/3  ");
    place.write("big", "");
    let ran = running.finish();
    assert_eq!(ran.code, 1);
    terminal.finish()
}

#[test]
fn failures_and_results_stand_above_the_bar() {
    let shown = run("");
    let bar = shown.split("\r\x1b[K").find(|part| part.contains("1/3")).expect("a bar");
    assert!(bar.starts_with("####") && bar.contains("--  1/3  "), "{bar:?}");
    assert!(bar.ends_with(" left  1 failed") && bar.chars().count() < 60, "{bar:?}");
    let failure = shown.find("none: \x1b[31mthere is no such file\x1b[0m\r\n").expect("a failure in red");
    let small = shown.find("5  small\r\n").expect("a result");
    let summary = shown.find("1 failed: 1 not found\r\n").expect("a summary");
    assert!(failure < small && small < summary);
    assert!(shown.ends_with("1 failed: 1 not found\r\n"), "the bar is gone at the end: {shown:?}");
}

#[test]
fn no_color_is_honoured() {
    let shown = run("1");
    assert!(shown.contains("none: there is no such file\r\n"), "{shown:?}");
    assert!(!shown.contains("\x1b[31m"));
}

#[test]
fn without_results_of_its_own_a_run_shows_only_the_summary() {
    let place = Place::new();
    place.picture("wren.jpg", "wren.jpg");
    let (terminal, running) = Terminal::start(&place, &["thumbs", "wren.jpg"], "");
    assert_eq!(running.finish().code, 0);
    let shown = terminal.finish();
    assert!(!shown.contains("A thumbnail for"), "{shown:?}");
    assert!(shown.contains("1 thumbnail made in ") && shown.ends_with(", saved in thumbs\r\n"), "{shown:?}");
}
