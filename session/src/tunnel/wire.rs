//! The messages at the beginning of a tunnel's stream, and wherever the streams that begin so go on with messages.
//!
//! ```text
//! +-------------+---------+---------------------------------+
//! | length: u32 | version | MessagePack, with field names   |     the length counts what follows it
//! +-------------+---------+---------------------------------+
//! ```

use palisade_core::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of these messages.
pub const VERSION: u8 = 1;

/// Why a message was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The stream failed, or ended within a message.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Longer than it may be.
    #[error("message of {length} bytes where {limit} are allowed")]
    TooLong {
        /// The stated length.
        length: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// Not a message of this version and kind.
    #[error(transparent)]
    Body(#[from] wire::WireError),
}

/// Reads a message of at most `limit` bytes; nothing if the stream ends before its first byte. No more than the message
/// is read, and no more is kept than has arrived.
///
/// # Errors
/// See [`WireError`].
pub async fn read_message<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<Option<T>, WireError> {
    let mut length = [0; 4];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(WireError::TooLong { length, limit });
    }
    let mut body = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut body).await?;
    if read < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(wire::decode("tunnel message", VERSION, &body)?))
}

/// Writes a message of at most `limit` bytes, and flushes.
///
/// # Errors
/// See [`WireError`].
pub async fn write_message<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
    limit: usize,
) -> Result<(), WireError> {
    let body = wire::encode(VERSION, message);
    if body.len() > limit {
        return Err(WireError::TooLong {
            length: body.len(),
            limit,
        });
    }
    let mut bytes = Vec::with_capacity(4 + body.len());
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&body);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde::Deserialize;

    const LIMIT: usize = 64 << 10;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        body: Bytes,
        plain: bool,
    }

    fn note() -> Note {
        Note {
            body: Bytes::from_static(&[0xff; 300]),
            plain: false,
        }
    }

    #[tokio::test]
    async fn a_message_comes_back_and_nothing_behind_it_is_read() {
        let mut wire = Vec::new();
        write_message(&mut wire, &note(), LIMIT).await.unwrap();
        assert!(wire.len() < 350, "bytes travel as bytes: {}", wire.len());
        wire.extend_from_slice(b"SSH-2.0");
        let mut stream = &wire[..];
        let read: Option<Note> = read_message(&mut stream, LIMIT).await.unwrap();
        assert_eq!(read, Some(note()));
        assert_eq!(stream, b"SSH-2.0");
    }

    #[tokio::test]
    async fn what_is_no_message_is_named() {
        async fn read(bytes: &[u8]) -> Result<Option<Note>, WireError> {
            read_message(&mut &bytes[..], 1000).await
        }
        assert!(matches!(read(b"").await, Ok(None)));
        assert!(matches!(read(b"\0\0").await, Err(WireError::Io(_))));
        assert!(matches!(read(b"\0\0\0\x05\x01").await, Err(WireError::Io(_))));
        assert!(matches!(
            read(b"GET / HTTP/1.1").await,
            Err(WireError::TooLong { limit: 1000, .. })
        ));
        assert!(matches!(
            read(b"\0\0\0\x02\x02\x80").await,
            Err(WireError::Body(wire::WireError::Version { found: 2, .. }))
        ));
        assert!(matches!(
            read(b"\0\0\0\x02\x01\xc1").await,
            Err(WireError::Body(wire::WireError::Body { .. }))
        ));
        assert!(matches!(
            read(b"\0\0\0\0").await,
            Err(WireError::Body(wire::WireError::Empty { .. }))
        ));
    }

    #[tokio::test]
    async fn a_message_that_the_reader_would_refuse_is_not_written() {
        let mut wire = Vec::new();
        let result = write_message(&mut wire, &note(), 100).await;
        assert!(matches!(result, Err(WireError::TooLong { limit: 100, .. })));
        assert!(wire.is_empty());
    }

    #[tokio::test]
    async fn a_stated_length_reserves_nothing() {
        // Four gigabytes are announced within the limit, and three bytes come.
        let mut bytes = &b"\xff\xff\xff\xff\x01\x02\x03"[..];
        let result: Result<Option<Note>, _> = read_message(&mut bytes, usize::MAX).await;
        assert!(matches!(result, Err(WireError::Io(_))));
    }
}
