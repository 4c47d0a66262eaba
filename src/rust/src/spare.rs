//! Buffers of one thread that are used again for the next aggregate.

use crate::memory::keeps;
use std::cell::RefCell;

// Memory that is new to the process costs a page fault for every 4 KiB, as much as all other work on it.
const MOST_SPARE: usize = 16;
const SPARE_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=1 << 20;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Keep a buffer that is no longer needed, if it is worth it.
pub fn give_up(mut buffer: Vec<u8>) {
    // A thread that ends has no spare buffers any more.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if keeps() && spare.len() < MOST_SPARE && SPARE_BYTES.contains(&buffer.capacity()) {
            buffer.clear();
            spare.push(buffer);
        }
    });
}

/// Make room in a buffer that is full.
#[cold]
pub fn larger(buffer: &mut Vec<u8>, needed: usize) {
    let spare = if buffer.len() + needed < *SPARE_BYTES.start() / 4 {
        None // small ones cost little, and may be many
    } else {
        SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten()
    };
    match spare {
        Some(mut spare) if spare.capacity() >= buffer.len() + needed => {
            spare.extend_from_slice(buffer);
            *buffer = spare;
        }
        _ => buffer.reserve(needed),
    }
}

/// How many buffers this thread has, for tests.
#[cfg(test)]
pub fn kept() -> usize {
    SPARE.with_borrow(Vec::len)
}
