//! How values become bytes on disk and between nodes: one version byte, then MessagePack with field names.
//!
//! A reader refuses a version it does not know: it never skips and never guesses (reliability: an unknown command
//! stops the node). Adding an optional field keeps the version; anything else raises it and adds an upgrade in
//! [`decode`]'s caller with a kept fixture under `core/tests/data`.

use serde::{Serialize, de::DeserializeOwned};

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// There is nothing at all.
    #[error("{what}: no bytes")]
    Empty {
        /// What was being read.
        what: &'static str,
    },
    /// A version from the future, or damage.
    #[error("{what}: format version {found} is not known (this program reads up to {known})")]
    Version {
        /// What was being read.
        what: &'static str,
        /// The version found.
        found: u8,
        /// The newest version this program reads.
        known: u8,
    },
    /// The body does not decode.
    #[error("{what}: {why}")]
    Body {
        /// What was being read.
        what: &'static str,
        /// The decoder's reason.
        why: String,
    },
}

/// A value as bytes: the version, then the body.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = vec![version];
    // Writing to memory cannot fail, and our types have no maps with keys that MessagePack cannot carry.
    rmp_serde::encode::write_named(&mut bytes, value).expect("plain data encodes into memory");
    bytes
}

/// Reads what [`encode`] wrote, of exactly this version.
pub fn decode<T: DeserializeOwned>(what: &'static str, version: u8, bytes: &[u8]) -> Result<T, WireError> {
    let (&found, body) = bytes.split_first().ok_or(WireError::Empty { what })?;
    if found != version {
        return Err(WireError::Version {
            what,
            found,
            known: version,
        });
    }
    rmp_serde::from_slice(body).map_err(|error| WireError::Body {
        what,
        why: error.to_string(),
    })
}
