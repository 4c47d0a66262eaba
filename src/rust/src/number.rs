//! Numbers as protobuf writes them, 7 bits a byte.

/// Bytes of a number in protobuf's base 128.
#[inline]
pub fn number_size(number: usize) -> usize {
    match number {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => (usize::BITS - number.leading_zeros()).div_ceil(7) as usize,
    }
}

/// Write it.
#[inline(always)]
pub fn number(mut push: impl FnMut(u8), mut number: usize) {
    while number > 0x7f {
        push(number as u8 | 0x80);
        number >>= 7;
    }
    push(number as u8);
}
