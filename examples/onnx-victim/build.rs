//! Turns ONNX files into Rust modules with their weights.

use burn_onnx::{LoadStrategy, ModelGen};

fn main() {
    let mut models = ModelGen::new();
    models.input("model/victim.onnx");
    // What histoguard exports; the tests compare it with what it was exported from.
    models.input("../../tests/golden/densenet_tiny.onnx");
    models.out_dir("model/").load_strategy(LoadStrategy::Embedded).run_from_script();
}
