//! Aggregates written piece by piece, with exact sizes.

use crate::frame::{
    DATA, EXPLICIT_HASH_KEY_INDEX, EXPLICIT_HASH_KEY_TABLE, FRAME_BYTES, MAGIC, PARTITION_KEY_INDEX,
    PARTITION_KEY_TABLE, RECORD,
};
use rustc_hash::FxHashMap;
use std::cell::RefCell;

/// One aggregate being filled. Sizes are those of the finished aggregate, magic and checksum included.
#[derive(Default)]
pub struct Builder {
    partition_keys: Table,
    explicit_hash_keys: Table,
    pinned: bool,
    records: Vec<u8>,
    pub count: usize,
}

/// A table of keys: the message's bytes, and which key has which index.
#[derive(Default)]
struct Table {
    bytes: Vec<u8>,
    indices: FxHashMap<Box<[u8]>, u32>,
    last: (Box<[u8]>, u32),
}

impl Table {
    /// The index of a key, and what the table grows by when it is new.
    #[inline]
    fn place(&self, key: &[u8]) -> (u32, usize) {
        if !self.indices.is_empty() && *self.last.0 == *key {
            return (self.last.1, 0);
        }
        match self.indices.get(key) {
            Some(&index) => (index, 0),
            None => (self.indices.len() as u32, 1 + number_size(key.len()) + key.len()),
        }
    }

    fn insert(&mut self, tag: u8, key: &[u8]) {
        let index = self.indices.len() as u32;
        self.indices.insert(key.into(), index);
        self.last = (key.into(), index);
        self.bytes.push(tag);
        push_number(&mut self.bytes, key.len());
        self.bytes.extend_from_slice(key);
    }
}

impl Builder {
    /// `pin`: every record's explicit hash key.
    pub fn new(pin: Option<&[u8]>) -> Self {
        let mut builder = Builder::default();
        if let Some(pin) = pin {
            builder.pinned = true;
            builder.explicit_hash_keys.insert(EXPLICIT_HASH_KEY_TABLE, pin);
        }
        builder
    }

    /// Have another explicit hash key in place of the one that all records have, if there is one.
    pub fn repin(&mut self, pin: &[u8]) -> bool {
        if self.pinned {
            self.explicit_hash_keys = Table::default();
            self.explicit_hash_keys.insert(EXPLICIT_HASH_KEY_TABLE, pin);
        }
        self.pinned
    }

    #[inline]
    pub fn size(&self) -> usize {
        FRAME_BYTES + self.partition_keys.bytes.len() + self.explicit_hash_keys.bytes.len() + self.records.len()
    }

    /// Take a record, or return false and change nothing if the aggregate would grow beyond the capacity.
    ///
    /// `tags`: the record's tags as its message has them.
    #[inline]
    pub fn add(
        &mut self,
        capacity: usize,
        partition_key: &[u8],
        data: &[u8],
        explicit_hash_key: Option<&[u8]>,
        tags: &[u8],
    ) -> bool {
        let (partition_key_index, key_grows) = self.partition_keys.place(partition_key);
        let own = explicit_hash_key.filter(|_| !self.pinned);
        let (explicit_index, explicit_grows) = match own {
            Some(key) => self.explicit_hash_keys.place(key),
            None => (0, 0),
        };
        let has_explicit = self.pinned || own.is_some();
        let explicit_size = if has_explicit { 1 + number_size(explicit_index as usize) } else { 0 };
        let length = 1
            + number_size(partition_key_index as usize)
            + explicit_size
            + 1
            + number_size(data.len())
            + data.len()
            + tags.len();
        let grows = key_grows + explicit_grows + 1 + number_size(length) + length;
        if self.size() + grows > capacity {
            return false;
        }
        if key_grows > 0 {
            self.partition_keys.insert(PARTITION_KEY_TABLE, partition_key);
        }
        if let (Some(key), true) = (own, explicit_grows > 0) {
            self.explicit_hash_keys.insert(EXPLICIT_HASH_KEY_TABLE, key);
        }
        let out = &mut self.records;
        let needed = 1 + number_size(length) + length;
        if out.capacity() - out.len() < needed {
            larger(out, needed);
        }
        out.push(RECORD);
        push_number(out, length);
        out.push(PARTITION_KEY_INDEX);
        push_number(out, partition_key_index as usize);
        if has_explicit {
            out.push(EXPLICIT_HASH_KEY_INDEX);
            push_number(out, explicit_index as usize);
        }
        out.push(DATA);
        push_number(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(tags);
        self.count += 1;
        true
    }

    /// What a finished aggregate holds, checksum apart, in parts that follow each other.
    pub fn parts(&self) -> [&[u8]; 4] {
        [&MAGIC, &self.partition_keys.bytes, &self.explicit_hash_keys.bytes, &self.records]
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.records));
    }
}

// Memory that is new to the process costs a page fault for every 4 KiB, as much as all other work on it.
const MOST_SPARE: usize = 16;
const SPARE_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=1 << 20;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn give_back(mut buffer: Vec<u8>) {
    // A thread that ends has no spare buffers any more.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST_SPARE && SPARE_BYTES.contains(&buffer.capacity()) {
            buffer.clear();
            spare.push(buffer);
        }
    });
}

/// Make room in a buffer that is full.
#[cold]
fn larger(buffer: &mut Vec<u8>, needed: usize) {
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

/// Bytes of a number in protobuf's base 128.
#[inline]
fn number_size(number: usize) -> usize {
    match number {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => (usize::BITS - number.leading_zeros()).div_ceil(7) as usize,
    }
}

#[inline]
fn push_number(out: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Aggregate;
    use crate::frame::{sign, CHECKSUM_BYTES};
    use crate::md5;
    use crate::read::read_many;

    fn finished(builder: &Builder) -> Vec<u8> {
        let mut blob = [&builder.parts().concat()[..], &[0; CHECKSUM_BYTES]].concat();
        sign(&mut [&mut blob]);
        blob
    }

    fn read(blob: &[u8]) -> Option<Aggregate> {
        read_many(&[blob]).pop().flatten()
    }

    #[test]
    fn what_is_built_is_read() {
        for pin in [None, Some(&b"7"[..])] {
            let mut builder = Builder::new(pin);
            for nth in 0..1000usize {
                let key = format!("key {}", nth % 300);
                let own = (nth % 3 == 0).then(|| format!("{nth}"));
                let data = vec![nth as u8; nth * 7 % 400];
                assert!(builder.add(usize::MAX, key.as_bytes(), &data, own.as_deref().map(str::as_bytes), &[]));
            }
            let blob = finished(&builder);
            assert_eq!(blob.len(), builder.size());
            let aggregate = read(&blob).expect("it is sound");
            assert_eq!(aggregate.records.len(), 1000);
            for (nth, sub) in aggregate.records.iter().enumerate() {
                let key = &blob[aggregate.partition_keys[sub.partition_key as usize].clone()];
                assert_eq!(key, format!("key {}", nth % 300).as_bytes());
                assert_eq!(&blob[sub.start as usize..sub.end as usize], vec![nth as u8; nth * 7 % 400]);
                let own = aggregate.explicit_hash_keys.get(sub.explicit_hash_key as usize).map(|at| &blob[at.clone()]);
                match pin {
                    Some(pin) => assert_eq!(own, Some(pin)),
                    None => assert_eq!(own.is_some(), nth % 3 == 0),
                }
            }
        }
    }

    #[test]
    fn it_takes_what_fits_to_the_byte() {
        let mut builder = Builder::new(None);
        assert!(builder.add(usize::MAX, b"key", b"data", None, &[]));
        let mut other = Builder::new(None);
        assert!(!other.add(builder.size() - 1, b"key", b"data", None, &[]));
        assert_eq!((other.count, other.size()), (0, FRAME_BYTES));
        assert!(other.add(builder.size(), b"key", b"data", None, &[]));
    }

    #[test]
    fn it_can_have_another_pin() {
        let mut builder = Builder::new(Some(b"7"));
        let mut other = Builder::new(Some(b"12345"));
        assert!(builder.add(usize::MAX, b"key", b"data", None, &[]));
        assert!(other.add(usize::MAX, b"key", b"data", None, &[]));
        assert!(builder.repin(b"12345"));
        assert_eq!((finished(&builder), builder.size()), (finished(&other), other.size()));
        assert!(!Builder::new(None).repin(b"12345"));
    }

    #[test]
    fn no_input_makes_it_panic() {
        let mut builder = Builder::new(Some(b"5"));
        for nth in 0..4 {
            assert!(builder.add(usize::MAX, b"k", &vec![1; nth * 70], None, &[]));
        }
        let body = builder.parts()[1..].concat();
        for at in 0..body.len() {
            for byte in [0, 1, 0x0a, 0x12, 0x1a, 0x7f, 0x80, 0xff] {
                let mut changed = body.clone();
                changed[at] = byte;
                let blob = [&MAGIC[..], &changed, &md5::digest(&changed)].concat();
                if let Some(aggregate) = read(&blob) {
                    assert!(aggregate
                        .records
                        .iter()
                        .all(|sub| sub.start <= sub.end && (sub.end as usize) < blob.len()));
                }
            }
            let blob = [&MAGIC[..], &body[..at], &md5::digest(&body[..at])].concat();
            read(&blob);
            read(&blob[..at.min(blob.len())]);
        }
    }
}
