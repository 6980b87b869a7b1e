//! The engine and Rust face of procpool.
