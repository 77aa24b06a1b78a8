//! Decoding, resizing and augmenting images of BreakHis's size, in images per second.
//!
//! `cargo bench --bench loading`; training wants at least four times its own rate.

use burn::data::dataloader::DataLoader;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use histoguard::data::{Augmentation, ImageCache, ImageLoader, LoaderConfig, png};
use histoguard::prelude::*;

const IMAGES: usize = 32;

fn loading(criterion: &mut Criterion) {
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
    let epoch = |loader: ImageLoader| {
        loader.iter().for_each(|batch| drop(std::hint::black_box(batch.expect("readable images"))));
        loader
    };

    let mut group = criterion.benchmark_group("loading 700x460 PNG to 224x224");
    group.sample_size(10).throughput(Throughput::Elements(IMAGES as u64));
    group.bench_function("first epoch", |b| {
        b.iter_batched(|| loader(ImageCache::new(0)), epoch, BatchSize::PerIteration);
    });
    group.bench_function("from memory", |b| {
        let warm = ImageCache::default();
        epoch(loader(warm.clone()));
        b.iter_batched(|| loader(warm.clone()), epoch, BatchSize::PerIteration);
    });
}

// Plots would need fonts.
criterion_group!(name = benches; config = Criterion::default().without_plots(); targets = loading);
criterion_main!(benches);
