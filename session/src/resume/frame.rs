//! The frames on a link: type, length, body. Every type has a largest length, and a frame is refused at its header.
//!
//! ```text
//! +------+-------------+------------------+      numbers are big-endian
//! | type | length: u32 | body             |
//! +------+-------------+------------------+
//! ```

use super::token::{Id, TOKEN_LEN};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version of this protocol, sent in the first frame of either end.
pub const VERSION: u8 = 1;

/// The most data that one frame carries, in bytes.
pub const MAX_DATA: usize = 64 << 10;

/// Type and length.
const HEADER: usize = 5;

/// Offset before the bytes of a data frame.
const OFFSET: usize = 8;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSE: u8 = 3;
const DATA: u8 = 4;
const ACK: u8 = 5;
const PING: u8 = 6;
const PONG: u8 = 7;
const FIN: u8 = 8;
const RESET: u8 = 9;

const NEW: u8 = 1;
const RESUME: u8 = 2;

const NEW_HELLO: usize = 2 + 16 + 32 + 4;
const RESUME_HELLO: usize = 2 + 16 + 8 + 8 + TOKEN_LEN;
const NEW_WELCOME: usize = 2 + 32 + 4;
const RESUME_WELCOME: usize = 2 + 8 + TOKEN_LEN;

/// What the client's end says first on each link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hello {
    /// Begins a connection.
    New {
        /// Its name, drawn by the client.
        id: Id,
        /// The client's half of the key agreement (X25519).
        key: [u8; 32],
        /// How many bytes the client keeps unread.
        window: u32,
    },
    /// Goes on with one.
    Resume {
        /// Which.
        id: Id,
        /// The number of this attempt, higher than any before.
        attempt: u64,
        /// How many bytes the client has received.
        received: u64,
        /// What only the two ends can make of the above.
        token: [u8; TOKEN_LEN],
    },
}

impl Hello {
    /// The connection that it speaks of.
    pub(crate) fn id(&self) -> Id {
        match self {
            Hello::New { id, .. } | Hello::Resume { id, .. } => *id,
        }
    }
}

/// What the agent's end answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// The connection has begun.
    New { key: [u8; 32], window: u32 },
    /// It goes on from this offset.
    Resume { received: u64, token: [u8; TOKEN_LEN] },
}

/// Why the agent's end does not serve a link. It travels as one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    /// No such connection: it ended, its grace ran out, or the agent was started anew.
    #[error("the host does not know this connection any more")]
    Unknown = 1,
    /// The resumption could not be proved, or did not fit.
    #[error("the host did not accept the resumption")]
    Denied = 2,
    /// Too many connections.
    #[error("the host has too many connections")]
    Full = 3,
    /// The hello was not understood.
    #[error("the host did not understand the greeting")]
    Protocol = 4,
}

impl Refusal {
    fn read(code: u8) -> Option<Self> {
        [Self::Unknown, Self::Denied, Self::Full, Self::Protocol]
            .into_iter()
            .find(|refusal| *refusal as u8 == code)
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Hello),
    Welcome(Welcome),
    Refuse(Refusal),
    Data {
        offset: u64,
        bytes: Bytes,
    },
    /// How far the sender's reader has come; one more than the length after a fin.
    Ack(u64),
    Ping(u64),
    Pong(u64),
    /// Nothing follows this offset.
    Fin(u64),
    /// The sender gave the connection up.
    Reset,
}

/// A frame that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No frame has this type.
    #[error("frame of unknown type {0}")]
    UnknownType(u8),
    /// The length is not one that this type may have.
    #[error("frame of type {kind} with {length} bytes")]
    Length {
        /// The type.
        kind: u8,
        /// The stated length of its body.
        length: usize,
    },
    /// Another version of the protocol.
    #[error("version {0} of the resumable stream is not known here")]
    Version(u8),
    /// A field has a value that none may have.
    #[error("frame of type {0} with a field that has no meaning")]
    Field(u8),
}

fn length_fits(kind: u8, length: usize) -> Result<(), FrameError> {
    let fits = match kind {
        HELLO => length == NEW_HELLO || length == RESUME_HELLO,
        WELCOME => length == NEW_WELCOME || length == RESUME_WELCOME,
        REFUSE => length == 1,
        DATA => (OFFSET + 1..=OFFSET + MAX_DATA).contains(&length),
        ACK | PING | PONG | FIN => length == 8,
        RESET => length == 0,
        _ => return Err(FrameError::UnknownType(kind)),
    };
    if fits {
        Ok(())
    } else {
        Err(FrameError::Length { kind, length })
    }
}

/// Takes the first frame out of `input`, if it is there whole.
pub(crate) fn decode(input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some((&kind, rest)) = input.split_first() else {
        return Ok(None);
    };
    let Some(length) = rest.first_chunk::<4>() else {
        // A wrong type is named as soon as it is seen: garbage need not be long to be refused.
        if !(HELLO..=RESET).contains(&kind) {
            return Err(FrameError::UnknownType(kind));
        }
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    length_fits(kind, length)?;
    if input.len() < HEADER + length {
        return Ok(None);
    }
    input.advance(HEADER);
    let mut body = input.split_to(length);
    let frame = match kind {
        HELLO => Frame::Hello(hello(&mut body, length)?),
        WELCOME => Frame::Welcome(welcome(&mut body, length)?),
        REFUSE => Frame::Refuse(Refusal::read(body.get_u8()).ok_or(FrameError::Field(REFUSE))?),
        DATA => {
            let offset = body.get_u64();
            Frame::Data {
                offset,
                bytes: body.freeze(),
            }
        }
        ACK => Frame::Ack(body.get_u64()),
        PING => Frame::Ping(body.get_u64()),
        PONG => Frame::Pong(body.get_u64()),
        FIN => Frame::Fin(body.get_u64()),
        RESET => Frame::Reset,
        _ => return Err(FrameError::UnknownType(kind)),
    };
    Ok(Some(frame))
}

fn version(body: &mut BytesMut) -> Result<(), FrameError> {
    match body.get_u8() {
        VERSION => Ok(()),
        other => Err(FrameError::Version(other)),
    }
}

fn array<const N: usize>(body: &mut BytesMut) -> [u8; N] {
    let mut array = [0; N];
    body.copy_to_slice(&mut array);
    array
}

fn hello(body: &mut BytesMut, length: usize) -> Result<Hello, FrameError> {
    version(body)?;
    match (body.get_u8(), length) {
        (NEW, NEW_HELLO) => Ok(Hello::New {
            id: Id(array(body)),
            key: array(body),
            window: body.get_u32(),
        }),
        (RESUME, RESUME_HELLO) => Ok(Hello::Resume {
            id: Id(array(body)),
            attempt: body.get_u64(),
            received: body.get_u64(),
            token: array(body),
        }),
        _ => Err(FrameError::Field(HELLO)),
    }
}

fn welcome(body: &mut BytesMut, length: usize) -> Result<Welcome, FrameError> {
    version(body)?;
    match (body.get_u8(), length) {
        (NEW, NEW_WELCOME) => Ok(Welcome::New {
            key: array(body),
            window: body.get_u32(),
        }),
        (RESUME, RESUME_WELCOME) => Ok(Welcome::Resume {
            received: body.get_u64(),
            token: array(body),
        }),
        _ => Err(FrameError::Field(WELCOME)),
    }
}

fn head(out: &mut BytesMut, kind: u8, length: usize) {
    out.put_u8(kind);
    out.put_u32(length as u32);
}

/// Writes the part of a data frame that precedes its bytes.
pub(crate) fn data_head(out: &mut BytesMut, offset: u64, length: usize) {
    debug_assert!((1..=MAX_DATA).contains(&length));
    head(out, DATA, OFFSET + length);
    out.put_u64(offset);
}

/// Writes a frame.
pub(crate) fn encode(out: &mut BytesMut, frame: &Frame) {
    let number = |out: &mut BytesMut, kind, value| {
        head(out, kind, 8);
        out.put_u64(value);
    };
    match frame {
        Frame::Hello(Hello::New { id, key, window }) => {
            head(out, HELLO, NEW_HELLO);
            out.put_slice(&[VERSION, NEW]);
            out.put_slice(&id.0);
            out.put_slice(key);
            out.put_u32(*window);
        }
        Frame::Hello(Hello::Resume {
            id,
            attempt,
            received,
            token,
        }) => {
            head(out, HELLO, RESUME_HELLO);
            out.put_slice(&[VERSION, RESUME]);
            out.put_slice(&id.0);
            out.put_u64(*attempt);
            out.put_u64(*received);
            out.put_slice(token);
        }
        Frame::Welcome(Welcome::New { key, window }) => {
            head(out, WELCOME, NEW_WELCOME);
            out.put_slice(&[VERSION, NEW]);
            out.put_slice(key);
            out.put_u32(*window);
        }
        Frame::Welcome(Welcome::Resume { received, token }) => {
            head(out, WELCOME, RESUME_WELCOME);
            out.put_slice(&[VERSION, RESUME]);
            out.put_u64(*received);
            out.put_slice(token);
        }
        Frame::Refuse(refusal) => {
            head(out, REFUSE, 1);
            out.put_u8(*refusal as u8);
        }
        Frame::Data { offset, bytes } => {
            data_head(out, *offset, bytes.len());
            out.put_slice(bytes);
        }
        Frame::Ack(offset) => number(out, ACK, *offset),
        Frame::Ping(nonce) => number(out, PING, *nonce),
        Frame::Pong(nonce) => number(out, PONG, *nonce),
        Frame::Fin(offset) => number(out, FIN, *offset),
        Frame::Reset => head(out, RESET, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        prop_oneof![
            (any::<[u8; 16]>(), any::<[u8; 32]>(), any::<u32>()).prop_map(|(id, key, window)| {
                Frame::Hello(Hello::New {
                    id: Id(id),
                    key,
                    window,
                })
            }),
            (any::<[u8; 16]>(), any::<u64>(), any::<u64>(), any::<[u8; 32]>()).prop_map(
                |(id, attempt, received, token)| Frame::Hello(Hello::Resume {
                    id: Id(id),
                    attempt,
                    received,
                    token,
                })
            ),
            (any::<[u8; 32]>(), any::<u32>())
                .prop_map(|(key, window)| Frame::Welcome(Welcome::New { key, window })),
            (any::<u64>(), any::<[u8; 32]>())
                .prop_map(|(received, token)| Frame::Welcome(Welcome::Resume { received, token })),
            (any::<u64>(), proptest::collection::vec(any::<u8>(), 1..300)).prop_map(|(offset, bytes)| {
                Frame::Data {
                    offset,
                    bytes: bytes.into(),
                }
            }),
            any::<u64>().prop_map(Frame::Ack),
            any::<u64>().prop_map(Frame::Ping),
            any::<u64>().prop_map(Frame::Pong),
            any::<u64>().prop_map(Frame::Fin),
            Just(Frame::Refuse(Refusal::Denied)),
            Just(Frame::Reset),
        ]
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_were_however_they_are_cut(
            frames in proptest::collection::vec(any_frame(), 1..8),
            step in 1usize..64,
        ) {
            let mut wire = BytesMut::new();
            for frame in &frames {
                encode(&mut wire, frame);
            }
            let mut input = BytesMut::new();
            let mut seen = Vec::new();
            for piece in wire.chunks(step) {
                input.extend_from_slice(piece);
                while let Some(frame) = decode(&mut input).unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn random_bytes_never_panic_and_never_ask_for_more_than_a_frame(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut input) {}
        }
    }

    #[test]
    fn a_frame_is_refused_at_its_header() {
        let of = |bytes: &[u8]| decode(&mut BytesMut::from(bytes));
        assert_eq!(of(b"SSH-"), Err(FrameError::UnknownType(b'S')));
        assert_eq!(of(&[0]), Err(FrameError::UnknownType(0)));
        assert_eq!(of(&[10, 0, 0, 0, 0]), Err(FrameError::UnknownType(10)));
        let mut oversized = vec![DATA];
        oversized.extend_from_slice(&((OFFSET + MAX_DATA + 1) as u32).to_be_bytes());
        assert_eq!(
            of(&oversized),
            Err(FrameError::Length {
                kind: DATA,
                length: OFFSET + MAX_DATA + 1
            })
        );
        assert_eq!(
            of(&[ACK, 0, 0, 0, 7]),
            Err(FrameError::Length { kind: ACK, length: 7 })
        );
        assert_eq!(of(&[REFUSE, 0, 0, 0, 1, 99]), Err(FrameError::Field(REFUSE)));
        let mut other = BytesMut::new();
        encode(
            &mut other,
            &Frame::Hello(Hello::New {
                id: Id([1; 16]),
                key: [2; 32],
                window: 3,
            }),
        );
        other[HEADER] = VERSION + 1;
        assert_eq!(of(&other), Err(FrameError::Version(VERSION + 1)));
    }
}
