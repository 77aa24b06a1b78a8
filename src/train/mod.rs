//! Training a classifier with burn-train.
