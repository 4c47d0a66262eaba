//! The user records of many aggregates, by columns in the layout of Apache Arrow.

use crate::read::{self, Aggregate, NONE};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// What was cut out of blobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// User records of each blob; -1: it was left alone.
    pub counts: Vec<i32>,
    pub partition_keys: Dictionary,
    pub explicit_hash_keys: Dictionary,
    /// Which records have an explicit hash key, a bit each.
    pub validity: Vec<u8>,
    /// Where in the data each record's begins, and where the last ends.
    pub data_offsets: Vec<i32>,
    /// Where the data is: the blob, and in it.
    spans: Vec<(u32, Range<u32>)>,
}

/// Texts, each once, and which of them each record has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    pub offsets: Vec<i32>,
    pub bytes: Vec<u8>,
    pub indices: Vec<i32>,
}

/// All user records of those blobs that are sound aggregates, without tags and with keys in UTF-8.
///
/// The blobs have less than 2^31 bytes together.
pub fn cut(blobs: &[&[u8]]) -> Columns {
    let parsed = read::read_many(blobs);
    let mut columns = Columns { data_offsets: vec![0], ..Columns::default() };
    let (mut keys, mut explicit) = (Entries::default(), Entries::default());
    let count = parsed.iter().flatten().map(|one| one.records.len()).sum();
    columns.reserve(count);
    for (nth, (blob, aggregate)) in blobs.iter().zip(parsed).enumerate() {
        let places = aggregate.as_ref().filter(|one| one.tags.is_empty()).and_then(|one| {
            let keys = keys.places(blob, &one.partition_keys, &mut columns.partition_keys)?;
            Some((keys, explicit.places(blob, &one.explicit_hash_keys, &mut columns.explicit_hash_keys)?))
        });
        match (aggregate, places) {
            (Some(aggregate), Some((keys, explicit))) => columns.take(nth, &aggregate, &keys, &explicit),
            _ => columns.counts.push(-1),
        }
    }
    for dictionary in [&mut columns.partition_keys, &mut columns.explicit_hash_keys] {
        dictionary.offsets.push(dictionary.bytes.len() as i32);
    }
    columns
}

impl Columns {
    fn reserve(&mut self, count: usize) {
        self.partition_keys.indices.reserve(count);
        self.explicit_hash_keys.indices.reserve(count);
        self.validity.reserve(count / 8 + 1);
        self.data_offsets.reserve(count);
        self.spans.reserve(count);
    }

    fn take(&mut self, nth: usize, aggregate: &Aggregate, keys: &[i32], explicit: &[i32]) {
        self.counts.push(aggregate.records.len() as i32);
        let mut end = self.data_size() as i32;
        for sub in &aggregate.records {
            let bit = self.spans.len() % 8;
            if bit == 0 {
                self.validity.push(0);
            }
            self.partition_keys.indices.push(keys[sub.partition_key as usize]);
            let has_explicit = sub.explicit_hash_key != NONE;
            self.explicit_hash_keys.indices.push(if has_explicit {
                explicit[sub.explicit_hash_key as usize]
            } else {
                0
            });
            if let Some(last) = self.validity.last_mut() {
                *last |= u8::from(has_explicit) << bit;
            }
            end += (sub.end - sub.start) as i32;
            self.data_offsets.push(end);
            self.spans.push((nth as u32, sub.start..sub.end));
        }
    }

    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// Bytes of all records' data.
    pub fn data_size(&self) -> usize {
        self.data_offsets.last().map_or(0, |&end| end as usize)
    }

    /// Copy all records' data, out of the same blobs, to where there are so many bytes.
    pub fn write_data(&self, blobs: &[&[u8]], mut out: &mut [u8]) {
        for (nth, span) in &self.spans {
            let data = &blobs[*nth as usize][span.start as usize..span.end as usize];
            let (to, rest) = out.split_at_mut(data.len());
            to.copy_from_slice(data);
            out = rest;
        }
    }
}

/// Which texts are in a dictionary already.
#[derive(Default)]
struct Entries<'a>(FxHashMap<&'a [u8], i32>);

impl<'a> Entries<'a> {
    /// Where in the dictionary the texts of a table are; None if one is no UTF-8.
    fn places(&mut self, blob: &'a [u8], table: &[Range<usize>], dictionary: &mut Dictionary) -> Option<Vec<i32>> {
        let texts: Vec<&'a [u8]> = table.iter().map(|at| &blob[at.clone()]).collect();
        if texts.iter().any(|text| std::str::from_utf8(text).is_err()) {
            return None;
        }
        let mut place = |text: &'a [u8]| {
            *self.0.entry(text).or_insert_with(|| {
                dictionary.offsets.push(dictionary.bytes.len() as i32);
                dictionary.bytes.extend_from_slice(text);
                dictionary.offsets.len() as i32 - 1
            })
        };
        Some(texts.into_iter().map(&mut place).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{sign, CHECKSUM_BYTES};
    use crate::pack::Builder;

    type Given<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>);

    fn blob(records: &[Given]) -> Vec<u8> {
        let mut builder = Builder::new(None);
        for (key, data, own) in records {
            assert!(builder.add(usize::MAX, key, data, *own, &[]));
        }
        let mut blob = [&builder.parts().concat()[..], &[0; CHECKSUM_BYTES]].concat();
        sign(&mut [&mut blob]);
        blob
    }

    #[test]
    fn columns_of_several_blobs() {
        let first = blob(&[(b"a", b"one", None), (b"b", b"", Some(b"7"))]);
        let broken = blob(&[(b"\xff", b"not utf-8", None)]);
        let second = blob(&[(b"b", b"two", Some(b"7")), (b"c", b"three", None)]);
        let blobs = [&first[..], b"plain", &broken, &second];
        let columns = cut(&blobs);
        assert_eq!(columns.counts, [2, -1, -1, 2]);
        assert_eq!((columns.count(), &columns.data_offsets[..]), (4, &[0, 3, 3, 6, 11][..]));
        let mut data = vec![0; columns.data_size()];
        columns.write_data(&blobs, &mut data);
        assert_eq!(data, b"onetwothree");
        assert_eq!(columns.partition_keys.bytes, b"abc");
        assert_eq!(columns.partition_keys.offsets, [0, 1, 2, 3]);
        assert_eq!(columns.partition_keys.indices, [0, 1, 1, 2]);
        assert_eq!((&columns.explicit_hash_keys.bytes[..], &columns.validity[..]), (&b"7"[..], &[0b0110][..]));
    }
}
