use super::*;
use md5::Digest as _;

fn expected(message: &[u8]) -> Digest {
    md5::Md5::digest(message).into()
}

/// Numbers that look random and are the same each time.
fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

#[test]
fn rfc_1321() {
    for (text, hex) in [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
    ] {
        let found: String = digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, hex);
    }
}

#[test]
fn every_length_of_the_first_blocks() {
    let bytes: Vec<u8> = (0..400u32).map(|nth| (nth * 7) as u8).collect();
    let messages: Vec<&[u8]> = (0..bytes.len()).map(|length| &bytes[..length]).collect();
    let expected: Vec<Digest> = messages.iter().map(|message| expected(message)).collect();
    for path in Path::ALL {
        assert_eq!(digests_by(path, &messages), expected, "{}", path.name());
    }
}

/// The one of other processors, which is none of the paths of an x86.
#[test]
fn lanes_in_plain_arrays() {
    let bytes: Vec<u8> = (0..300u32).map(|nth| (nth * 11) as u8).collect();
    for count in [2, 4, 5, 8, 100] {
        let messages: Vec<&[u8]> = (0..count).map(|nth| &bytes[nth..300 - nth * 2]).collect();
        let expected: Vec<Digest> = messages.iter().map(|message| expected(message)).collect();
        // SAFETY: plain arrays need no particular instructions.
        assert_eq!(unsafe { in_lanes::<portable::Four, 4, 8>(&messages) }, expected);
    }
}

#[test]
fn any_number_of_messages_of_any_length() {
    let mut next = noise(1);
    for count in 0..70 {
        let longest = [1, 70, 5000, 100_000][next() as usize % 4];
        let owned: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                let length = next() as usize % longest;
                (0..length).map(|_| next() as u8).collect()
            })
            .collect();
        let messages: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
        let expected: Vec<Digest> = messages.iter().map(|message| expected(message)).collect();
        for path in Path::ALL {
            assert_eq!(digests_by(path, &messages), expected, "{}, {count}", path.name());
        }
    }
}
