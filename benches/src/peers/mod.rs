//! The pools that are measured.

mod procpool;
mod procspawn;
pub(crate) mod python;
mod rayon;

pub(crate) use procpool::{Processes, Threads};
pub(crate) use procspawn::Procspawn;
pub(crate) use rayon::Rayon;
