//! Names that exist only when they are valid: record names, logins, ids. All are ASCII, so that nothing in a
//! certificate, a file name or a log line can be mistaken for something else.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A text that is not a valid name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?} is not a valid {what}: {why}")]
pub struct BadName {
    what: &'static str,
    shown: String,
    why: &'static str,
}

impl BadName {
    fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        // Hostile names may be megabytes: the error keeps only the beginning.
        BadName {
            what,
            shown: text.chars().take(80).collect(),
            why,
        }
    }
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path, $pattern:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text and keeps it.
            pub fn parse(text: &str) -> Result<Self, BadName> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(why) => Err(BadName::new($what, text, why)),
                }
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::parse(text)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                crate::openapi::text($what, Some($pattern))
            }
        }
        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

/// The shape of an id.
#[cfg(feature = "openapi")]
const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

text_name!(
    /// The name of a record (user, role, host, lock, ...): lower-case ASCII letters, digits and `._@-`, 1 to 64
    /// of them, beginning with a letter or digit. One spelling only, so that `Admin` can never pass beside `admin`.
    Name, "name", check_name, "^[a-z0-9][a-z0-9._@-]{0,63}$"
);
text_name!(
    /// An account on a host, which becomes a principal in a certificate: `[A-Za-z0-9._@-]`, 1 to 64, not beginning
    /// with `-` (it would be read as an option) and without the comma that separates principals.
    Login, "login", check_login, "^[A-Za-z0-9._@][A-Za-z0-9._@-]{0,63}$"
);
text_name!(
    /// A session's id: a random UUID in its hyphenated lower-case form.
    SessionId, "session id", check_uuid, UUID
);
text_name!(
    /// A cluster's id: a random UUID made once, when the cluster is initialised.
    ClusterId, "cluster id", check_uuid, UUID
);
text_name!(
    /// A request's id, chosen by the client and kept by its retries: a UUID. The same id never has two effects.
    RequestId, "request id", check_uuid, UUID
);

fn check_name(text: &str) -> Result<(), &'static str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("names are lower case");
    }
    check_login(text)?;
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err("a name begins with a letter or a digit");
    }
    Ok(())
}

fn check_login(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > 64 {
        return Err("it is longer than 64 characters");
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b))
    {
        return Err("only ASCII letters, digits and . _ @ - are allowed");
    }
    if text.starts_with('-') {
        return Err("it begins with -");
    }
    if text.contains("..") {
        return Err("it contains ..");
    }
    Ok(())
}

fn check_uuid(text: &str) -> Result<(), &'static str> {
    let shaped = text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        });
    if shaped {
        Ok(())
    } else {
        Err("it is not a UUID in lower case")
    }
}

/// A node's id in the Raft group: the log index of the entry that allocated it, so it is never used twice.
pub type NodeId = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for text in [
            "",
            "-x",
            "a,root",
            "a\nb",
            "a b",
            "a\0",
            "é",
            "../x",
            "a..b",
            "Admin",
            ".x",
            &"a".repeat(65),
        ] {
            assert!(Name::parse(text).is_err(), "{text:?} was accepted as a name");
        }
        for text in [
            "",
            "-oProxyCommand",
            "a,root",
            "a\nb",
            "a b",
            "a\u{202e}b",
            "\u{0430}dmin",
        ] {
            assert!(Login::parse(text).is_err(), "{text:?} was accepted as a login");
        }
    }

    #[test]
    fn ordinary_names_are_accepted() {
        for text in ["alice", "alice@example.com", "web-1.prod", "0"] {
            assert!(Name::parse(text).is_ok(), "{text:?} was refused");
        }
        assert!(Login::parse("Administrator").is_ok());
        assert!(SessionId::parse("0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a").is_ok());
        assert!(SessionId::parse("0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6A").is_err());
    }
}
