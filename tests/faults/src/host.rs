//! Starting the helper program, for what cannot be done to the process that runs the tests.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running helper program.
#[derive(Debug)]
pub struct Host {
    pub child: Child,
    pub lines: BufReader<ChildStdout>,
}

impl Host {
    /// Starts `program`, the helper's path, with a scenario's name and arguments.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The numbers on the next line.
    pub fn numbers(&mut self) -> Vec<u32> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.split_whitespace()
            .map(|word| word.parse().unwrap_or_else(|_| panic!("the helper says {line:?}")))
            .collect()
    }

    /// Waits for its end and asserts that it succeeded.
    pub fn assert_success(mut self) {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut said).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the helper ended with {status} and said {said}");
    }
}

/// Runs a scenario to its end.
pub fn run(program: &str, arguments: &[&str]) {
    Host::start(program, arguments).assert_success();
}
