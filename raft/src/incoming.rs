//! Receiving a snapshot: piece by piece into a file that counts for nothing until all of it is there and its hash
//! is right and what it holds was checked.

use std::io::Write as _;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tonic::{Status, Streaming};

use crate::codec;
use crate::guard;
use crate::shared::Shared;
use crate::store::{SnapshotData, verify_received};
use crate::types::{Snapshot, Vote};
use crate::wire::SnapshotChunk;
use palisade_core::peer::PeerIdentity;

/// A sender that is silent for this long has gone.
const STALL: Duration = Duration::from_secs(10);

pub(crate) struct Received {
    pub(crate) vote: Vote,
    pub(crate) snapshot: Snapshot,
}

fn wrong(why: &str) -> Status {
    tracing::warn!(why, "a snapshot was refused");
    Status::data_loss(format!("snapshot refused: {why}"))
}

async fn next(chunks: &mut Streaming<SnapshotChunk>) -> Result<Option<SnapshotChunk>, Status> {
    match tokio::time::timeout(STALL, chunks.message()).await {
        Ok(chunk) => chunk,
        Err(_) => Err(Status::deadline_exceeded("the snapshot stalled")),
    }
}

pub(crate) async fn receive(
    shared: &Shared,
    peer: &PeerIdentity,
    mut chunks: Streaming<SnapshotChunk>,
) -> Result<Received, Status> {
    let head = next(&mut chunks).await?.ok_or_else(|| wrong("empty"))?;
    guard::check(shared, peer, head.from, head.to)?;
    let vote = head.vote.ok_or_else(|| wrong("no vote"))?.into_vote();
    guard::check_leader(peer, &vote)?;
    guard::check_term(shared, peer, &vote)?;
    let meta = codec::decode_snapshot_meta(&head.meta).map_err(|e| wrong(&e.to_string()))?;
    let mut hash = Sha256::new();
    let mut offset = 0u64;
    let store_failed = |e: &dyn std::fmt::Display| Status::resource_exhausted(e.to_string());
    let mut incoming = shared.state.new_incoming().map_err(|e| store_failed(&e))?;
    let sha256 = loop {
        let chunk = next(&mut chunks)
            .await?
            .ok_or_else(|| wrong("it ends too early"))?;
        guard::check(shared, peer, chunk.from, chunk.to)?;
        if chunk.offset != offset {
            return Err(wrong("a piece is missing, doubled or out of order"));
        }
        if chunk.end {
            break chunk.sha256;
        }
        hash.update(&chunk.data);
        offset += chunk.data.len() as u64;
        incoming = crate::runtime::blocking(move || incoming.write_all(&chunk.data).map(|()| incoming))
            .await
            .map_err(|e| store_failed(&e))?
            .map_err(|e| store_failed(&e))?;
    };
    if next(&mut chunks).await?.is_some() {
        return Err(wrong("there is more behind its end"));
    }
    if sha256 != hash.finalize().as_slice() {
        return Err(wrong("its hash is wrong"));
    }
    let announced = meta.clone();
    let incoming =
        crate::runtime::blocking(move || verify_received(&mut incoming, &announced).map(|()| incoming))
            .await
            .map_err(|e| store_failed(&e))?
            .map_err(|e| wrong(&e.to_string()))?;
    Ok(Received {
        vote,
        snapshot: Snapshot {
            meta,
            snapshot: SnapshotData::Received(incoming),
        },
    })
}
