//! The laboratory as the page's worker calls it: JSON and bytes in and out, errors as texts.

use std::cell::RefCell;

use js_sys::Function;
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::{CHOICES, Laboratory, Picture, Request};

#[wasm_bindgen]
extern "C" {
    /// What a panic says, before the module is lost; page/worker.js has it.
    #[wasm_bindgen(js_name = reportPanic)]
    fn report_panic(message: &str);
}

thread_local! {
    /// What hears of steps: a callback of the crate's may be called from any thread, JavaScript's may not.
    static ON_STEP: RefCell<Option<Function>> = const { RefCell::new(None) };
}

#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| report_panic(&panic.to_string())));
}

/// What the page offers.
#[wasm_bindgen]
pub fn choices() -> String {
    json(&CHOICES)
}

/// Whether the module was compiled with vectors.
#[wasm_bindgen]
pub fn has_simd() -> bool {
    cfg!(target_feature = "simd128")
}

/// One network and one image.
#[wasm_bindgen]
#[derive(Default)]
pub struct Bench(Laboratory);

#[wasm_bindgen]
impl Bench {
    /// Without network and image.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loads a checkpoint.
    pub fn load(&mut self, name: &str, bytes: Vec<u8>, normalization: &str) -> Result<String, String> {
        self.0.load(name, bytes, normalization).map(|summary| json(&summary))
    }

    /// Takes an image file.
    pub fn open(&mut self, name: &str, bytes: &[u8]) -> Result<String, String> {
        self.0.open(name, bytes).map(|summary| json(&summary))
    }

    /// Draws tissue.
    pub fn draw(&mut self, malignant: bool, number: usize) -> Result<String, String> {
        self.0.draw(malignant, number).map(|summary| json(&summary))
    }

    /// Probabilities of the image.
    pub fn predict(&mut self, side: usize) -> Result<String, String> {
        self.0.predict(side).map(|probabilities| json(&probabilities))
    }

    /// Attacks the image; `on_step` is called with the steps done and their total, 0 if nothing bounds them.
    pub fn attack(&mut self, request: &str, side: usize, on_step: Function) -> Result<String, String> {
        ON_STEP.set(Some(on_step));
        let hear = |step: histoguard::classifier::Step| tell(step.done, step.total);
        self.0.attack(&parsed(request)?, side, hear).map(|answer| json(&answer))
    }

    /// Evaluates drawn images; `on_step` is called with the passes done and their total.
    pub fn evaluate(
        &self,
        request: &str,
        side: usize,
        per_class: usize,
        on_step: Function,
    ) -> Result<String, String> {
        ON_STEP.set(Some(on_step));
        self.0.evaluate(&parsed(request)?, side, per_class, tell).map(|accuracy| json(&accuracy))
    }

    /// The image as the network saw it, RGBA.
    pub fn original(&self) -> Result<Vec<u8>, String> {
        self.0.picture(Picture::Original)
    }

    /// The adversarial image in whole grey levels, RGBA.
    pub fn adversarial(&self) -> Result<Vec<u8>, String> {
        self.0.picture(Picture::Adversarial)
    }

    /// The difference so many times, RGBA.
    pub fn difference(&self, times: f64) -> Result<Vec<u8>, String> {
        self.0.picture(Picture::Difference(times))
    }

    /// The adversarial image as a PNG file.
    pub fn png(&self) -> Result<Vec<u8>, String> {
        self.0.png()
    }
}

fn tell(done: usize, total: usize) {
    ON_STEP.with_borrow(|on_step| {
        if let Some(on_step) = on_step {
            // What it throws is not the computation's affair.
            let _ = on_step.call2(&JsValue::NULL, &(done as f64).into(), &(total as f64).into());
        }
    });
}

fn parsed(request: &str) -> Result<Request, String> {
    serde_json::from_str(request).map_err(|error| format!("request: {error}"))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and texts")
}
