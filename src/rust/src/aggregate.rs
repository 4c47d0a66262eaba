//! What reading a blob gives: where in it each part of an aggregate is.

use std::ops::Range;

/// In `Sub::explicit_hash_key`: there is none.
pub const NONE: u32 = u32::MAX;

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
    /// In the order of their records; of nearly all aggregates there are none.
    pub tags: Vec<Tag>,
}

impl Aggregate {
    /// Empty it, and keep its memory.
    pub fn clear(&mut self) {
        self.partition_keys.clear();
        self.explicit_hash_keys.clear();
        self.records.clear();
        self.tags.clear();
    }
}

/// A tag of a sub-record: where in the blob its key and its value are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub record: u32,
    pub key: Range<usize>,
    pub value: Option<Range<usize>>,
}
