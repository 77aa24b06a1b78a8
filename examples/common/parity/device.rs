//! The devices that can be compared with the CPU.

use clap::ValueEnum;
use histoguard::prelude::*;

use crate::common::failure::Failure;

/// A device, whether this build has it or not.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Chosen {
    /// The CPU with burn's own operations.
    Flex,
    /// A GPU, or what stands in for one, through WebGPU.
    Wgpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl Chosen {
    /// The device, ready to compute.
    pub fn open(self) -> Result<Device, Failure> {
        match self {
            Self::Flex => flex(),
            Self::Wgpu => wgpu(),
            Self::Cuda => cuda(),
        }
    }

    /// What the device calls itself.
    pub fn name(self, device: &Device) -> String {
        match self {
            Self::Flex => "CPU with burn's own operations (flex)".to_string(),
            Self::Wgpu => format!("{} (wgpu)", identity(device)),
            Self::Cuda => format!("{} (cuda)", identity(device)),
        }
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn identity(device: &Device) -> String {
    device.identity().map_or_else(|| format!("{device:?}"), |identity| identity.name)
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn identity(device: &Device) -> String {
    format!("{device:?}")
}

fn flex() -> Result<Device, Failure> {
    match std::env::var_os("HISTOGUARD_KERNELS").is_some_and(|value| value == "off") {
        false => Ok(Device::flex()),
        true => Err(Failure::wrong(
            "--device flex: expected HISTOGUARD_KERNELS unset, for the crate's kernels to compare with, found off",
        )),
    }
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device, Failure> {
    Device::wgpu_options().init().map_err(|error| {
        Failure::wrong(format_args!(
            "--device wgpu: expected an adapter of Vulkan, Metal, Direct3D 12 or OpenGL, found: {error}"
        ))
    })
}

#[cfg(not(feature = "wgpu"))]
fn wgpu() -> Result<Device, Failure> {
    Err(lacks("wgpu"))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, Failure> {
    // Opening one that is not there would panic.
    match Device::enumerate(burn::tensor::DeviceType::Cuda).is_empty() {
        false => Ok(Device::cuda(0)),
        true => Err(Failure::wrong("--device cuda: expected an NVIDIA GPU and its driver, found none")),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, Failure> {
    Err(lacks("cuda"))
}

#[cfg(not(all(feature = "wgpu", feature = "cuda")))]
fn lacks(feature: &str) -> Failure {
    let there: Vec<&str> = [("wgpu", cfg!(feature = "wgpu")), ("cuda", cfg!(feature = "cuda"))]
        .into_iter()
        .filter_map(|(name, built)| built.then_some(name))
        .collect();
    let there = [&["flex"], there.as_slice()].concat().join(", ");
    Failure::wrong(format_args!(
        "--device {feature}: expected a device of this build ({there}); --no-default-features --features flex,{feature} builds it in"
    ))
}
