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
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(b"a\xffb\xc3"), "a\u{fffd}b");
        assert_eq!(stream.push(b"c"), "\u{fffd}c");
        assert_eq!(stream.push(b"\xf0\x9f"), "");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.finish(), "");
    }
}
