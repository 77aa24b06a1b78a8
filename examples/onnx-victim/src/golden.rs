//! The safetensors files that the scripts beside the ONNX files wrote.

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;

/// Of `model/victim.py`.
pub const VICTIM: &[u8] = include_bytes!("../model/victim.safetensors");

pub fn read(bytes: &[u8]) -> Golden<'_> {
    Golden(SafeTensors::deserialize(bytes).expect("a safetensors file"))
}

pub struct Golden<'a>(SafeTensors<'a>);

impl Golden<'_> {
    pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let tensor = self.0.tensor(name).expect("a tensor of the script");
        let values = tensor.data().chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        let data = TensorData::new(values.collect::<Vec<_>>(), tensor.shape().to_vec());
        Tensor::from_data(data, device)
    }

    pub fn labels(&self) -> Vec<usize> {
        let tensor = self.0.tensor("labels").expect("the labels");
        tensor.data().chunks(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as usize).collect()
    }
}
