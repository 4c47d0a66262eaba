//! What stands around the message of an aggregate, and the tags of the message's fields.

use crate::md5;

pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
pub const CHECKSUM_BYTES: usize = 16;
pub const FRAME_BYTES: usize = MAGIC.len() + CHECKSUM_BYTES;

pub(crate) const PARTITION_KEY_TABLE: u8 = 1 << 3 | 2;
pub(crate) const EXPLICIT_HASH_KEY_TABLE: u8 = 2 << 3 | 2;
pub(crate) const RECORD: u8 = 3 << 3 | 2;
pub(crate) const PARTITION_KEY_INDEX: u8 = 1 << 3;
pub(crate) const EXPLICIT_HASH_KEY_INDEX: u8 = 2 << 3;
pub(crate) const DATA: u8 = 3 << 3 | 2;
pub(crate) const TAG: u8 = 4 << 3 | 2;
pub(crate) const TAG_KEY: u8 = 1 << 3 | 2;
pub(crate) const TAG_VALUE: u8 = 2 << 3 | 2;

/// The message between magic and checksum, if there is enough for all three.
pub fn body(blob: &[u8]) -> Option<&[u8]> {
    (blob.len() >= FRAME_BYTES && blob.starts_with(&MAGIC)).then(|| &blob[MAGIC.len()..blob.len() - CHECKSUM_BYTES])
}

/// Whether the digest of the message is the one that the blob ends with.
pub fn is_sound(blob: &[u8], digest: &md5::Digest) -> bool {
    blob.ends_with(digest)
}

/// Write the checksums of aggregates that are finished but for them; they are made side by side.
pub fn sign(blobs: &mut [&mut [u8]]) {
    let digests = md5::digests(&blobs.iter().map(|blob| body(blob).unwrap_or_default()).collect::<Vec<_>>());
    for (blob, digest) in blobs.iter_mut().zip(digests) {
        let end = blob.len();
        blob[end - CHECKSUM_BYTES..].copy_from_slice(&digest);
    }
}
