//! Text out of bytes that arrive in pieces.

/// Decodes UTF-8 across the borders of events and chunks. What is no UTF-8 becomes U+FFFD.
#[derive(Debug, Default)]
pub(super) struct Utf8Stream {
    /// The beginning of a character whose end has not come; at most three bytes.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Decodes what is complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = if self.pending.is_empty() {
            bytes
        } else {
            self.pending.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.pending);
            &joined[..]
        };
        let mut out = String::with_capacity(rest.len());
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    return out;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    out.push_str(std::str::from_utf8(good).unwrap_or_default());
                    match error.error_len() {
                        Some(size) => {
                            out.push(char::REPLACEMENT_CHARACTER);
                            rest = &bad[size..];
                        }
                        None => {
                            self.pending = bad.to_vec();
                            return out;
                        }
                    }
                }
            }
        }
    }

    /// Hands over each character that is complete, with the number of bytes that stand for it.
    pub(super) fn each(&mut self, bytes: &[u8], mut sink: impl FnMut(char, usize)) {
        self.pending.extend_from_slice(bytes);
        let joined = std::mem::take(&mut self.pending);
        let mut rest = &joined[..];
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => return text.chars().for_each(|c| sink(c, c.len_utf8())),
                Err(error) => error,
            };
            let (good, after) = rest.split_at(error.valid_up_to());
            let text = std::str::from_utf8(good).unwrap_or_default();
            text.chars().for_each(|c| sink(c, c.len_utf8()));
            match error.error_len() {
                Some(size) => {
                    sink(char::REPLACEMENT_CHARACTER, size);
                    rest = &after[size..];
                }
                None => {
                    self.pending = after.to_vec();
                    return;
                }
            }
        }
    }

    /// The end: a character that never became complete is shown as such.
    pub(super) fn finish(&mut self) -> &'static str {
        if std::mem::take(&mut self.pending).is_empty() {
            ""
        } else {
            "\u{fffd}"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_at_any_byte_changes_nothing() {
        let text = "aä€😀\u{202e}z";
        for at in 0..=text.len() {
            let (one, two) = text.as_bytes().split_at(at);
            let mut stream = Utf8Stream::default();
            let joined = stream.push(one) + &stream.push(two) + stream.finish();
            assert_eq!(joined, text, "{at}");
        }
        let mut stream = Utf8Stream::default();
        let single: String = text.bytes().map(|byte| stream.push(&[byte])).collect();
        assert_eq!(single, text);
        let (mut stream, mut each, mut size) = (Utf8Stream::default(), String::new(), 0);
        for byte in text.bytes() {
            stream.each(&[byte], |c, bytes| {
                each.push(c);
                size += bytes;
            });
        }
        assert_eq!((each.as_str(), size), (text, text.len()));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut stream = Utf8Stream::default();
        let mut each = Vec::new();
        stream.each(b"a\xffb\xe2\x82c", |c, size| each.push((c, size)));
        assert_eq!(
            each,
            [('a', 1), ('\u{fffd}', 1), ('b', 1), ('\u{fffd}', 2), ('c', 1)]
        );
        assert_eq!(stream.push(b"a\xffb\xc3"), "a\u{fffd}b");
        assert_eq!(stream.push(b"c"), "\u{fffd}c");
        assert_eq!(stream.push(b"\xf0\x9f"), "");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.finish(), "");
    }
}
