//! What the page does, outside of the browser, for comparison.
//!
//! `cargo run --release --example native -- net.safetensors slide.png '{"attack":"fgsm","norm":"Linf","epsilon":2,"effort":1}'`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use histoguard_web::Laboratory;

/// Attacks one image as the page does, and prints the answer as JSON.
#[derive(Debug, Parser)]
struct Options {
    /// DenseNet checkpoint.
    checkpoint: PathBuf,
    /// The image, or `benign:N` or `malignant:N` for a drawing.
    image: String,
    /// The request, as JSON.
    request: String,
    /// Side in pixels to which the image is resized and cropped.
    #[arg(long, default_value_t = 224)]
    side: usize,
    /// What the network expects of its pixels.
    #[arg(long, default_value = "imagenet")]
    normalization: String,
    /// Evaluate so many drawn images of each class in the image's place.
    #[arg(long)]
    evaluate: Option<usize>,
    /// File for the adversarial PNG.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<String, Box<dyn std::error::Error>> {
    let mut laboratory = Laboratory::default();
    let at = |path: &PathBuf| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let name = options.checkpoint.display().to_string();
    laboratory.load(&name, at(&options.checkpoint)?, &options.normalization)?;
    let request = serde_json::from_str(&options.request)?;
    if let Some(per_class) = options.evaluate {
        let accuracy = laboratory.evaluate(&request, options.side, per_class, |_, _| {})?;
        return Ok(serde_json::to_string(&accuracy)?);
    }
    match options.image.split_once(':') {
        Some((class @ ("benign" | "malignant"), number)) => {
            laboratory.draw(class == "malignant", number.parse()?)?
        }
        _ => laboratory.open(&options.image, &at(&PathBuf::from(&options.image))?)?,
    };
    let answer = laboratory.attack(&request, options.side, |_| {})?;
    if let Some(path) = &options.out {
        std::fs::write(path, laboratory.png()?)?;
    }
    Ok(serde_json::to_string(&answer)?)
}
