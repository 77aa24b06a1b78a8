use super::*;
use burn::data::dataloader::*;
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Augmentation {}
impl Augmentation { pub fn paper()->Self{Self{}} }
#[derive(Clone)]
pub struct LoaderConfig{}
#[derive(Clone,Debug)]
pub struct ImageSet{}
pub struct Split{pub train: ImageSet, pub validation: ImageSet, pub test: ImageSet}
pub struct ImageLoader{}
impl ImageLoader { pub fn training(_:&ImageSet,_:&LoaderConfig,_:usize)->Result<Self,DataError>{todo!()} pub fn validation(_:&ImageSet,_:&LoaderConfig)->Result<Self,DataError>{todo!()}}
impl DataLoader<Batch> for ImageLoader {
  fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a>{todo!()}
  fn num_items(&self) -> usize{todo!()}
  fn to_device(&self, _: &burn::tensor::Device) -> Arc<dyn DataLoader<Batch>>{todo!()}
  fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<Batch>>{todo!()}
}
use std::sync::Arc;
