//! Buffers that are used again: memory that is new to the process costs more than all work on it.
//!
//! Linux gives a process a page of zeros when it first writes there, at 0.1 to 0.6 ns a byte; to copy a byte takes 0.05.
//! So what is given up is kept for the next, up to a bound, as allocators do with what is small.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

/// Most that is kept, by all threads together.
pub const MOST_SPARE_BYTES: usize = 32 << 20;
/// Smaller ones are left to the allocator.
const SMALLEST: usize = 64 << 10;
/// One that is so many times as large as it need be is left to who needs it more.
const MOST_TIMES: usize = 8;

static SPARE_BYTES: AtomicUsize = AtomicUsize::new(0);
static KEEPS: AtomicBool = AtomicBool::new(true);

/// Whether memory is kept at all.
pub fn keeps() -> bool {
    KEEPS.load(Ordering::Relaxed)
}

/// Leave memory to the C library from now on, and its settings as they are.
pub fn keep_nothing() {
    KEEPS.store(false, Ordering::Relaxed);
}

/// What buffers are made of.
pub trait Item: Copy + Send + Sync + 'static {
    fn spare() -> &'static Mutex<Vec<Vec<Self>>>;
}

macro_rules! items {
    ($($item:ty)*) => { $(
        impl Item for $item {
            fn spare() -> &'static Mutex<Vec<Vec<Self>>> {
                static SPARE: Mutex<Vec<Vec<$item>>> = Mutex::new(Vec::new());
                &SPARE
            }
        }
    )* };
}

items!(u8 i32 i64 u128);

/// A `Vec` whose memory goes to the next one.
#[derive(Debug, PartialEq, Eq)]
pub struct Buffer<T: Item>(Vec<T>);

impl<T: Item> Buffer<T> {
    pub fn with_capacity(count: usize) -> Self {
        Buffer(spare(count).unwrap_or_else(|| Vec::with_capacity(count)))
    }

    /// One that holds one thing, and most likely more later.
    pub fn of(first: T) -> Self {
        Buffer(vec![first])
    }

    /// Make room for so many more.
    #[inline]
    pub fn reserve(&mut self, more: usize) {
        if self.0.capacity() - self.0.len() < more {
            self.grow(more);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let mut larger = Self::with_capacity((self.0.len() + more).max(2 * self.0.len()));
        larger.0.extend_from_slice(&self.0);
        *self = larger;
    }
}

impl<T: Item> Default for Buffer<T> {
    fn default() -> Self {
        Buffer(Vec::new())
    }
}

impl<T: Item> Deref for Buffer<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Item> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T: Item> Drop for Buffer<T> {
    fn drop(&mut self) {
        let mut given_up = std::mem::take(&mut self.0);
        let bytes = size_of::<T>() * given_up.capacity();
        if bytes < SMALLEST {
            return;
        }
        let Some(mut spare) = shared::<T>() else { return };
        if keeps() && may_keep(bytes) {
            given_up.clear();
            spare.push(given_up);
        }
    }
}

/// Whether so many bytes more may be kept; then they are counted.
fn may_keep(bytes: usize) -> bool {
    let more = |kept: usize| (kept + bytes <= MOST_SPARE_BYTES).then_some(kept + bytes);
    SPARE_BYTES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// What is kept, for as long as a thread looks at it.
///
/// None: another thread does. It is not waited for, because to make a buffer takes little longer; and because a process
/// that was forked meanwhile does not have that other thread, and would wait for ever.
fn shared<T: Item>() -> Option<MutexGuard<'static, Vec<Vec<T>>>> {
    match T::spare().try_lock() {
        Ok(spare) => Some(spare),
        Err(TryLockError::Poisoned(spare)) => Some(spare.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// The smallest that will do.
fn spare<T: Item>(count: usize) -> Option<Vec<T>> {
    if size_of::<T>() * count < SMALLEST {
        return None;
    }
    let mut spare = shared::<T>()?;
    let suits = |one: &Vec<T>| (count..=count.saturating_mul(MOST_TIMES)).contains(&one.capacity());
    let (nth, _) = spare.iter().enumerate().filter(|(_, one)| suits(one)).min_by_key(|(_, one)| one.capacity())?;
    let found = spare.swap_remove(nth);
    SPARE_BYTES.fetch_sub(size_of::<T>() * found.capacity(), Ordering::Relaxed);
    Some(found)
}

/// Memory that is written once, from its start to its end.
pub struct Room<'a> {
    bytes: &'a mut [MaybeUninit<u8>],
    written: usize,
    /// There was something that had no room.
    is_over: bool,
}

impl<'a> Room<'a> {
    pub fn new(bytes: &'a mut [MaybeUninit<u8>]) -> Self {
        Room { bytes, written: 0, is_over: false }
    }

    /// Where something was, which is written over.
    pub fn over(bytes: &'a mut [u8]) -> Self {
        // SAFETY: what has been written has the layout of what may not have been, and a `Room` only ever writes bytes.
        Room::new(unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) })
    }

    #[inline]
    pub fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.written) {
            Some(place) => {
                place.write(byte);
                self.written += 1;
            }
            None => self.is_over = true,
        }
    }

    /// All of the bytes, or none of them where they have no room.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        // SAFETY: what has been written has the layout of what may not have been.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<MaybeUninit<u8>>(), bytes.len()) };
        match self.bytes[self.written..].get_mut(..bytes.len()) {
            Some(places) => {
                places.copy_from_slice(bytes);
                self.written += bytes.len();
            }
            None => self.is_over = true,
        }
    }

    #[inline]
    pub fn written(&self) -> &[u8] {
        let written = &self.bytes[..self.written];
        // SAFETY: as many bytes have been written, each in its turn.
        unsafe { std::slice::from_raw_parts(written.as_ptr().cast(), written.len()) }
    }

    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it was written to its end, and nothing was too much for it.
    pub fn is_full(&self) -> bool {
        self.written == self.bytes.len() && !self.is_over
    }
}

/// Who makes so many bytes of objects is likely to go on, and gains by memory that is not new.
const MANY_BYTES: usize = 1 << 20;

/// Objects of so many bytes are made; those of many bytes have the C library keep the memory of what is given up, where it
/// would return it to the system at once.
///
/// Aggregates are Python's own objects, so they cannot be kept here. glibc keeps as much memory as it has seen given up
/// in one piece, twice over, and 64 MiB at most in each of its heaps; so it is shown a large piece, in which nothing is
/// ever written. Other C libraries take no notice.
pub fn count_made(bytes: usize) {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static IS_SHOWN: AtomicBool = AtomicBool::new(false);
    if MADE.load(Ordering::Relaxed) <= MANY_BYTES {
        MADE.fetch_add(bytes, Ordering::Relaxed);
    } else if !IS_SHOWN.load(Ordering::Relaxed) && !IS_SHOWN.swap(true, Ordering::Relaxed) && keeps() {
        let mut large = Vec::<u8>::new();
        // It only saves time: a process that may not have so much goes on without.
        if large.try_reserve_exact(MOST_SPARE_BYTES - SMALLEST).is_ok() {
            drop(std::hint::black_box(large));
        }
    }
}

/// Have the processor fetch what is at a place, if there is such a place, while it goes on with other things.
#[inline(always)]
pub fn prefetch(bytes: &[u8], at: usize) {
    if let Some(byte) = bytes.get(at) {
        prefetch_at(byte);
    }
}

/// The same for any place, even where nothing is.
#[inline(always)]
pub fn prefetch_at(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        // SAFETY: every x86-64 has the instruction, which changes nothing that a program could see, and never fails.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spare;

    /// One test, because what it counts is shared by all threads.
    #[test]
    fn what_is_given_up_is_used_again_and_no_more_than_may_be() {
        it_is_used_again_and_holds_nothing();
        nobody_waits_for_it();
        keeping_may_be_left();
        it_is_bounded_and_small_ones_are_not_kept();
    }

    fn it_is_used_again_and_holds_nothing() {
        let mut first = Buffer::<u128>::with_capacity(100_000);
        first.push(7);
        let place = first.as_ptr();
        drop(first);
        let second = Buffer::<u128>::with_capacity(90_000);
        assert_eq!((second.as_ptr(), second.len()), (place, 0));
        assert_ne!(Buffer::<u128>::with_capacity(90_000).as_ptr(), place); // it is in use
    }

    fn nobody_waits_for_it() {
        let of_another_thread = u128::spare().lock().unwrap();
        let mut buffer = Buffer::<u128>::with_capacity(100_000);
        buffer.push(7);
        drop(buffer);
        drop(of_another_thread);
    }

    fn keeping_may_be_left() {
        spare::give_up(Vec::with_capacity(100_000));
        assert_eq!(spare::kept(), 1);
        keep_nothing();
        spare::give_up(Vec::with_capacity(100_000));
        assert_eq!(spare::kept(), 1);
        let kept = u128::spare().lock().unwrap().len();
        drop(Buffer::<u128>::with_capacity(100_000)); // one of those that were kept
        assert_eq!(u128::spare().lock().unwrap().len(), kept - 1);
        KEEPS.store(true, Ordering::Relaxed);
    }

    fn it_is_bounded_and_small_ones_are_not_kept() {
        drop(Buffer::<i64>::with_capacity(10));
        assert!(i64::spare().lock().unwrap().is_empty());
        for _ in 0..3 {
            drop((0..8).map(|_| Buffer::<i64>::with_capacity(1 << 20)).collect::<Vec<_>>()); // 64 MiB
            assert!(SPARE_BYTES.load(Ordering::Relaxed) <= MOST_SPARE_BYTES);
        }
        assert!((1..=4).contains(&i64::spare().lock().unwrap().len()));
    }

    #[test]
    fn a_room_is_written_to_its_end_and_no_further() {
        let mut bytes = [9; 4];
        let mut room = Room::over(&mut bytes);
        room.push(1);
        room.extend(&[2, 3]);
        assert_eq!((room.written(), room.is_full(), room.size()), (&[1, 2, 3][..], false, 4));
        room.push(4);
        assert!(room.is_full());
        room.push(5);
        assert!(!room.is_full() && room.written() == [1, 2, 3, 4]);
        let mut room = Room::over(&mut bytes);
        room.extend(&[5, 6, 7]);
        room.extend(&[8, 9]);
        room.extend(&[8]);
        assert!(!room.is_full()); // something was left out, though it is written to its end
        assert_eq!(bytes, [5, 6, 7, 8]);
    }

    #[test]
    fn what_is_in_it_stays_when_it_grows() {
        let mut buffer = Buffer::<i32>::default();
        for nth in 0..100_000 {
            buffer.reserve(1);
            buffer.push(nth);
        }
        assert!(buffer.iter().copied().eq(0..100_000));
    }
}
