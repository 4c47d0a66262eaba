//! Sixteen lanes with AVX-512, eight with AVX2.

use super::{in_lanes, Digest, Vector};
use std::arch::x86_64::*;

/// # Safety
/// AVX-512F must be there.
#[target_feature(enable = "avx512f")]
pub unsafe fn in_lanes_avx512(messages: &[&[u8]]) -> Vec<Digest> {
    in_lanes::<Sixteen, 16>(messages)
}

/// # Safety
/// AVX2 must be there.
#[target_feature(enable = "avx2")]
pub unsafe fn in_lanes_avx2(messages: &[&[u8]]) -> Vec<Digest> {
    in_lanes::<Eight, 8>(messages)
}

#[derive(Clone, Copy)]
pub struct Sixteen(__m512i);

impl Vector for Sixteen {
    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        Sixteen(_mm512_set1_epi32(word as i32))
    }
    #[inline(always)]
    unsafe fn load(lanes: &[u32]) -> Self {
        Sixteen(_mm512_loadu_si512(lanes[..16].as_ptr().cast()))
    }
    #[inline(always)]
    unsafe fn store(self, lanes: &mut [u32]) {
        _mm512_storeu_si512(lanes[..16].as_mut_ptr().cast(), self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Sixteen(_mm512_add_epi32(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn rotate<const LEFT: u32, const RIGHT: u32>(self) -> Self {
        Sixteen(_mm512_or_si512(_mm512_slli_epi32(self.0, LEFT), _mm512_srli_epi32(self.0, RIGHT)))
    }
    // The truth tables of one instruction, bit 4a + 2b + c.
    #[inline(always)]
    unsafe fn select(self, one: Self, other: Self) -> Self {
        Sixteen(_mm512_ternarylogic_epi32(self.0, one.0, other.0, 0b1100_1010))
    }
    #[inline(always)]
    unsafe fn xor3(self, b: Self, c: Self) -> Self {
        Sixteen(_mm512_ternarylogic_epi32(self.0, b.0, c.0, 0b1001_0110))
    }
    #[inline(always)]
    unsafe fn or_not_xor(self, b: Self, d: Self) -> Self {
        Sixteen(_mm512_ternarylogic_epi32(self.0, b.0, d.0, 0b0011_1001))
    }
    #[inline(always)]
    unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
        let rows: [__m512i; 16] = std::array::from_fn(|lane| _mm512_loadu_si512(blocks[lane].cast()));
        transposed(rows).map(Sixteen)
    }
}

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

#[derive(Clone, Copy)]
pub struct Eight(__m256i);

impl Vector for Eight {
    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        Eight(_mm256_set1_epi32(word as i32))
    }
    #[inline(always)]
    unsafe fn load(lanes: &[u32]) -> Self {
        Eight(_mm256_loadu_si256(lanes[..8].as_ptr().cast()))
    }
    #[inline(always)]
    unsafe fn store(self, lanes: &mut [u32]) {
        _mm256_storeu_si256(lanes[..8].as_mut_ptr().cast(), self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Eight(_mm256_add_epi32(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn rotate<const LEFT: u32, const RIGHT: u32>(self) -> Self {
        // Variable shifts take the count from a register: the immediate ones want another type of constant.
        let left = _mm256_sllv_epi32(self.0, _mm256_set1_epi32(LEFT as i32));
        Eight(_mm256_or_si256(left, _mm256_srlv_epi32(self.0, _mm256_set1_epi32(RIGHT as i32))))
    }
    #[inline(always)]
    unsafe fn select(self, one: Self, other: Self) -> Self {
        Eight(_mm256_xor_si256(other.0, _mm256_and_si256(self.0, _mm256_xor_si256(one.0, other.0))))
    }
    #[inline(always)]
    unsafe fn xor3(self, b: Self, c: Self) -> Self {
        Eight(_mm256_xor_si256(_mm256_xor_si256(self.0, b.0), c.0))
    }
    #[inline(always)]
    unsafe fn or_not_xor(self, b: Self, d: Self) -> Self {
        let not = _mm256_xor_si256(d.0, _mm256_set1_epi32(-1));
        Eight(_mm256_xor_si256(b.0, _mm256_or_si256(self.0, not)))
    }
    #[inline(always)]
    unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
        let half = |start: usize| {
            let rows: [__m256i; 8] = std::array::from_fn(|lane| _mm256_loadu_si256(blocks[lane].add(start).cast()));
            transposed8(rows)
        };
        let (low, high) = (half(0), half(32));
        std::array::from_fn(|word| Eight(if word < 8 { low[word] } else { high[word - 8] }))
    }
}

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
