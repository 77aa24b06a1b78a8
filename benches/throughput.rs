//! DenseNet-121 at 224x224, two classes: seconds of a forward pass, FGSM, PGD-10 and a training step with Adam.
//!
//! `cargo bench --bench throughput -- --batch 1 8 32 --runs 5` prints one JSON object a measurement and, last, the
//! process's peak memory. `throughput_torch.py` beside it measures PyTorch alike, and `compare.py` runs both in turns.

use std::time::Instant;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Distribution, Int};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use histoguard::adam::Adam;
use histoguard::model::Precision;
use histoguard::prelude::*;
use serde_json::json;

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Op {
    /// Logits only, no gradient.
    Forward,
    /// One step of the fast gradient sign method, weights without gradient.
    Fgsm,
    /// Ten steps of projected gradient descent.
    Pgd10,
    /// One step of Adam in training mode, all parameters.
    Train,
}

#[derive(Parser)]
struct Options {
    /// Images of a batch.
    #[arg(long, num_args = 1.., default_values_t = [1, 8, 32])]
    batch: Vec<usize>,
    /// Timed runs of each measurement, whose median is printed; one more warms up.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// What to measure.
    #[arg(long, num_args = 1.., value_enum, default_values_t = [Op::Forward, Op::Fgsm, Op::Pgd10, Op::Train])]
    ops: Vec<Op>,
    /// Height and width of an image.
    #[arg(long, default_value_t = 224)]
    size: usize,
    /// Logits and input gradients in bfloat16.
    #[arg(long)]
    bf16: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Seconds of the first run, which warms up, and the median of the others.
fn timed(runs: usize, device: &Device, mut work: impl FnMut()) -> (f64, f64) {
    let mut once = || {
        device.sync().expect("a working device");
        let start = Instant::now();
        work();
        device.sync().expect("a working device");
        start.elapsed().as_secs_f64()
    };
    let first = once();
    let mut seconds: Vec<f64> = (0..runs.max(1)).map(|_| once()).collect();
    seconds.sort_by(f64::total_cmp);
    let (low, high) = (seconds[(seconds.len() - 1) / 2], seconds[seconds.len() / 2]);
    (first, (low + high) / 2.0)
}

fn measure(op: Op, batch: usize, options: &Options, device: &Device) -> (f64, f64) {
    device.seed(0);
    let images =
        Tensor::<4>::random([batch, 3, options.size, options.size], Distribution::Uniform(0.0, 1.0), device);
    let classes: Vec<usize> = (0..batch).map(|i| i % 2).collect();
    let net = DenseNetConfig::densenet121(2).init_seeded(device, 0);
    let net = if options.bf16 {
        let quick = net.with_gradient_precision(Precision::Bfloat16);
        let quick = quick.and_then(|net| net.with_logit_precision(Precision::Bfloat16));
        quick.unwrap_or_else(|error| panic!("{error}"))
    } else {
        net
    };
    let runs = options.runs;
    match op {
        Op::Forward => {
            let victim = Frozen::new(net);
            timed(runs, device, || drop(victim.logits(images.clone())))
        }
        Op::Fgsm => {
            let (victim, goal) = (Frozen::new(net), Goal::untargeted(classes));
            let attack = Fgsm::new(Budget::pixels(8.0));
            timed(runs, device, || {
                drop(attack.perturb(&victim, images.clone(), &goal).expect("a valid attack"))
            })
        }
        Op::Pgd10 => {
            let (victim, goal) = (Frozen::new(net), Goal::untargeted(classes));
            let attack = Pgd::new(Budget::pixels(8.0))
                .with_step_size(Some(Epsilon::pixels(2.0)))
                .with_random_start(false)
                .with_early_stop(false);
            timed(runs, device, || {
                drop(attack.perturb(&victim, images.clone(), &goal).expect("a valid attack"))
            })
        }
        Op::Train => {
            let labels: Vec<i64> = classes.iter().map(|&class| class as i64).collect();
            let labels = Tensor::<1, Int>::from_data(labels.as_slice(), device);
            let (images, labels) = (Tensor::from_inner(images), Tensor::from_inner(labels));
            let loss = CrossEntropyLossConfig::new().init(&images.device());
            let mut adam = Adam::new().init();
            let mut model = Some(net.train());
            timed(runs, device, || {
                let net = model.take().expect("put back after every step");
                let loss = loss.forward(net.logits(images.clone()), labels.clone());
                let gradients = GradientsParams::from_grads(loss.backward(), &net);
                model = Some(adam.step(1e-3, net, gradients));
            })
        }
    }
}

/// The most memory that the process has held, in MB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
}

fn main() {
    let options = Options::parse();
    if options.bf16 && options.ops.contains(&Op::Train) {
        let why = "--bf16: training computes in float32; choose --ops forward fgsm pgd10";
        Options::command().error(ErrorKind::ArgumentConflict, why).exit();
    }
    let device = Device::default();
    let threads = rayon::current_num_threads();
    for (&batch, &op) in options.batch.iter().flat_map(|batch| options.ops.iter().map(move |op| (batch, op)))
    {
        let (first, seconds) = measure(op, batch, &options, &device);
        let name = op.to_possible_value().expect("no operation is skipped").get_name().to_string();
        let (seconds, first) = (round(seconds, 1e5), round(first, 1e3));
        let rate = round(batch as f64 / seconds, 1e3);
        println!(
            "{}",
            json!({
                "op": name, "batch": batch, "seconds": seconds, "images_per_second": rate,
                "warm_up_seconds": first, "device": format!("{device:?}"), "threads": threads,
            })
        );
    }
    println!("{}", json!({ "peak_rss_mb": peak_memory() }));
}

fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
