//! Any message, with a checksum that is right and one that is not, among others that are sound.
#![no_main]

use _native::pack::sign;
use _native::wire::{read_many, CHECKSUM_BYTES, MAGIC, NONE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let mut blob = [&MAGIC[..], message, &[0; CHECKSUM_BYTES]].concat();
    let unsigned = blob.clone();
    sign(&mut [&mut blob]);
    let read = read_many(&[&blob, message, &unsigned, &blob[..blob.len() / 2], &blob]);
    assert_eq!(read[0], read[4]);
    assert!(read[2].is_none() || blob == unsigned);
    let Some(aggregate) = &read[0] else { return };
    assert!(!aggregate.records.is_empty());
    for sub in &aggregate.records {
        assert!(sub.start <= sub.end && sub.end as usize <= blob.len() - CHECKSUM_BYTES);
        assert!(aggregate.partition_keys[sub.partition_key as usize].end <= blob.len());
        if sub.explicit_hash_key != NONE {
            assert!(aggregate.explicit_hash_keys[sub.explicit_hash_key as usize].end <= blob.len());
        }
    }
});
