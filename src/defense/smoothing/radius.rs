//! A certified radius in L2, with what it says in L-infinity.

use serde::{Deserialize, Serialize};

use crate::pixels::{Budget, Epsilon};

/// How far an image can be changed without another answer: an L2 radius, beside the largest L-infinity budget
/// that lies within it, which is smaller by the root of the number of values and small in images.
///
/// ```
/// use histoguard::defense::smoothing::Radius;
///
/// // The largest radius of 100,000 draws at sigma 0.25, on 224 x 224 RGB.
/// let radius = Radius::new(0.25 * 3.811457, 3 * 224 * 224);
/// assert_eq!(radius.to_string(), "L2 0.9529 (all of Linf 0.626271/255)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Radius {
    /// The radius itself, on the \[0,1\] scale over the whole image, to 12 significant digits.
    pub l2: Budget,
    /// Every perturbation within this budget is within the radius.
    pub linf: Budget,
}

impl Radius {
    /// Of this L2 length, for images of so many values (channels times height times width).
    pub fn new(l2: f64, values: usize) -> Self {
        let linf = Epsilon::unit(l2 / (values.max(1) as f64).sqrt());
        Self { l2: Budget::l2(l2).rounded(), linf: Budget::linf(linf).rounded() }
    }

    /// The L2 length on the \[0,1\] scale.
    pub const fn size(&self) -> f64 {
        self.l2.size()
    }
}

/// For example `L2 0.9529 (all of Linf 0.626271/255)`.
impl std::fmt::Display for Radius {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (all of {})", self.l2, self.linf)
    }
}
