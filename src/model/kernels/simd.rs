//! Instruction levels, and the vector operations that the kernels are written over.

use std::marker::PhantomData;
use std::sync::OnceLock;

use super::bf16::{Bf16, Single};
#[cfg(target_arch = "x86_64")]
use super::bf16_x86::{Amx, Dot, has_amx, has_dot};
pub(super) use super::lanes::LANES;

/// An instruction level of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// 16-lane vectors (x86-64 with AVX-512F).
    Avx512,
    /// 8-lane vectors with fused multiply-add (x86-64 with AVX2 and FMA).
    Avx2,
    /// 4-lane vectors (WebAssembly with simd128), which a browser has for the whole module or not at all.
    Simd128,
    /// Plain Rust that every target compiles.
    Portable,
    /// AVX-512 whose 1x1 convolutions of evaluation multiply in bf16 (AVX512-BF16); chosen by name alone.
    Avx512Bf16,
    /// AVX-512 whose 1x1 and 3x3 convolutions of evaluation multiply in bf16 (AMX-BF16); chosen by name alone.
    Amx,
    /// Plain Rust whose convolutions of evaluation take numbers in bf16: what every machine can test.
    #[cfg(test)]
    PortableBf16,
}

impl Level {
    /// The levels in float32 that this machine can run, the fastest first.
    pub(crate) fn available() -> Vec<Level> {
        [Level::Avx512, Level::Avx2, Level::Simd128, Level::Portable]
            .into_iter()
            .filter(|level| level.is_available())
            .collect()
    }

    /// The levels with bf16 that this machine can run, the fastest first.
    pub(crate) fn bf16() -> Vec<Level> {
        [Level::Amx, Level::Avx512Bf16].into_iter().filter(|level| level.is_available()).collect()
    }

    /// The same, and that which every machine has for tests.
    #[cfg(test)]
    pub(super) fn tested_bf16() -> Vec<Level> {
        [vec![Level::PortableBf16], Level::bf16()].concat()
    }

    /// Whether evaluation's 1x1 convolutions multiply in bf16.
    pub(super) fn is_bf16(self) -> bool {
        self == Level::Avx512Bf16 || self.is_spatial_bf16()
    }

    /// Whether its 3x3 convolutions do too.
    pub(super) fn is_spatial_bf16(self) -> bool {
        #[cfg(test)]
        if self == Level::PortableBf16 {
            return true;
        }
        self == Level::Amx
    }

    /// The level of 3x3 convolutions: Winograd's algorithm in float32 beats dot products of pairs.
    pub(super) fn spatial(self) -> Level {
        if self == Level::Avx512Bf16 { Level::Avx512 } else { self }
    }

    /// Whether this machine can run the level.
    pub(crate) fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => is_x86_feature_detected!("avx512f") && Level::Avx2.is_available(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => has_dot() && Level::Avx512.is_available(),
            #[cfg(target_arch = "x86_64")]
            Level::Amx => has_amx() && Level::Avx512.is_available(),
            Level::Simd128 => cfg!(all(target_arch = "wasm32", target_feature = "simd128")),
            Level::Portable => true,
            #[cfg(test)]
            Level::PortableBf16 => true,
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx512 | Level::Avx2 | Level::Avx512Bf16 | Level::Amx => false,
        }
    }

    /// The fastest level, or the one that `HISTOGUARD_SIMD` (`avx512`, `avx2`, `portable`) names if this machine can
    /// run it. Read once a process; WebAssembly has no environment to read.
    pub(crate) fn current() -> Level {
        static CURRENT: OnceLock<Level> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let named = match std::env::var("HISTOGUARD_SIMD").as_deref() {
                Ok("avx512") => Some(Level::Avx512),
                Ok("avx2") => Some(Level::Avx2),
                Ok("portable") => Some(Level::Portable),
                _ => None,
            };
            named.filter(|level| level.is_available()).unwrap_or_else(|| Level::available()[0])
        })
    }

    /// The fastest level with bf16, or what there is instead. Of these too `HISTOGUARD_SIMD` names one (`amx`,
    /// `avx512bf16`) if this machine can run it, and any other name keeps to float32.
    pub(crate) fn current_bf16() -> Result<Level, String> {
        let named = std::env::var("HISTOGUARD_SIMD").unwrap_or_default();
        let level = match named.as_str() {
            "avx512" | "avx2" | "portable" => return Err(format!("HISTOGUARD_SIMD={named}")),
            "avx512bf16" => Some(Level::Avx512Bf16).filter(|level| level.is_available()),
            _ => Level::bf16().first().copied(),
        };
        level.ok_or_else(|| "neither".into())
    }
}

/// Vector operations of one level.
///
/// # Safety
///
/// Every method needs the instructions of its level, and `load`/`store` a pointer valid for `WIDTH` floats: call them
/// only below [`dispatch`].
pub(super) trait Simd: Copy {
    /// A vector of `WIDTH` floats.
    type V: Copy;
    /// Floats of a vector; divides 16.
    const WIDTH: usize;
    /// Pixels of a convolution's register tile (times two vectors); at most [`MAX_PIXELS`].
    const PIXELS: usize;
    /// Channels of a weight gradient's register tile (times two vectors); divides [`LANES`], at most 8.
    const ROWS: usize;
    /// What multiplies in bf16, where something does.
    type Half: Bf16;

    /// Asks for the cache line of an address, which need not be valid.
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    /// The same for what is needed so late that it should wait in the second-level cache.
    #[inline(always)]
    unsafe fn prefetch_far(_: *const f32) {}
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `max(v, 0)` that keeps NaN, as PyTorch's ReLU does.
    unsafe fn relu(v: Self::V) -> Self::V;
    /// One bit a lane, set unless `v <= 0`: where PyTorch's ReLU lets the gradient pass (also where NaN).
    unsafe fn active(v: Self::V) -> u32;
    /// `v` where the bit is set, otherwise zero, whatever `v` is.
    unsafe fn keep(bits: u32, v: Self::V) -> Self::V;
}

/// The largest [`Simd::PIXELS`].
pub(super) const MAX_PIXELS: usize = 14;

/// Code that runs at a chosen level. `run` and all that it calls must be `#[inline(always)]`.
pub(super) trait Kernel {
    /// Whether it multiplies in bf16 where a level does.
    #[allow(dead_code)] // Only x86-64 has such levels.
    const BF16: bool = false;

    /// # Safety
    ///
    /// The instructions of `S` must be available, and the kernel's own pointers valid.
    unsafe fn run<S: Simd>(self);
}

/// Runs a kernel at `level`.
///
/// # Safety
///
/// The kernel's pointers must be valid for what it does.
pub(super) unsafe fn dispatch<K: Kernel>(level: Level, kernel: K) {
    match level {
        // SAFETY: a `Level` other than portable is made only where the machine has its instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Amx if K::BF16 => unsafe { x86::run_bf16::<Amx, K>(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level is made only where the machine has these instructions.
        Level::Avx512Bf16 if K::BF16 => unsafe { x86::run_bf16::<Dot, K>(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: these levels have all that AVX-512 has.
        Level::Avx512 | Level::Avx512Bf16 | Level::Amx => unsafe { x86::run_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level too is made only where the machine has its instructions.
        Level::Avx2 => unsafe { x86::run_avx2(kernel) },
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        // SAFETY: the module is compiled with these instructions, so that it is not loaded where they are missing.
        Level::Simd128 => unsafe { kernel.run::<wasm::Simd128>() },
        #[cfg(test)]
        // SAFETY: needs no particular instructions.
        Level::PortableBf16 if K::BF16 => unsafe { kernel.run::<Portable<super::bf16::tests::Emulated>>() },
        // SAFETY: needs no particular instructions.
        _ => unsafe { kernel.run::<Portable<Single>>() },
    }
}

#[derive(Clone, Copy)]
struct Portable<H>(PhantomData<H>);

#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> [f32; 4] {
    [f(0), f(1), f(2), f(3)]
}

impl<H: Bf16> Simd for Portable<H> {
    type V = [f32; 4];
    const WIDTH: usize = 4;
    const PIXELS: usize = 6;
    const ROWS: usize = 4;
    type Half = H;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller's pointer is valid for four floats.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; 4]) {
        // SAFETY: the caller's pointer is valid for four floats.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn mul_add(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        // Without the instruction `f32::mul_add` is a slow library call.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            lanes(|i| a[i].mul_add(b[i], c[i]))
        } else {
            lanes(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    unsafe fn relu(v: [f32; 4]) -> [f32; 4] {
        lanes(|i| if v[i] <= 0.0 { 0.0 } else { v[i] })
    }
    #[inline(always)]
    #[allow(clippy::neg_cmp_op_on_partial_ord)] // NaN must count as active.
    unsafe fn active(v: [f32; 4]) -> u32 {
        (0..4).fold(0, |bits, i| bits | u32::from(!(v[i] <= 0.0)) << i)
    }
    #[inline(always)]
    unsafe fn keep(bits: u32, v: [f32; 4]) -> [f32; 4] {
        lanes(|i| if bits >> i & 1 == 1 { v[i] } else { 0.0 })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Bf16, Kernel, Simd, Single};
    use std::arch::x86_64::*;
    use std::marker::PhantomData;

    /// # Safety
    ///
    /// The machine has these features; the kernel's pointers are valid.
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(super) unsafe fn run_avx512<K: Kernel>(kernel: K) {
        // SAFETY: this function's own contract.
        unsafe { kernel.run::<Avx512<Single>>() }
    }

    /// # Safety
    ///
    /// The machine has these features and those of `H`; the kernel's pointers are valid.
    #[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
    pub(super) unsafe fn run_bf16<H: Bf16, K: Kernel>(kernel: K) {
        // SAFETY: this function's own contract.
        unsafe { kernel.run::<Avx512<H>>() }
    }

    /// # Safety
    ///
    /// The machine has these features; the kernel's pointers are valid.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn run_avx2<K: Kernel>(kernel: K) {
        // SAFETY: this function's own contract.
        unsafe { kernel.run::<Avx2>() }
    }

    // SAFETY, for every block of the two implementations below: `Simd`'s contract gives the instructions and the
    // pointers.
    #[derive(Clone, Copy)]
    pub(super) struct Avx512<H>(PhantomData<H>);

    impl<H: Bf16> Simd for Avx512<H> {
        type V = __m512;
        const WIDTH: usize = 16;
        const PIXELS: usize = 14;
        const ROWS: usize = 8;
        type Half = H;

        #[inline(always)]
        unsafe fn prefetch(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        #[inline(always)]
        unsafe fn prefetch_far(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn relu(v: __m512) -> __m512 {
            // The instruction returns its second operand where one is NaN.
            unsafe { _mm512_max_ps(_mm512_setzero_ps(), v) }
        }
        #[inline(always)]
        unsafe fn active(v: __m512) -> u32 {
            unsafe { u32::from(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(v, _mm512_setzero_ps())) }
        }
        #[inline(always)]
        unsafe fn keep(bits: u32, v: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(bits as u16, v) }
        }
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx2;

    impl Simd for Avx2 {
        type V = __m256;
        const WIDTH: usize = 8;
        const PIXELS: usize = 6;
        const ROWS: usize = 4;
        type Half = Single;

        #[inline(always)]
        unsafe fn prefetch(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        #[inline(always)]
        unsafe fn prefetch_far(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m256) {
            unsafe { _mm256_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn relu(v: __m256) -> __m256 {
            unsafe { _mm256_max_ps(_mm256_setzero_ps(), v) }
        }
        #[inline(always)]
        unsafe fn active(v: __m256) -> u32 {
            unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(v, _mm256_setzero_ps())) as u32 }
        }
        #[inline(always)]
        unsafe fn keep(bits: u32, v: __m256) -> __m256 {
            unsafe {
                let lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
                let set = _mm256_and_si256(_mm256_set1_epi32(bits as i32), lane);
                _mm256_and_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane)), v)
            }
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm {
    use super::{Simd, Single};
    use std::arch::wasm32::*;

    #[derive(Clone, Copy)]
    pub(super) struct Simd128;

    // SAFETY, for every block: `Simd`'s contract gives the pointers, and all else is safe.
    impl Simd for Simd128 {
        type V = v128;
        const WIDTH: usize = 4;
        const PIXELS: usize = 6;
        const ROWS: usize = 4;
        type Half = Single;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> v128 {
            unsafe { v128_load(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: v128) {
            unsafe { v128_store(to.cast(), v) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> v128 {
            f32x4_splat(x)
        }
        #[inline(always)]
        unsafe fn add(a: v128, b: v128) -> v128 {
            f32x4_add(a, b)
        }
        #[inline(always)]
        unsafe fn sub(a: v128, b: v128) -> v128 {
            f32x4_sub(a, b)
        }
        #[inline(always)]
        unsafe fn mul(a: v128, b: v128) -> v128 {
            f32x4_mul(a, b)
        }
        #[inline(always)]
        unsafe fn mul_add(a: v128, b: v128, c: v128) -> v128 {
            f32x4_add(f32x4_mul(a, b), c)
        }
        #[inline(always)]
        unsafe fn relu(v: v128) -> v128 {
            // Its first operand where one is NaN; a single instruction in browsers, as `f32x4_max` is not.
            f32x4_pmax(v, f32x4_splat(0.0))
        }
        #[inline(always)]
        unsafe fn active(v: v128) -> u32 {
            u32::from(i32x4_bitmask(v128_not(f32x4_le(v, f32x4_splat(0.0)))))
        }
        #[inline(always)]
        unsafe fn keep(bits: u32, v: v128) -> v128 {
            let lane = i32x4(1, 2, 4, 8);
            v128_and(i32x4_eq(v128_and(i32x4_splat(bits as i32), lane), lane), v)
        }
    }
}
