//! Carlini & Wagner's attacks, one file a norm.

mod l2;
mod linf;

pub use l2::CarliniWagner;
pub use linf::CarliniWagnerLinf;
