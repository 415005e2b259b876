//! Looking for a text in one recording, a bounded part at a time.

use super::{Chunks, NodeRecordings};
use palisade_core::ports::{FoundText, SearchOrder, SearchedPart, Unavailable};
use palisade_core::record::{Completeness, RecordingSpec};
use palisade_session::recording::{Chain, DataKey, EventKind, Match, Search};
use std::sync::Arc;
use std::time::Instant;

/// A search in one recording, on a thread of its own.
pub(super) struct Searching {
    pub(super) recordings: Arc<NodeRecordings>,
    pub(super) row: RecordingSpec,
    pub(super) key: DataKey,
    pub(super) found: Chunks,
    pub(super) order: SearchOrder,
}

impl Searching {
    pub(super) fn run(self, waiter: &tokio::runtime::Handle) -> Result<SearchedPart, Unavailable> {
        let began = Instant::now();
        let mut part = SearchedPart::default();
        let SearchOrder {
            from_chunk,
            most_hits,
            most_bytes,
            within,
            ..
        } = self.order;
        // A part begins one chunk before what it looks at, so that what begins there and ends behind is found.
        let first = from_chunk.saturating_sub(1);
        let Some(mut chain) = self.chain(first) else {
            part.gap = Some(format!(
                "chunk {} is on no node that answers",
                first.saturating_sub(1)
            ));
            return Ok(part);
        };
        let mut search = Search::new(self.order.query.clone(), most_hits);
        for (seq, (name, node)) in self.found.range(first..) {
            let over = part.bytes >= most_bytes || began.elapsed() >= within;
            if over && *seq > from_chunk {
                part.next_chunk = Some(*seq);
                break;
            }
            let bytes = waiter.block_on(self.recordings.fetch(name, *node))?;
            let Ok(events) = chain.feed(&bytes) else {
                part.gap = Some(chain.finish().to_string());
                break;
            };
            for played in &events {
                part.bytes += size(&played.event.kind);
                search.push(played);
                if *seq < from_chunk {
                    search.forget_found();
                }
            }
            if search.is_full() {
                part.more = true;
                break;
            }
        }
        let whole = chain.next_seq() >= u64::from(self.row.chunks);
        let stopped = part.next_chunk.is_some() || part.more || part.gap.is_some();
        if !stopped && !whole && self.row.completeness != Completeness::Live {
            part.gap = Some(chain.finish().to_string());
        }
        part.hits = search.finish().into_iter().map(found_text).collect();
        Ok(part)
    }

    /// The chain from a chunk on; none if what it must follow is not there.
    fn chain(&self, first: u32) -> Option<Chain<'_>> {
        let before = match first.checked_sub(1) {
            None => [0; 32],
            Some(before) => *self.found.get(&before)?.0.hash(),
        };
        let session = (&self.row.session).into();
        Some(Chain::from_chunk(session, &self.key, u64::from(first), before))
    }
}

/// What an event costs to look at.
fn size(kind: &EventKind) -> u64 {
    let bytes = match kind {
        EventKind::Output(bytes) | EventKind::ErrorOutput(bytes) | EventKind::Input(bytes) => bytes.len(),
        EventKind::Note(text) | EventKind::ExecStart { command: text } => text.len(),
        EventKind::InputSize(_)
        | EventKind::Resize { .. }
        | EventKind::Exit { .. }
        | EventKind::Captured { .. } => 0,
    };
    bytes as u64
}

fn found_text(found: Match) -> FoundText {
    FoundText {
        at_ms: found.at_ms,
        before: found.before,
        found: found.text,
        rest: found.after,
    }
}
