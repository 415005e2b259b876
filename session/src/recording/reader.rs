//! Reading one chunk: all that is needed is its key.

use super::chunk::{
    ChunkError, ChunkFault, EVENTS_MAX, HASH_BYTES, HEADER_BYTES, Header, PLAIN_BYTES_MAX, SessionId, sha256,
};
use super::event::{Event, StoredEvent};
use super::key::{DataKey, nonce};
use aws_lc_rs::aead::Aad;
use serde::Deserialize as _;

/// Opens the chunks of one session.
pub struct ChunkReader<'a> {
    session: SessionId,
    key: &'a DataKey,
}

impl<'a> ChunkReader<'a> {
    /// A reader for the chunks of `session`.
    pub fn new(session: SessionId, key: &'a DataKey) -> Self {
        Self { session, key }
    }

    /// Opens one chunk. That it is the chunk asked for (its number, its place in the chain) is for the caller to
    /// compare with the header; [`super::Playback`] does.
    pub fn decode(&self, bytes: &[u8]) -> Result<(Header, Vec<Event>), ChunkError> {
        let header = Header::parse(bytes)?;
        let seq = header.seq;
        self.open(&header, bytes)
            .map(|events| (header, events))
            .map_err(|fault| ChunkError {
                seq: Some(seq),
                fault,
            })
    }

    fn open(&self, header: &Header, bytes: &[u8]) -> Result<Vec<Event>, ChunkFault> {
        if header.session != self.session {
            return Err(ChunkFault::OtherSession);
        }
        let (head, body) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or(ChunkFault::Truncated)?;
        let mut body = body.to_vec();
        let opened = self
            .key
            .aead()
            .open_in_place(nonce(header.seq), Aad::from(head), &mut body)
            .map_err(|_| ChunkFault::Damaged)?;
        let (hash, packed) = opened.split_at_checked(HASH_BYTES).ok_or(ChunkFault::Truncated)?;
        // Bounded whatever the frame claims: the buffer is never larger than this.
        let plain = zstd::bulk::decompress(packed, PLAIN_BYTES_MAX).map_err(|_| ChunkFault::Decompress)?;
        if sha256(&plain) != hash {
            return Err(ChunkFault::Content);
        }
        read_events(header, &plain)
    }
}

fn read_events(header: &Header, plain: &[u8]) -> Result<Vec<Event>, ChunkFault> {
    if header.last_at_ms < header.first_at_ms {
        return Err(ChunkFault::Times);
    }
    let mut events = Vec::new();
    let mut before = header.first_at_ms;
    let mut decoder = rmp_serde::Deserializer::new(plain);
    while !decoder.get_ref().is_empty() {
        if events.len() == EVENTS_MAX {
            return Err(ChunkFault::TooManyEvents);
        }
        let StoredEvent(since, kind) =
            StoredEvent::deserialize(&mut decoder).map_err(|_| ChunkFault::Events)?;
        let at_ms = header.first_at_ms.checked_add(since).ok_or(ChunkFault::Times)?;
        if at_ms < before || at_ms > header.last_at_ms {
            return Err(ChunkFault::Times);
        }
        before = at_ms;
        events.push(Event {
            at_ms,
            kind: kind.into(),
        });
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::super::chunk::MAGIC;
    use super::*;

    /// A chunk whose body is `packed`, sealed with the right key: what only a broken or hostile writer makes.
    fn sealed(key: &DataKey, change: impl FnOnce(&mut Header), hash: [u8; 32], packed: &[u8]) -> Vec<u8> {
        let mut header = Header {
            last: false,
            session: SessionId([1; 16]),
            seq: 3,
            first_at_ms: 100,
            last_at_ms: 200,
            wall_ms: 0,
            prev_hash: [0; 32],
        };
        change(&mut header);
        let head = header.to_bytes();
        let mut body = [&hash[..], packed].concat();
        key.aead()
            .seal_in_place_append_tag(nonce(header.seq), Aad::from(head), &mut body)
            .unwrap();
        [&head[..], &body].concat()
    }

    fn fault(change: impl FnOnce(&mut Header), plain: &[u8]) -> ChunkFault {
        let key = DataKey::generate().unwrap();
        let bytes = sealed(
            &key,
            change,
            sha256(plain),
            &zstd::bulk::compress(plain, 1).unwrap(),
        );
        let error = ChunkReader::new(SessionId([1; 16]), &key)
            .decode(&bytes)
            .unwrap_err();
        assert_eq!(error.seq, Some(3));
        error.fault
    }

    #[test]
    fn zstd_bombs_are_refused_in_bounded_memory() {
        let key = DataKey::generate().unwrap();
        let reader = ChunkReader::new(SessionId([1; 16]), &key);
        let plain = vec![0; PLAIN_BYTES_MAX + 1];
        let bomb = zstd::bulk::compress(&plain, 19).unwrap();
        assert!(bomb.len() < 1000);
        let error = reader
            .decode(&sealed(&key, |_| {}, sha256(&plain), &bomb))
            .unwrap_err();
        assert_eq!(error.fault, ChunkFault::Decompress);
        // A frame that does not say its size.
        let unsized_bomb = zstd::stream::encode_all(&plain[..], 19).unwrap();
        let error = reader
            .decode(&sealed(&key, |_| {}, sha256(&plain), &unsized_bomb))
            .unwrap_err();
        assert_eq!(error.fault, ChunkFault::Decompress);
        // Frame after frame, each within the bound.
        let small = zstd::bulk::compress(&vec![0; PLAIN_BYTES_MAX / 2], 1).unwrap();
        let error = reader
            .decode(&sealed(&key, |_| {}, [0; 32], &small.repeat(3)))
            .unwrap_err();
        assert_eq!(error.fault, ChunkFault::Decompress);
        let error = reader
            .decode(&sealed(&key, |_| {}, [0; 32], b"no zstd"))
            .unwrap_err();
        assert_eq!(error.fault, ChunkFault::Decompress);
    }

    #[test]
    fn content_other_than_what_was_hashed_is_refused() {
        let key = DataKey::generate().unwrap();
        let bytes = sealed(&key, |_| {}, [0; 32], &zstd::bulk::compress(b"", 1).unwrap());
        let error = ChunkReader::new(SessionId([1; 16]), &key)
            .decode(&bytes)
            .unwrap_err();
        assert_eq!(error.fault, ChunkFault::Content);
    }

    #[test]
    fn malformed_events_are_refused() {
        assert_eq!(fault(|_| {}, b"\xc1"), ChunkFault::Events);
        assert_eq!(fault(|_| {}, b"\x92\x00"), ChunkFault::Events);
        // An array of 2^32-1 elements, a string of 2^32-1 bytes.
        assert_eq!(fault(|_| {}, b"\xdd\xff\xff\xff\xff\x00"), ChunkFault::Events);
        assert_eq!(
            fault(|_| {}, b"\x92\x00\x81\xa1m\xdb\xff\xff\xff\xffx"),
            ChunkFault::Events
        );
        assert_eq!(
            fault(|_| {}, b"\x92\x00\x81\xa1?\x00"),
            ChunkFault::Events,
            "a kind from the future"
        );
        let nil_exit = b"\x92\x00\x81\xa1q\x00";
        assert_eq!(
            fault(|_| {}, &nil_exit.repeat(EVENTS_MAX + 1)),
            ChunkFault::TooManyEvents
        );
    }

    #[test]
    fn times_out_of_order_are_refused() {
        let exit_at = |ms: u8| [&[0x92, ms][..], b"\x81\xa1q\x00"].concat();
        assert_eq!(fault(|_| {}, &exit_at(101)), ChunkFault::Times, "after the chunk");
        assert_eq!(
            fault(|_| {}, &[exit_at(5), exit_at(4)].concat()),
            ChunkFault::Times,
            "backwards"
        );
        assert_eq!(
            fault(|h| h.last_at_ms = 99, b""),
            ChunkFault::Times,
            "ends before it begins"
        );
        let far = |h: &mut Header| (h.first_at_ms, h.last_at_ms) = (u64::MAX, u64::MAX);
        assert_eq!(fault(far, &exit_at(1)), ChunkFault::Times, "overflow");
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let key = DataKey::generate().unwrap();
        let reader = ChunkReader::new(SessionId([1; 16]), &key);
        let refused = |bytes: &[u8]| reader.decode(bytes).unwrap_err().fault;
        assert_eq!(refused(b""), ChunkFault::Truncated);
        assert_eq!(refused(&[0; 500]), ChunkFault::NotAChunk);
        let mut bytes = [&MAGIC[..], &[1]].concat();
        bytes.resize(HEADER_BYTES, 0);
        assert_eq!(refused(&bytes), ChunkFault::Truncated);
        bytes.resize(500, 0);
        assert_eq!(refused(&bytes), ChunkFault::OtherSession);
        bytes[7] = 2;
        assert_eq!(refused(&bytes), ChunkFault::UnknownFlags);
        bytes[6] = 9;
        assert_eq!(refused(&bytes), ChunkFault::UnknownVersion(9));
        bytes[6..8].copy_from_slice(&[1, 0]);
        bytes.resize(super::super::CHUNK_BYTES_MAX + 1, 0);
        assert_eq!(refused(&bytes), ChunkFault::TooLarge);
    }
}
