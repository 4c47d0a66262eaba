//! Columns of any messages, some with a checksum that is not right, are what reading them one by one gives.
#![no_main]

use _native::aggregate::{Aggregate, NONE};
use _native::columns::{cut, Columns, Data, Dictionary, How};
use _native::frame::{sign, MAGIC};
use _native::read::read_many;
use libfuzzer_sys::fuzz_target;
use std::borrow::Cow;

/// More would only be more of the same, and take longer.
const MOST_BLOBS: usize = 6;

/// The data of a record, wherever the column has it.
fn data<'a>(columns: &'a Columns, blobs: &[&'a [u8]], in_one: Option<&'a [u8]>, nth: usize) -> Cow<'a, [u8]> {
    match &columns.data {
        Data::Copied { offsets, bytes } => (&bytes[offsets[nth] as usize..offsets[nth + 1] as usize]).into(),
        Data::Views(views) => {
            let view = views[nth].to_ne_bytes();
            let number = |at: usize| u32::from_le_bytes(view[at..at + 4].try_into().expect("four bytes")) as usize;
            let length = number(0);
            if length <= 12 {
                return view[4..4 + length].to_vec().into();
            }
            let buffer = in_one.unwrap_or_else(|| blobs[number(8)]);
            assert!(in_one.is_none() || number(8) == 0);
            let data = &buffer[number(12)..number(12) + length];
            assert_eq!(data[..4], view[4..8]);
            data.into()
        }
    }
}

fn text(dictionary: &Dictionary, nth: usize) -> &[u8] {
    let index = dictionary.indices[nth] as usize;
    &dictionary.bytes[dictionary.offsets[index] as usize..dictionary.offsets[index + 1] as usize]
}

fn check(columns: &Columns, read: &[Option<Aggregate>], blobs: &[&[u8]], in_one: Option<&[u8]>) {
    let mut row = 0;
    for ((aggregate, &count), blob) in read.iter().zip(&columns.counts).zip(blobs) {
        let Some(aggregate) = aggregate.as_ref().filter(|_| count >= 0) else {
            assert!(count < 0, "what is not read has no records");
            continue;
        };
        assert_eq!(count as usize, aggregate.records.len());
        for (number, sub) in aggregate.records.iter().enumerate() {
            assert_eq!(columns.numbers[row] as usize, number);
            assert_eq!(*data(columns, blobs, in_one, row), blob[sub.start as usize..sub.end as usize]);
            let key = &blob[aggregate.partition_keys[sub.partition_key as usize].clone()];
            assert_eq!(text(&columns.partition_keys, row), String::from_utf8_lossy(key).as_bytes());
            let is_there = columns.validity.bytes[row / 8] >> (row % 8) & 1 == 1;
            assert_eq!(is_there, sub.explicit_hash_key != NONE);
            if is_there {
                let own = &blob[aggregate.explicit_hash_keys[sub.explicit_hash_key as usize].clone()];
                assert_eq!(text(&columns.explicit_hash_keys, row), String::from_utf8_lossy(own).as_bytes());
            }
            row += 1;
        }
    }
    assert_eq!(row, columns.count());
    let starts: Vec<i64> = (0..blobs.len() as i64).collect();
    assert_eq!(columns.spread(&starts).len(), row);
}

fuzz_target!(|input: &[u8]| {
    // Messages, each with its length before it; what its highest bit says of the checksum.
    let (mut blobs, mut rest) = (Vec::new(), input);
    while let ([head, length, others @ ..], true) = (rest, blobs.len() < MOST_BLOBS) {
        let (message, others) = others.split_at(others.len().min(*length as usize | (*head as usize & 3) << 8));
        rest = others;
        let mut blob = [&MAGIC[..], message, &[0; 16]].concat();
        if head & 0x80 == 0 {
            sign(&mut [&mut blob]);
        }
        blobs.push(if head & 0x40 == 0 { blob } else { message.to_vec() });
    }
    let slices: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    let joined = blobs.concat();
    let mut ends = vec![0i64];
    for blob in &blobs {
        ends.push(ends[ends.len() - 1] + blob.len() as i64);
    }
    let read = read_many(&slices);
    check(&cut(&slices, How::Copied), &read, &slices, None);
    check(&cut(&slices, How::Each), &read, &slices, None);
    check(&cut(&slices, How::One(&ends)), &read, &slices, Some(&joined));
});
