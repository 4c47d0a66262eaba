//! Any aggregate with a checksum that is right, by protobuf's rules: fields in any order, twice, unknown, tags; or else
//! the first thing that is wrong with it.
//!
//! First of structure, by position; then of the records in their order, a missing required field before an index
//! outside its table. So does the pure core.

use crate::aggregate::{Aggregate, Sub, Tag, NONE};
use crate::fault::{Fault, What};
use crate::frame::{
    CHECKSUM_BYTES, DATA, EXPLICIT_HASH_KEY_INDEX, EXPLICIT_HASH_KEY_TABLE, MAGIC, PARTITION_KEY_INDEX,
    PARTITION_KEY_TABLE, RECORD, TAG, TAG_KEY, TAG_VALUE,
};
use crate::walk::{Field, Walk};
use std::ops::Range;

/// A record, before it is known whether its indices lie in their tables.
#[derive(Default)]
struct Record {
    partition_key: Option<u64>,
    explicit_hash_key: Option<u64>,
    data: Option<Range<usize>>,
}

/// Read a blob whose checksum is known to be right, and that has less than 2^31 bytes.
pub fn read(blob: &[u8]) -> Result<Aggregate, Fault> {
    let fault = |offset, what| Fault { offset, what, size: blob.len() };
    let mut aggregate = Aggregate::default();
    let mut missing: Option<Fault> = None;
    let mut any_record = false;
    let mut walk = outermost(blob);
    while let Some(field) = walk.next()? {
        match field.tag as u8 {
            _ if field.tag > 0xff => {}
            PARTITION_KEY_TABLE => aggregate.partition_keys.push(field.start..field.end),
            EXPLICIT_HASH_KEY_TABLE => aggregate.explicit_hash_keys.push(field.start..field.end),
            RECORD => {
                any_record = true;
                // After one that lacks something, only the structure around records is looked at.
                if missing.is_none() {
                    match record(blob, field, aggregate.records.len() as u32, &mut aggregate.tags)? {
                        Ok(record) => push(&mut aggregate, record),
                        Err(lack) => missing = Some(lack),
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(missing) = missing {
        return Err(missing);
    }
    if !any_record {
        return Err(fault(MAGIC.len(), What::NoRecords));
    }
    let is_bad = |sub: &Sub| {
        sub.partition_key as usize >= aggregate.partition_keys.len()
            || (sub.explicit_hash_key != NONE && sub.explicit_hash_key as usize >= aggregate.explicit_hash_keys.len())
    };
    match aggregate.records.iter().position(is_bad) {
        Some(nth) => Err(bad_index(blob, &aggregate, nth)?),
        None => Ok(aggregate),
    }
}

fn outermost(blob: &[u8]) -> Walk<'_> {
    Walk::new(blob, MAGIC.len(), blob.len() - CHECKSUM_BYTES, 1)
}

/// A record, or the required field that it lacks; the outer error is one of structure. Its tags go to those of others.
fn record(blob: &[u8], at: Field, nth: u32, tags: &mut Vec<Tag>) -> Result<Result<Record, Fault>, Fault> {
    let fault = |offset, what| Fault { offset, what, size: blob.len() };
    let mut record = Record::default();
    let mut lacks = None;
    let mut walk = Walk::new(blob, at.start, at.end, 2);
    while let Some(field) = walk.next()? {
        match field.tag as u8 {
            _ if field.tag > 0xff => {}
            PARTITION_KEY_INDEX => record.partition_key = Some(field.value),
            EXPLICIT_HASH_KEY_INDEX => record.explicit_hash_key = Some(field.value),
            DATA => record.data = Some(field.start..field.end),
            TAG => match tag(blob, field)? {
                (Some(key), value) => tags.push(Tag { record: nth, key, value }),
                (None, _) => lacks = lacks.or(Some(fault(field.offset, What::NoTagKey))),
            },
            _ => {}
        }
    }
    if record.partition_key.is_none() {
        lacks = Some(fault(at.offset, What::NoPartitionKeyIndex));
    } else if record.data.is_none() {
        lacks = Some(fault(at.offset, What::NoData));
    }
    Ok(lacks.map_or(Ok(record), Err))
}

type KeyAndValue = (Option<Range<usize>>, Option<Range<usize>>);

fn tag(blob: &[u8], at: Field) -> Result<KeyAndValue, Fault> {
    let (mut key, mut value) = (None, None);
    let mut walk = Walk::new(blob, at.start, at.end, 3);
    while let Some(field) = walk.next()? {
        match field.tag as u8 {
            _ if field.tag > 0xff => {}
            TAG_KEY => key = Some(field.start..field.end),
            TAG_VALUE => value = Some(field.start..field.end),
            _ => {}
        }
    }
    Ok((key, value))
}

fn push(aggregate: &mut Aggregate, record: Record) {
    let data = record.data.unwrap_or_default();
    // No table has so many entries that the largest index is inside.
    let index = |number: u64| number.min(u64::from(NONE) - 1) as u32;
    aggregate.records.push(Sub {
        partition_key: record.partition_key.map_or(NONE - 1, index),
        explicit_hash_key: record.explicit_hash_key.map_or(NONE, index),
        start: data.start as u32,
        end: data.end as u32,
    });
}

/// What is wrong with the indices of a record, which is looked for again: where it is was not remembered.
fn bad_index(blob: &[u8], aggregate: &Aggregate, nth: usize) -> Result<Fault, Fault> {
    let mut walk = outermost(blob);
    let mut left = nth;
    while let Some(field) = walk.next()? {
        if field.tag != u64::from(RECORD) {
            continue;
        }
        if left > 0 {
            left -= 1;
            continue;
        }
        let record = record(blob, field, 0, &mut Vec::new())??;
        let (partition_keys, explicit) = (aggregate.partition_keys.len(), aggregate.explicit_hash_keys.len());
        let index = record.partition_key.unwrap_or(u64::MAX);
        let what = if index >= partition_keys as u64 {
            What::BadIndex { nth, table: "partition_key", index, entries: partition_keys }
        } else {
            let index = record.explicit_hash_key.unwrap_or(u64::MAX);
            What::BadIndex { nth, table: "explicit_hash_key", index, entries: explicit }
        };
        return Ok(Fault { offset: field.offset, what, size: blob.len() });
    }
    Ok(Fault { offset: MAGIC.len(), what: What::NoRecords, size: blob.len() })
}
