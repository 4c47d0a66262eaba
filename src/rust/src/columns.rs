//! The user records of many aggregates, by columns in the layout of Apache Arrow.

use crate::aggregate::{Aggregate, Sub, NONE};
use crate::fault::Kind;
use crate::frame::body;
use crate::md5;
use crate::memory::{Buffer, Item};
use crate::read::{verified_into, MOST_BYTES};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::ops::Range;

/// A view of Arrow's holds so many bytes itself.
const INSIDE: usize = 12;

/// What was cut out of blobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// User records of each blob; or else -1: it was left alone; -2: its checksum is wrong, -3: it is cut short, -4: it
    /// is malformed.
    pub counts: Vec<i32>,
    /// The sub-sequence number of each record.
    pub numbers: Buffer<i32>,
    pub partition_keys: Dictionary,
    pub explicit_hash_keys: Dictionary,
    /// Which records have an explicit hash key.
    pub validity: Bits,
    pub data: Data,
}

/// Texts, each once, and which of them each record has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    pub offsets: Buffer<i32>,
    pub bytes: Buffer<u8>,
    pub indices: Buffer<i32>,
}

/// What becomes of the records' data.
#[derive(Clone, Copy)]
pub enum How<'a> {
    Copied,
    /// Views; each blob is a buffer of its own.
    Each,
    /// Views; the blobs are in one buffer, where they begin at these places.
    One(&'a [i64]),
}

impl How<'_> {
    /// Which buffer a blob is in, and where in it.
    fn place(self, nth: usize) -> (u32, u32) {
        match self {
            How::One(starts) => (0, starts[nth] as u32),
            _ => (nth as u32, 0),
        }
    }
}

/// The data of all records.
#[derive(Debug, PartialEq, Eq)]
pub enum Data {
    /// One after the other, and where each begins and the last ends.
    Copied { offsets: Buffer<i32>, bytes: Buffer<u8> },
    /// Where it is: length, the first four bytes, the buffer, and where in it; of a short one length and bytes.
    Views(Buffer<u128>),
}

impl Default for Data {
    fn default() -> Self {
        Data::Copied { offsets: Buffer::default(), bytes: Buffer::default() }
    }
}

/// All user records, without their tags, of those blobs that are sound aggregates.
///
/// The blobs have at most a third of 2^31 bytes together, because a byte of a key that is no UTF-8 becomes three; and what
/// views lead to ends before 2^31.
pub fn cut(blobs: &[&[u8]], how: How) -> Columns {
    let bodies: Vec<&[u8]> = blobs.iter().filter_map(|blob| body(blob)).collect();
    let mut digests = md5::digests(&bodies).into_iter();
    let mut columns = Columns { counts: Vec::with_capacity(blobs.len()), ..Columns::default() };
    let mut left: usize = bodies.iter().map(|body| body.len()).sum();
    columns.data = match how {
        How::Copied => Data::Copied { offsets: Buffer::of(0), bytes: Buffer::with_capacity(left) },
        _ => Data::Views(Buffer::default()),
    };
    let (mut keys, mut explicit) = (Entries::default(), Entries::default());
    let mut aggregate = Aggregate::default();
    for (nth, blob) in blobs.iter().enumerate() {
        let digest = if body(blob).is_some() { digests.next() } else { None };
        let Some(digest) = digest.filter(|_| blob.len() < MOST_BYTES) else {
            columns.counts.push(-1);
            continue;
        };
        left -= blob.len().min(left);
        if let Err(fault) = verified_into(blob, &digest, &mut aggregate) {
            columns.counts.push(code(fault.kind()));
            continue;
        }
        let keys = keys.of(blob, &aggregate.partition_keys);
        let explicit = explicit.of(blob, &aggregate.explicit_hash_keys);
        columns.take(&aggregate, keys, explicit, (left as u64, blob.len() as u64));
        columns.data.take(how.place(nth), blob, &aggregate.records);
    }
    for dictionary in [&mut columns.partition_keys, &mut columns.explicit_hash_keys] {
        dictionary.offsets.reserve(1);
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
    /// User records.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// `left`: bytes of the aggregates after this one, and of this one: there will be as many records for each byte, if
    /// they are alike.
    fn take(&mut self, aggregate: &Aggregate, mut keys: Table, mut explicit: Table, left: (u64, u64)) {
        let subs = &aggregate.records[..];
        let count = subs.len();
        self.counts.push(count as i32);
        if self.numbers.capacity() - self.numbers.len() < count {
            let alike = (count as u64 * left.0 / left.1) as usize;
            self.reserve(count + alike + alike / 64);
        }
        self.numbers.extend(0..count as i32);
        let Dictionary { offsets, bytes, indices } = &mut self.partition_keys;
        indices.extend(subs.iter().map(|sub| keys.place(sub.partition_key, offsets, bytes)));
        let Dictionary { offsets, bytes, indices } = &mut self.explicit_hash_keys;
        if explicit.texts.is_empty() {
            let end = indices.len() + count;
            indices.resize(end, 0);
            self.validity.extend(subs.iter().map(|_| false));
        } else {
            indices.extend(subs.iter().map(|sub| match sub.explicit_hash_key {
                NONE => 0,
                index => explicit.place(index, offsets, bytes),
            }));
            self.validity.extend(subs.iter().map(|sub| sub.explicit_hash_key != NONE));
        }
    }

    fn reserve(&mut self, count: usize) {
        self.numbers.reserve(count);
        self.partition_keys.indices.reserve(count);
        self.explicit_hash_keys.indices.reserve(count);
        self.validity.bytes.reserve(count / 8 + 1);
        match &mut self.data {
            Data::Copied { offsets, .. } => offsets.reserve(count),
            Data::Views(views) => views.reserve(count),
        }
    }

    /// What each blob has, as often as it has user records.
    pub fn spread<T: Item>(&self, values: &[T]) -> Buffer<T> {
        let mut out = Buffer::with_capacity(self.count());
        for (&count, &value) in self.counts.iter().zip(values) {
            let end = out.len() + usize::try_from(count).unwrap_or(0);
            out.resize(end, value);
        }
        out
    }
}

impl Data {
    /// `place`: see `How::place`.
    fn take(&mut self, place: (u32, u32), blob: &[u8], subs: &[Sub]) {
        match self {
            Data::Copied { offsets, bytes } => {
                for sub in subs {
                    bytes.extend_from_slice(&blob[sub.start as usize..sub.end as usize]);
                }
                let mut end = offsets.last().copied().unwrap_or(0);
                offsets.extend(subs.iter().map(|sub| {
                    end += (sub.end - sub.start) as i32;
                    end
                }));
            }
            Data::Views(views) => views.extend(subs.iter().map(|sub| view(place, blob, sub))),
        }
    }
}

/// A view of Arrow's: see `Data::Views`.
#[inline]
fn view(place: (u32, u32), blob: &[u8], sub: &Sub) -> u128 {
    let data = &blob[sub.start as usize..sub.end as usize];
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&(data.len() as u32).to_le_bytes());
    if data.len() <= INSIDE {
        bytes[4..4 + data.len()].copy_from_slice(data);
    } else {
        bytes[4..8].copy_from_slice(&data[..4]);
        bytes[8..12].copy_from_slice(&place.0.to_le_bytes());
        bytes[12..].copy_from_slice(&(place.1 + sub.start).to_le_bytes());
    }
    u128::from_ne_bytes(bytes)
}

/// A bit for each record, the lowest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bits {
    pub bytes: Buffer<u8>,
    count: usize,
    /// How many are 0.
    pub zeros: usize,
}

impl Bits {
    fn extend(&mut self, bits: impl Iterator<Item = bool>) {
        let mut last = if self.count.is_multiple_of(8) { 0 } else { self.bytes.pop().unwrap_or(0) };
        for bit in bits {
            last |= u8::from(bit) << (self.count % 8);
            self.zeros += usize::from(!bit);
            self.count += 1;
            if self.count.is_multiple_of(8) {
                self.bytes.push(last);
                last = 0;
            }
        }
        if !self.count.is_multiple_of(8) {
            self.bytes.push(last);
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
    /// Where in the dictionary a text is.
    #[inline]
    fn place(&mut self, index: u32, offsets: &mut Buffer<i32>, bytes: &mut Buffer<u8>) -> i32 {
        let place = &mut self.places[index as usize];
        if *place == UNKNOWN {
            // What is no UTF-8 becomes U+FFFD, as in Python.
            *place = match self.entries.0.entry(String::from_utf8_lossy(&self.blob[self.texts[index as usize].clone()]))
            {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let text = new.key().as_bytes();
                    offsets.reserve(1);
                    offsets.push(bytes.len() as i32);
                    bytes.reserve(text.len());
                    bytes.extend_from_slice(text);
                    *new.insert(offsets.len() as i32 - 1)
                }
            };
        }
        *place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::CHECKSUM_BYTES;
    use crate::pack::{finished, Builder, Nobody};

    type Given<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>);

    fn blob(records: &[Given]) -> Vec<u8> {
        let mut builder = Builder::<Nobody>::new(None);
        for (key, data, own) in records {
            assert!(builder.add(usize::MAX, key, data, *own, &[]));
        }
        finished(&[&builder]).remove(0)
    }

    #[test]
    fn columns_of_several_blobs() {
        let first = blob(&[(b"a", b"one", None), (b"b", b"", Some(b"7"))]);
        let odd = blob(&[(b"\xff", b"4", None), (b"\xfe", b"5", None)]);
        let second = blob(&[(b"b", b"two", Some(b"7")), (b"c", b"more than twelve", None)]);
        let (mut torn, nothing) = (first.clone(), blob(&[]));
        torn[7] ^= 1;
        let blobs = [&first[..], b"plain", &odd, &second, &torn, &nothing];
        let columns = cut(&blobs, How::Copied);
        assert_eq!(columns.counts, [2, -1, 2, 2, -2, -4]);
        assert_eq!((columns.count(), &columns.numbers[..]), (6, &[0, 1, 0, 1, 0, 1][..]));
        let Data::Copied { offsets, bytes } = &columns.data else { panic!("it was to be copied") };
        assert_eq!((&offsets[..], &bytes[..]), (&[0, 3, 3, 4, 5, 8, 24][..], &b"one45twomore than twelve"[..]));
        assert_eq!(&columns.partition_keys.bytes[..], "ab\u{fffd}c".as_bytes());
        assert_eq!(&columns.partition_keys.offsets[..], [0, 1, 2, 5, 6]);
        assert_eq!(&columns.partition_keys.indices[..], [0, 1, 2, 2, 1, 3]);
        assert_eq!(&columns.explicit_hash_keys.bytes[..], b"7");
        assert_eq!((&columns.validity.bytes[..], columns.validity.zeros), (&[0b1_0010][..], 4));
        assert_eq!(&columns.spread(&[10, 11, 12, 13, 14, 15])[..], [10, 10, 12, 12, 13, 13]);
    }

    #[test]
    fn views_are_arrows() {
        let long = blob(&[(b"a", b"just twelve!", None), (b"a", b"and thirteen.", None)]);
        let columns = cut(&[b"plain", &long], How::Each);
        let Data::Views(views) = &columns.data else { panic!("it was not to be copied") };
        assert_eq!(&views[0].to_ne_bytes(), b"\x0c\0\0\0just twelve!");
        let start = (long.len() - CHECKSUM_BYTES - 13) as u8;
        assert_eq!(&views[1].to_ne_bytes(), &[13, 0, 0, 0, b'a', b'n', b'd', b' ', 1, 0, 0, 0, start, 0, 0, 0]);
        let in_one = cut(&[b"plain", &long], How::One(&[0, 5]));
        let Data::Views(views) = &in_one.data else { panic!("it was not to be copied") };
        assert_eq!(&views[1].to_ne_bytes()[8..], &[0, 0, 0, 0, 5 + start, 0, 0, 0]);
    }

    #[test]
    fn bits_go_on_where_they_have_ended() {
        let mut bits = Bits::default();
        for nth in 0..40 {
            bits.extend((0..nth).map(|bit| bit % 3 == 0));
        }
        let expected: Vec<bool> = (0..40).flat_map(|nth| (0..nth).map(|bit| bit % 3 == 0)).collect();
        let actual: Vec<bool> = (0..expected.len()).map(|nth| bits.bytes[nth / 8] >> (nth % 8) & 1 == 1).collect();
        assert_eq!((actual, bits.zeros), (expected.clone(), expected.iter().filter(|&&bit| !bit).count()));
    }
}
