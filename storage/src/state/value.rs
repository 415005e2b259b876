//! How values lie in the database: a head under the key, with the value in it or, if it is large, in parts beside it.
//! Small pieces keep sled's leaves below the size at which it would put them into files it never syncs.

use crate::{
    engine::{Batch, Engine, SMALL},
    error::{Damage, ReadError, WriteError, escaped},
};

/// The largest value.
pub const MAX_VALUE: usize = 60 << 10;
/// The longest key.
pub const MAX_KEY: usize = 1024;

const VERSION: u8 = 1;
const INLINE: u8 = 0;
const PARTS: u8 = 1;
const PART_LEN: usize = SMALL - 64;

/// Where data lives.
pub(crate) const DATA: u8 = b'd';
/// Where markers live.
pub(crate) const META: u8 = b'm';
/// Where the parts of large values live.
const PART: u8 = b'p';

/// The database key of a head.
pub(crate) fn head_key(space: u8, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(space);
    out.extend_from_slice(key);
    out
}

fn part_key(id: u64, n: u16) -> Vec<u8> {
    let mut out = vec![PART];
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&n.to_be_bytes());
    out
}

pub(crate) fn check_size(key: &[u8], value: &[u8]) -> Result<(), WriteError> {
    if key.len() > MAX_KEY {
        return Err(WriteError::TooLarge {
            what: "a key",
            len: key.len(),
            max: MAX_KEY,
        });
    }
    if value.len() > MAX_VALUE {
        return Err(WriteError::TooLarge {
            what: "a value",
            len: value.len(),
            max: MAX_VALUE,
        });
    }
    Ok(())
}

/// Checksum over the place as well, so that a value under another key is noticed.
fn seal(key: &[u8], mut body: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &body);
    body.extend_from_slice(&crc.to_be_bytes());
    body
}

fn unseal<'a>(key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], &'static str> {
    let (body, crc) = stored
        .len()
        .checked_sub(4)
        .and_then(|at| stored.split_at_checked(at))
        .ok_or("it is cut short")?;
    if crc != crc32c::crc32c_append(crc32c::crc32c(key), body).to_be_bytes() {
        return Err("bad checksum");
    }
    match body.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some(_) => Err("unknown format version"),
        None => Err("it is empty"),
    }
}

/// Adds the writes that store `value` under a head key. `id` must be unused; it names the parts.
pub(crate) fn put(batch: &mut Batch, head: Vec<u8>, value: &[u8], id: u64) {
    if !in_parts(value.len()) {
        let mut body = Vec::with_capacity(value.len() + 6);
        body.extend_from_slice(&[VERSION, INLINE]);
        body.extend_from_slice(value);
        let sealed = seal(&head, body);
        batch.insert(head, sealed);
        return;
    }
    let mut count = 0u16;
    for part in value.chunks(PART_LEN) {
        let key = part_key(id, count);
        let mut body = Vec::with_capacity(part.len() + 5);
        body.push(VERSION);
        body.extend_from_slice(part);
        let sealed = seal(&key, body);
        batch.insert(key, sealed);
        count += 1;
    }
    let mut body = vec![VERSION, PARTS];
    body.extend_from_slice(&id.to_be_bytes());
    body.extend_from_slice(&count.to_be_bytes());
    body.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    let sealed = seal(&head, body);
    batch.insert(head, sealed);
}

/// Whether a value of this length is stored in parts.
pub(crate) fn in_parts(len: usize) -> bool {
    len > PART_LEN
}

/// Whether any value is stored in parts.
pub(crate) fn any_parts(engine: &Engine) -> Result<bool, ReadError> {
    let mut any = false;
    engine.scan(&[PART], Some(&[PART + 1]), false, |_, _| {
        any = true;
        Ok(false)
    })?;
    Ok(any)
}

/// Adds the removal of the parts that the head under this key points to, if it does.
pub(crate) fn remove_parts(engine: &Engine, batch: &mut Batch, head: &[u8]) -> Result<(), ReadError> {
    let Some(stored) = engine.get(head)? else {
        return Ok(());
    };
    if let Head::Parts { id, count, .. } = decode(engine, head, &stored)? {
        for n in 0..count {
            batch.remove(part_key(id, n));
        }
    }
    Ok(())
}

enum Head<'a> {
    Inline(&'a [u8]),
    Parts { id: u64, count: u16, len: usize },
}

fn damage(engine: &Engine, head: &[u8], why: &str) -> ReadError {
    let what = match head.split_first() {
        Some((&META, key)) => format!("marker {}", escaped(key)),
        Some((_, key)) => format!("key {}", escaped(key)),
        None => "a key".to_owned(),
    };
    Damage::new(engine.dir(), what, why).into()
}

fn decode<'a>(engine: &Engine, head: &[u8], stored: &'a [u8]) -> Result<Head<'a>, ReadError> {
    let body = unseal(head, stored).map_err(|why| damage(engine, head, why))?;
    match body.split_first() {
        Some((&INLINE, value)) => Ok(Head::Inline(value)),
        Some((&PARTS, rest)) => {
            let rest: &[u8; 14] = rest
                .try_into()
                .map_err(|_| damage(engine, head, "its head is malformed"))?;
            let (mut id, mut count, mut len) = ([0; 8], [0; 2], [0; 4]);
            id.copy_from_slice(&rest[..8]);
            count.copy_from_slice(&rest[8..10]);
            len.copy_from_slice(&rest[10..]);
            let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
            Ok(Head::Parts {
                id: u64::from_be_bytes(id),
                count: u16::from_be_bytes(count),
                len,
            })
        }
        _ => Err(damage(engine, head, "its head is malformed")),
    }
}

/// The value whose stored head this is.
pub(crate) fn load(engine: &Engine, head: &[u8], stored: &[u8]) -> Result<Vec<u8>, ReadError> {
    let (id, count, len) = match decode(engine, head, stored)? {
        Head::Inline(value) => return Ok(value.to_vec()),
        Head::Parts { id, count, len } => (id, count, len),
    };
    let mut value = Vec::with_capacity(len.min(MAX_VALUE));
    for n in 0..count {
        let key = part_key(id, n);
        let part = engine
            .get(&key)?
            .ok_or_else(|| damage(engine, head, &format!("part {n} is missing")))?;
        let part = unseal(&key, &part).map_err(|why| damage(engine, head, &format!("part {n}: {why}")))?;
        value.extend_from_slice(part);
    }
    if value.len() != len {
        return Err(damage(engine, head, "its length is wrong"));
    }
    Ok(value)
}

/// The value under a key, if there is one.
pub(crate) fn get(engine: &Engine, space: u8, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    let head = head_key(space, key);
    match engine.get(&head)? {
        Some(stored) => load(engine, &head, &stored).map(Some),
        None => Ok(None),
    }
}
