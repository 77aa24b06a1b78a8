//! The attacks that look for the smallest change, for `minimal_norms.py`, which compares them with others'.
//!
//! `prepare` writes the network and the images that it is right about as safetensors: all attack the same
//! weights and pixels. `attack` runs one attack, writes its images and prints what it spent, as a JSON object.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::{DType, Int, TensorData};
use clap::{Args, CommandFactory, Parser, Subcommand};
use histoguard::data::{BreakHis, ImageSet, LabeledImages, Prepared};
use histoguard::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use serde_json::json;

const NET: &str = "net.safetensors";
const IMAGES: &str = "images.safetensors";

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    work: Option<Work>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Work {
    /// Writes the network and its images.
    Prepare(Prepare),
    /// Runs one attack.
    Attack(Run),
}

#[derive(Args)]
struct Prepare {
    /// Where to.
    folder: PathBuf,
    /// A DenseNet-121 of two classes, in any form that the crate reads.
    #[arg(long)]
    checkpoint: PathBuf,
    /// The BreakHis folder.
    #[arg(long)]
    data: PathBuf,
    /// Height and width of an image.
    #[arg(long)]
    size: usize,
    /// How many images, half of them of each class.
    #[arg(long)]
    images: usize,
}

#[derive(Args)]
struct Run {
    /// What `prepare` has written.
    folder: PathBuf,
    /// The norm and the attack, as `l2 fmn`.
    norm: String,
    attack: String,
    /// File of the images that are found.
    #[arg(long)]
    out: PathBuf,
    /// Steps of those that take a fixed number of them.
    #[arg(long)]
    steps: usize,
    /// Constants that the penalty attacks try, and steps for each.
    #[arg(long)]
    searches: usize,
    #[arg(long)]
    search_steps: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Options::parse().work {
        Some(Work::Prepare(options)) => prepare(&options),
        Some(Work::Attack(options)) => attack(&options),
        None => Ok(Options::command().print_help()?),
    }
}

fn network(path: &Path) -> Result<Normalized<DenseNet>, Box<dyn Error>> {
    let net = weights::load(DenseNetConfig::densenet121(2).init(&Device::default()), path)?;
    Ok(Normalized::new(net, Normalization::IMAGENET))
}

/// Images of each class that the network is right about, evenly over the data.
fn right(victim: &Frozen, images: &ImageSet, options: &Prepare) -> Result<Vec<usize>, Box<dyn Error>> {
    let prepared = Prepared::new(images.clone(), options.size)?;
    let positions: Vec<usize> = (0..prepared.len()).collect();
    let mut right = vec![Vec::new(); 2];
    for part in positions.chunks(32) {
        let batch = prepared.batch(part, victim.device())?;
        for (&position, predicted) in part.iter().zip(victim.predict(batch.images)) {
            if prepared.label(position) == predicted {
                right[predicted].push(position);
            }
        }
    }
    let each = options.images / 2;
    if options.images == 0
        || !options.images.is_multiple_of(2)
        || right.iter().any(|class| class.len() < each)
    {
        let found: Vec<usize> = right.iter().map(Vec::len).collect();
        let expected = "expected an even number, of which the network is right about half in each class";
        return Err(
            format!("--images: {expected}, found {} and {found:?} such images", options.images).into()
        );
    }
    Ok(right.iter().flat_map(|class| (0..each).map(move |i| class[i * class.len() / each])).collect())
}

fn prepare(options: &Prepare) -> Result<(), Box<dyn Error>> {
    let model = network(&options.checkpoint)?;
    let images = BreakHis::open(&options.data)?.all();
    let victim = Frozen::new(model.clone());
    let chosen = right(&victim, &images, options)?;
    let batch = Prepared::new(images.clone(), options.size)?.batch(&chosen, victim.device())?;
    std::fs::create_dir_all(&options.folder)?;
    weights::save_safetensors(&model, options.folder.join(NET))?;
    let labels: Vec<u8> =
        chosen.iter().flat_map(|&i| (images.samples()[i].label as i64).to_le_bytes()).collect();
    let (shape, pixels) = (batch.images.dims().to_vec(), batch.images.into_data());
    let views = [
        ("images", TensorView::new(Dtype::F32, shape, pixels.as_bytes())?),
        ("labels", TensorView::new(Dtype::I64, vec![chosen.len()], &labels)?),
    ];
    serialize_to_file(views, None, &options.folder.join(IMAGES))?;
    let names: Vec<_> = chosen.iter().map(|&i| images.samples()[i].name.clone()).collect();
    println!("{}", json!({ "images": names }));
    Ok(())
}

/// Where FGSM's grid ends: at its default, the diameter of all images, the first step would be too large.
fn grid_end(norm: Norm) -> Budget {
    let size = match norm {
        Norm::Linf => 0.1,
        Norm::L2 => 10.0,
        _ => 1000.0,
    };
    Budget::new(norm, Epsilon::unit(size))
}

/// The attack of this name in this norm, and whether it goes towards the other class.
fn named(options: &Run) -> Option<(Box<dyn Attack>, bool)> {
    let norms = [Norm::Linf, Norm::L2, Norm::L1, Norm::L0];
    let norm = norms.into_iter().find(|norm| norm.to_string().eq_ignore_ascii_case(&options.norm))?;
    let &Run { steps, searches, search_steps, .. } = options;
    let away = |attack: Box<dyn Attack>| Some((attack, false));
    match (options.attack.as_str(), norm) {
        ("fmn", _) => away(Box::new(Fmn::new(norm).with_steps(steps))),
        ("deepfool", Norm::Linf | Norm::L2) => away(Box::new(DeepFool::new().with_norm(norm))),
        ("fab", Norm::Linf | Norm::L2 | Norm::L1) => away(Box::new(Fab::new(norm).with_steps(steps))),
        ("fgsm", _) if norm != Norm::L0 => away(MinimalFgsm::new().at(grid_end(norm))),
        ("ddn", Norm::L2) => away(Box::new(Ddn::new().with_steps(steps).with_levels(None))),
        ("ddn on 256 levels", Norm::L2) => away(Box::new(Ddn::new().with_steps(steps))),
        ("cw", Norm::L2) => {
            let attack = CarliniWagner::new().with_search_steps(searches).with_steps(search_steps);
            away(Box::new(attack.with_initial_constant(0.1).with_abort_early(false)))
        }
        ("cw", Norm::Linf) => {
            let attack = CarliniWagnerLinf::new().with_steps(search_steps).with_learning_rate(0.01);
            away(Box::new(attack.with_initial_constant(0.1).with_decrease_factor(0.8)))
        }
        ("ead", Norm::L1) => {
            let attack = Ead::new().with_search_steps(searches).with_steps(search_steps);
            let attack = attack.with_initial_constant(0.1).with_abort_early(false);
            away(Box::new(attack.with_decision_rule(DecisionRule::L1)))
        }
        ("sigma-zero", Norm::L0) => away(Box::new(SigmaZero::new().with_steps(steps))),
        ("lbfgs", Norm::L2) => {
            Some((Box::new(Lbfgs::new().with_search_steps(searches).with_iterations(search_steps)), true))
        }
        ("jsma", Norm::L0) => Some((Box::new(Jsma::new()), true)),
        _ => None,
    }
}

fn attack(options: &Run) -> Result<(), Box<dyn Error>> {
    let unknown =
        || format!("expected a norm and one of its attacks, found {} {}", options.norm, options.attack);
    let (attack, towards) = named(options).ok_or_else(unknown)?;
    let victim = Frozen::new(network(&options.folder.join(NET))?);
    let bytes = std::fs::read(options.folder.join(IMAGES))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let data = |name: &str, dtype| -> Result<TensorData, Box<dyn Error>> {
        let view = file.tensor(name)?;
        Ok(TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype))
    };
    let images = Tensor::<4>::from_data(data("images", DType::F32)?, victim.device());
    let labels = Tensor::<1, Int>::from_data(data("labels", DType::I64)?, victim.device());
    let goal = if towards { Goal::targeted(labels.neg() + 1) } else { Goal::untargeted(labels) };
    let start = Instant::now();
    let found = attack.perturb(&victim, images, &goal)?;
    let (shape, pixels) = (found.dims().to_vec(), found.into_data());
    let seconds = start.elapsed().as_secs_f64();
    let queries = victim.watch().queries();
    serialize_to_file(
        [("images", TensorView::new(Dtype::F32, shape, pixels.as_bytes())?)],
        None,
        &options.out,
    )?;
    let spent = json!({
        "forwards": queries.forwards + queries.gradients,
        "gradients": queries.gradients,
        "seconds": seconds,
        "settings": format!("{attack:?}"),
    });
    println!("{spent}");
    Ok(())
}
