//! What can go wrong with a resumable stream, each by its own name: whoever carries a stream audits it.

use super::frame::{FrameError, Refusal};
use std::io;

/// Why a link, an attempt to resume, or a whole connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system has no randomness, or a primitive failed.
    #[error("no randomness to be had from the system")]
    Crypto,
    /// The other end's half of the key agreement is not a key.
    #[error("the other end's key is not valid")]
    Key,
    /// Not a frame of this protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that has no place where it came.
    #[error("{0} where none belongs")]
    Unexpected(&'static str),
    /// A token that was not made with the secret of this connection for these values: guessed, or altered.
    #[error("the token does not prove the connection")]
    Token,
    /// A token that was used before, or is older than one that was.
    #[error("the attempt to resume was replayed")]
    AttemptReplayed,
    /// An attempt says that it received what was never sent.
    #[error("the offset lies in the future")]
    OffsetFuture,
    /// An attempt asks for bytes that it acknowledged.
    #[error("the offset lies before what was acknowledged")]
    OffsetPast,
    /// Data that came before.
    #[error("data was replayed")]
    DataReplayed,
    /// Data with a gap before it.
    #[error("data is missing")]
    DataMissing,
    /// More data than this end offered to keep.
    #[error("more data than was offered to be kept")]
    Window,
    /// Data after its end, or an end elsewhere than where it was.
    #[error("data after the end")]
    AfterEnd,
    /// An acknowledgement of what was never sent.
    #[error("an acknowledgement of what was never sent")]
    AckFuture,
    /// An acknowledgement of less than before.
    #[error("an acknowledgement of less than before")]
    AckPast,
    /// No connection has this id.
    #[error("no such connection")]
    Unknown,
    /// A new connection with the id of one that lives.
    #[error("a connection with this id lives already")]
    IdInUse,
    /// Too many connections.
    #[error("too many connections")]
    Full,
    /// Whoever brought the link may not have this connection.
    #[error("the connection belongs to someone else")]
    Owner,
    /// Nothing was heard on the link for too long.
    #[error("nothing heard on the link")]
    Silent,
    /// The greeting was not finished in time.
    #[error("the greeting took too long")]
    Greeting,
    /// The link ended.
    #[error("the link ended")]
    LinkEnded,
    /// The other end does not serve this connection.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No link for longer than the grace.
    #[error("no connection for longer than the grace that was granted")]
    Grace,
    /// The dialler says that dialling again is of no use.
    #[error("no way to the other end")]
    NotDialled,
    /// The other end gave the connection up.
    #[error("the other end gave the connection up")]
    Reset,
    /// This end gave it up.
    #[error("the connection was ended here")]
    Ended,
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Grace | Error::Silent | Error::Greeting => io::ErrorKind::TimedOut,
            Error::Reset => io::ErrorKind::ConnectionReset,
            Error::Refused(_) | Error::NotDialled => io::ErrorKind::ConnectionRefused,
            Error::Ended | Error::LinkEnded => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}
