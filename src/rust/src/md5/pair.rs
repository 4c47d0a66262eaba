//! Twice as many lanes in two vectors that take turns: while one waits for its last step, the other makes one.

use super::block::Vector;

#[derive(Clone, Copy)]
pub struct Pair<V>(V, V);

impl<V: Vector> Vector for Pair<V> {
    const LANES: usize = 2 * V::LANES;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        Pair(V::splat(word), V::splat(word))
    }
    #[inline(always)]
    unsafe fn load(lanes: &[u32]) -> Self {
        let (first, second) = lanes.split_at(V::LANES);
        Pair(V::load(first), V::load(second))
    }
    #[inline(always)]
    unsafe fn store(self, lanes: &mut [u32]) {
        let (first, second) = lanes.split_at_mut(V::LANES);
        self.0.store(first);
        self.1.store(second);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Pair(self.0.add(other.0), self.1.add(other.1))
    }
    #[inline(always)]
    unsafe fn opaque(self) -> Self {
        Pair(self.0.opaque(), self.1.opaque())
    }
    #[inline(always)]
    unsafe fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
        Pair(self.0.rotate::<LEFT, RIGHT>(), self.1.rotate::<LEFT, RIGHT>())
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        Pair(self.0.and(other.0), self.1.and(other.1))
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        Pair(self.0.or(other.0), self.1.or(other.1))
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        Pair(self.0.xor(other.0), self.1.xor(other.1))
    }
    #[inline(always)]
    unsafe fn not(self) -> Self {
        Pair(self.0.not(), self.1.not())
    }
    #[inline(always)]
    unsafe fn add_f(self, b: Self, c: Self, d: Self) -> Self {
        Pair(self.0.add_f(b.0, c.0, d.0), self.1.add_f(b.1, c.1, d.1))
    }
    #[inline(always)]
    unsafe fn add_g(self, b: Self, c: Self, d: Self) -> Self {
        Pair(self.0.add_g(b.0, c.0, d.0), self.1.add_g(b.1, c.1, d.1))
    }
    #[inline(always)]
    unsafe fn add_h(self, b: Self, c: Self, d: Self) -> Self {
        Pair(self.0.add_h(b.0, c.0, d.0), self.1.add_h(b.1, c.1, d.1))
    }
    #[inline(always)]
    unsafe fn add_i(self, b: Self, c: Self, d: Self) -> Self {
        Pair(self.0.add_i(b.0, c.0, d.0), self.1.add_i(b.1, c.1, d.1))
    }
    #[inline(always)]
    unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
        let (first, second) = blocks.split_at(V::LANES);
        let (first, second) = (V::gather(first), V::gather(second));
        let mut words = [Pair(first[0], second[0]); 16];
        for word in 1..16 {
            words[word] = Pair(first[word], second[word]);
        }
        words
    }
}
