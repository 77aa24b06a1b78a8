//! Devices by the names that the command line knows.

use histoguard::prelude::*;

use crate::common::failure::Failure;

/// What [`device_by_name`] knows, for help texts and errors.
pub fn known() -> String {
    let mut known = Vec::new();
    if cfg!(feature = "flex") {
        known.push("cpu");
    }
    if cfg!(feature = "cuda") {
        known.push("cuda:NUMBER");
    }
    if cfg!(feature = "wgpu") {
        known.push("wgpu");
    }
    if cfg!(feature = "remote") {
        known.push("ws://HOST:PORT");
    }
    known.join(", ")
}

/// The device of this name; one of another machine is connected.
pub fn device_by_name(name: &str) -> Result<Device, Failure> {
    #[cfg(feature = "flex")]
    if name == "cpu" {
        return Ok(Device::flex());
    }
    #[cfg(feature = "cuda")]
    if let Some(number) = name.strip_prefix("cuda:").and_then(|number| number.parse::<usize>().ok()) {
        return Ok(Device::cuda(number));
    }
    #[cfg(feature = "wgpu")]
    if name == "wgpu" {
        return Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice));
    }
    #[cfg(feature = "remote")]
    if name.starts_with("ws://") {
        let host = burn::tensor::remote::RemoteHost::websocket(name);
        let connected = Device::remote_options(&host).init();
        return connected.map_err(|error| {
            Failure::wrong(format!("--device: expected a server of devices at {name}, found: {error}"))
        });
    }
    Err(Failure::wrong(format!("--device: expected one of {}, found {name}", known())))
}
