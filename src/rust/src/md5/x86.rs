//! Sixteen lanes with AVX-512, eight with AVX2, four with SSE2; twice as many where there are messages enough.

use super::block::Vector;
use super::{in_lanes, Digest};
use std::arch::asm;
use std::arch::x86_64::*;

/// # Safety
/// AVX-512F must be there.
#[target_feature(enable = "avx512f")]
pub unsafe fn in_lanes_avx512(messages: &[&[u8]]) -> Vec<Digest> {
    in_lanes::<Sixteen, 16, 32>(messages)
}

/// # Safety
/// AVX2 must be there.
#[target_feature(enable = "avx2")]
pub unsafe fn in_lanes_avx2(messages: &[&[u8]]) -> Vec<Digest> {
    in_lanes::<Eight, 8, 16>(messages)
}

/// Every x86-64 has SSE2.
pub fn in_lanes_sse2(messages: &[&[u8]]) -> Vec<Digest> {
    // SAFETY: as said.
    unsafe { in_lanes::<Four, 4, 8>(messages) }
}

// Loops and no closures in what follows: a closure does not have the features of the function around it, and then
// whether it is inlined, and a load with it, depends on what else is built along.

/// A vector by its instructions; `more`: what the three have not in common.
macro_rules! vector {
    ($name:ident($words:ty), $lanes:literal, $feature:literal, $register:ident, $opaque:ident,
     [$splat:ident $load:ident $store:ident $add:ident $and:ident $or:ident $xor:ident], { $($more:tt)* }) => {
        #[derive(Clone, Copy)]
        pub struct $name($words);

        impl Vector for $name {
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn splat(word: u32) -> Self {
                $name($splat(word as i32))
            }
            #[inline(always)]
            unsafe fn load(lanes: &[u32]) -> Self {
                $name($load(lanes[..$lanes].as_ptr().cast()))
            }
            #[inline(always)]
            unsafe fn store(self, lanes: &mut [u32]) {
                $store(lanes[..$lanes].as_mut_ptr().cast(), self.0);
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                $name($add(self.0, other.0))
            }
            #[inline(always)]
            unsafe fn opaque(self) -> Self {
                $name($opaque(self.0))
            }
            #[inline(always)]
            unsafe fn and(self, other: Self) -> Self {
                $name($and(self.0, other.0))
            }
            #[inline(always)]
            unsafe fn or(self, other: Self) -> Self {
                $name($or(self.0, other.0))
            }
            #[inline(always)]
            unsafe fn xor(self, other: Self) -> Self {
                $name($xor(self.0, other.0))
            }
            #[inline(always)]
            unsafe fn not(self) -> Self {
                $name($xor(self.0, $splat(-1)))
            }
            $($more)*
        }

        /// # Safety
        /// The feature must be there. A function of its own, because only one that has it may name its registers.
        #[inline]
        #[target_feature(enable = $feature)]
        unsafe fn $opaque(mut words: $words) -> $words {
            asm!("/* {0} */", inout($register) words, options(pure, nomem, nostack, preserves_flags));
            words
        }
    };
}

vector!(
    Sixteen(__m512i), 16, "avx512f", zmm_reg, opaque_sixteen,
    [_mm512_set1_epi32 _mm512_loadu_si512 _mm512_storeu_si512
     _mm512_add_epi32 _mm512_and_si512 _mm512_or_si512 _mm512_xor_si512],
    {
        #[inline(always)]
        unsafe fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
            Sixteen(_mm512_rol_epi32::<LEFT>(self.0))
        }
        // One instruction each, by its truth table: bit 4a + 2b + c.
        #[inline(always)]
        unsafe fn add_f(self, b: Self, c: Self, d: Self) -> Self {
            self.add(Sixteen(_mm512_ternarylogic_epi32(b.0, c.0, d.0, 0b1100_1010)))
        }
        #[inline(always)]
        unsafe fn add_g(self, b: Self, c: Self, d: Self) -> Self {
            self.add_f(d, b, c)
        }
        #[inline(always)]
        unsafe fn add_h(self, b: Self, c: Self, d: Self) -> Self {
            self.add(Sixteen(_mm512_ternarylogic_epi32(b.0, c.0, d.0, 0b1001_0110)))
        }
        #[inline(always)]
        unsafe fn add_i(self, b: Self, c: Self, d: Self) -> Self {
            self.add(Sixteen(_mm512_ternarylogic_epi32(b.0, c.0, d.0, 0b0011_1001)))
        }
        #[inline(always)]
        unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
            let mut rows = [_mm512_setzero_si512(); 16];
            for lane in 0..16 {
                rows[lane] = _mm512_loadu_si512(blocks[lane].cast());
            }
            let (rows, mut words) = (transposed(rows), [Sixteen(rows[0]); 16]);
            for word in 0..16 {
                words[word].0 = rows[word];
            }
            words
        }
    }
);

/// Rows become columns: pairs of words, then of pairs, then of quarters.
#[inline(always)]
unsafe fn transposed(rows: [__m512i; 16]) -> [__m512i; 16] {
    let zero = rows[0];
    let mut pairs = [zero; 16];
    for nth in 0..8 {
        pairs[2 * nth] = _mm512_unpacklo_epi32(rows[2 * nth], rows[2 * nth + 1]);
        pairs[2 * nth + 1] = _mm512_unpackhi_epi32(rows[2 * nth], rows[2 * nth + 1]);
    }
    let mut fours = [zero; 16];
    for nth in 0..4 {
        let at = 4 * nth;
        fours[at] = _mm512_unpacklo_epi64(pairs[at], pairs[at + 2]);
        fours[at + 1] = _mm512_unpackhi_epi64(pairs[at], pairs[at + 2]);
        fours[at + 2] = _mm512_unpacklo_epi64(pairs[at + 1], pairs[at + 3]);
        fours[at + 3] = _mm512_unpackhi_epi64(pairs[at + 1], pairs[at + 3]);
    }
    // fours[4r + w] has, in its quarter q, word 4q + w of the rows 4r to 4r + 3.
    let mut words = [zero; 16];
    for word in 0..4 {
        let (a, b, c, d) = (fours[word], fours[4 + word], fours[8 + word], fours[12 + word]);
        let low_ab = _mm512_shuffle_i32x4(a, b, 0b01_00_01_00);
        let high_ab = _mm512_shuffle_i32x4(a, b, 0b11_10_11_10);
        let low_cd = _mm512_shuffle_i32x4(c, d, 0b01_00_01_00);
        let high_cd = _mm512_shuffle_i32x4(c, d, 0b11_10_11_10);
        words[word] = _mm512_shuffle_i32x4(low_ab, low_cd, 0b10_00_10_00);
        words[4 + word] = _mm512_shuffle_i32x4(low_ab, low_cd, 0b11_01_11_01);
        words[8 + word] = _mm512_shuffle_i32x4(high_ab, high_cd, 0b10_00_10_00);
        words[12 + word] = _mm512_shuffle_i32x4(high_ab, high_cd, 0b11_01_11_01);
    }
    words
}

vector!(
    Eight(__m256i), 8, "avx2", ymm_reg, opaque_eight,
    [_mm256_set1_epi32 _mm256_loadu_si256 _mm256_storeu_si256
     _mm256_add_epi32 _mm256_and_si256 _mm256_or_si256 _mm256_xor_si256],
    {
        #[inline(always)]
        unsafe fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
            Eight(_mm256_or_si256(_mm256_slli_epi32::<LEFT>(self.0), _mm256_srli_epi32::<RIGHT>(self.0)))
        }
        #[inline(always)]
        unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
            let mut words = [Eight(_mm256_setzero_si256()); 16];
            for half in 0..2 {
                let mut rows = [words[0].0; 8];
                for lane in 0..8 {
                    rows[lane] = _mm256_loadu_si256(blocks[lane].add(32 * half).cast());
                }
                let rows = transposed8(rows);
                for word in 0..8 {
                    words[8 * half + word].0 = rows[word];
                }
            }
            words
        }
    }
);

#[inline(always)]
unsafe fn transposed8(rows: [__m256i; 8]) -> [__m256i; 8] {
    let zero = rows[0];
    let mut pairs = [zero; 8];
    for nth in 0..4 {
        pairs[2 * nth] = _mm256_unpacklo_epi32(rows[2 * nth], rows[2 * nth + 1]);
        pairs[2 * nth + 1] = _mm256_unpackhi_epi32(rows[2 * nth], rows[2 * nth + 1]);
    }
    let mut words = [zero; 8];
    for word in 0..4 {
        let (from, low) = (word / 2, word % 2 == 0);
        let (above, below) = if low {
            (
                _mm256_unpacklo_epi64(pairs[from], pairs[2 + from]),
                _mm256_unpacklo_epi64(pairs[4 + from], pairs[6 + from]),
            )
        } else {
            (
                _mm256_unpackhi_epi64(pairs[from], pairs[2 + from]),
                _mm256_unpackhi_epi64(pairs[4 + from], pairs[6 + from]),
            )
        };
        words[word] = _mm256_permute2x128_si256(above, below, 0x20);
        words[4 + word] = _mm256_permute2x128_si256(above, below, 0x31);
    }
    words
}

vector!(
    Four(__m128i), 4, "sse2", xmm_reg, opaque_four,
    [_mm_set1_epi32 _mm_loadu_si128 _mm_storeu_si128 _mm_add_epi32 _mm_and_si128 _mm_or_si128 _mm_xor_si128],
    {
        #[inline(always)]
        unsafe fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
            Four(_mm_or_si128(_mm_slli_epi32::<LEFT>(self.0), _mm_srli_epi32::<RIGHT>(self.0)))
        }
        #[inline(always)]
        unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
            let mut words = [Four(_mm_setzero_si128()); 16];
            for quarter in 0..4 {
                let mut rows = [words[0].0; 4];
                for lane in 0..4 {
                    rows[lane] = _mm_loadu_si128(blocks[lane].add(16 * quarter).cast());
                }
                let rows = transposed4(rows);
                for word in 0..4 {
                    words[4 * quarter + word].0 = rows[word];
                }
            }
            words
        }
    }
);

#[inline(always)]
unsafe fn transposed4([a, b, c, d]: [__m128i; 4]) -> [__m128i; 4] {
    let (low_ab, low_cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
    let (high_ab, high_cd) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
    [
        _mm_unpacklo_epi64(low_ab, low_cd),
        _mm_unpackhi_epi64(low_ab, low_cd),
        _mm_unpacklo_epi64(high_ab, high_cd),
        _mm_unpackhi_epi64(high_ab, high_cd),
    ]
}
