//! Exit codes of the command.

/// Every input was done.
pub(crate) const DONE: u8 = 0;
/// Some inputs failed (the others were done), or the results could not be printed or the pool not started.
pub(crate) const FAILED: u8 = 1;
/// The command line makes no sense, or the inputs hold nothing to work on.
pub(crate) const USAGE: u8 = 2;
/// SIGHUP: the terminal is gone (128 + 1).
pub(crate) const HANGUP: u8 = 129;
/// Ctrl-C, once or twice (128 + SIGINT).
pub(crate) const INTERRUPTED: u8 = 130;
/// Whoever read the standard output went away (128 + SIGPIPE), as with `procpool ... | head`.
pub(crate) const PIPE_CLOSED: u8 = 141;
/// SIGTERM (128 + 15).
pub(crate) const TERMINATED: u8 = 143;
