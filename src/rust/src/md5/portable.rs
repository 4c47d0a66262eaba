//! Four lanes in plain arrays, for processors that are not x86: compilers make NEON of them, or four scalar chains that
//! run side by side.

use super::block::Vector;

#[derive(Clone, Copy)]
pub struct Four([u32; 4]);

impl Four {
    #[inline(always)]
    fn zip(self, other: Self, combine: impl Fn(u32, u32) -> u32) -> Self {
        Four(std::array::from_fn(|nth| combine(self.0[nth], other.0[nth])))
    }
}

impl Vector for Four {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        Four([word; 4])
    }
    #[inline(always)]
    unsafe fn load(lanes: &[u32]) -> Self {
        Four([lanes[0], lanes[1], lanes[2], lanes[3]])
    }
    #[inline(always)]
    unsafe fn store(self, lanes: &mut [u32]) {
        lanes.copy_from_slice(&self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, u32::wrapping_add)
    }
    #[inline(always)]
    unsafe fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
        Four(self.0.map(|word| word.rotate_left(LEFT as u32)))
    }
    #[inline(always)]
    unsafe fn opaque(self) -> Self {
        self
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        self.zip(other, |x, y| x & y)
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        self.zip(other, |x, y| x | y)
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        self.zip(other, |x, y| x ^ y)
    }
    #[inline(always)]
    unsafe fn not(self) -> Self {
        Four(self.0.map(|word| !word))
    }
    #[inline(always)]
    unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
        std::array::from_fn(|word| {
            Four(std::array::from_fn(|lane| u32::from_le(blocks[lane].cast::<u32>().add(word).read_unaligned())))
        })
    }
}
