//! Aggregates as packers write them, read at one go. `pack` writes them.
//!
//! What is not written that way is refused, with `None` and nothing more: fields in another order or twice, unknown
//! fields, tags, numbers that take more bytes than 32 bits need, an index outside its table. The pure core, on protobuf,
//! then says what it is or what is wrong with it, so that there is one truth about the unusual.

use crate::md5;
use std::ops::Range;

pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
pub const CHECKSUM_BYTES: usize = 16;
pub const FRAME_BYTES: usize = MAGIC.len() + CHECKSUM_BYTES;
/// In `Sub::explicit_hash_key`: there is none.
pub const NONE: u32 = u32::MAX;

pub(crate) const PARTITION_KEY_TABLE: u8 = 1 << 3 | 2;
pub(crate) const EXPLICIT_HASH_KEY_TABLE: u8 = 2 << 3 | 2;
pub(crate) const RECORD: u8 = 3 << 3 | 2;
pub(crate) const PARTITION_KEY_INDEX: u8 = 1 << 3;
pub(crate) const EXPLICIT_HASH_KEY_INDEX: u8 = 2 << 3;
pub(crate) const DATA: u8 = 3 << 3 | 2;

/// One sub-record: indices of its keys, and where its data is in the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sub {
    pub partition_key: u32,
    pub explicit_hash_key: u32,
    pub start: u32,
    pub end: u32,
}

/// An aggregate: where in the blob its keys and the data of its sub-records are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Aggregate {
    pub partition_keys: Vec<Range<usize>>,
    pub explicit_hash_keys: Vec<Range<usize>>,
    pub records: Vec<Sub>,
}

/// The message between magic and checksum, if there is enough for all three.
pub fn body(blob: &[u8]) -> Option<&[u8]> {
    (blob.len() >= FRAME_BYTES && blob.starts_with(&MAGIC)).then(|| &blob[MAGIC.len()..blob.len() - CHECKSUM_BYTES])
}

/// Whether the digest of the message is the one that the blob ends with.
pub fn is_sound(blob: &[u8], digest: &md5::Digest) -> bool {
    blob.ends_with(digest)
}

/// Read a blob whose checksum is known to be right.
pub fn parse(blob: &[u8]) -> Option<Aggregate> {
    let end = blob.len().checked_sub(CHECKSUM_BYTES)?;
    if end >= NONE as usize {
        return None;
    }
    let mut aggregate = Aggregate::default();
    let mut reader = Reader { blob: blob.get(..end)?, at: MAGIC.len() };
    let (mut most_partition_key, mut most_explicit_hash_key) = (0, None);
    while reader.at < end {
        match reader.byte()? {
            RECORD => {
                let start = reader.at;
                let sub = reader.record()?;
                if aggregate.records.is_empty() {
                    // Most aggregates hold records of like sizes.
                    let left = end - reader.at;
                    aggregate.records.reserve(left / (reader.at - start + 1) + left / 256 + 1);
                }
                most_partition_key = most_partition_key.max(sub.partition_key);
                if sub.explicit_hash_key != NONE {
                    most_explicit_hash_key = most_explicit_hash_key.max(Some(sub.explicit_hash_key));
                }
                aggregate.records.push(sub);
            }
            PARTITION_KEY_TABLE => aggregate.partition_keys.push(reader.span()?),
            EXPLICIT_HASH_KEY_TABLE => aggregate.explicit_hash_keys.push(reader.span()?),
            _ => return None,
        }
    }
    let is_whole = !aggregate.records.is_empty()
        && (most_partition_key as usize) < aggregate.partition_keys.len()
        && most_explicit_hash_key.is_none_or(|most| (most as usize) < aggregate.explicit_hash_keys.len());
    is_whole.then_some(aggregate)
}

/// Verify and read blobs, side by side; None for what the pure core has to look at.
pub fn read_many(blobs: &[&[u8]]) -> Vec<Option<Aggregate>> {
    let bodies: Vec<&[u8]> = blobs.iter().filter_map(|blob| body(blob)).collect();
    let mut digests = md5::digests(&bodies).into_iter();
    blobs
        .iter()
        .map(|blob| {
            let digest = body(blob).and_then(|_| digests.next())?;
            if is_sound(blob, &digest) {
                parse(blob)
            } else {
                None
            }
        })
        .collect()
}

struct Reader<'a> {
    blob: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.blob.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A number of up to 31 bits.
    #[inline]
    fn number(&mut self) -> Option<u32> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(first.into());
        }
        let mut number = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.byte()?;
            if shift == 28 && byte > 0x07 {
                return None;
            }
            number |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Where the content of a length-delimited field is.
    #[inline]
    fn span(&mut self) -> Option<Range<usize>> {
        let length = self.number()? as usize;
        let start = self.at;
        let end = start.checked_add(length).filter(|&end| end <= self.blob.len())?;
        self.at = end;
        Some(start..end)
    }

    #[inline]
    fn record(&mut self) -> Option<Sub> {
        let length = self.number()? as usize;
        let end = self.at.checked_add(length)?;
        if self.byte()? != PARTITION_KEY_INDEX {
            return None;
        }
        let partition_key = self.number()?;
        let mut tag = self.byte()?;
        let mut explicit_hash_key = NONE;
        if tag == EXPLICIT_HASH_KEY_INDEX {
            explicit_hash_key = self.number()?;
            tag = self.byte()?;
        }
        if tag != DATA {
            return None;
        }
        let data = self.span()?;
        (data.end == end).then_some(Sub {
            partition_key,
            explicit_hash_key,
            start: data.start as u32,
            end: data.end as u32,
        })
    }
}
