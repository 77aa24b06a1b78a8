//! Lends this machine's device to trainings on other machines, which name it as `--device ws://HOST:PORT`.
//!
//! `cargo run --release --features remote --example serve_device -- --port 3000`

mod common {
    pub mod devices;
    pub mod failure;
    pub mod output;
    pub mod program;
}

use std::process::ExitCode;

use burn::tensor::server::{RemoteServer, WebSocketTransport};
use clap::Parser;
use common::devices::device_by_name;
use common::failure::Failure;
use common::output::say;
use common::program;

/// Lends a device to whoever connects, until it is stopped.
///
/// The connection is not encrypted: for networks whose every machine is trusted.
#[derive(Debug, Parser)]
struct Options {
    /// The device: cpu, or what else was compiled in.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// The port on which it listens.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

fn main() -> ExitCode {
    program::run(|options: Options| {
        let device = device_by_name(&options.device)?;
        say(format_args!("{} at ws://THIS-MACHINE:{}", options.device, options.port))?;
        let served = RemoteServer::new([device]).serve(WebSocketTransport::new(options.port));
        served.map_err(|error| Failure::wrong(format!("port {}: {error}", options.port)))
    })
}
