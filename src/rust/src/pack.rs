//! Aggregates written piece by piece, with exact sizes.

use crate::frame::{
    DATA, EXPLICIT_HASH_KEY_INDEX, EXPLICIT_HASH_KEY_TABLE, FRAME_BYTES, MAGIC, PARTITION_KEY_INDEX,
    PARTITION_KEY_TABLE, RECORD,
};
use crate::md5;
use crate::memory::Room;
use crate::number::{number, number_size};
use crate::spare;
use crate::table::Table;

/// So many records before it is needed, data is fetched from memory.
const AHEAD: usize = 8;

/// What keeps the data of records until an aggregate is finished, so that it is copied once, to where it stays.
pub trait Lender {
    /// Where the data of one record is.
    type Place;

    /// The data, which is always the same.
    fn data<'a>(&'a self, place: &'a Self::Place) -> &'a [u8];

    /// Have the processor fetch the data, which will be asked for soon.
    fn prefetch(&self, _place: &Self::Place) {}
}

/// One aggregate being filled. Sizes are those of the finished aggregate, magic and checksum included.
pub struct Builder<L: Lender> {
    partition_keys: Table,
    explicit_hash_keys: Table,
    pinned: bool,
    /// The messages of the records whose data was copied, one after the other.
    copied: Vec<u8>,
    /// The other records, in their order; they have no explicit hash key of their own, and no tags.
    lent: Vec<Lent<L::Place>>,
    lent_bytes: usize,
    pub lender: L,
    pub count: usize,
}

pub struct Lent<P> {
    /// Bytes of `copied` that come before it.
    at: u32,
    partition_key: u32,
    data: P,
}

/// What `Builder::give_back` gives back: who has lent, and what.
pub struct GivenBack<L: Lender>(#[allow(dead_code)] L, #[allow(dead_code)] Vec<Lent<L::Place>>); // only to be dropped

/// A record's message without its data and tags.
struct Head {
    /// Bytes of the message.
    length: usize,
    partition_key: u32,
    explicit_hash_key: Option<u32>,
    data: usize,
}

impl Head {
    fn new(partition_key: u32, explicit_hash_key: Option<u32>, data: usize, tags: usize) -> Self {
        let explicit = explicit_hash_key.map_or(0, |index| 1 + number_size(index as usize));
        let length = 1 + number_size(partition_key as usize) + explicit + 1 + number_size(data) + data + tags;
        Head { length, partition_key, explicit_hash_key, data }
    }

    /// Bytes that the message takes among others.
    fn size(&self) -> usize {
        1 + number_size(self.length) + self.length
    }

    // Byte by byte to where they stay: what is put together elsewhere is not there yet when it is to be copied.
    #[inline(always)]
    fn write(&self, mut push: impl FnMut(u8)) {
        push(RECORD);
        number(&mut push, self.length);
        push(PARTITION_KEY_INDEX);
        number(&mut push, self.partition_key as usize);
        if let Some(index) = self.explicit_hash_key {
            push(EXPLICIT_HASH_KEY_INDEX);
            number(&mut push, index as usize);
        }
        push(DATA);
        number(&mut push, self.data);
    }
}

impl<L: Lender> Builder<L> {
    /// `pin`: every record's explicit hash key.
    pub fn new(pin: Option<&[u8]>) -> Self
    where
        L: Default,
    {
        let mut explicit_hash_keys = Table::default();
        if let Some(pin) = pin {
            insert(&mut explicit_hash_keys, EXPLICIT_HASH_KEY_TABLE, pin);
        }
        Builder {
            partition_keys: Table::default(),
            explicit_hash_keys,
            pinned: pin.is_some(),
            copied: Vec::new(),
            lent: Vec::new(),
            lent_bytes: 0,
            lender: L::default(),
            count: 0,
        }
    }

    /// Have another explicit hash key in place of the one that all records have, if there is one.
    pub fn repin(&mut self, pin: &[u8]) -> bool {
        if self.pinned {
            self.explicit_hash_keys = Table::default();
            insert(&mut self.explicit_hash_keys, EXPLICIT_HASH_KEY_TABLE, pin);
        }
        self.pinned
    }

    #[inline]
    pub fn size(&self) -> usize {
        let tables = self.partition_keys.bytes.len() + self.explicit_hash_keys.bytes.len();
        FRAME_BYTES + tables + self.copied.len() + self.lent_bytes
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
        let is_sound = |_: &[u8]| true;
        let Some(head) = self.head(capacity, partition_key, is_sound, data.len(), explicit_hash_key, tags.len()) else {
            return false;
        };
        let out = &mut self.copied;
        let needed = head.size();
        if out.capacity() - out.len() < needed {
            spare::larger(out, needed);
        }
        head.write(|byte| out.push(byte));
        out.extend_from_slice(data);
        out.extend_from_slice(tags);
        self.count += 1;
        true
    }

    /// The same for a record without explicit hash key and tags, whose data of so many bytes will be there.
    ///
    /// `is_sound`: whether a partition key may be taken; it is asked about those that no record has had.
    #[inline]
    pub fn borrow(
        &mut self,
        capacity: usize,
        partition_key: &[u8],
        is_sound: impl FnOnce(&[u8]) -> bool,
        size: usize,
        place: impl FnOnce(&mut L) -> L::Place,
    ) -> bool {
        let Some(head) = self.head(capacity, partition_key, is_sound, size, None, 0) else { return false };
        let at = self.copied.len() as u32;
        self.lent_bytes += head.size();
        self.lent.push(Lent { at, partition_key: head.partition_key, data: place(&mut self.lender) });
        self.count += 1;
        true
    }

    /// Whether `borrow` may be asked: it cannot count as far as an aggregate may grow.
    #[inline]
    pub fn may_borrow(&self) -> bool {
        self.copied.len() <= u32::MAX as usize
    }

    /// Whether anything is lent.
    pub fn is_lent(&self) -> bool {
        !self.lent.is_empty()
    }

    /// Whether a record has had the partition key.
    #[inline]
    pub fn knows(&self, partition_key: &[u8]) -> bool {
        !self.partition_keys.find(partition_key).is_new
    }

    /// The head of the record that is taken, if it fits. Its keys have their places in the tables then.
    #[inline]
    fn head(
        &mut self,
        capacity: usize,
        partition_key: &[u8],
        is_sound: impl FnOnce(&[u8]) -> bool,
        data: usize,
        explicit_hash_key: Option<&[u8]>,
        tags: usize,
    ) -> Option<Head> {
        let key = self.partition_keys.find(partition_key);
        if key.is_new && !is_sound(partition_key) {
            return None;
        }
        let own = explicit_hash_key.filter(|_| !self.pinned).map(|own| (own, self.explicit_hash_keys.find(own)));
        let explicit_hash_key = if self.pinned { Some(0) } else { own.as_ref().map(|(_, found)| found.index) };
        let head = Head::new(key.index, explicit_hash_key, data, tags);
        let mut grown = self.size() + head.size();
        if key.is_new {
            grown += entry_size(partition_key);
        }
        if let Some((own, _)) = own.as_ref().filter(|(_, found)| found.is_new) {
            grown += entry_size(own);
        }
        if grown > capacity {
            return None;
        }
        if key.is_new {
            insert(&mut self.partition_keys, PARTITION_KEY_TABLE, partition_key);
        } else {
            self.partition_keys.last = key.index;
        }
        if let Some((own, _)) = own.filter(|(_, found)| found.is_new) {
            insert(&mut self.explicit_hash_keys, EXPLICIT_HASH_KEY_TABLE, own);
        }
        Some(head)
    }

    /// Copy what is lent; what need not be kept for it any more is returned, and may be let go anywhere.
    #[must_use = "who has it in his hands chooses when it is let go"]
    pub fn give_back(&mut self) -> GivenBack<L>
    where
        L: Default,
    {
        let (lender, lent) = (std::mem::take(&mut self.lender), std::mem::take(&mut self.lent));
        let Some(first) = lent.first().map(|record| record.at as usize) else { return GivenBack(lender, lent) };
        let behind = self.copied.split_off(first);
        let expected = first + self.lent_bytes + behind.len();
        self.copied.reserve(expected - first);
        let explicit_hash_key = self.pinned.then_some(0);
        let mut done = 0;
        for record in &lent {
            let before = record.at as usize - first;
            self.copied.extend_from_slice(&behind[done..before]);
            done = before;
            let data = lender.data(&record.data);
            Head::new(record.partition_key, explicit_hash_key, data.len(), 0).write(|byte| self.copied.push(byte));
            self.copied.extend_from_slice(data);
        }
        self.copied.extend_from_slice(&behind[done..]);
        // Where what is lent has another size than it had, the aggregate never has the size that it says to have; see `finish`.
        self.lent_bytes = usize::from(self.copied.len() != expected);
        GivenBack(lender, lent)
    }
}

impl<L: Lender> Builder<L> {
    /// Write the aggregate but for its checksum.
    fn write(&self, room: &mut Room) {
        room.extend(&MAGIC);
        room.extend(&self.partition_keys.bytes);
        room.extend(&self.explicit_hash_keys.bytes);
        let explicit_hash_key = self.pinned.then_some(0);
        let mut done = 0;
        for (nth, record) in self.lent.iter().enumerate() {
            if let Some(later) = self.lent.get(nth + AHEAD) {
                self.lender.prefetch(&later.data);
            }
            let before = record.at as usize;
            room.extend(&self.copied[done..before]);
            done = before;
            let data = self.lender.data(&record.data);
            Head::new(record.partition_key, explicit_hash_key, data.len(), 0).write(|byte| room.push(byte));
            room.extend(data);
        }
        room.extend(&self.copied[done..]);
    }
}

/// Finish aggregates, each in a room of its size; their checksums are made side by side.
///
/// A room is not full in the end, or something was too much for it, where what is lent has another size than it had.
pub fn finish<L: Lender>(builders: &[&Builder<L>], rooms: &mut [Room]) {
    for (builder, room) in builders.iter().zip(rooms.iter_mut()) {
        builder.write(room);
    }
    let digests = md5::digests(&rooms.iter().map(|room| &room.written()[MAGIC.len()..]).collect::<Vec<_>>());
    for (room, digest) in rooms.iter_mut().zip(digests) {
        room.extend(&digest);
    }
}

/// Finished aggregates, for tests.
pub fn finished<L: Lender>(builders: &[&Builder<L>]) -> Vec<Vec<u8>> {
    let mut blobs: Vec<Vec<u8>> = builders.iter().map(|builder| vec![0; builder.size()]).collect();
    let mut rooms: Vec<Room> = blobs.iter_mut().map(|blob| Room::over(blob)).collect();
    finish(builders, &mut rooms);
    assert!(rooms.iter().all(Room::is_full));
    blobs
}

impl<L: Lender> Drop for Builder<L> {
    fn drop(&mut self) {
        spare::give_up(std::mem::take(&mut self.copied));
    }
}

/// Bytes that a key takes in its table.
fn entry_size(key: &[u8]) -> usize {
    1 + number_size(key.len()) + key.len()
}

fn insert(table: &mut Table, tag: u8, key: &[u8]) {
    table.bytes.push(tag);
    number(|byte| table.bytes.push(byte), key.len());
    table.insert(key);
}

/// Nothing is lent.
#[derive(Default)]
pub struct Nobody;

impl Lender for Nobody {
    type Place = ();

    fn data(&self, (): &()) -> &[u8] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Aggregate;
    use crate::frame;
    use crate::read::read_many;

    /// Data that lives elsewhere.
    #[derive(Default)]
    struct Elsewhere;

    impl Lender for Elsewhere {
        type Place = Vec<u8>;

        fn data<'a>(&'a self, place: &'a Vec<u8>) -> &'a [u8] {
            place
        }
    }

    fn finished<L: Lender>(builder: &Builder<L>) -> Vec<u8> {
        super::finished(&[builder]).remove(0)
    }

    fn read(blob: &[u8]) -> Option<Aggregate> {
        read_many(&[blob]).pop().flatten()
    }

    #[test]
    fn what_is_built_is_read() {
        for pin in [None, Some(&b"7"[..])] {
            let mut builder = Builder::<Nobody>::new(pin);
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
        let mut builder = Builder::<Nobody>::new(None);
        assert!(builder.add(usize::MAX, b"key", b"data", None, &[]));
        let mut other = Builder::<Nobody>::new(None);
        assert!(!other.add(builder.size() - 1, b"key", b"data", None, &[]));
        assert_eq!((other.count, other.size()), (0, FRAME_BYTES));
        assert!(other.add(builder.size(), b"key", b"data", None, &[]));
    }

    #[test]
    fn it_can_have_another_pin() {
        let mut builder = Builder::<Nobody>::new(Some(b"7"));
        let mut other = Builder::<Nobody>::new(Some(b"12345"));
        assert!(builder.add(usize::MAX, b"key", b"data", None, &[]));
        assert!(other.add(usize::MAX, b"key", b"data", None, &[]));
        assert!(builder.repin(b"12345"));
        assert_eq!((finished(&builder), builder.size()), (finished(&other), other.size()));
        assert!(!Builder::<Nobody>::new(None).repin(b"12345"));
    }

    #[test]
    fn what_is_lent_is_written_as_what_is_copied() {
        for pin in [None, Some(&b"7"[..])] {
            for lent in [|_| true, |nth: usize| nth % 3 == 1, |nth| nth > 400, |nth| nth < 400] {
                let (mut copying, mut lending) = (Builder::<Nobody>::new(pin), Builder::<Elsewhere>::new(pin));
                for nth in 0..1000usize {
                    let (key, data) = (format!("key {}", nth % 300), vec![nth as u8; nth * 7 % 400]);
                    assert!(copying.add(usize::MAX, key.as_bytes(), &data, None, &[]));
                    let is_taken = if lent(nth) && lending.may_borrow() {
                        lending.borrow(usize::MAX, key.as_bytes(), |_| true, data.len(), |_| data.clone())
                    } else {
                        lending.add(usize::MAX, key.as_bytes(), &data, None, &[])
                    };
                    assert!(is_taken && lending.knows(key.as_bytes()));
                    if nth == 700 {
                        assert_eq!(finished(&lending), finished(&copying));
                        drop(lending.give_back());
                        assert!(lending.lent.is_empty());
                    }
                    assert_eq!((lending.size(), lending.count), (copying.size(), copying.count));
                }
                let (size, count) = (lending.size(), lending.count);
                assert!(!lending.borrow(size + 99, b"other", |_| true, 99, |_| unreachable!("it does not fit")));
                assert!(!lending.borrow(
                    usize::MAX,
                    b"other",
                    |key| key != b"other",
                    99,
                    |_| unreachable!("it is unsound")
                ));
                assert!(!lending.knows(b"other") && (lending.size(), lending.count) == (size, count));
                assert_eq!(finished(&lending), finished(&copying));
            }
        }
    }

    #[test]
    fn no_input_makes_it_panic() {
        let mut builder = Builder::<Nobody>::new(Some(b"5"));
        for nth in 0..4 {
            assert!(builder.add(usize::MAX, b"k", &vec![1; nth * 70], None, &[]));
        }
        let blob = finished(&builder);
        let body = frame::body(&blob).expect("it is framed").to_vec();
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
