//! Whether images and networks are those that something was learned with.

use crate::parameter::{Parameter, ParameterError};

/// Images as those that a generator was learned from.
pub(in crate::attack) fn same_shape(learned: [usize; 3], found: [usize; 3]) -> Parameter {
    let said = |[channels, height, width]: [usize; 3]| format!("{channels}x{height}x{width}");
    let range = format!("images of {}, as it was learned from", said(learned));
    Parameter::new("image shape", range, learned == found, said(found))
}

/// What is another network than it should be.
pub(super) fn mismatch(name: &'static str, (expected, found): (String, String)) -> ParameterError {
    Parameter::new(name, expected, false, found).check().expect_err("does not fit")
}
