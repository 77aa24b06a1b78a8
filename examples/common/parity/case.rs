//! One thing that is computed on both devices, and how it went.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use serde::Serialize;

use super::compare::{Difference, Tolerance};
use super::side::Side;

type Run = Box<dyn Fn(&Side) -> Result<Found, String>>;

/// Something to compute.
pub struct Case {
    pub name: &'static str,
    tolerance: Tolerance,
    run: Run,
}

impl Case {
    pub fn new(
        name: &'static str,
        tolerance: Tolerance,
        run: impl Fn(&Side) -> Result<Found, String> + 'static,
    ) -> Self {
        Self { name, tolerance, run: Box::new(run) }
    }
}

/// What came out on one device.
pub struct Found {
    /// Each is compared on its own scale: a parameter, or what an attack changes in an image.
    pub parts: Vec<Part>,
    /// Classes that have to be the same on both devices.
    pub answers: Vec<usize>,
    /// Of an attack: by how much another class leads over the image's own.
    pub margins: Vec<f32>,
}

impl Found {
    /// Numbers alone.
    pub fn numbers(parts: Vec<Part>) -> Self {
        Self { parts, answers: Vec::new(), margins: Vec::new() }
    }
}

pub struct Part {
    pub name: String,
    pub values: Vec<f32>,
}

impl Part {
    pub fn new(name: impl Into<String>, values: Vec<f32>) -> Self {
        Self { name: name.into(), values }
    }
}

/// A line of the table.
#[derive(Serialize)]
pub struct Row {
    pub case: &'static str,
    pub passed: bool,
    pub tolerance: Tolerance,
    /// How far the device is from the CPU; none if it failed.
    pub difference: Option<Difference>,
    /// How far the device's second run is from its first.
    pub repeated: Option<Difference>,
    /// Why it failed to give a result.
    pub failed: Option<String>,
    pub seconds: Seconds,
}

/// Of the CPU, and of the device's first and second run.
#[derive(Default, Serialize)]
pub struct Seconds {
    pub reference: Option<f64>,
    pub cold: Option<f64>,
    pub warm: Option<f64>,
}

/// Computes on the CPU once and on the device twice, and compares, with a tolerance so many times as wide.
pub fn run(case: &Case, reference: &Side, tested: &Side, factor: f64) -> Row {
    let tolerance = case.tolerance.widened(factor);
    let mut seconds = Seconds::default();
    let mut compared = || -> Result<(Difference, Difference), String> {
        let expected = timed(case, reference, &mut seconds.reference)?;
        let first = timed(case, tested, &mut seconds.cold)?;
        let second = timed(case, tested, &mut seconds.warm)?;
        let between = |one, other| Difference::between(one, other, tolerance.beyond());
        Ok((between(&expected, &first)?, between(&first, &second)?))
    };
    let (difference, repeated, failed) = match compared() {
        Ok((difference, repeated)) => (Some(difference), Some(repeated), None),
        Err(failed) => (None, None, Some(failed)),
    };
    let passed = difference.as_ref().is_some_and(|difference| tolerance.holds(difference));
    Row { case: case.name, passed, tolerance, difference, repeated, failed, seconds }
}

/// A backend panics where it cannot go on; the other cases are still of interest.
fn timed(case: &Case, side: &Side, seconds: &mut Option<f64>) -> Result<Found, String> {
    let started = Instant::now();
    let found = catch_unwind(AssertUnwindSafe(|| (case.run)(side)))
        .map_err(|panic| {
            let said =
                panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            format!("panicked: {}", said.unwrap_or("without a word"))
        })
        .flatten()?;
    *seconds = Some(started.elapsed().as_secs_f64());
    Ok(found)
}
