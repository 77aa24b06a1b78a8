//! Image files of every kind, against the libraries that others read them with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use histoguard::data::decode_image;
use safetensors::SafeTensors;

/// What formats.py wrote: each case's file, and its pixels unless it is to be refused.
fn formats() -> BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden/formats.safetensors"].iter().collect();
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = |name: &str| tensors.tensor(name).ok().map(|view| view.data().to_vec());
    let case = |name: &str| {
        let name = name.strip_suffix("/file")?;
        Some((name.to_string(), (data(&format!("{name}/file")).unwrap(), data(&format!("{name}/pixels")))))
    };
    tensors.names().into_iter().filter_map(|name| case(name)).collect()
}

#[test]
fn explore() {
    for (name, (file, pixels)) in formats() {
        match (decode_image(&name, &file), pixels) {
            (Ok(image), Some(pixels)) => {
                let size = image.dimensions();
                let found = image.into_raw();
                let worst = found.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max();
                println!("{name}: {size:?} {} {} worst {worst:?}", found.len(), pixels.len());
            }
            (Ok(_), None) => println!("{name}: READ"),
            (Err(error), Some(_)) => println!("{name}: ERROR {error}"),
            (Err(error), None) => println!("ok refused {error}"),
        }
    }
}
