//! What is wrong with a blob, and where: in the words of the pure core (`wire/diagnosis.py`), to the letter.

use crate::frame::{FRAME_BYTES, MAGIC};
use crate::md5::Digest;
use std::fmt;

/// Something wrong, and where in the blob it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub offset: usize,
    pub what: What,
    /// Bytes of the whole blob.
    pub size: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    // Of the frame.
    NoMagic(Vec<u8>),
    NoFrame,
    Checksum { expected: Digest, actual: Digest },
    // Something announced is not there.
    NumberCut,
    FieldCut { number: u64, lacks: usize },
    LengthTooLarge { number: u64, length: u64 },
    GroupOpen { number: u64 },
    // Something breaks a rule.
    NumberTooLong { most: usize },
    BadTag { number: u64, wire_type: u64 },
    TooDeep { most: usize },
    GroupNotBegun { number: u64 },
    NoTagKey,
    NoPartitionKeyIndex,
    NoData,
    NoRecords,
    BadIndex { nth: usize, table: &'static str, index: u64, entries: usize },
}

/// Which of the errors of `errors.py` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Checksum,
    Truncated,
    Malformed,
}

impl Fault {
    pub fn kind(&self) -> Kind {
        match self.what {
            What::Checksum { .. } => Kind::Checksum,
            What::NoFrame
            | What::NumberCut
            | What::FieldCut { .. }
            | What::LengthTooLarge { .. }
            | What::GroupOpen { .. } => Kind::Truncated,
            _ => Kind::Malformed,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::NoMagic(start) => {
                let start = if start.is_empty() { "nothing".to_string() } else { hex(start) };
                return write!(f, "not an aggregate: it starts with {start}, not {}", hex(&MAGIC));
            }
            What::NoFrame => {
                let size = self.size;
                return write!(f, "an aggregate has at least {FRAME_BYTES} bytes (magic and MD5), this has {size}");
            }
            What::Checksum { expected, actual } => {
                return write!(
                    f,
                    "the MD5 trailer says {}, the {} bytes before it have {}; the blob was changed or cut, or is not \
                     an aggregate",
                    hex(expected),
                    thousands(self.size - FRAME_BYTES),
                    hex(actual)
                );
            }
            What::NumberCut => write!(f, "a number is cut short")?,
            What::FieldCut { number, lacks } => {
                write!(f, "field {number} needs {} bytes more than there are", thousands(*lacks))?
            }
            What::LengthTooLarge { number, length } => {
                write!(f, "field {number} claims {} bytes", thousands(*length as usize))?
            }
            What::GroupOpen { number } => write!(f, "group {number} does not end")?,
            What::NumberTooLong { most } => write!(f, "a number takes more than {most} bytes")?,
            What::BadTag { number, wire_type } => write!(f, "a field has number {number} and wire type {wire_type}")?,
            What::TooDeep { most } => write!(f, "groups and messages are nested more than {most} deep")?,
            What::GroupNotBegun { number } => write!(f, "a group {number} ends that did not begin")?,
            What::NoTagKey => write!(f, "a tag lacks its required key")?,
            What::NoPartitionKeyIndex => write!(f, "a record lacks its required partition_key_index")?,
            What::NoData => write!(f, "a record lacks its required data")?,
            What::NoRecords => write!(f, "the aggregate holds no records")?,
            What::BadIndex { nth, table, index, entries } => {
                write!(f, "sub-record {nth} has {table}_index {index}, but {table}_table has {entries} entries")?
            }
        }
        write!(f, " (at byte {} of {})", thousands(self.offset), thousands(self.size))
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Python's `{number:,}`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_as_python_does() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")]
        {
            assert_eq!(thousands(number), text);
        }
    }
}
