//! Four lanes in plain arrays: what every compiler turns into SSE2 or NEON.
use super::Vector;

#[derive(Clone, Copy)]
pub struct Four([u32; 4]);

impl Four {
    #[inline(always)]
    fn zip(self, other: Self, combine: impl Fn(u32, u32) -> u32) -> Self {
        Four(std::array::from_fn(|nth| combine(self.0[nth], other.0[nth])))
    }
}

impl Vector for Four {
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
    unsafe fn rotate<const LEFT: u32, const RIGHT: u32>(self) -> Self {
        Four(self.0.map(|word| word.rotate_left(LEFT)))
    }
    #[inline(always)]
    unsafe fn select(self, one: Self, other: Self) -> Self {
        let differing = self.zip(one.zip(other, |x, y| x ^ y), |x, y| x & y);
        other.zip(differing, |x, y| x ^ y)
    }
    #[inline(always)]
    unsafe fn xor3(self, b: Self, c: Self) -> Self {
        self.zip(b, |x, y| x ^ y).zip(c, |x, y| x ^ y)
    }
    #[inline(always)]
    unsafe fn or_not_xor(self, b: Self, d: Self) -> Self {
        b.zip(self.zip(d, |x, y| x | !y), |x, y| x ^ y)
    }
    #[inline(always)]
    unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
        std::array::from_fn(|word| {
            Four(std::array::from_fn(|lane| u32::from_le(blocks[lane].cast::<u32>().add(word).read_unaligned())))
        })
    }
}
