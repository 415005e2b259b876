//! The snapshot file: `header | chunk ... | trailer`. Every part has its own checksum and the trailer has the hash
//! of all, so that nothing of a snapshot is used before all of it is known to be whole.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::value::{MAX_KEY, MAX_VALUE};

const MAGIC: &[u8; 8] = b"PALsnap1";
const VERSION: u32 = 1;
const CHUNK_AT: usize = 64 << 10;
const MAX_CHUNK: usize = CHUNK_AT + MAX_KEY + MAX_VALUE + 16;
const MAX_FIELD: usize = 1 << 20;
const END: u32 = u32::MAX;

/// Why a snapshot file is not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// The operating system refused.
    #[error("cannot read the snapshot: {0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// A newer program wrote it.
    #[error("the snapshot has format version {0}, this program knows {VERSION}")]
    Version(u32),
}

fn damaged(why: impl Into<String>) -> SnapshotFault {
    SnapshotFault::Damaged(why.into())
}

/// What stands at the head of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) meta: Vec<u8>,
    pub(crate) applied: Option<Vec<u8>>,
    pub(crate) membership: Option<Vec<u8>>,
}

/// Writes a snapshot piece by piece.
pub(crate) struct Writer<W> {
    out: W,
    hash: Sha256,
    chunk: Vec<u8>,
    in_chunk: u32,
    chunks: u32,
    entries: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W, header: &Header) -> io::Result<Writer<W>> {
        let mut w = Writer {
            out,
            hash: Sha256::new(),
            chunk: Vec::new(),
            in_chunk: 0,
            chunks: 0,
            entries: 0,
        };
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&VERSION.to_be_bytes());
        for field in [
            Some(&header.meta),
            header.applied.as_ref(),
            header.membership.as_ref(),
        ] {
            head.push(u8::from(field.is_some()));
            let field = field.map(Vec::as_slice).unwrap_or_default();
            head.extend_from_slice(&len32(field)?);
            head.extend_from_slice(field);
        }
        let crc = crc32c::crc32c(&head);
        head.extend_from_slice(&crc.to_be_bytes());
        w.emit(&head)?;
        Ok(w)
    }

    /// Adds a pair; keys must come in ascending order.
    pub(crate) fn pair(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.chunk.extend_from_slice(&len32(key)?);
        self.chunk.extend_from_slice(key);
        self.chunk.extend_from_slice(&len32(value)?);
        self.chunk.extend_from_slice(value);
        self.in_chunk += 1;
        self.entries += 1;
        if self.chunk.len() >= CHUNK_AT {
            self.end_chunk()
        } else {
            Ok(())
        }
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        if self.in_chunk == 0 {
            return Ok(());
        }
        let mut head = len32(&self.chunk)?.to_vec();
        head.extend_from_slice(&self.chunks.to_be_bytes());
        head.extend_from_slice(&self.in_chunk.to_be_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), &self.chunk);
        head.extend_from_slice(&crc.to_be_bytes());
        self.emit(&head)?;
        let body = std::mem::take(&mut self.chunk);
        self.emit(&body)?;
        self.chunk = body;
        self.chunk.clear();
        self.chunks += 1;
        self.in_chunk = 0;
        Ok(())
    }

    /// Writes the trailer and gives the output back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.end_chunk()?;
        let mut tail = END.to_be_bytes().to_vec();
        tail.extend_from_slice(&self.chunks.to_be_bytes());
        tail.extend_from_slice(&self.entries.to_be_bytes());
        self.emit(&tail)?;
        let hash = std::mem::take(&mut self.hash).finalize();
        self.out.write_all(&hash)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn emit(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }
}

fn len32(bytes: &[u8]) -> io::Result<[u8; 4]> {
    u32::try_from(bytes.len())
        .map(u32::to_be_bytes)
        .map_err(|_| io::ErrorKind::InvalidInput.into())
}

struct Hashing<R> {
    input: R,
    hash: Sha256,
}

impl<R: Read> Hashing<R> {
    fn take(&mut self, n: usize, what: &str) -> Result<Vec<u8>, SnapshotFault> {
        let mut buf = vec![0; n];
        self.input.read_exact(&mut buf).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged(format!("it ends in {what}")),
            _ => e.into(),
        })?;
        self.hash.update(&buf);
        Ok(buf)
    }

    fn u32(&mut self, what: &str) -> Result<u32, SnapshotFault> {
        let b = self.take(4, what)?;
        Ok(u32::from_be_bytes(b.try_into().map_err(|_| damaged(what))?))
    }
}

/// Reads the header only.
pub(crate) fn read_header(input: impl Read) -> Result<Header, SnapshotFault> {
    header(&mut Hashing {
        input,
        hash: Sha256::new(),
    })
}

fn header<R: Read>(r: &mut Hashing<R>) -> Result<Header, SnapshotFault> {
    let mut all = r.take(12, "the header")?;
    if &all[..8] != MAGIC {
        return Err(damaged("it does not begin as a snapshot does"));
    }
    let version = u32::from_be_bytes([all[8], all[9], all[10], all[11]]);
    if version != VERSION {
        return Err(SnapshotFault::Version(version));
    }
    let mut fields = Vec::new();
    for _ in 0..3 {
        let head = r.take(5, "the header")?;
        let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if head[0] > 1 || len > MAX_FIELD {
            return Err(damaged("its header is malformed"));
        }
        let field = r.take(len, "the header")?;
        all.extend_from_slice(&head);
        all.extend_from_slice(&field);
        fields.push((head[0] == 1).then_some(field));
    }
    if r.u32("the header")? != crc32c::crc32c(&all) {
        return Err(damaged("its header has a bad checksum"));
    }
    let membership = fields.pop().flatten();
    let applied = fields.pop().flatten();
    let meta = fields
        .pop()
        .flatten()
        .ok_or_else(|| damaged("its header is malformed"))?;
    Ok(Header {
        meta,
        applied,
        membership,
    })
}

/// Reads all of it, giving each pair to `pair`, and verifies everything there is to verify. What was given to
/// `pair` counts only if this succeeds.
pub(crate) fn read_all<E: From<SnapshotFault>>(
    input: impl Read,
    mut pair: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), E>,
) -> Result<(Header, u64), E> {
    let mut r = Hashing {
        input,
        hash: Sha256::new(),
    };
    let head = header(&mut r)?;
    let (mut chunks, mut entries) = (0u32, 0u64);
    let mut last: Option<Vec<u8>> = None;
    loop {
        let what = format!("chunk {chunks}");
        let len = r.u32(&what)?;
        if len == END {
            break;
        }
        let len = len as usize;
        if len > MAX_CHUNK {
            return Err(damaged(format!("{what} has an impossible length")).into());
        }
        let number = r.u32(&what)?;
        let count = r.u32(&what)?;
        let crc = r.u32(&what)?;
        let body = r.take(len, &what)?;
        let mut sum = Vec::with_capacity(12);
        for n in [len as u32, number, count] {
            sum.extend_from_slice(&n.to_be_bytes());
        }
        if crc != crc32c::crc32c_append(crc32c::crc32c(&sum), &body) {
            return Err(damaged(format!("{what} has a bad checksum")).into());
        }
        if number != chunks {
            return Err(damaged(format!("chunk {number} stands where chunk {chunks} belongs")).into());
        }
        let mut rest = body.as_slice();
        for _ in 0..count {
            let key = field(&mut rest, MAX_KEY, &what)?;
            let value = field(&mut rest, MAX_VALUE, &what)?;
            if last.as_ref().is_some_and(|last| *last >= key) {
                return Err(damaged(format!("the keys in {what} are out of order")).into());
            }
            last = Some(key.clone());
            pair(key, value)?;
            entries += 1;
        }
        if !rest.is_empty() {
            return Err(damaged(format!("{what} holds more than it says")).into());
        }
        chunks += 1;
    }
    let tail = r.take(12, "the trailer").map_err(E::from)?;
    let hash = std::mem::take(&mut r.hash).finalize();
    if tail[..4] != chunks.to_be_bytes() || tail[4..] != entries.to_be_bytes() {
        return Err(damaged("its counts do not agree with what it holds").into());
    }
    if r.take(32, "the trailer").map_err(E::from)? != hash.as_slice() {
        return Err(damaged("its hash is wrong").into());
    }
    let mut more = [0u8; 1];
    match r.input.read(&mut more) {
        Ok(0) => Ok((head, entries)),
        Ok(_) => Err(damaged("something follows its end").into()),
        Err(e) => Err(SnapshotFault::from(e).into()),
    }
}

fn field(rest: &mut &[u8], max: usize, what: &str) -> Result<Vec<u8>, SnapshotFault> {
    let short = || damaged(format!("{what} is malformed"));
    let (len, after) = rest.split_at_checked(4).ok_or_else(short)?;
    let len = u32::from_be_bytes([len[0], len[1], len[2], len[3]]) as usize;
    if len > max {
        return Err(short());
    }
    let (field, after) = after.split_at_checked(len).ok_or_else(short)?;
    *rest = after;
    Ok(field.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(pairs: u32) -> Vec<u8> {
        let header = Header {
            meta: b"meta".to_vec(),
            applied: Some(b"7".to_vec()),
            membership: None,
        };
        let mut w = Writer::new(Vec::new(), &header).expect("header");
        for i in 0..pairs {
            w.pair(format!("k{i:06}").as_bytes(), &[i as u8; 100])
                .expect("pair");
        }
        w.finish().expect("finish")
    }

    fn check(bytes: &[u8]) -> Result<u64, SnapshotFault> {
        read_all(bytes, |_, _| Ok::<_, SnapshotFault>(())).map(|(_, n)| n)
    }

    #[test]
    fn a_snapshot_comes_back_whole() {
        assert_eq!(check(&sample(3000)).expect("whole"), 3000);
        assert_eq!(check(&sample(0)).expect("whole"), 0);
        assert_eq!(read_header(sample(1).as_slice()).expect("header").meta, b"meta");
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let good = sample(40);
        for len in 0..good.len() {
            assert!(check(&good[..len]).is_err(), "length {len}");
        }
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 0x10;
            assert!(check(&bad).is_err(), "byte {byte}");
        }
        let mut longer = good;
        longer.push(0);
        assert!(check(&longer).is_err());
    }

    #[test]
    fn swapped_chunks_are_refused_by_name() {
        let good = sample(3000);
        let head = 12 + 15 + 4 + 1 + 4;
        let chunk = |at: usize| 16 + u32::from_be_bytes(good[at..at + 4].try_into().expect("4")) as usize;
        let (a, b) = (chunk(head), chunk(head + chunk(head)));
        let mut bad = good[..head].to_vec();
        bad.extend_from_slice(&good[head + a..head + a + b]);
        bad.extend_from_slice(&good[head..head + a]);
        bad.extend_from_slice(&good[head + a + b..]);
        assert!(
            check(&bad)
                .expect_err("swapped")
                .to_string()
                .contains("chunk 1 stands where chunk 0 belongs")
        );
    }
}
