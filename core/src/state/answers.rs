//! Answers kept for retries: a fixed number of slots, each with the newest answers whose ids fall into it.
//!
//! An answer is kept for 15 minutes or until 15 newer ones have come into its slot, which at a thousand changes a
//! second takes minutes and at five thousand most of a minute: far longer than any client retries. So what is kept is bounded,
//! and an entry costs one small value whatever the rate.
//!
//! A slot is a version byte and then, oldest first: 16 bytes of id, 8 of clock (milliseconds), 2 of length, the
//! answer. Earlier programs kept each answer under its own `q/<id>` with a note of its time under `t/`: those are
//! still read, and forgotten little by little.

use super::keys;
use crate::command::Reply;
use crate::kv::{Kv, KvFault, Overlay, prefix_end};
use crate::name::RequestId;
use crate::time::Timestamp;
use crate::wire::WireError;

/// The version byte of a slot.
const VERSION: u8 = 2;
/// How long an answer is kept.
const KEEP_MS: u64 = 15 * 60 * 1000;
/// Answers in one slot.
const SLOT_ANSWERS: usize = 16;
/// Bytes in one slot: an answer can carry an operator's text. The newest is kept whatever its size.
const SLOT_BYTES: usize = 3 * 1024;
/// How many answers of the earlier form one entry forgets.
const FORGET_AT_ONCE: usize = 3;
const HEAD: usize = 16 + 8 + 2;

/// One kept answer.
struct Kept<'a> {
    id: [u8; 16],
    at: Timestamp,
    reply: &'a [u8],
}

fn id_bytes(id: &RequestId) -> [u8; 16] {
    let mut digits = id.as_str().bytes().filter_map(|b| char::from(b).to_digit(16));
    // A request id is a UUID, so there are 32 digits.
    std::array::from_fn(|_| (digits.next().unwrap_or(0) << 4 | digits.next().unwrap_or(0)) as u8)
}

/// The answers in a stored slot, oldest first.
fn parse<'a>(key: &[u8], stored: &'a [u8]) -> Result<Vec<Kept<'a>>, KvFault> {
    let odd = |why: WireError| super::fault(key, why);
    let body = |why: &str| WireError::Body {
        what: "kept answers",
        why: why.into(),
    };
    let mut rest = match stored.split_first() {
        Some((&VERSION, rest)) => rest,
        Some((&found, _)) => {
            return Err(odd(WireError::Version {
                what: "kept answers",
                found,
                known: VERSION,
            }));
        }
        None => return Err(odd(WireError::Empty { what: "kept answers" })),
    };
    let mut kept = Vec::with_capacity(SLOT_ANSWERS);
    while !rest.is_empty() {
        let cut = || odd(body("it is cut short"));
        let (id, after) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
        let (at, after) = after.split_first_chunk::<8>().ok_or_else(cut)?;
        let (len, after) = after.split_first_chunk::<2>().ok_or_else(cut)?;
        let (reply, after) = after
            .split_at_checked(usize::from(u16::from_be_bytes(*len)))
            .ok_or_else(cut)?;
        kept.push(Kept {
            id: *id,
            at: Timestamp::from_ms(u64::from_be_bytes(*at)),
            reply,
        });
        rest = after;
    }
    Ok(kept)
}

fn read(key: &[u8], bytes: &[u8]) -> Result<Reply, KvFault> {
    Reply::from_bytes(bytes).map_err(|why| super::fault(key, why))
}

/// The answer that this id was given before.
pub(super) fn find(kv: &dyn Kv, id: &RequestId) -> Result<Option<Reply>, KvFault> {
    let bytes = id_bytes(id);
    let key = keys::answers(&bytes);
    if let Some(stored) = kv.get(&key)?
        && let Some(kept) = parse(&key, &stored)?.into_iter().find(|kept| kept.id == bytes)
    {
        return read(&key, kept.reply).map(Some);
    }
    if earlier(kv, 1)?.is_empty() {
        return Ok(None);
    }
    let key = keys::earlier_answer(id);
    kv.get(&key)?.map(|stored| read(&key, &stored)).transpose()
}

/// Keeps an answer, and forgets what is over.
pub(super) fn keep(
    state: &mut Overlay<'_>,
    clock: Timestamp,
    id: &RequestId,
    reply: &Reply,
) -> Result<(), KvFault> {
    let bytes = id_bytes(id);
    let key = keys::answers(&bytes);
    let reply = reply.to_bytes();
    let Ok(len) = u16::try_from(reply.len()) else {
        return Err(super::fault(
            &key,
            WireError::Body {
                what: "reply",
                why: format!("it takes {} bytes", reply.len()),
            },
        ));
    };
    let stored = state.get(&key)?;
    let kept = match &stored {
        Some(stored) => parse(&key, stored)?,
        None => Vec::new(),
    };
    // The newest first, as many as there is room for.
    let oldest = clock.minus_ms(KEEP_MS);
    let mut size = 1 + HEAD + reply.len();
    let stay = kept.iter().rev().take(SLOT_ANSWERS - 1).take_while(|kept| {
        size += HEAD + kept.reply.len();
        kept.at >= oldest && size <= SLOT_BYTES
    });
    let from = kept.len() - stay.count();
    let mut slot = Vec::with_capacity(SLOT_BYTES.min(1 + (kept.len() - from + 1) * (HEAD + reply.len())));
    slot.push(VERSION);
    for kept in &kept[from..] {
        add(&mut slot, kept.id, kept.at, kept.reply.len() as u16, kept.reply);
    }
    add(&mut slot, bytes, clock, len, &reply);
    state.put(key, slot);
    forget_earlier(state)
}

fn add(slot: &mut Vec<u8>, id: [u8; 16], at: Timestamp, len: u16, reply: &[u8]) {
    slot.extend_from_slice(&id);
    slot.extend_from_slice(&at.ms().to_be_bytes());
    slot.extend_from_slice(&len.to_be_bytes());
    slot.extend_from_slice(reply);
}

/// Keys of the notes of time of the earlier form.
fn earlier(kv: &dyn Kv, limit: usize) -> Result<Vec<Vec<u8>>, KvFault> {
    let found = kv.scan(b"t/", prefix_end(b"t/").as_deref(), limit, false)?;
    Ok(found.into_iter().map(|(key, _)| key).collect())
}

fn forget_earlier(state: &mut Overlay<'_>) -> Result<(), KvFault> {
    for key in earlier(state, FORGET_AT_ONCE)? {
        let id = keys::earlier_answer_id(&key)?;
        state.delete(keys::earlier_answer(&id));
        state.delete(key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::RefusedCommand;
    use crate::kv::MemoryKv;

    fn id(n: u64) -> RequestId {
        // All in one slot.
        RequestId::parse(&format!("00000000-0000-4000-8000-{n:012x}")).expect("a UUID")
    }

    fn put(kv: &mut MemoryKv, ms: u64, n: u64, reply: &Reply) {
        let mut over = Overlay::new(kv);
        keep(&mut over, Timestamp::from_ms(ms), &id(n), reply).expect("kept");
        let changes = over.into_changes();
        kv.commit(changes);
    }

    #[test]
    fn an_answer_is_found_until_its_time_is_over_or_its_slot_is_full() {
        let mut kv = MemoryKv::default();
        for n in 0..16 {
            put(&mut kv, n, n, &Reply::Done { index: n });
        }
        for n in 0..16 {
            assert_eq!(find(&kv, &id(n)), Ok(Some(Reply::Done { index: n })));
        }
        put(&mut kv, 16, 16, &Reply::Done { index: 16 });
        assert_eq!(find(&kv, &id(0)), Ok(None));
        assert_eq!(find(&kv, &id(1)), Ok(Some(Reply::Done { index: 1 })));
        put(&mut kv, KEEP_MS + 16, 17, &Reply::Done { index: 17 });
        assert_eq!(find(&kv, &id(15)), Ok(None));
        assert_eq!(find(&kv, &id(16)), Ok(Some(Reply::Done { index: 16 })));
        assert_eq!(kv.0.len(), 1);
    }

    #[test]
    fn answers_with_long_texts_stay_below_what_a_value_may_take() {
        let mut kv = MemoryKv::default();
        for n in 0..40 {
            let long = Reply::Refused(RefusedCommand::Locked("x".repeat(n as usize * 100)));
            put(&mut kv, n, n, &long);
            assert_eq!(find(&kv, &id(n)), Ok(Some(long)));
            assert!(kv.0.values().all(|slot| slot.len() <= SLOT_BYTES.max(4096)));
        }
    }

    #[test]
    fn answers_of_the_earlier_form_are_found_and_then_forgotten() {
        // Kept as the first version wrote it.
        let mut kv = MemoryKv::default();
        for n in 0..4 {
            let time = [
                b"t/".as_slice(),
                &1000u64.to_be_bytes(),
                id(n).as_str().as_bytes(),
            ]
            .concat();
            kv.0.insert(time, Vec::new());
            let answer = b"\x01\x81\xa4Done\x81\xa5index\x07".to_vec();
            kv.0.insert(format!("q/{}", id(n)).into_bytes(), answer);
        }
        assert_eq!(find(&kv, &id(3)), Ok(Some(Reply::Done { index: 7 })));
        put(&mut kv, 2000, 9, &Reply::Done { index: 9 });
        assert_eq!(find(&kv, &id(0)), Ok(None));
        assert_eq!(find(&kv, &id(3)), Ok(Some(Reply::Done { index: 7 })));
        put(&mut kv, 2000, 10, &Reply::Done { index: 10 });
        assert_eq!(kv.0.len(), 1, "only the slot is left");
    }

    #[test]
    fn a_slot_of_an_unknown_version_or_cut_short_is_a_fault() {
        for bytes in [&[][..], &[1, 2, 3], &[3], &[VERSION, 1]] {
            let mut kv = MemoryKv::default();
            kv.0.insert(keys::answers(&[0; 16]), bytes.to_vec());
            assert!(find(&kv, &id(0)).is_err(), "{bytes:?}");
        }
    }
}
