//! The data of the records in an answer of `GetRecords`, without reading the rest of its JSON.
//!
//! It finds the base64 texts and leaves everything else to whoever reads JSON. What it gives up, because it is written
//! in an unusual way, they read as a whole; so it need not know all that JSON allows, but must never mistake one text
//! for another.

use std::ops::Range;

/// Nothing in an answer is nested deeper than a few levels.
const MOST_NESTED: usize = 16;

/// Where in the body the text of each record's `Data` is, without its quotes; None: the body is not written as usual.
pub fn data_of_records(body: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut reader = Reader { body, at: 0 };
    let mut found = None;
    reader.object(|reader, key| {
        if key != b"Records" {
            return reader.value(1);
        }
        let mut texts = Vec::new();
        reader.array(|reader| {
            let mut text = None;
            reader.object(|reader, key| match key {
                b"Data" => text.replace(reader.text()?).is_none().then_some(()),
                _ => reader.value(3),
            })?;
            texts.push(text?);
            Some(())
        })?;
        found.replace(texts).is_none().then_some(())
    })?;
    reader.space();
    if reader.at == body.len() {
        found
    } else {
        None
    }
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        while matches!(self.body.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space, which stays where it is.
    fn next(&mut self) -> Option<u8> {
        self.space();
        self.body.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// Whether another member follows in what ends with `end`; what stands between is taken.
    fn follows(&mut self, end: u8, is_first: bool) -> Option<bool> {
        if self.next()? == end {
            self.at += 1;
            return Some(false);
        }
        if !is_first {
            self.take(b',')?;
        }
        Some(true)
    }

    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        let mut is_first = true;
        while self.follows(b'}', is_first)? {
            let key = self.text()?;
            self.take(b':')?;
            member(self, &self.body[key])?;
            is_first = false;
        }
        Some(())
    }

    fn array(&mut self, mut member: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        let mut is_first = true;
        while self.follows(b']', is_first)? {
            member(self)?;
            is_first = false;
        }
        Some(())
    }

    /// A text in which nothing is escaped.
    fn text(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        self.at += end_of_text(&self.body[start..])?;
        (self.body[self.at] == b'"').then(|| {
            self.at += 1;
            start..self.at - 1
        })
    }

    /// Pass over any value.
    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > MOST_NESTED {
            return None;
        }
        match self.next()? {
            b'"' => {
                self.at += 1;
                loop {
                    self.at += end_of_text(self.body.get(self.at..)?)? + 1;
                    if self.body[self.at - 1] == b'"' {
                        return Some(());
                    }
                    self.at += 1; // what is escaped, the four digits of a \u being as good as any
                }
            }
            b'{' => self.object(|reader, _| reader.value(depth + 1)),
            b'[' => self.array(|reader| reader.value(depth + 1)),
            _ => {
                let start = self.at;
                while matches!(
                    self.body.get(self.at),
                    Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.')
                ) {
                    self.at += 1;
                }
                (self.at > start).then_some(())
            }
        }
    }
}

/// How many bytes come before the first quote or backslash.
fn end_of_text(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Option<Vec<&str>> {
        Some(data_of_records(body.as_bytes())?.into_iter().map(|at| &body[at]).collect())
    }

    #[test]
    fn data_is_found_wherever_it_stands() {
        assert_eq!(texts(r#"{"Records":[]}"#), Some(vec![]));
        let long = "YWJj".repeat(50);
        let body = format!(
            r#" {{ "NextShardIterator" : null, "Other": {{"Records": [1, "Data"], "a": "\"}}"}},
            "Records" : [ {{"PartitionKey":"\"Data\":\"","Data":"{long}"}} , {{"Data":"","Tail":-1.5e3}} ], "N":0 }} "#
        );
        assert_eq!(texts(&body), Some(vec![&long[..], ""]));
    }

    #[test]
    fn what_is_unusual_is_given_up() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"Records":null}"#,
            r#"{"Records":[{}]}"#,
            r#"{"Records":[{"Data":null}]}"#,
            r#"{"Records":[{"Data":"a","Data":"b"}]}"#,
            r#"{"Records":[{"Data":"a"}],"Records":[]}"#,
            r#"{"Records":[{"Dat\u0061":"a"}]}"#,
            r#"{"Records":[{"Data":"a\/"}]}"#,
            r#"{"Records":[{"Data":"a"}]} x"#,
            r#"{"Records":[{"Data":"a"}"#,
            r#"{"Records":[{"Data":"a"#,
            r#"{"Records":[{"Data":"a"},]}"#,
            r#"{"Records":[{"Data":"a"} {"Data":"a"}]}"#,
            r#"{"Records":[{"Data":"a","x":"\"#,
            r#"{"Records":[{"Data":"a","x":}]}"#,
        ] {
            assert_eq!(texts(body), None, "{body}");
        }
        let deep = format!(r#"{{"x":{}{},"Records":[]}}"#, "[".repeat(99), "]".repeat(99));
        assert_eq!(texts(&deep), None);
    }
}
