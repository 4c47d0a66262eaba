//! A table of keys that an aggregate has: the bytes that they take, and which key has which index.
//!
//! It takes no memory of its own for a key but its place: a packer may have a table for each of many shards, and a new
//! key in it for each record.

use rustc_hash::FxHasher;
use std::hash::Hasher;

#[derive(Default)]
pub struct Table {
    /// As they are in the aggregate.
    pub bytes: Vec<u8>,
    /// The index of the key that the last record had.
    pub last: u32,
    keys: Vec<Key>,
    /// 1 + the index of a key, at the first free place from where its hash says; 0: free. Half of them at most are taken.
    slots: Vec<u32>,
}

struct Key {
    hash: u64,
    start: usize,
    length: usize,
}

/// Where a key is.
pub struct Found {
    pub index: u32,
    /// It is not there yet; the index is what it will have.
    pub is_new: bool,
}

impl Table {
    #[inline]
    pub fn find(&self, key: &[u8]) -> Found {
        if self.keys.get(self.last as usize).is_some_and(|last| same(self.text(last), key)) {
            return Found { index: self.last, is_new: false };
        }
        if self.keys.len() < 2 {
            return Found { index: self.keys.len() as u32, is_new: true }; // the last one was all
        }
        let hash = hash_of(key);
        let mut at = hash as usize;
        loop {
            at &= self.slots.len() - 1;
            let Some(index) = self.slots[at].checked_sub(1) else {
                return Found { index: self.keys.len() as u32, is_new: true };
            };
            let known = &self.keys[index as usize];
            if known.hash == hash && same(self.text(known), key) {
                return Found { index, is_new: false };
            }
            at += 1;
        }
    }

    /// Add a key that is not there; what comes before it in `bytes` is.
    pub fn insert(&mut self, key: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.last = self.keys.len() as u32;
        self.keys.push(Key { hash: hash_of(key), start, length: key.len() });
        if 2 * self.keys.len() > self.slots.len() {
            self.slots = vec![0; (4 * self.keys.len()).next_power_of_two()];
            for index in 0..self.keys.len() {
                self.take_slot(index);
            }
        } else {
            self.take_slot(self.keys.len() - 1);
        }
    }

    fn take_slot(&mut self, index: usize) {
        let mask = self.slots.len() - 1;
        let mut at = self.keys[index].hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = index as u32 + 1;
    }

    #[inline]
    fn text(&self, key: &Key) -> &[u8] {
        &self.bytes[key.start..key.start + key.length]
    }
}

#[inline]
fn hash_of(key: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    hasher.finish()
}

/// Whether two keys are the same. Most are short, and then a call takes longer than to compare them.
#[inline(always)]
fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if let (8..=16, Some(head), Some(other_head)) = (one.len(), one.first_chunk::<8>(), other.first_chunk::<8>()) {
        return head == other_head && one.last_chunk::<8>() == other.last_chunk::<8>();
    }
    one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_index() {
        let mut table = Table::default();
        let keys: Vec<Vec<u8>> = (0..3000usize).map(|nth| format!("{nth:0width$}", width = nth % 30).into()).collect();
        let mut known: Vec<&[u8]> = Vec::new();
        for key in keys.iter().chain(&keys) {
            let found = table.find(key);
            match known.iter().position(|one| one == key) {
                Some(index) => assert_eq!((found.index as usize, found.is_new), (index, false)),
                None => {
                    assert_eq!((found.index as usize, found.is_new), (known.len(), true));
                    table.insert(key);
                    known.push(key);
                }
            }
        }
        assert!(known.len() == 3000 && table.bytes == known.concat());
    }

    #[test]
    fn keys_that_differ_in_one_byte_are_not_the_same() {
        for length in 0..40 {
            let key: Vec<u8> = (0..length).collect();
            assert!(same(&key, &key.clone()));
            for at in 0..key.len() {
                let mut other = key.clone();
                other[at] ^= 0x80;
                assert!(!same(&key, &other) && !same(&key, &key[..at]));
            }
        }
    }
}
