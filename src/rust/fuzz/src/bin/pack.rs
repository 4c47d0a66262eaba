//! Any records are packed to any capacity, copied or lent; what is packed is read again, and is what was taken.
#![no_main]

use _native::aggregate::NONE;
use _native::pack::{finished, Builder, Lender, Nobody};
use _native::read::read_many;
use libfuzzer_sys::fuzz_target;

/// Data that is freed when it is let go.
#[derive(Default)]
struct Boxes;

impl Lender for Boxes {
    type Place = Box<[u8]>;

    fn data<'a>(&'a self, place: &'a Box<[u8]>) -> &'a [u8] {
        place
    }
}

/// Up to so many of the next bytes, as the byte before them says.
fn piece<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let Some((&length, rest)) = input.split_first() else { return &[] };
    let (piece, rest) = rest.split_at(rest.len().min(length as usize % (most + 1)));
    *input = rest;
    piece
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let pin = piece(&mut input, 3);
    let pin = (!pin.is_empty()).then_some(pin);
    let capacity = 20 + 30 * piece(&mut input, 40).len();
    let mut builder = Builder::<Nobody>::new(pin);
    let mut lending = Builder::<Boxes>::new(pin);
    let mut taken = Vec::new();
    while !input.is_empty() {
        let how = piece(&mut input, 3).len();
        let key = piece(&mut input, 20);
        let own = piece(&mut input, 2);
        let own = (!own.is_empty()).then_some(own);
        let data = piece(&mut input, 200);
        let (count, size) = (builder.count, builder.size());
        let is_taken = builder.add(capacity, key, data, own, &[]);
        if is_taken {
            assert!(builder.size() <= capacity && builder.count == count + 1);
            taken.push((key, data, pin.or(own)));
        } else {
            assert_eq!((builder.count, builder.size()), (count, size));
        }
        let is_lent = if own.is_none() && how != 0 {
            lending.borrow(capacity, key, |_| true, data.len(), |_| data.into())
        } else {
            lending.add(capacity, key, data, own, &[])
        };
        assert_eq!((is_lent, lending.count, lending.size()), (is_taken, builder.count, builder.size()));
        if how == 3 {
            drop(lending.give_back());
            assert!(!lending.is_lent() && lending.size() == builder.size());
        }
        assert!(!is_taken || lending.knows(key));
    }
    let mut blobs = finished(&[&builder, &builder]);
    assert_eq!(finished(&[&lending])[0], blobs[0]);
    let blob = blobs.swap_remove(0);
    assert_eq!((blob.len(), &blob), (builder.size(), &blobs[0]));
    let read = read_many(&[&blob]).pop().flatten();
    assert_eq!(read.is_some(), !taken.is_empty());
    let Some(aggregate) = read else { return };
    assert_eq!(aggregate.records.len(), taken.len());
    for (sub, (key, data, own)) in aggregate.records.iter().zip(taken) {
        assert_eq!(&blob[aggregate.partition_keys[sub.partition_key as usize].clone()], key);
        assert_eq!(&blob[sub.start as usize..sub.end as usize], data);
        assert_eq!(sub.explicit_hash_key == NONE, own.is_none());
        if let Some(own) = own {
            assert_eq!(&blob[aggregate.explicit_hash_keys[sub.explicit_hash_key as usize].clone()], own);
        }
    }
});
