//! MD5 of many messages at once.
//!
//! One MD5 is a chain of dependent steps, which no implementation can hurry. Many are independent of each other: each
//! takes a lane of a vector register, 16 with AVX-512, 8 with AVX2, 4 with SSE2 or NEON, and twice as many in two
//! registers that take turns. A lane whose message has ended takes the next one. The few that are left at the end, when
//! most lanes would be idle, are done one by one.

mod block;
mod pair;
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use block::{compress, Vector};
use pair::Pair;
use std::sync::OnceLock;

pub type Digest = [u8; 16];

const BLOCK: usize = 64;
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// How many messages are worth a vector: one alone is as fast without.
const FEW: usize = 2;

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
            Path::Portable if cfg!(target_arch = "x86_64") => "sse2",
            Path::Portable if cfg!(target_arch = "aarch64") => "neon",
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

/// The widest path of this machine, or the one that SHARDPACK_NATIVE names: for tests and benchmarks.
pub fn path() -> Path {
    static CHOSEN: OnceLock<Path> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let wanted = std::env::var("SHARDPACK_NATIVE").ok();
        let wanted = wanted.as_deref().filter(|name| Path::ALL.iter().any(|path| path.name() == *name));
        Path::ALL
            .into_iter()
            .filter(|path| path.is_here())
            .find(|path| wanted.is_none_or(|name| name == path.name()))
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
            #[cfg(target_arch = "x86_64")]
            Path::Portable => x86::in_lanes_sse2(messages),
            #[cfg(not(target_arch = "x86_64"))]
            Path::Portable => in_lanes::<portable::Four, 4, 8>(messages),
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

/// In as many lanes as a vector has, or in two vectors where the messages are more.
///
/// # Safety
/// The instructions of `V` must be there; `N` is `V::LANES`, `TWICE` 2N.
#[inline(always)]
unsafe fn in_lanes<V: Vector, const N: usize, const TWICE: usize>(messages: &[&[u8]]) -> Vec<Digest> {
    if messages.len() > N {
        side_by_side::<Pair<V>, TWICE>(messages)
    } else {
        side_by_side::<V, N>(messages)
    }
}

/// # Safety
/// The instructions of `V` must be there; `N` is `V::LANES`.
#[inline(always)]
unsafe fn side_by_side<V: Vector, const N: usize>(messages: &[&[u8]]) -> Vec<Digest> {
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

#[cfg(test)]
mod tests;
