//! Any text, read as an answer of GetRecords: what is found is the text of a `Data`, and nothing else in it is a quote.
#![no_main]

use _native::json::data_of_records;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Some(texts) = data_of_records(body) else { return };
    let mut last = 0;
    for text in texts {
        assert!(last < text.start && text.start <= text.end && text.end < body.len());
        assert!(body[text.start - 1] == b'"' && body[text.end] == b'"');
        assert!(!body[text.clone()].iter().any(|byte| matches!(byte, b'"' | b'\\')));
        let before = body[..text.start - 1].trim_ascii_end().strip_suffix(b":").expect("a key comes before it");
        assert!(before.trim_ascii_end().ends_with(b"\"Data\""));
        last = text.end;
    }
    // What is left is read alike.
    let again = data_of_records(body).expect("it was read").len();
    let with_space = [b" ", body, b"\n"].concat();
    assert_eq!(data_of_records(&with_space).map(|texts| texts.len()), Some(again));
});
