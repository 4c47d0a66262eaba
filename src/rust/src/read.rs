//! Aggregates read at one go: first as packers write them, which nearly all are, then by protobuf's rules.
//!
//! `pack` writes them, `unusual` reads what is not written that way: fields in another order or twice, unknown fields,
//! tags, numbers that take more bytes than 32 bits need; and it says what is wrong with an index outside its table.

use crate::aggregate::{Aggregate, Sub, NONE};
use crate::fault::{Fault, What};
use crate::frame::{
    body, is_sound, CHECKSUM_BYTES, DATA, EXPLICIT_HASH_KEY_INDEX, EXPLICIT_HASH_KEY_TABLE, MAGIC, PARTITION_KEY_INDEX,
    PARTITION_KEY_TABLE, RECORD,
};
use crate::memory::prefetch;
use crate::{md5, unusual};
use std::ops::Range;

/// Blobs of so many bytes and more are refused as no aggregates; no Kinesis record comes near.
pub const MOST_BYTES: usize = 1 << 31;

/// Records alike, so many ahead, are fetched from memory. Each begins where the one before ends, so the processor cannot
/// know by itself where to look; and it waits as long for memory as for all its work on a record.
const AHEAD: usize = 6;

/// Read a blob whose checksum is known to be right, if it is as packers write it.
pub fn usual(blob: &[u8]) -> Option<Aggregate> {
    let mut aggregate = Aggregate::default();
    usual_into(blob, &mut aggregate)?;
    Some(aggregate)
}

/// The same into an aggregate that was used before, whose memory it takes.
pub fn usual_into(blob: &[u8], aggregate: &mut Aggregate) -> Option<()> {
    fields_into(blob, aggregate)?.then_some(())
}

/// Whether there are records, and their indices lie in their tables; None if packers do not write it.
fn fields_into(blob: &[u8], aggregate: &mut Aggregate) -> Option<bool> {
    aggregate.clear();
    let end = blob.len().checked_sub(CHECKSUM_BYTES)?;
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
                prefetch(reader.blob, reader.at + AHEAD * (reader.at - start));
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
    Some(is_whole)
}

/// Verify and read blobs, side by side; None for what is no sound aggregate.
pub fn read_many(blobs: &[&[u8]]) -> Vec<Option<Aggregate>> {
    read_each(blobs).into_iter().map(|one| one.and_then(Result::ok)).collect()
}

/// Likewise, and what is wrong with those that are not sound; None for what does not look like an aggregate.
pub fn read_each(blobs: &[&[u8]]) -> Vec<Option<Result<Aggregate, Fault>>> {
    let bodies: Vec<&[u8]> = blobs.iter().filter_map(|blob| body(blob)).collect();
    let mut digests = md5::digests(&bodies).into_iter();
    let read = |blob: &&[u8]| {
        let digest = body(blob).and_then(|_| digests.next())?;
        (blob.len() < MOST_BYTES).then(|| verified(blob, &digest))
    };
    blobs.iter().map(read).collect()
}

/// Read a blob with that digest of its body.
fn verified(blob: &[u8], digest: &md5::Digest) -> Result<Aggregate, Fault> {
    let mut aggregate = Aggregate::default();
    verified_into(blob, digest, &mut aggregate).map(|()| aggregate)
}

/// The same into an aggregate that was used before, whose memory it takes.
pub fn verified_into(blob: &[u8], digest: &md5::Digest, aggregate: &mut Aggregate) -> Result<(), Fault> {
    if is_sound(blob, digest) {
        match fields_into(blob, aggregate) {
            Some(true) => {}
            // Of keys alone there may be very many, and looking at them again would say the same.
            Some(false) if aggregate.records.is_empty() => {
                return Err(Fault { offset: MAGIC.len(), what: What::NoRecords, size: blob.len() })
            }
            _ => *aggregate = unusual::read(blob)?,
        }
        return Ok(());
    }
    let mut expected = [0; CHECKSUM_BYTES];
    expected.copy_from_slice(&blob[blob.len() - CHECKSUM_BYTES..]);
    Err(Fault { offset: 0, what: What::Checksum { expected, actual: *digest }, size: blob.len() })
}

/// Verify and read a blob, or say what is wrong with it.
pub fn read(blob: &[u8]) -> Result<Aggregate, Fault> {
    let fault = |offset, what| Fault { offset, what, size: blob.len() };
    let Some(body) = body(blob) else {
        let start = &blob[..blob.len().min(MAGIC.len())];
        return Err(if start == MAGIC {
            fault(blob.len(), What::NoFrame)
        } else {
            fault(0, What::NoMagic(start.to_vec()))
        });
    };
    verified(blob, &md5::digest(body))
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
