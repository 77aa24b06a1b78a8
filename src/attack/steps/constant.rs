//! The search for the constant that weighs success against the size of the change.

use crate::attack::AttackError;

/// Looks for the smallest constant of each image that succeeds: times ten until one does, then bisection, as
/// in Carlini and Wagner's released `l2_attack.py`. `succeeds` tries a constant for each image.
///
/// # Errors
///
/// As `succeeds`.
pub fn smallest_constants(
    images: usize,
    initial: f64,
    steps: usize,
    mut succeeds: impl FnMut(&[f64]) -> Result<Vec<bool>, AttackError>,
) -> Result<(), AttackError> {
    let mut constants = vec![initial; images];
    let mut bounds = vec![(0.0, f64::INFINITY); images];
    for done in 1..=steps {
        let succeeded = succeeds(&constants)?;
        // A long search ends with the smallest constant that did succeed, once more.
        let again = steps >= 10 && done + 1 == steps;
        for ((constant, (lower, upper)), succeeded) in constants.iter_mut().zip(&mut bounds).zip(succeeded) {
            *(if succeeded { &mut *upper } else { &mut *lower }) = *constant;
            *constant = match (again, upper.is_finite()) {
                (true, _) => upper.min(1e10),
                (false, true) => (*lower + *upper) / 2.0,
                (false, false) => *constant * 10.0,
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_then_bisects() {
        // The first image needs at least 60, the second nothing reaches.
        let mut seen = vec![];
        smallest_constants(2, 1.0, 12, |constants| {
            seen.push(constants[0]);
            Ok(vec![constants[0] >= 60.0, false])
        })
        .unwrap();
        assert_eq!(seen[..6], [1.0, 10.0, 100.0, 55.0, 77.5, 66.25]);
        let smallest = seen[..11].iter().copied().filter(|&c| c >= 60.0).fold(f64::INFINITY, f64::min);
        assert_eq!(seen[11], smallest);
        assert_eq!(seen.len(), 12);
    }
}
