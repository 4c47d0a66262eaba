//! The user records of many aggregates, by columns in the layout of Apache Arrow.

use crate::fault::Kind;
use crate::read::{self, Aggregate, NONE};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::ops::Range;

/// What was cut out of blobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// User records of each blob; or else -1: it was left alone; -2: its checksum is wrong, -3: it is cut short, -4: it
    /// is malformed.
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

/// All user records, without their tags, of those blobs that are sound aggregates.
///
/// The blobs have less than 2^31 bytes together.
pub fn cut(blobs: &[&[u8]]) -> Columns {
    let parsed = read::read_each(blobs);
    let mut columns = Columns { data_offsets: vec![0], ..Columns::default() };
    let (mut keys, mut explicit) = (Entries::default(), Entries::default());
    let count = parsed.iter().flatten().flatten().map(|one| one.records.len()).sum();
    columns.reserve(count);
    for (nth, (blob, aggregate)) in blobs.iter().zip(parsed).enumerate() {
        let aggregate = match aggregate {
            Some(Ok(aggregate)) => aggregate,
            other => {
                columns.counts.push(other.and_then(Result::err).map_or(-1, |fault| code(fault.kind())));
                continue;
            }
        };
        let keys = keys.of(blob, &aggregate.partition_keys);
        let explicit = explicit.of(blob, &aggregate.explicit_hash_keys);
        columns.take(nth, &aggregate, keys, explicit);
    }
    for dictionary in [&mut columns.partition_keys, &mut columns.explicit_hash_keys] {
        dictionary.offsets.push(dictionary.bytes.len() as i32);
    }
    columns
}

/// What stands in `counts` for a blob with such a fault.
fn code(kind: Kind) -> i32 {
    match kind {
        Kind::Checksum => -2,
        Kind::Truncated => -3,
        Kind::Malformed => -4,
    }
}

impl Columns {
    fn reserve(&mut self, count: usize) {
        self.partition_keys.indices.reserve(count);
        self.explicit_hash_keys.indices.reserve(count);
        self.validity.reserve(count / 8 + 1);
        self.data_offsets.reserve(count);
        self.spans.reserve(count);
    }

    fn take(&mut self, nth: usize, aggregate: &Aggregate, mut keys: Table, mut explicit: Table) {
        self.counts.push(aggregate.records.len() as i32);
        let mut end = self.data_size() as i32;
        for sub in &aggregate.records {
            let bit = self.spans.len() % 8;
            if bit == 0 {
                self.validity.push(0);
            }
            let key = keys.place(sub.partition_key, &mut self.partition_keys);
            self.partition_keys.indices.push(key);
            let has_explicit = sub.explicit_hash_key != NONE;
            let own =
                if has_explicit { explicit.place(sub.explicit_hash_key, &mut self.explicit_hash_keys) } else { 0 };
            self.explicit_hash_keys.indices.push(own);
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
struct Entries<'a>(FxHashMap<Cow<'a, str>, i32>);

impl<'a> Entries<'a> {
    fn of<'t>(&'t mut self, blob: &'a [u8], texts: &'t [Range<usize>]) -> Table<'t, 'a> {
        Table { entries: self, blob, texts, places: vec![UNKNOWN; texts.len()] }
    }
}

/// One aggregate's table of texts.
struct Table<'t, 'a> {
    entries: &'t mut Entries<'a>,
    blob: &'a [u8],
    texts: &'t [Range<usize>],
    /// In the dictionary, of those that a record has had.
    places: Vec<i32>,
}

const UNKNOWN: i32 = -1;

impl Table<'_, '_> {
    /// Where in the dictionary a text is; what is no UTF-8 becomes U+FFFD, as in Python.
    #[inline]
    fn place(&mut self, index: u32, dictionary: &mut Dictionary) -> i32 {
        let index = index as usize;
        if self.places[index] == UNKNOWN {
            self.places[index] =
                match self.entries.0.entry(String::from_utf8_lossy(&self.blob[self.texts[index].clone()])) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => {
                        dictionary.offsets.push(dictionary.bytes.len() as i32);
                        dictionary.bytes.extend_from_slice(new.key().as_bytes());
                        *new.insert(dictionary.offsets.len() as i32 - 1)
                    }
                };
        }
        self.places[index]
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
        let odd = blob(&[(b"\xff", b"4", None), (b"\xfe", b"5", None)]);
        let second = blob(&[(b"b", b"two", Some(b"7")), (b"c", b"three", None)]);
        let (mut torn, nothing) = (first.clone(), blob(&[]));
        torn[7] ^= 1;
        let blobs = [&first[..], b"plain", &odd, &second, &torn, &nothing];
        let columns = cut(&blobs);
        assert_eq!(columns.counts, [2, -1, 2, 2, -2, -4]);
        assert_eq!((columns.count(), &columns.data_offsets[..]), (6, &[0, 3, 3, 4, 5, 8, 13][..]));
        let mut data = vec![0; columns.data_size()];
        columns.write_data(&blobs, &mut data);
        assert_eq!(data, b"one45twothree");
        assert_eq!(columns.partition_keys.bytes, "ab\u{fffd}c".as_bytes());
        assert_eq!(columns.partition_keys.offsets, [0, 1, 2, 5, 6]);
        assert_eq!(columns.partition_keys.indices, [0, 1, 2, 2, 1, 3]);
        assert_eq!((&columns.explicit_hash_keys.bytes[..], &columns.validity[..]), (&b"7"[..], &[0b1_0010][..]));
    }
}
