//! The fields of a protobuf message, by protobuf's rules for any message, known fields or not.
//!
//! It walks without recursion, so deep nesting costs a counter.

use crate::fault::{Fault, What};

/// protobuf's own limit for messages and groups inside each other, the outermost included.
const MOST_NESTED: usize = 101;
const MOST_LENGTH: u64 = (1 << 31) - 1;

pub const VARINT: u64 = 0;
const FIXED64: u64 = 1;
pub const DELIMITED: u64 = 2;
const START_GROUP: u64 = 3;
const END_GROUP: u64 = 4;
const FIXED32: u64 = 5;

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Of its tag.
    pub offset: usize,
    /// Number and wire type, as they are on the wire.
    pub tag: u64,
    /// Of a varint.
    pub value: u64,
    /// Of what is delimited: where its content starts.
    pub start: usize,
    /// Of the whole field.
    pub end: usize,
}

/// Walks over the fields of one message, those inside of groups left out.
pub struct Walk<'a> {
    blob: &'a [u8],
    at: usize,
    end: usize,
    depth: usize,
    /// Offset and field number of those that are open.
    groups: Vec<(usize, u64)>,
}

impl<'a> Walk<'a> {
    /// `at` and `end`: where in the blob the message is; `depth`: how many messages it is inside of, itself included.
    pub fn new(blob: &'a [u8], at: usize, end: usize, depth: usize) -> Self {
        Walk { blob, at, end, depth, groups: Vec::new() }
    }

    pub fn next(&mut self) -> Result<Option<Field>, Fault> {
        while self.at < self.end {
            let field = self.any()?;
            if self.groups.is_empty() && field.tag & 7 != END_GROUP {
                return Ok(Some(field));
            }
        }
        match self.groups.last() {
            Some(&(offset, number)) => Err(self.fault(offset, What::GroupOpen { number })),
            None => Ok(None),
        }
    }

    fn any(&mut self) -> Result<Field, Fault> {
        let offset = self.at;
        let tag = self.number(5)?;
        let (number, wire_type) = (tag >> 3, tag & 7);
        // Inside groups, some releases of protobuf let the number 0 pass; Java's, which is the KCL's, does not.
        if tag > u64::from(u32::MAX) || number == 0 || wire_type > FIXED32 {
            return Err(self.fault(offset, What::BadTag { number, wire_type }));
        }
        let mut field = Field { offset, tag, value: 0, start: self.at, end: 0 };
        match wire_type {
            VARINT => field.value = self.number(10)?,
            FIXED64 => self.at += 8,
            FIXED32 => self.at += 4,
            DELIMITED => {
                let length = self.number(5)?;
                if length > MOST_LENGTH {
                    return Err(self.fault(offset, What::LengthTooLarge { number, length }));
                }
                field.start = self.at;
                self.at += length as usize;
            }
            START_GROUP => {
                self.groups.push((offset, number));
                if self.depth + self.groups.len() > MOST_NESTED {
                    return Err(self.fault(offset, What::TooDeep { most: MOST_NESTED }));
                }
            }
            _ => {
                if self.groups.pop().is_none_or(|(_, begun)| begun != number) {
                    return Err(self.fault(offset, What::GroupNotBegun { number }));
                }
            }
        }
        if self.at > self.end {
            return Err(self.fault(offset, What::FieldCut { number, lacks: self.at - self.end }));
        }
        field.end = self.at;
        Ok(field)
    }

    /// A number of at most so many bytes; what does not fit into 64 bits is dropped.
    #[inline]
    fn number(&mut self, most: usize) -> Result<u64, Fault> {
        let start = self.at;
        let mut number = 0u64;
        for nth in 0..most {
            if self.at >= self.end {
                return Err(self.fault(start, What::NumberCut));
            }
            let byte = self.blob[self.at];
            self.at += 1;
            number |= u64::from(byte & 0x7f).wrapping_shl(7 * nth as u32);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.fault(start, What::NumberTooLong { most }))
    }

    #[cold]
    fn fault(&self, offset: usize, what: What) -> Fault {
        Fault { offset, what, size: self.blob.len() }
    }
}
