//! The instructions of x86-64 that multiply in bfloat16.

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::bf16::Bf16;
use super::lanes::LANES;

/// Dot products of pairs (AVX512-BF16).
#[derive(Clone, Copy)]
pub(super) struct Dot;

impl Bf16 for Dot {
    const AVAILABLE: bool = true;
    const SPATIAL: bool = false;
    const PIXELS: usize = 14;

    #[inline(always)]
    unsafe fn round(from: *const f32, to: *mut u16) {
        // SAFETY: the trait's contract.
        unsafe { round(from, to) }
    }

    #[inline(always)]
    unsafe fn tile(x: *const u16, units: &[isize], weights: *const u16, count: usize, tile: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe {
            if count <= Self::PIXELS / 2 {
                dot::<{ Self::PIXELS / 2 }>(x, units, weights, tile);
            } else {
                dot::<{ Self::PIXELS }>(x, units, weights, tile);
            }
        }
    }
}

/// Tiles of 16 x 16 (AMX-BF16).
#[derive(Clone, Copy)]
pub(super) struct Amx;

impl Bf16 for Amx {
    const AVAILABLE: bool = true;
    const SPATIAL: bool = true;
    const PIXELS: usize = 32;

    #[inline(always)]
    unsafe fn begin() {
        /// Palette 1; eight tiles of 16 rows of 64 bytes.
        #[repr(C, align(64))]
        struct Tiles([u8; 64]);
        const TILES: Tiles = {
            let mut bytes = [0; 64];
            bytes[0] = 1;
            let mut tile = 0;
            while tile < 8 {
                bytes[16 + 2 * tile] = 64;
                bytes[48 + tile] = 16;
                tile += 1;
            }
            Tiles(bytes)
        };
        // SAFETY: the processor has tiles and the system lets this process use them, else it were not this level.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &TILES.0, options(nostack, readonly, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn end() {
        // SAFETY: the processor has the instruction, and nothing is expected of the tiles any more.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn round(from: *const f32, to: *mut u16) {
        // SAFETY: the trait's contract; whatever has AMX-BF16 has AVX512-BF16.
        unsafe { round(from, to) }
    }

    #[inline(always)]
    unsafe fn tile(x: *const u16, units: &[isize], weights: *const u16, count: usize, tile: *mut f32) {
        debug_assert!(!units.is_empty());
        // SAFETY: the trait's contract; `begin` made the tiles, which nothing but this block touches.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "mov {at}, [{unit}]",
                "add {at}, {x}",
                "tileloadd tmm4, [{at} + {row}]",
                "tileloadd tmm6, [{weights} + {row}]",
                "tileloadd tmm7, [{weights} + {row} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                // 16 pixels, or 32.
                "cmp {count}, 16",
                "jbe 3f",
                "tileloadd tmm5, [{at} + {row} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "3:",
                "add {unit}, 8",
                "add {weights}, 2048",
                "cmp {unit}, {end}",
                "jne 2b",
                "add {row}, {row}",
                "tilestored [{tile} + {row}], tmm0",
                "tilestored [{tile} + {row} + 64], tmm1",
                "tilestored [{tile} + {row} + 2048], tmm2",
                "tilestored [{tile} + {row} + 2112], tmm3",
                at = out(reg) _,
                x = in(reg) x,
                unit = inout(reg) units.as_ptr() => _,
                end = in(reg) units.as_ptr_range().end,
                weights = inout(reg) weights => _,
                row = inout(reg) 64usize => _,
                count = in(reg) count,
                tile = in(reg) tile,
                options(nostack)
            );
        }
    }
}

/// # Safety
///
/// As for [`Bf16::round`].
#[inline(always)]
unsafe fn round(from: *const f32, to: *mut u16) {
    // SAFETY: the caller's contract.
    unsafe {
        let (low, high) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
        let rounded = _mm512_cvtne2ps_pbh(high, low);
        to.cast::<__m512bh>().write_unaligned(rounded);
    }
}

/// # Safety
///
/// As for [`Bf16::tile`], for `PIXELS` pixels.
#[inline(always)]
unsafe fn dot<const PIXELS: usize>(x: *const u16, units: &[isize], weights: *const u16, tile: *mut f32) {
    // SAFETY: the caller's contract covers every address below.
    unsafe {
        let mut acc = [[_mm512_setzero_ps(); 2]; PIXELS];
        for (unit, at) in units.iter().enumerate() {
            let x = x.byte_offset(*at);
            let weights = weights.add(unit * LANES * LANES);
            for pair in 0..LANES / 2 {
                let w = [0, 1]
                    .map(|half| weights.add((half * 16 + pair) * LANES).cast::<__m512bh>().read_unaligned());
                for (p, acc) in acc.iter_mut().enumerate() {
                    let both = _mm512_set1_epi32(x.add(p * LANES + 2 * pair).cast::<i32>().read_unaligned());
                    let both: __m512bh = std::mem::transmute(both);
                    acc[0] = _mm512_dpbf16_ps(acc[0], both, w[0]);
                    acc[1] = _mm512_dpbf16_ps(acc[1], both, w[1]);
                }
            }
        }
        for (p, acc) in acc.iter().enumerate() {
            _mm512_storeu_ps(tile.add(p * LANES), acc[0]);
            _mm512_storeu_ps(tile.add(p * LANES + 16), acc[1]);
        }
    }
}

/// Whether the processor has AVX512-BF16.
pub(super) fn has_dot() -> bool {
    is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw")
}

/// Whether the processor has AMX-BF16 and the system lets this process use it, which is asked for once.
pub(super) fn has_amx() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        /// AMX-TILE and AMX-BF16.
        const TILES: u32 = 1 << 24 | 1 << 22;
        has_dot() && __cpuid_count(7, 0).edx & TILES == TILES && permitted()
    })
}

/// Linux gives the large state of tiles to processes that ask for it (Documentation/arch/x86/xstate.rst).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let error: isize;
    // SAFETY: the call takes two numbers and touches no memory of this process.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => error,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    error == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}
