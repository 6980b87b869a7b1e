//! The command `procpool`: jobs over many files, in a pool of worker processes.

mod args;
mod frame;
mod jobs;
mod plan;

use std::process::ExitCode;

use clap::Parser;

use frame::exit;
use frame::failure::reason;
use frame::interrupt::Interrupts;
use frame::report::note;
use frame::run::Context;
use plan::JobPlan;

fn main() -> ExitCode {
    // In a worker this does not return.
    procpool::init();
    let args = args::CommandLine::parse();
    let plan = match plan::resolve(args.job) {
        Ok(plan) => plan,
        Err(message) => {
            note(None, &format!("procpool: {message}"));
            return exit::USAGE.into();
        }
    };
    let interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => {
            note(None, &format!("procpool: cannot listen to signals: {}", reason(&error)));
            return exit::FAILED.into();
        }
    };
    let context = Context { pool: plan.pool, style: plan.style, log: plan.log, interrupts };
    let code = match &plan.job {
        JobPlan::Thumbs(plan) => jobs::thumbs::thumbs(&context, plan),
        JobPlan::Count(plan) => jobs::count::count(&context, plan),
        JobPlan::Logs(plan) => jobs::logs::logs(&context, plan),
        JobPlan::Table(plan) => jobs::table::table(&context, plan),
        JobPlan::Dataset(plan) => jobs::dataset::dataset(&context, plan),
        JobPlan::Bench(plan) => jobs::bench::bench(&context, plan),
    };
    code.into()
}
