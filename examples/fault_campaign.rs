//! Looks for faults: damaged files, kills, full and read-only disks, two processes on one folder.
//!
//! `cargo run --release --features download --example fault_campaign -- mutate --inputs 1000000`, and `kill`,
//! `disk` and `together`; each with `--seed` for others. Exit code 1 says that faults were found.

mod common {
    pub mod failure;
    pub mod fault_campaign {
        pub mod disk;
        pub mod input;
        pub mod kill;
        pub mod kind;
        pub mod mutate;
        pub mod mutation;
        pub mod reader;
        pub mod seeds;
        pub mod server;
        pub mod small;
        pub mod subject;
        pub mod together;
        pub mod work;
        pub mod worker;
    }
    pub mod output;
    pub mod program;
}

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::failure::Failure;
use common::fault_campaign::disk::{self, DiskOptions};
use common::fault_campaign::kill::{self, KillOptions};
use common::fault_campaign::mutate::{self, MutateOptions};
use common::fault_campaign::together::{self, TogetherOptions};
use common::fault_campaign::work::{self, WorkOptions};
use common::fault_campaign::worker::{self, WorkerOptions};
use common::program;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Looks for faults: panics, hangs, floods of memory, lost results. Whatever it finds can be repeated from
/// its seed.
#[derive(Debug, Parser)]
struct Options {
    /// Seed of all damage and of all moments.
    #[arg(long, default_value_t = 0, global = true)]
    seed: u64,
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Debug, Subcommand)]
enum Campaign {
    Mutate(MutateOptions),
    Kill(KillOptions),
    Disk(DiskOptions),
    Together(TogetherOptions),
    #[command(hide = true)]
    Worker(WorkerOptions),
    #[command(hide = true)]
    Work(WorkOptions),
}

fn main() -> ExitCode {
    program::run(|options: Options| {
        let faults = run(&options)?;
        let message = format!("{faults} faults");
        if faults == 0 { Ok(()) } else { Err(Failure { code: 1, message }) }
    })
}

fn run(options: &Options) -> Result<u64, Failure> {
    match &options.campaign {
        Campaign::Mutate(mutate) => mutate::mutate(mutate, options.seed),
        Campaign::Kill(kill) => kill::kill(kill, options.seed),
        Campaign::Disk(disk) => disk::disk(disk, options.seed),
        Campaign::Together(together) => together::together(together, options.seed),
        Campaign::Worker(worker) => worker::work(worker, options.seed).map(|()| 0),
        Campaign::Work(work) => work::work(work).map(|()| 0),
    }
}
