//! Any message, with a checksum that is right and one that is not, among others that are sound.
#![no_main]

use _native::aggregate::NONE;
use _native::frame::{sign, CHECKSUM_BYTES, MAGIC};
use _native::read::{read, read_many, usual};
use _native::unusual;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let mut blob = [&MAGIC[..], message, &[0; CHECKSUM_BYTES]].concat();
    let unsigned = blob.clone();
    sign(&mut [&mut blob]);
    let many = read_many(&[&blob, message, &unsigned, &blob[..blob.len() / 2], &blob]);
    assert_eq!(many[0], many[4]);
    assert!(many[2].is_none() || blob == unsigned);
    for (one, other) in [(&blob[..], &many[0]), (message, &many[1]), (&unsigned, &many[2])] {
        match read(one) {
            Ok(aggregate) => assert_eq!(Some(&aggregate), other.as_ref()),
            Err(fault) => {
                assert!(other.is_none() && fault.offset <= one.len() && !fault.to_string().is_empty());
            }
        }
    }
    if let Some(aggregate) = usual(&blob) {
        assert_eq!(unusual::read(&blob).as_ref(), Ok(&aggregate));
    }
    let Some(aggregate) = &many[0] else { return };
    for tag in &aggregate.tags {
        assert!((tag.record as usize) < aggregate.records.len() && tag.key.end <= blob.len() - CHECKSUM_BYTES);
    }
    assert!(!aggregate.records.is_empty());
    for sub in &aggregate.records {
        assert!(sub.start <= sub.end && sub.end as usize <= blob.len() - CHECKSUM_BYTES);
        assert!(aggregate.partition_keys[sub.partition_key as usize].end <= blob.len());
        if sub.explicit_hash_key != NONE {
            assert!(aggregate.explicit_hash_keys[sub.explicit_hash_key as usize].end <= blob.len());
        }
    }
});
