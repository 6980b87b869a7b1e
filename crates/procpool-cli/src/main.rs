//! The command `procpool`.
fn main() {}
