//! Tables, curves and picture panels from evaluation results.
