//! The points of Winograd's F(4x4, 3x3) and the transforms between them and tiles, in one dimension.

use super::simd::Simd;

/// Height and width of a tile's outputs.
pub(super) const OUT: usize = 4;
/// Height and width of a tile's inputs.
pub(super) const IN: usize = 6;
/// Products of a tile, a channel.
pub(super) const POINTS: usize = IN * IN;

// The points are 0, infinity and four more, which keep the transforms' numbers near one: with 1 and 2, as in the paper, the
// rounding errors are more than twice as large. All of their powers here are exact.

/// The points nearer to zero are this and its negative.
pub(super) const NEAR: f32 = 5.0 / 8.0;
/// The points farther from zero are this and its negative.
pub(super) const FAR: f32 = 3.0 / 2.0;
pub(super) const NEAR2: f32 = NEAR * NEAR;
pub(super) const FAR2: f32 = FAR * FAR;
/// One over the product of a point's distances from the others.
pub(super) const ZERO_SCALE: f32 = 1.0 / (NEAR2 * FAR2);
pub(super) const NEAR_SCALE: f32 = 1.0 / (2.0 * NEAR2 * (NEAR2 - FAR2));
pub(super) const FAR_SCALE: f32 = 1.0 / (2.0 * FAR2 * (FAR2 - NEAR2));

/// `G g`: the polynomial of the weights at the points, over the products of their distances from each other.
///
/// # Safety
///
/// As for [`Simd`].
#[inline(always)]
pub(super) unsafe fn weight_points<S: Simd>([a, b, c]: [S::V; 3]) -> [S::V; IN] {
    // SAFETY: the caller's contract.
    unsafe {
        let near = S::mul(S::mul_add(c, S::splat(NEAR2), a), S::splat(NEAR_SCALE));
        let far = S::mul(S::mul_add(c, S::splat(FAR2), a), S::splat(FAR_SCALE));
        let (near_odd, far_odd) =
            (S::mul(b, S::splat(NEAR * NEAR_SCALE)), S::mul(b, S::splat(FAR * FAR_SCALE)));
        [
            S::mul(a, S::splat(ZERO_SCALE)),
            S::add(near, near_odd),
            S::sub(near, near_odd),
            S::add(far, far_odd),
            S::sub(far, far_odd),
            c,
        ]
    }
}

/// `B^T d`.
///
/// # Safety
///
/// As for [`Simd`].
#[inline(always)]
pub(super) unsafe fn input_points<S: Simd>(d: [S::V; IN]) -> [S::V; IN] {
    // SAFETY: the caller's contract.
    unsafe {
        let (product, sum) = (S::splat(NEAR2 * FAR2), S::splat(-NEAR2 - FAR2));
        let (near2, far2) = (S::splat(-NEAR2), S::splat(-FAR2));
        let near = S::mul_add(far2, d[2], d[4]);
        let near_odd = S::mul(S::splat(NEAR), S::mul_add(far2, d[1], d[3]));
        let far = S::mul_add(near2, d[2], d[4]);
        let far_odd = S::mul(S::splat(FAR), S::mul_add(near2, d[1], d[3]));
        [
            S::mul_add(product, d[0], S::mul_add(sum, d[2], d[4])),
            S::add(near, near_odd),
            S::sub(near, near_odd),
            S::add(far, far_odd),
            S::sub(far, far_odd),
            S::mul_add(product, d[1], S::mul_add(sum, d[3], d[5])),
        ]
    }
}

/// `A^T m`: a polynomial's coefficients from the products at the points.
///
/// # Safety
///
/// As for [`Simd`].
#[inline(always)]
pub(super) unsafe fn outputs<S: Simd>(m: [S::V; IN]) -> [S::V; OUT] {
    // SAFETY: the caller's contract.
    unsafe {
        let (near, near_odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (far, far_odd) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(m[0], S::add(near, far)),
            S::mul_add(S::splat(NEAR), near_odd, S::mul(S::splat(FAR), far_odd)),
            S::mul_add(S::splat(NEAR2), near, S::mul(S::splat(FAR2), far)),
            S::mul_add(S::splat(NEAR * NEAR2), near_odd, S::mul_add(S::splat(FAR * FAR2), far_odd, m[5])),
        ]
    }
}
