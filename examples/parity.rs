//! Whether a device computes what the CPU does: passes, training, attacks and an evaluation on both, side by side.
//!
//! `cargo run --release --example parity` compares the crate's CPU kernels with burn's own operations, and
//! `cargo run --release --no-default-features --features flex,wgpu --example parity -- --device wgpu` a GPU with the CPU.

mod common {
    pub mod failure;
    pub mod output;
    pub mod parity {
        pub mod attacks;
        pub mod case;
        pub mod compare;
        pub mod device;
        pub mod evaluation;
        pub mod network;
        pub mod passes;
        pub mod side;
        pub mod table;
    }
    pub mod program;
}

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::failure::Failure;
use common::output::say;
use common::parity::case::{Case, run};
use common::parity::device::Chosen;
use common::parity::network::{self, Size};
use common::parity::side::Side;
use common::parity::{attacks, evaluation, passes, table};
use common::program;
use histoguard::file::write_whole;
use histoguard::prelude::*;

/// Exit code where a device computes something else.
const DIFFERS: u8 = 3;

/// Computes the same on the CPU and on another device and compares: logits, gradients, training steps, an attack of every
/// family, an evaluation that is interrupted. Prints a Markdown table; the exit code is 3 if anything is out of its tolerance.
#[derive(Debug, Parser)]
struct Options {
    /// The device to compare with the CPU; flex is the CPU itself with burn's own operations instead of the crate's kernels.
    #[arg(long, value_enum, default_value_t = Chosen::Flex)]
    device: Chosen,
    /// The network, drawn from the seed and trained a little.
    #[arg(long, value_enum, default_value_t = Size::Small)]
    network: Size,
    /// Height and width of the drawn images; at least 29 for densenet121.
    #[arg(long, default_value_t = 32)]
    image_size: usize,
    /// Images, half of each class.
    #[arg(long, default_value_t = 4)]
    images: usize,
    /// Only these, comma-separated; all by default.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// How many times as wide the tolerances are.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    tolerance: f64,
    /// Of the weights, the images and the attacks.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to write the table as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    program::run(compare)
}

fn compare(options: Options) -> Result<(), Failure> {
    let cases = chosen(&options)?;
    let factor = options.tolerance;
    if factor.is_nan() || factor < 0.0 {
        return Err(Failure::wrong(format_args!(
            "--tolerance: expected a number of at least 0, found {factor}"
        )));
    }
    let device = options.device.open()?;
    let network = network::draw(options.network, options.image_size, options.images, options.seed)?;
    let name = options.device.name(&device);
    let reference = Side::new(&network, &Device::flex(), true)?;
    let tested = Side::new(&network, &device, options.device != Chosen::Flex)?;

    let about = table::About {
        device: name,
        network: options.network,
        image_size: options.image_size,
        images: options.images,
        seed: options.seed,
        autotune: cfg!(feature = "autotune"),
    };
    say(table::head(&about))?;
    let mut rows = Vec::new();
    for case in &cases {
        let row = run(case, &reference, &tested, factor);
        say(table::line(&row))?;
        rows.push(row);
    }
    if let Some(path) = &options.json {
        write_whole(path, table::json(&about, &rows).as_bytes()).map_err(|error| {
            Failure::wrong(format_args!("{}: expected a file to write, found: {error}", path.display()))
        })?;
    }
    let outside: Vec<&str> = rows.iter().filter(|row| !row.passed).map(|row| row.case).collect();
    match outside.is_empty() {
        true => Ok(()),
        false => Err(Failure { code: DIFFERS, message: format!("out of tolerance: {}", outside.join(", ")) }),
    }
}

/// The cases that were asked for, in their order.
fn chosen(options: &Options) -> Result<Vec<Case>, Failure> {
    let all: Vec<Case> =
        passes::cases().into_iter().chain(attacks::cases(options.seed)).chain([evaluation::case()]).collect();
    let names: Vec<&str> = all.iter().map(|case| case.name).collect();
    for asked in &options.cases {
        if !names.contains(&asked.as_str()) {
            return Err(Failure::wrong(format_args!(
                "--cases: expected some of {}, found {asked}",
                names.join(", ")
            )));
        }
    }
    let wanted =
        |case: &Case| options.cases.is_empty() || options.cases.iter().any(|asked| asked == case.name);
    Ok(all.into_iter().filter(wanted).collect())
}
