//! The parts of the command `procpool` that its jobs are made of.

pub mod picture;
pub mod simd;
