//! Audit events that leave the state: the seal of a page, applied, and the manifests that it leaves behind.

use super::{STATE_VERSION, audit_bytes, audit_frontier, fault, keys};
use crate::command::{RefusedCommand, SealedPage};
use crate::kv::{Kv, KvFault, Overlay};
use crate::page::{self, PAGE_BYTES_MAX, PageEvents, PageManifest};
use crate::wire;

/// The longest sealed key of a page.
const SEALED_KEY_MAX: usize = 256;

/// The first sequence number that is on no page.
pub fn sealed_until(kv: &dyn Kv) -> Result<u64, KvFault> {
    Ok(last_page(kv)?.map_or(0, |page| page.end()))
}

/// The newest page.
pub fn last_page(kv: &dyn Kv) -> Result<Option<PageManifest>, KvFault> {
    Ok(pages_before(kv, u64::MAX, 1)?.pop())
}

/// Manifests of pages that begin at `from` or later, in order.
pub fn pages_from(kv: &dyn Kv, from: u64, limit: usize) -> Result<Vec<PageManifest>, KvFault> {
    scan(kv, from, u64::MAX, limit, false)
}

/// Manifests of pages that begin before `end`, the last of them first.
pub fn pages_before(kv: &dyn Kv, end: u64, limit: usize) -> Result<Vec<PageManifest>, KvFault> {
    scan(kv, 0, end, limit, true)
}

fn scan(kv: &dyn Kv, from: u64, to: u64, limit: usize, reverse: bool) -> Result<Vec<PageManifest>, KvFault> {
    let pairs = kv.scan(&keys::page(from), Some(&keys::page(to)), limit, reverse)?;
    pairs
        .iter()
        .map(|(key, bytes)| wire::decode("page manifest", STATE_VERSION, bytes).map_err(|e| fault(key, e)))
        .collect()
}

/// The place and the events of the next page: the oldest ones in the state, as many as fit and at most `most`. None if
/// there are none.
pub fn next_page(kv: &dyn Kv, most: u64) -> Result<Option<(u32, PageEvents)>, KvFault> {
    let before = last_page(kv)?;
    let first = before.as_ref().map_or(0, PageManifest::end);
    let number = before.map_or(0, |page| page.number + 1);
    let limit = usize::try_from(most.min(page::PAGE_EVENTS_MAX)).unwrap_or(usize::MAX);
    // Another page may have been sealed between the two looks: what follows a gap is not next.
    let pairs = audit_bytes(kv, first, limit)?.into_iter().zip(first..);
    let mut events: Vec<Vec<u8>> = pairs
        .take_while(|((seq, _), wanted)| seq == wanted)
        .map(|((_, bytes), _)| bytes)
        .collect();
    let sizes: Vec<usize> = events.iter().map(Vec::len).collect();
    let count = page::next_count(first, &sizes, most);
    // No more than there are events.
    events.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    Ok((count > 0).then_some((number, PageEvents { first, events })))
}

/// Puts a manifest in the place of the events that a page holds. The page must be exactly the oldest events in the
/// state, and its root theirs; what searches need is computed here, so that no proposer can hide an event from them.
pub(super) fn seal(
    state: &mut Overlay<'_>,
    sealed: SealedPage,
) -> Result<Result<(), RefusedCommand>, KvFault> {
    let refused = |why: String| Ok(Err(RefusedCommand::Invalid(why)));
    let before = last_page(state)?;
    let first = before.as_ref().map_or(0, PageManifest::end);
    let size = audit_frontier(state)?.size();
    let count = u64::from(sealed.count);
    let number = before.map_or(0, |page| page.number + 1);
    if sealed.number != number
        || sealed.first != first
        || !page::is_page(first, count)
        || count > size - first
    {
        return refused(format!(
            "page {}, {count} entries from {} on, is not the next: that is page {number}, from {first} of {size} on",
            sealed.number, sealed.first
        ));
    }
    let well_formed =
        |hash: &str| hex::decode(hash).is_ok_and(|bytes| bytes.len() == 32 && hex::encode(bytes) == hash);
    if !well_formed(&sealed.file_sha256) || sealed.sealed_key.0.len() > SEALED_KEY_MAX {
        return refused("the page's file has no hash, or its key is too long".into());
    }
    let pairs = audit_bytes(state, first, sealed.count as usize)?;
    // Every key from the last page to the frontier is there, or this node's state is damaged.
    let found = pairs
        .iter()
        .map(|(seq, _)| *seq)
        .chain(std::iter::repeat(u64::MAX));
    if let Some((seq, _)) = (first..first + count)
        .zip(found)
        .find(|(seq, found)| seq != found)
    {
        return Err(KvFault {
            key: format!("a/{seq}"),
            why: "an audit event is missing".into(),
        });
    }
    let page = PageEvents {
        first,
        events: pairs.into_iter().map(|(_, bytes)| bytes).collect(),
    };
    if page.bytes() > PAGE_BYTES_MAX {
        return refused(format!(
            "the page takes {} bytes and may take {PAGE_BYTES_MAX}",
            page.bytes()
        ));
    }
    if hex::encode(page.root()) != sealed.root {
        return refused("the page does not hold the events that are in the state".into());
    }
    let manifest = PageManifest {
        number,
        first,
        count: sealed.count,
        root: sealed.root,
        file_sha256: sealed.file_sha256,
        sealed_key: sealed.sealed_key,
        summary: page.summary().map_err(|e| fault(&keys::audit_key(first), e))?,
    };
    state.put(keys::page(first), wire::encode(STATE_VERSION, &manifest));
    (first..first + count).for_each(|seq| state.delete(keys::audit_key(seq)));
    Ok(Ok(()))
}
