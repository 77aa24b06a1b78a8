//! The discrete cosine transform of a block in integers, as libjpeg has it by default.
//!
//! Loeffler, Ligtenberg & Moschytz, "Practical Fast 1-D DCT Algorithms with 11 Multiplications", ICASSP 1989,
//! in 13-bit fixed point with two more bits between the passes: the rounding of libjpeg's `jfdctint.c` and
//! `jidctint.c`, without which coefficients near a half are quantised otherwise.

use super::tables::SIDE;

const CONST_BITS: i32 = 13;
const PASS_BITS: i32 = 2;

/// A constant in fixed point.
const fn fixed(value: f64) -> i32 {
    (value * (1 << CONST_BITS) as f64 + 0.5) as i32
}

const F0_298: i32 = fixed(0.298_631_336);
const F0_390: i32 = fixed(0.390_180_644);
const F0_541: i32 = fixed(0.541_196_100);
const F0_765: i32 = fixed(0.765_366_865);
const F0_899: i32 = fixed(0.899_976_223);
const F1_175: i32 = fixed(1.175_875_602);
const F1_501: i32 = fixed(1.501_321_110);
const F1_847: i32 = fixed(1.847_759_065);
const F1_961: i32 = fixed(1.961_570_560);
const F2_053: i32 = fixed(2.053_119_869);
const F2_562: i32 = fixed(2.562_915_447);
const F3_072: i32 = fixed(3.072_711_026);

/// Division by a power of two, rounded.
const fn descale(value: i32, bits: i32) -> i32 {
    (value + (1 << (bits - 1))) >> bits
}

/// Eight times the coefficients of a block of values around zero, row by row.
pub(super) fn forward(block: &mut [i32; 64]) {
    for row in 0..SIDE {
        let even = |value: i32| value << PASS_BITS;
        forward_line(block, row * SIDE, 1, even, CONST_BITS - PASS_BITS);
    }
    for column in 0..SIDE {
        forward_line(block, column, SIDE, |value| descale(value, PASS_BITS), CONST_BITS + PASS_BITS);
    }
}

fn forward_line(block: &mut [i32; 64], start: usize, step: usize, even: impl Fn(i32) -> i32, bits: i32) {
    let d: [i32; SIDE] = std::array::from_fn(|i| block[start + i * step]);
    let [sum0, sum1, sum2, sum3] = std::array::from_fn(|i| d[i] + d[7 - i]);
    let [t7, t6, t5, t4] = std::array::from_fn(|i| d[i] - d[7 - i]);
    let (t10, t13, t11, t12) = (sum0 + sum3, sum0 - sum3, sum1 + sum2, sum1 - sum2);
    let z1 = (t12 + t13) * F0_541;
    let (mut z3, mut z4) = (t4 + t6, t5 + t7);
    let z5 = (z3 + z4) * F1_175;
    let (a, b) = ((t4 + t7) * -F0_899, (t5 + t6) * -F2_562);
    z3 = z3 * -F1_961 + z5;
    z4 = z4 * -F0_390 + z5;
    let out = [
        even(t10 + t11),
        descale(t7 * F1_501 + a + z4, bits),
        descale(z1 + t13 * F0_765, bits),
        descale(t6 * F3_072 + b + z3, bits),
        even(t10 - t11),
        descale(t5 * F2_053 + b + z4, bits),
        descale(z1 - t12 * F1_847, bits),
        descale(t4 * F0_298 + a + z3, bits),
    ];
    (0..SIDE).for_each(|i| block[start + i * step] = out[i]);
}

/// The values around zero of a block of coefficients, row by row.
pub(super) fn inverse(block: &mut [i32; 64]) {
    for column in 0..SIDE {
        inverse_line(block, column, SIDE, CONST_BITS - PASS_BITS);
    }
    for row in 0..SIDE {
        inverse_line(block, row * SIDE, 1, CONST_BITS + PASS_BITS + 3);
    }
}

fn inverse_line(block: &mut [i32; 64], start: usize, step: usize, bits: i32) {
    let d: [i32; SIDE] = std::array::from_fn(|i| block[start + i * step]);
    let z1 = (d[2] + d[6]) * F0_541;
    let (t2, t3) = (z1 - d[6] * F1_847, z1 + d[2] * F0_765);
    let (t0, t1) = ((d[0] + d[4]) << CONST_BITS, (d[0] - d[4]) << CONST_BITS);
    let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];
    let (mut z3, mut z4) = (d[7] + d[3], d[5] + d[1]);
    let z5 = (z3 + z4) * F1_175;
    let (a, b) = ((d[7] + d[1]) * -F0_899, (d[5] + d[3]) * -F2_562);
    z3 = z3 * -F1_961 + z5;
    z4 = z4 * -F0_390 + z5;
    let odd =
        [d[1] * F1_501 + a + z4, d[3] * F3_072 + b + z3, d[5] * F2_053 + b + z4, d[7] * F0_298 + a + z3];
    for i in 0..SIDE / 2 {
        block[start + i * step] = descale(even[i] + odd[i], bits);
        block[start + (SIDE - 1 - i) * step] = descale(even[i] - odd[i], bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    /// The DCT-II of the standard (A.3.3), times eight and the other way round.
    #[test]
    fn both_ways_equal_the_definition_to_rounding() {
        let values: [i32; 64] = std::array::from_fn(|i| (i as i32 * 37 + 11) % 256 - 128);
        let weight = |k: usize| if k == 0 { 0.5f64.sqrt() } else { 1.0 };
        let cosine = |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos();
        let mut coefficients = values;
        forward(&mut coefficients);
        for (at, &found) in coefficients.iter().enumerate() {
            let (v, u) = (at / 8, at % 8);
            let sum: f64 = (0..64).map(|i| f64::from(values[i]) * cosine(i / 8, v) * cosine(i % 8, u)).sum();
            let expected = 8.0 * 0.25 * weight(u) * weight(v) * sum;
            assert!((f64::from(found) - expected).abs() < 2.0, "{at}: {found} {expected}");
        }
        let mut back = coefficients.map(|eightfold| descale(eightfold, 3));
        inverse(&mut back);
        back.iter().zip(values).for_each(|(a, b)| assert!((a - b).abs() <= 2, "{a} {b}"));
    }
}
