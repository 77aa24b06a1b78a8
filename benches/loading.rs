//! Decoding, resizing and augmenting images of BreakHis's size, in images per second.
//!
//! `cargo bench --bench loading` prints one JSON object a measurement; training wants at least four times its
//! own rate.

use std::time::Instant;

use burn::data::dataloader::DataLoader;
use histoguard::data::{Augmentation, ImageCache, ImageLoader, LoaderConfig, png};
use histoguard::prelude::*;
use serde_json::json;

const IMAGES: usize = 32;
const RUNS: usize = 10;

/// Prints the rate of the slowest, median and fastest of [`RUNS`] epochs after one that warms up.
fn measure(name: &str, loader: impl Fn() -> ImageLoader) {
    let once = |_| {
        let loader = loader();
        let start = Instant::now();
        loader.iter().for_each(|batch| drop(std::hint::black_box(batch.expect("readable images"))));
        start.elapsed().as_secs_f64()
    };
    let mut seconds: Vec<f64> = (0..=RUNS).map(once).skip(1).collect();
    seconds.sort_by(f64::total_cmp);
    let rate = |seconds: f64| (IMAGES as f64 / seconds).round();
    println!(
        "{}",
        json!({
            "loading 700x460 PNG to 224x224": name, "images_per_second": rate(seconds[RUNS / 2]),
            "slowest": rate(seconds[RUNS - 1]), "fastest": rate(seconds[0]),
        })
    );
}

fn main() {
    let device = Device::default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tissue = SyntheticTissue {
        image_size: [700, 460],
        count_per_class: IMAGES / 2,
        slides_per_class: 2,
        ..SyntheticTissue::default()
    };
    for number in 0..IMAGES {
        let class = ["benign", "malignant"][number % 2];
        png::write(&tissue.draw(number), &folder.path().join(class).join(format!("{number}.png")))
            .expect("written");
    }
    let set = FolderSet::open(folder.path()).expect("the images written above").all();
    let loader = |cache: ImageCache| {
        let config =
            LoaderConfig { augmentation: Some(Augmentation::paper()), ..LoaderConfig::training(IMAGES, 0) };
        let prepared = Prepared::new(set.clone(), 224).expect("a valid size").with_cache(cache);
        ImageLoader::new(prepared, config, &device).expect("valid settings")
    };
    measure("first epoch", || loader(ImageCache::new(0)));
    let warm = ImageCache::default();
    measure("from memory", || loader(warm.clone()));
}
