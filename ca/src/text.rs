//! What text may enter a certificate. One rule for each kind of field, the same at issue and at check.

/// Why a text may not be in a certificate. The text itself is not repeated: it may be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// More bytes than the field takes.
    #[error("is longer than {max} bytes")]
    TooLong {
        /// Bytes the field takes.
        max: usize,
    },
    /// A character outside the field's set.
    #[error("has a character that is not allowed at byte {at}")]
    Character {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// A leading dash would make it an option of a program it is given to.
    #[error("begins with a dash")]
    LeadingDash,
}

const PRINCIPAL_BYTES_MAX: usize = 64;
const HOST_BYTES_MAX: usize = 253;
const KEY_ID_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 4096;

/// A login that a certificate opens: `[A-Za-z0-9._@-]{1,64}`, no leading dash. No comma (some readers split on it),
/// no wildcard, no space.
pub(crate) fn principal(text: &str) -> Result<(), TextError> {
    check(text, PRINCIPAL_BYTES_MAX, |c| {
        c.is_ascii_alphanumeric() || "._@-".contains(c)
    })?;
    no_leading_dash(text)
}

/// The name or address of a host. No wildcard.
pub(crate) fn host_name(text: &str) -> Result<(), TextError> {
    check(text, HOST_BYTES_MAX, |c| {
        c.is_ascii_alphanumeric() || "._:-".contains(c)
    })?;
    no_leading_dash(text)
}

/// The id of a certificate in logs: printable ASCII without quotes, backslash and comma.
pub(crate) fn key_id(text: &str) -> Result<(), TextError> {
    check(text, KEY_ID_BYTES_MAX, |c| {
        (c == ' ' || c.is_ascii_graphic()) && !"\"'\\,`".contains(c)
    })
}

/// The value of an extension of our own: printable ASCII without quotes and backslash. May be empty.
pub(crate) fn extension_value(text: &str) -> Result<(), TextError> {
    if text.is_empty() {
        return Ok(());
    }
    check(text, VALUE_BYTES_MAX, |c| {
        (c == ' ' || c.is_ascii_graphic()) && !"\"'\\`".contains(c)
    })
}

/// The name of an extension of our own: `name@domain`.
pub(crate) fn extension_name(text: &str) -> Result<(), TextError> {
    check(text, PRINCIPAL_BYTES_MAX, |c| {
        c.is_ascii_alphanumeric() || "._@-".contains(c)
    })?;
    match text.find('@') {
        Some(at) if at > 0 && at + 1 < text.len() => no_leading_dash(text),
        other => Err(TextError::Character {
            at: other.unwrap_or(text.len()),
        }),
    }
}

/// An id that becomes part of a path or a URI: letters, digits, dash, underscore and dot.
pub(crate) fn identifier(text: &str) -> Result<(), TextError> {
    check(text, PRINCIPAL_BYTES_MAX, |c| {
        c.is_ascii_alphanumeric() || "._-".contains(c)
    })?;
    no_leading_dash(text)
}

fn check(text: &str, max: usize, allowed: impl Fn(char) -> bool) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if text.len() > max {
        return Err(TextError::TooLong { max });
    }
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        Some((at, _)) => Err(TextError::Character { at }),
        None => Ok(()),
    }
}

fn no_leading_dash(text: &str) -> Result<(), TextError> {
    if text.starts_with('-') {
        Err(TextError::LeadingDash)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_principals_are_refused() {
        for bad in [
            "alice,root",
            "alice\n",
            "al ice",
            "alice\0",
            "\u{430}lice",
            "*",
            "a?",
            "\"a\"",
            "a'b",
            "a/b",
            "a+b",
            "{{x}}",
            "a\u{202e}b",
            "a\x1b[0m",
        ] {
            assert!(
                matches!(principal(bad), Err(TextError::Character { .. })),
                "{bad:?}"
            );
        }
        assert_eq!(principal(""), Err(TextError::Empty));
        assert_eq!(principal(&"a".repeat(65)), Err(TextError::TooLong { max: 64 }));
        assert_eq!(principal("-oProxyCommand"), Err(TextError::LeadingDash));
        for good in ["root", "alice.b_c-d@example.com", &"a".repeat(64)] {
            assert_eq!(principal(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn host_names_take_addresses_but_no_wildcards() {
        for good in ["web-1.example.com", "10.0.0.1", "fe80::1", "localhost"] {
            assert_eq!(host_name(good), Ok(()), "{good}");
        }
        for bad in ["*.example.com", "a,b", "a b", "a\n", "[::1]"] {
            assert!(host_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn key_ids_and_values_take_no_quotes_nor_control_characters() {
        assert_eq!(key_id("alice (laptop) #7"), Ok(()));
        assert_eq!(extension_value("dev,ops:read=1"), Ok(()));
        assert_eq!(extension_value(""), Ok(()));
        for bad in [
            "a\nb",
            "a\rb",
            "a\"b",
            "a'b",
            "a\\b",
            "a\x1b[31mb",
            "a\u{202e}b",
            "\u{85}",
            "a\0",
        ] {
            assert!(key_id(bad).is_err(), "{bad:?}");
            assert!(extension_value(bad).is_err(), "{bad:?}");
        }
        assert!(key_id("a,b").is_err());
    }

    #[test]
    fn extension_names_carry_a_domain() {
        assert_eq!(extension_name("palisade-roles@palisade"), Ok(()));
        for bad in ["permit-pty", "@palisade", "x@", "a b@c", ""] {
            assert!(extension_name(bad).is_err(), "{bad:?}");
        }
    }
}
