//! The golden data that densenet_tiny.py wrote.

// Every test program uses a part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::{DType, Device, Tensor, TensorData};
use histoguard::model::DenseNetConfig;
use safetensors::{Dtype, SafeTensors};

pub fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect()
}

/// The network of densenet_tiny.py.
pub fn config() -> DenseNetConfig {
    DenseNetConfig::new(3)
        .with_growth_rate(4)
        .with_block_config(vec![2, 1])
        .with_num_init_features(6)
        .with_bn_size(2)
}

/// Every floating-point tensor of a safetensors file, in double precision.
pub fn tensors(name: &str) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let bytes = std::fs::read(path(name)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8], dtype| match dtype {
        Dtype::F64 => data.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::F32 => data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
        Dtype::I64 => data.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
        other => panic!("{other:?}"),
    };
    let entry = |(name, view): (String, safetensors::tensor::TensorView)| {
        (name, (view.shape().to_vec(), values(view.data(), view.dtype())))
    };
    file.tensors().into_iter().map(entry).collect()
}

pub fn tensor<const D: usize>((shape, values): &(Vec<usize>, Vec<f64>), device: &Device) -> Tensor<D> {
    let data = TensorData::new(values.clone(), shape.clone()).convert_dtype(DType::F32);
    Tensor::from_data(data, device)
}

/// Asserts that no value is off by more than `tolerance` of the largest expected one.
pub fn assert_close<const D: usize>(what: &str, found: Tensor<D>, expected: &[f64], tolerance: f64) {
    let found: Vec<f32> = found.into_data().convert::<f32>().try_into_vec().unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-30f64, |a, b| a.max(b.abs()));
    let off = found.iter().zip(expected).fold(0.0f64, |worst, (a, b)| worst.max((*a as f64 - b).abs()));
    assert!(off <= tolerance * largest, "{what}: off by {off} where the largest is {largest}");
}

/// The name that torchvision has for the parameter at this path of our modules.
pub fn torchvision_name(path: &[String]) -> String {
    let number = |index: &str| index.parse::<usize>().unwrap() + 1;
    let mut name = path.join(".");
    for (list, item) in
        [("denseblocks.", "denseblock"), ("layers.", "denselayer"), ("transitions.", "transition")]
    {
        if let Some((before, after)) = name.clone().split_once(list) {
            let (index, rest) = after.split_once('.').unwrap();
            name = format!("{before}{item}{}.{rest}", number(index));
        }
    }
    name.replace(".gamma", ".weight").replace(".beta", ".bias")
}
