//! Attacks within a range of a transformation's parameters, one file each.

mod scanner;
mod stain;
mod stain_grid;

pub use scanner::Scanner;
pub use stain::Stain;
pub use stain_grid::StainGrid;
