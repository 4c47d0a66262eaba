//! One block of MD5, of one message or of a lane each, on any vector that can add, rotate and combine bits.

/// A vector of 32-bit lanes, and what MD5 does with it.
///
/// # Safety
/// All of it may only be called where the instructions of the implementation are there.
pub trait Vector: Copy {
    const LANES: usize;
    unsafe fn splat(word: u32) -> Self;
    unsafe fn load(lanes: &[u32]) -> Self;
    unsafe fn store(self, lanes: &mut [u32]);
    unsafe fn add(self, other: Self) -> Self;
    /// The same number, of which the compiler does not know that it is a sum: left to itself it moves the constant of a
    /// step to the end of the sum, behind what the step has to wait for.
    unsafe fn opaque(self) -> Self;
    unsafe fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self;
    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    /// `!self`
    unsafe fn not(self) -> Self;

    // A sum and what the rounds mix into it. The step before this one ends with `b`, so as little as can be is done
    // after it is known.

    #[inline(always)]
    unsafe fn add_f(self, b: Self, c: Self, d: Self) -> Self {
        self.add(d.xor(b.and(c.xor(d))))
    }
    /// Of two halves without a bit in common, of which only one waits for `b`.
    #[inline(always)]
    unsafe fn add_g(self, b: Self, c: Self, d: Self) -> Self {
        self.add(c.and(d.not())).opaque().add(b.and(d))
    }
    #[inline(always)]
    unsafe fn add_h(self, b: Self, c: Self, d: Self) -> Self {
        self.add(b.xor(c.xor(d)))
    }
    #[inline(always)]
    unsafe fn add_i(self, b: Self, c: Self, d: Self) -> Self {
        self.add(c.xor(b.or(d.not())))
    }

    /// The 16 words of a block of each lane, word by word.
    unsafe fn gather(blocks: &[*const u8]) -> [Self; 16];
}

/// One block of every lane (RFC 1321, section 3.4).
///
/// # Safety
/// The instructions of `V` must be there, and 64 bytes behind each pointer.
#[inline(always)]
pub unsafe fn compress<V: Vector>(state: &mut [V; 4], blocks: &[*const u8]) {
    let words = V::gather(blocks);
    let [mut a, mut b, mut c, mut d] = *state;
    macro_rules! step {
        ($mix:ident, $a:ident, $b:ident, $c:ident, $d:ident, $word:literal, $left:literal, $constant:literal) => {
            $a = $a.add(words[$word].add(V::splat($constant))).opaque().$mix($b, $c, $d);
            $a = $a.rotate::<$left, { 32 - $left }>().add($b);
        };
    }
    macro_rules! round {
        ($mix:ident, [$($word:literal)*], [$r1:literal $r2:literal $r3:literal $r4:literal], [$($constant:literal)*]) => {
            round!(@ $mix, $r1 $r2 $r3 $r4, [$($word)*], [$($constant)*]);
        };
        (@ $mix:ident, $r1:literal $r2:literal $r3:literal $r4:literal,
         [$w1:literal $w2:literal $w3:literal $w4:literal $($w:literal)*],
         [$k1:literal $k2:literal $k3:literal $k4:literal $($k:literal)*]) => {
            step!($mix, a, b, c, d, $w1, $r1, $k1);
            step!($mix, d, a, b, c, $w2, $r2, $k2);
            step!($mix, c, d, a, b, $w3, $r3, $k3);
            step!($mix, b, c, d, a, $w4, $r4, $k4);
            round!(@ $mix, $r1 $r2 $r3 $r4, [$($w)*], [$($k)*]);
        };
        (@ $mix:ident, $r1:literal $r2:literal $r3:literal $r4:literal, [], []) => {};
    }
    round!(add_f, [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15], [7 12 17 22], [
        0xd76aa478 0xe8c7b756 0x242070db 0xc1bdceee 0xf57c0faf 0x4787c62a 0xa8304613 0xfd469501
        0x698098d8 0x8b44f7af 0xffff5bb1 0x895cd7be 0x6b901122 0xfd987193 0xa679438e 0x49b40821
    ]);
    round!(add_g, [1 6 11 0 5 10 15 4 9 14 3 8 13 2 7 12], [5 9 14 20], [
        0xf61e2562 0xc040b340 0x265e5a51 0xe9b6c7aa 0xd62f105d 0x02441453 0xd8a1e681 0xe7d3fbc8
        0x21e1cde6 0xc33707d6 0xf4d50d87 0x455a14ed 0xa9e3e905 0xfcefa3f8 0x676f02d9 0x8d2a4c8a
    ]);
    round!(add_h, [5 8 11 14 1 4 7 10 13 0 3 6 9 12 15 2], [4 11 16 23], [
        0xfffa3942 0x8771f681 0x6d9d6122 0xfde5380c 0xa4beea44 0x4bdecfa9 0xf6bb4b60 0xbebfbc70
        0x289b7ec6 0xeaa127fa 0xd4ef3085 0x04881d05 0xd9d4d039 0xe6db99e5 0x1fa27cf8 0xc4ac5665
    ]);
    round!(add_i, [0 7 14 5 12 3 10 1 8 15 6 13 4 11 2 9], [6 10 15 21], [
        0xf4292244 0x432aff97 0xab9423a7 0xfc93a039 0x655b59c3 0x8f0ccc92 0xffeff47d 0x85845dd1
        0x6fa87e4f 0xfe2ce6e0 0xa3014314 0x4e0811a1 0xf7537e82 0xbd3af235 0x2ad7d2bb 0xeb86d391
    ]);
    *state = [state[0].add(a), state[1].add(b), state[2].add(c), state[3].add(d)];
}

impl Vector for u32 {
    const LANES: usize = 1;
    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        word
    }
    #[inline(always)]
    unsafe fn load(lanes: &[u32]) -> Self {
        lanes[0]
    }
    #[inline(always)]
    unsafe fn store(self, lanes: &mut [u32]) {
        lanes[0] = self;
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    unsafe fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
        self.rotate_left(LEFT as u32)
    }
    #[inline(always)]
    #[allow(unused_mut, asm_sub_register)] // nothing is written, so no width of a register either
    unsafe fn opaque(mut self) -> Self {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        std::arch::asm!("/* {0} */", inout(reg) self, options(pure, nomem, nostack, preserves_flags));
        self
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        self & other
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        self | other
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        self ^ other
    }
    #[inline(always)]
    unsafe fn not(self) -> Self {
        !self
    }
    #[inline(always)]
    unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
        std::array::from_fn(|nth| u32::from_le(blocks[0].cast::<u32>().add(nth).read_unaligned()))
    }
}
