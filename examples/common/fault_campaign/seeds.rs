//! Whole files of every kind, from which inputs are made: by this crate's own writers, and by PyTorch.

use std::error::Error;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use histoguard::data::png;
use histoguard::prelude::*;
use histoguard::report::Report;
use histoguard::weights;
use image::{DynamicImage, ImageFormat, RgbImage};

use crate::common::fault_campaign::kind::Kind;
use crate::common::fault_campaign::small;

/// A file, and where it belongs in the folder that is read.
pub struct Seed {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Seed {
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

/// Files that PyTorch, timm and safetensors wrote (tests/golden/*.py).
const FOREIGN: [(&str, &[u8]); 9] = [
    ("torchvision.pth", include_bytes!("../../../tests/golden/checkpoints/torchvision.pth")),
    ("torchvision_legacy.pth", include_bytes!("../../../tests/golden/checkpoints/torchvision_legacy.pth")),
    ("old_legacy.pth", include_bytes!("../../../tests/golden/checkpoints/torchvision_old_names_legacy.pth")),
    ("torchvision.safetensors", include_bytes!("../../../tests/golden/checkpoints/torchvision.safetensors")),
    ("bfloat16.safetensors", include_bytes!("../../../tests/golden/checkpoints/bfloat16.safetensors")),
    ("chexnet.pth.tar", include_bytes!("../../../tests/golden/checkpoints/chexnet.pth.tar")),
    ("views.pth", include_bytes!("../../../tests/golden/checkpoints/views.pth")),
    ("xrv.pt", include_bytes!("../../../tests/golden/checkpoints/xrv.pt")),
    ("net.onnx", include_bytes!("../../../tests/golden/densenet_tiny.onnx")),
];

/// The network of the golden files.
pub fn network() -> DenseNet {
    let config = DenseNetConfig::new(3).with_growth_rate(4).with_block_config(vec![2, 1]);
    config.with_num_init_features(6).with_bn_size(2).init_seeded(&Device::default(), 0)
}

/// The body of the file that responses are about.
pub fn downloaded() -> Vec<u8> {
    (0..3000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Whole files of one kind; `folder` is where runs are made that leave some.
pub fn seeds(kind: Kind, folder: &Path) -> Result<Vec<Seed>, Box<dyn Error>> {
    match kind {
        Kind::Images => images(),
        Kind::Checkpoints => checkpoints(folder),
        Kind::Journals => {
            small::plain_evaluation(&folder.join("evaluation"))?;
            small::plain_transfer(&folder.join("transfer"))?;
            small::plain_certification(&folder.join("certification"))?;
            left(folder)
        }
        Kind::Histories => {
            small::tiny_training(folder)?;
            left(folder)
        }
        Kind::Splits => Ok(splits()),
        Kind::Names => Ok(names()),
        Kind::Reports => {
            let json = small::plain_report(&folder.join("runs"))?.write(folder)?.json;
            Report::read(&json)?;
            Ok(vec![Seed::new("report.json", fs::read(json)?)])
        }
        Kind::Archives => archives(),
        Kind::Responses => Ok(responses()),
    }
}

fn images() -> Result<Vec<Seed>, Box<dyn Error>> {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 31) as u8, (y * 29) as u8, (x * y * 5) as u8]);
    let image = DynamicImage::from(RgbImage::from_fn(8, 7, pixel));
    let forms = [
        image.clone(),
        image.to_luma8().into(),
        image.to_rgba8().into(),
        image.to_rgb16().into(),
        image.to_luma_alpha8().into(),
    ];
    let mut seeds = Vec::new();
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff, ImageFormat::Bmp] {
        for form in &forms {
            let mut bytes = Cursor::new(Vec::new());
            // Not every format has every form.
            if form.write_to(&mut bytes, format).is_ok() {
                seeds.push(Seed::new(format!("{format:?}"), bytes.into_inner()));
            }
        }
    }
    seeds.push(Seed::new("palette.png", palette()));
    seeds.push(Seed::new("two rows.bmp", bitmap()));
    Ok(seeds)
}

/// A PNG of 4 x 4 pixels with two colors, one bit a pixel, interlaced; the checksums are those of its chunks.
fn palette() -> Vec<u8> {
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let named = [name.as_slice(), data].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&named);
        [&(data.len() as u32).to_be_bytes(), named.as_slice(), &sum.sum().to_be_bytes()].concat()
    };
    let mut pixels = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
    // The passes of Adam7 on 4 x 4 pixels: 1, 4, 5, 6 and 7 have pixels, in rows of one byte behind their
    // filter's.
    pixels.write_all(&[0, 128, 0, 0, 0, 128, 0, 64, 0, 192, 0, 160, 0, 80]).expect("into memory");
    let data = pixels.finish().expect("into memory");
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[0, 0, 0, 4, 0, 0, 0, 4, 1, 3, 0, 0, 1]),
        chunk(b"PLTE", &[255, 0, 0, 0, 0, 255]),
        chunk(b"tRNS", &[128]),
        chunk(b"IDAT", &data),
        chunk(b"IEND", &[]),
    ]
    .concat()
}

/// A BMP of 4 x 2 pixels with a palette of two colors and run-length encoding.
fn bitmap() -> Vec<u8> {
    let (colors, runs) = ([0u8, 0, 255, 0, 255, 0, 0, 0], [4u8, 0, 0, 0, 2, 1, 2, 0, 0, 1]);
    let offset = 14 + 40 + colors.len();
    let u32s = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    [
        b"BM".to_vec(),
        u32s(&[(offset + runs.len()) as u32, 0, offset as u32, 40, 4, 2]),
        vec![1, 0, 8, 0],
        u32s(&[1, runs.len() as u32, 2835, 2835, 2, 2]),
        colors.to_vec(),
        runs.to_vec(),
    ]
    .concat()
}

fn checkpoints(folder: &Path) -> Result<Vec<Seed>, Box<dyn Error>> {
    let path = folder.join("own.safetensors");
    weights::save_safetensors(&network(), &path)?;
    let own = Seed::new("own.safetensors", fs::read(path)?);
    small::tiny_training(&folder.join("training"))?;
    let burn = left(&folder.join("training"))?.into_iter().filter(|seed| seed.name.contains("model-"));
    let foreign = FOREIGN.into_iter().map(|(name, bytes)| Seed::new(name, bytes));
    Ok(foreign.chain([own]).chain(burn).collect())
}

/// All files below a folder, but those that are locked.
fn left(folder: &Path) -> Result<Vec<Seed>, Box<dyn Error>> {
    let (mut waiting, mut paths) = (vec![folder.to_path_buf()], Vec::<PathBuf>::new());
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() { waiting.push(path) } else { paths.push(path) }
        }
    }
    paths.retain(|path| path.file_name().is_some_and(|name| name != ".lock"));
    paths.sort();
    let seed = |path: PathBuf| {
        let name = path.strip_prefix(folder).expect("found below it").to_string_lossy().into_owned();
        Ok(Seed::new(name, fs::read(path)?))
    };
    paths.into_iter().map(seed).collect()
}

/// Names of BreakHis that the fold files speak of.
pub fn slides() -> Vec<String> {
    let slide = |number: usize| match number % 2 {
        0 => format!("SOB_B_A-14-{}AB-100-{number:03}.png", 22549 + number),
        _ => format!("SOB_M_DC-14-{}-100-{number:03}.png", 2523 + number),
    };
    (0..12).map(slide).collect()
}

fn splits() -> Vec<Seed> {
    let line = |(number, name): (usize, String)| {
        format!("{name}|100|1|{}", if number < 8 { "train" } else { "test" })
    };
    let lines: Vec<String> = slides().into_iter().enumerate().map(line).collect();
    vec![Seed::new("dsfold1.txt", lines.join("\n")), Seed::new("dsfold2.txt", lines.join("\r\n") + "\r\n")]
}

fn names() -> Vec<Seed> {
    let plain = ["NORMAL/IM-0001-0001.jpeg", "a.png", "BreaKHis 400X/train/benign/x.PNG", "ä ö/日本.tif"];
    slides().into_iter().chain(plain.map(String::from)).map(|name| Seed::new("", name)).collect()
}

fn archives() -> Result<Vec<Seed>, Box<dyn Error>> {
    let mut seeds = Vec::new();
    for long in [false, true] {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let name = if long { "d".repeat(120) } else { "set".to_string() };
        for (file, size) in [("a.png", 10), ("b/c.png", 700), ("b/d.png", 0)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(size);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{name}/{file}"), vec![7u8; size as usize].as_slice())?;
        }
        seeds.push(Seed::new("set.tar.gz", tar.into_inner()?.finish()?));
    }
    Ok(seeds)
}

fn responses() -> Vec<Seed> {
    let body = downloaded();
    let heads = [
        format!("200 OK\r\nContent-Length: {}\r\nETag: \"v1\"", body.len()),
        "200 OK\r\nTransfer-Encoding: chunked".to_string(),
        "200 OK\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT".to_string(),
        format!("206 Partial Content\r\nContent-Range: bytes 0-2999/3000\r\nContent-Length: {}", body.len()),
        "416 Range Not Satisfiable\r\nContent-Range: bytes */3000".to_string(),
        "503 Service Unavailable\r\nRetry-After: 1".to_string(),
        "301 Moved Permanently\r\nLocation: /elsewhere".to_string(),
    ];
    let seed = |head: String| {
        let content = match head.contains("chunked") {
            true => [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat(),
            false => body.clone(),
        };
        let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        Seed::new("", [head.as_bytes(), &content].concat())
    };
    heads.into_iter().map(seed).collect()
}

/// A picture that can be decoded, for folders that are listed.
pub fn picture(path: &Path) -> Result<(), Box<dyn Error>> {
    Ok(png::write(&RgbImage::new(2, 2), path)?)
}
