//! DenseNet with torchvision's part names, and normalisation as a network's first layer.
