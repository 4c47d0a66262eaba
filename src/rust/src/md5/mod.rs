//! MD5 of many messages at once.
//!
//! One MD5 is a chain of dependent steps, which no implementation can hurry. Many are independent of each other: each
//! takes a lane of a vector register, 16 with AVX-512, 8 with AVX2, 4 with SSE2 or NEON. A lane whose message has ended
//! takes the next one. The few that are left at the end, when most lanes would be idle, are done one by one.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub type Digest = [u8; 16];

const BLOCK: usize = 64;
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// How many messages are worth a vector: one alone is as fast without.
const FEW: usize = 2;

/// A vector of 32-bit lanes, and what MD5 does with it.
///
/// # Safety
/// All of it may only be called where the instructions of the implementation are there.
trait Vector: Copy {
    unsafe fn splat(word: u32) -> Self;
    unsafe fn load(lanes: &[u32]) -> Self;
    unsafe fn store(self, lanes: &mut [u32]);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn rotate<const LEFT: u32, const RIGHT: u32>(self) -> Self;
    /// `self` selects from `one` where its bits are set, from `other` where they are not.
    unsafe fn select(self, one: Self, other: Self) -> Self;
    /// `select`, where `one` is what is waited for.
    #[inline(always)]
    unsafe fn choose(self, one: Self, other: Self) -> Self {
        self.select(one, other)
    }
    unsafe fn xor3(self, b: Self, c: Self) -> Self;
    /// `b ^ (self | !d)`
    unsafe fn or_not_xor(self, b: Self, d: Self) -> Self;
    /// The 16 words of a block of each lane, word by word.
    unsafe fn gather(blocks: &[*const u8]) -> [Self; 16];
}

/// Digest messages by the fastest way that there is here.
pub fn digests(messages: &[&[u8]]) -> Vec<Digest> {
    digests_by(path(), messages)
}

/// Digest one message.
pub fn digest(message: &[u8]) -> Digest {
    let mut state = START;
    let whole = message.len() / BLOCK;
    // SAFETY: scalar code needs no particular instructions; every block lies inside the message.
    unsafe {
        for nth in 0..whole {
            compress::<u32>(&mut state, &[message.as_ptr().add(nth * BLOCK)]);
        }
        let (tail, blocks) = tail(message);
        for nth in 0..blocks {
            compress::<u32>(&mut state, &[tail.as_ptr().add(nth * BLOCK)]);
        }
    }
    bytes(state)
}

/// How digests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Avx512,
    Avx2,
    Portable,
    Scalar,
}

impl Path {
    pub const ALL: [Path; 4] = [Path::Avx512, Path::Avx2, Path::Portable, Path::Scalar];

    pub fn name(self) -> &'static str {
        match self {
            Path::Avx512 => "avx512",
            Path::Avx2 => "avx2",
            Path::Portable => "portable",
            Path::Scalar => "scalar",
        }
    }

    /// Whether this machine has the instructions.
    pub fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Path::Avx512 | Path::Avx2 => false,
            Path::Portable | Path::Scalar => true,
        }
    }
}

/// The widest path of this machine, or the one that SHARDPACK_MD5 names: for tests and benchmarks.
pub fn path() -> Path {
    static CHOSEN: OnceLock<Path> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let wanted = std::env::var("SHARDPACK_MD5").ok();
        Path::ALL
            .into_iter()
            .filter(|path| path.is_here())
            .find(|path| wanted.as_deref().is_none_or(|name| name == path.name()))
            .unwrap_or(Path::Scalar)
    })
}

/// `digests` by a path, or one by one where the machine does not have it.
pub fn digests_by(path: Path, messages: &[&[u8]]) -> Vec<Digest> {
    if messages.len() < FEW || !path.is_here() {
        return messages.iter().map(|message| digest(message)).collect();
    }
    // SAFETY: `is_here` has seen that the instructions are there.
    unsafe {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => x86::in_lanes_avx512(messages),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => x86::in_lanes_avx2(messages),
            Path::Portable => in_lanes::<portable::Four, 4>(messages),
            _ => messages.iter().map(|message| digest(message)).collect(),
        }
    }
}

/// A message on its way through a lane.
struct Lane<'a> {
    message: &'a [u8],
    nth: usize,
    position: usize,
    tail: [u8; 2 * BLOCK],
    tail_blocks: usize,
}

impl<'a> Lane<'a> {
    fn new(nth: usize, message: &'a [u8]) -> Self {
        let (tail, tail_blocks) = tail(message);
        Lane { message, nth, position: 0, tail, tail_blocks }
    }

    fn whole_blocks(&self) -> usize {
        self.message.len() / BLOCK
    }

    /// Where the next block is, and how many follow each other from there.
    fn run(&self) -> (*const u8, usize) {
        let whole = self.whole_blocks();
        if self.position < whole {
            (self.message[self.position * BLOCK..].as_ptr(), whole - self.position)
        } else {
            let done = self.position - whole;
            (self.tail[done * BLOCK..].as_ptr(), self.tail_blocks - done)
        }
    }

    fn is_done(&self) -> bool {
        self.position == self.whole_blocks() + self.tail_blocks
    }
}

/// # Safety
/// The instructions of `V` must be there; `N` is `V::LANES`.
#[inline(always)]
unsafe fn in_lanes<V: Vector, const N: usize>(messages: &[&[u8]]) -> Vec<Digest> {
    let mut digests = vec![[0; 16]; messages.len()];
    // The longest first, so that the lanes end together.
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|&nth| std::cmp::Reverse(messages[nth].len()));
    let mut waiting = order.into_iter().map(|nth| Lane::new(nth, messages[nth]));
    let mut lanes: Vec<Option<Lane>> = (0..N).map(|_| waiting.next()).collect();
    let mut states = [[0u32; N]; 4];
    for (word, start) in states.iter_mut().zip(START) {
        *word = [start; N];
    }
    loop {
        let active = lanes.iter().flatten().count();
        if active < FEW {
            break;
        }
        // An idle lane reads along with one that is not.
        let any = lanes.iter().flatten().next().map_or(std::ptr::null(), |lane| lane.run().0);
        let mut pointers = [any; N];
        let mut blocks = usize::MAX;
        for (pointer, lane) in pointers.iter_mut().zip(&lanes) {
            if let Some(lane) = lane {
                let (next, run) = lane.run();
                *pointer = next;
                blocks = blocks.min(run);
            }
        }
        compress_run::<V, N>(&mut states, &mut pointers, blocks);
        for (nth, slot) in lanes.iter_mut().enumerate() {
            let Some(lane) = slot else { continue };
            lane.position += blocks;
            if lane.is_done() {
                digests[lane.nth] = bytes(states.map(|words| words[nth]));
                for (words, start) in states.iter_mut().zip(START) {
                    words[nth] = start;
                }
                *slot = waiting.next();
            }
        }
    }
    for (nth, lane) in lanes.iter().enumerate() {
        if let Some(lane) = lane {
            digests[lane.nth] = finish(states.map(|words| words[nth]), lane);
        }
    }
    digests
}

#[inline(always)]
unsafe fn compress_run<V: Vector, const N: usize>(
    states: &mut [[u32; N]; 4],
    pointers: &mut [*const u8; N],
    blocks: usize,
) {
    let mut state = [V::load(&states[0]), V::load(&states[1]), V::load(&states[2]), V::load(&states[3])];
    for _ in 0..blocks {
        compress::<V>(&mut state, pointers);
        for pointer in pointers.iter_mut() {
            *pointer = pointer.wrapping_add(BLOCK);
        }
    }
    for (vector, words) in state.into_iter().zip(states) {
        vector.store(words);
    }
}

/// The rest of a message that is alone in its vector.
fn finish(mut state: [u32; 4], lane: &Lane) -> Digest {
    let blocks = lane.whole_blocks() + lane.tail_blocks;
    for position in lane.position..blocks {
        let whole = lane.whole_blocks();
        let block = if position < whole {
            &lane.message[position * BLOCK..(position + 1) * BLOCK]
        } else {
            &lane.tail[(position - whole) * BLOCK..(position - whole + 1) * BLOCK]
        };
        // SAFETY: scalar code; the block has its 64 bytes.
        unsafe { compress::<u32>(&mut state, &[block.as_ptr()]) };
    }
    bytes(state)
}

/// The end of a message, padded, and how many blocks it takes.
fn tail(message: &[u8]) -> ([u8; 2 * BLOCK], usize) {
    let rest = &message[message.len() / BLOCK * BLOCK..];
    let blocks = if rest.len() < BLOCK - 8 { 1 } else { 2 };
    let mut tail = [0; 2 * BLOCK];
    tail[..rest.len()].copy_from_slice(rest);
    tail[rest.len()] = 0x80;
    let bits = (message.len() as u64).wrapping_mul(8);
    tail[blocks * BLOCK - 8..blocks * BLOCK].copy_from_slice(&bits.to_le_bytes());
    (tail, blocks)
}

fn bytes(state: [u32; 4]) -> Digest {
    let mut digest = [0; 16];
    for (piece, word) in digest.chunks_exact_mut(4).zip(state) {
        piece.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// One block of every lane (RFC 1321, section 3.4).
///
/// # Safety
/// The instructions of `V` must be there, and 64 bytes behind each pointer.
#[inline(always)]
unsafe fn compress<V: Vector>(state: &mut [V; 4], blocks: &[*const u8]) {
    let words = V::gather(blocks);
    let [mut a, mut b, mut c, mut d] = *state;
    macro_rules! step {
        ($mix:expr, $a:ident, $b:ident, $word:literal, $left:literal, $constant:literal) => {
            $a = $a.add(words[$word]).add(V::splat($constant)).add($mix);
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
            step!($mix!(b, c, d), a, b, $w1, $r1, $k1);
            step!($mix!(a, b, c), d, a, $w2, $r2, $k2);
            step!($mix!(d, a, b), c, d, $w3, $r3, $k3);
            step!($mix!(c, d, a), b, c, $w4, $r4, $k4);
            round!(@ $mix, $r1 $r2 $r3 $r4, [$($w)*], [$($k)*]);
        };
        (@ $mix:ident, $r1:literal $r2:literal $r3:literal $r4:literal, [], []) => {};
    }
    macro_rules! f {
        ($x:ident, $y:ident, $z:ident) => {
            $x.select($y, $z)
        };
    }
    macro_rules! g {
        ($x:ident, $y:ident, $z:ident) => {
            $z.choose($x, $y)
        };
    }
    macro_rules! h {
        ($x:ident, $y:ident, $z:ident) => {
            $x.xor3($y, $z)
        };
    }
    macro_rules! i {
        ($x:ident, $y:ident, $z:ident) => {
            $x.or_not_xor($y, $z)
        };
    }
    round!(f, [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15], [7 12 17 22], [
        0xd76aa478 0xe8c7b756 0x242070db 0xc1bdceee 0xf57c0faf 0x4787c62a 0xa8304613 0xfd469501
        0x698098d8 0x8b44f7af 0xffff5bb1 0x895cd7be 0x6b901122 0xfd987193 0xa679438e 0x49b40821
    ]);
    round!(g, [1 6 11 0 5 10 15 4 9 14 3 8 13 2 7 12], [5 9 14 20], [
        0xf61e2562 0xc040b340 0x265e5a51 0xe9b6c7aa 0xd62f105d 0x02441453 0xd8a1e681 0xe7d3fbc8
        0x21e1cde6 0xc33707d6 0xf4d50d87 0x455a14ed 0xa9e3e905 0xfcefa3f8 0x676f02d9 0x8d2a4c8a
    ]);
    round!(h, [5 8 11 14 1 4 7 10 13 0 3 6 9 12 15 2], [4 11 16 23], [
        0xfffa3942 0x8771f681 0x6d9d6122 0xfde5380c 0xa4beea44 0x4bdecfa9 0xf6bb4b60 0xbebfbc70
        0x289b7ec6 0xeaa127fa 0xd4ef3085 0x04881d05 0xd9d4d039 0xe6db99e5 0x1fa27cf8 0xc4ac5665
    ]);
    round!(i, [0 7 14 5 12 3 10 1 8 15 6 13 4 11 2 9], [6 10 15 21], [
        0xf4292244 0x432aff97 0xab9423a7 0xfc93a039 0x655b59c3 0x8f0ccc92 0xffeff47d 0x85845dd1
        0x6fa87e4f 0xfe2ce6e0 0xa3014314 0x4e0811a1 0xf7537e82 0xbd3af235 0x2ad7d2bb 0xeb86d391
    ]);
    *state = [state[0].add(a), state[1].add(b), state[2].add(c), state[3].add(d)];
}

impl Vector for u32 {
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
    unsafe fn rotate<const LEFT: u32, const RIGHT: u32>(self) -> Self {
        self.rotate_left(LEFT)
    }
    #[inline(always)]
    unsafe fn select(self, one: Self, other: Self) -> Self {
        other ^ (self & (one ^ other))
    }
    #[inline(always)]
    unsafe fn choose(self, one: Self, other: Self) -> Self {
        (self & one) | (!self & other)
    }
    #[inline(always)]
    unsafe fn xor3(self, b: Self, c: Self) -> Self {
        self ^ (b ^ c)
    }
    #[inline(always)]
    unsafe fn or_not_xor(self, b: Self, d: Self) -> Self {
        b ^ (self | !d)
    }
    #[inline(always)]
    unsafe fn gather(blocks: &[*const u8]) -> [Self; 16] {
        std::array::from_fn(|nth| u32::from_le(blocks[0].cast::<u32>().add(nth).read_unaligned()))
    }
}

#[cfg(test)]
mod tests;
