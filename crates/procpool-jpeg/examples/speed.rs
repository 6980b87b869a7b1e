//! Times the decoding of files at an eighth, a quarter or half, beside the complete decoder, in turn: the best of eleven runs.
//! Those in one thread are timed by its CPU time, so that what else runs on the machine matters less; the one in as many
//! threads as there are cores by the clock.
//!
//! Usage: `speed 8|4|2 PICTURE...`

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use libjpeg_turbo_rs::ScalingFactor;
use procpool_jpeg::{Decoder, Limits, Scale, fuzz};
use rustix::time::{ClockId, clock_gettime};

const NAMES: [&str; 4] = ["ms", "symbol by symbol", "by the library", "by the clock in all threads"];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: speed 8|4|2 PICTURE...";
    let [denominator, pictures @ ..] = arguments.as_slice() else { return Err(usage.into()) };
    let named = Scale::ALL.into_iter().find(|scale| scale.denominator().to_string() == *denominator);
    let scale = named.ok_or(usage)?;
    let limits = Limits::default();
    let [mut ours, mut plain, mut threads] = [Decoder::new(), fuzz::plain(), Decoder::new()];
    threads.set_threads(std::thread::available_parallelism()?.get());
    let mut sums = [Duration::ZERO; 4];
    for path in pictures {
        let file = std::fs::read(path)?;
        let mut best = [Duration::MAX; 4];
        for _ in 0..11 {
            let library = || {
                let mut library = libjpeg_turbo_rs::Decoder::new(black_box(&file))?;
                library.set_scale(ScalingFactor::try_new(1, scale.denominator())?);
                black_box(library.decode_image()?);
                Ok::<(), Box<dyn Error>>(())
            };
            let run = |decoder: &mut Decoder| {
                black_box(decoder.decode(black_box(&file), scale, &limits)?);
                Ok::<(), Box<dyn Error>>(())
            };
            let times = [
                time(ClockId::ThreadCPUTime, || run(&mut ours))?,
                time(ClockId::ThreadCPUTime, || run(&mut plain))?,
                time(ClockId::ThreadCPUTime, library)?,
                time(ClockId::Monotonic, || run(&mut threads))?,
            ];
            best.iter_mut().zip(times).for_each(|(best, time)| *best = time.min(*best));
        }
        println!("{}, {:6} kB  {path}", list(best), file.len() / 1000);
        sums.iter_mut().zip(best).for_each(|(sum, best)| *sum += best);
    }
    println!("{}, mean", list(sums.map(|sum| sum / pictures.len().max(1) as u32)));
    Ok(())
}

/// How long that takes.
fn time(clock: ClockId, work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let now = || Duration::try_from(clock_gettime(clock));
    let start = now()?;
    work()?;
    Ok(now()? - start)
}

fn list(times: [Duration; 4]) -> String {
    let times = times.map(|time| time.as_secs_f64() * 1000.0);
    times.iter().zip(NAMES).map(|(time, name)| format!("{time:7.2} {name}")).collect::<Vec<_>>().join(", ")
}
