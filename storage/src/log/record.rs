//! How log entries, votes and markers look in the database. Everything carries a version, a running number and a
//! checksum, and the checksum covers the place it is stored at, so that a record moved elsewhere is noticed.

use crate::engine::SMALL;

/// Version of the formats below.
const VERSION: u8 = 1;
/// Payload bytes in one chunk.
pub(crate) const CHUNK: usize = SMALL - 256;
/// The largest `committed` that rides along in an entry.
pub(crate) const RIDER_MAX: usize = 128;

const ENTRY: u8 = b'e';
/// Marker keys; entries sort before them.
pub(crate) const META_FROM: &[u8] = b"m";

/// Key of one chunk of an entry.
pub(crate) fn entry_key(index: u64, chunk: u16) -> [u8; 11] {
    let mut key = [ENTRY; 11];
    key[1..9].copy_from_slice(&index.to_be_bytes());
    key[9..].copy_from_slice(&chunk.to_be_bytes());
    key
}

/// Index and chunk number of an entry's key.
pub(crate) fn parse_entry_key(key: &[u8]) -> Option<(u64, u16)> {
    let key: &[u8; 11] = key.try_into().ok()?;
    if key[0] != ENTRY {
        return None;
    }
    let index = u64::from_be_bytes(key[1..9].try_into().ok()?);
    Some((index, u16::from_be_bytes(key[9..].try_into().ok()?)))
}

/// One chunk of an entry, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    /// Running number of the write.
    pub(crate) seq: u64,
    /// How many chunks the entry has.
    pub(crate) count: u16,
    /// The `committed` known when it was written, if it rides along.
    pub(crate) rider: &'a [u8],
    /// Its part of the payload.
    pub(crate) payload: &'a [u8],
}

/// Number of chunks a payload takes.
pub(crate) fn chunks(len: usize) -> usize {
    len.div_ceil(CHUNK).max(1)
}

/// Encodes one chunk: `version | seq | index | chunk | count | rider length | rider | payload | crc`.
pub(crate) fn encode_chunk(index: u64, chunk: u16, c: &Chunk<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + c.rider.len() + c.payload.len());
    out.push(VERSION);
    out.extend_from_slice(&c.seq.to_be_bytes());
    out.extend_from_slice(&index.to_be_bytes());
    out.extend_from_slice(&chunk.to_be_bytes());
    out.extend_from_slice(&c.count.to_be_bytes());
    out.push(u8::try_from(c.rider.len()).unwrap_or(0));
    out.extend_from_slice(if c.rider.len() <= RIDER_MAX { c.rider } else { &[] });
    out.extend_from_slice(c.payload);
    seal(out)
}

/// Decodes a chunk that was stored at `index`, `chunk`; the error says what is wrong.
pub(crate) fn decode_chunk(index: u64, chunk: u16, stored: &[u8]) -> Result<Chunk<'_>, String> {
    let body = unseal(stored)?;
    let mut r = Reader(body);
    let seq = r.u64()?;
    if (r.u64()?, r.u16()?) != (index, chunk) {
        return Err("it belongs to another place in the log".to_owned());
    }
    let count = r.u16()?;
    if count == 0 || chunk >= count {
        return Err("its chunk count is wrong".to_owned());
    }
    let rider_len = usize::from(r.take(1)?[0]);
    let rider = r.take(rider_len)?;
    Ok(Chunk {
        seq,
        count,
        rider,
        payload: r.0,
    })
}

/// A marker or vote slot: `version | key length | key | seq | number | payload | crc`.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Marker {
    /// Running number of the write.
    pub(crate) seq: u64,
    /// A number whose meaning depends on the key (purged index, vote sequence).
    pub(crate) number: u64,
    /// Opaque content.
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn encode_marker(key: &[u8], m: &Marker) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + key.len() + m.payload.len());
    out.push(VERSION);
    out.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(key);
    out.extend_from_slice(&m.seq.to_be_bytes());
    out.extend_from_slice(&m.number.to_be_bytes());
    out.extend_from_slice(&m.payload);
    seal(out)
}

pub(crate) fn decode_marker(key: &[u8], stored: &[u8]) -> Result<Marker, String> {
    let mut r = Reader(unseal(stored)?);
    let len = usize::from(r.take(1)?[0]);
    if r.take(len)? != key {
        return Err("it belongs to another marker".to_owned());
    }
    Ok(Marker {
        seq: r.u64()?,
        number: r.u64()?,
        payload: r.0.to_vec(),
    })
}

fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

fn unseal(stored: &[u8]) -> Result<&[u8], String> {
    let (body, crc) = stored
        .len()
        .checked_sub(4)
        .and_then(|at| stored.split_at_checked(at))
        .ok_or("it is cut short")?;
    if crc != crc32c::crc32c(body).to_be_bytes() {
        return Err("bad checksum".to_owned());
    }
    match body.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((v, _)) => Err(format!("it has format version {v}, this program knows {VERSION}")),
        None => Err("it is empty".to_owned()),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.0.split_at_checked(n).ok_or("it is cut short")?;
        self.0 = rest;
        Ok(head)
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_be_bytes(
            self.take(8)?.try_into().map_err(|_| "it is cut short")?,
        ))
    }

    fn u16(&mut self) -> Result<u16, String> {
        Ok(u16::from_be_bytes(
            self.take(2)?.try_into().map_err(|_| "it is cut short")?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_back_and_no_changed_bit_is_accepted() {
        let c = Chunk {
            seq: 9,
            count: 3,
            rider: b"com",
            payload: b"payload",
        };
        let stored = encode_chunk(7, 2, &c);
        assert_eq!(decode_chunk(7, 2, &stored), Ok(c));
        assert!(decode_chunk(8, 2, &stored).is_err());
        assert!(decode_chunk(7, 1, &stored).is_err());
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_chunk(7, 2, &bad).is_err(), "bit {bit}");
        }
        for len in 0..stored.len() {
            assert!(decode_chunk(7, 2, &stored[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn a_marker_comes_back_only_under_its_own_key() {
        let m = Marker {
            seq: 1,
            number: 2,
            payload: b"x".to_vec(),
        };
        let stored = encode_marker(b"mv0", &m);
        assert_eq!(decode_marker(b"mv0", &stored), Ok(m));
        assert!(decode_marker(b"mv1", &stored).is_err());
    }

    #[test]
    fn version_one_of_the_formats_is_kept() {
        // Bytes that an earlier version wrote: they must stay readable for ever.
        let chunk = encode_chunk(
            5,
            0,
            &Chunk {
                seq: 1,
                count: 1,
                rider: b"",
                payload: b"hi",
            },
        );
        assert_eq!(
            chunk[..24],
            *b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\x01\0hi"
        );
        assert_eq!(chunk.len(), 28);
        let marker = encode_marker(
            b"mp",
            &Marker {
                seq: 1,
                number: 2,
                payload: b"z".to_vec(),
            },
        );
        assert_eq!(marker[..21], *b"\x01\x02mp\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02z");
    }
}
