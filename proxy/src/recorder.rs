//! Recordings made at a node: their keys, and where their chunks go. The rest is the same as at an agent.

use palisade_core::name::SessionId;
use palisade_core::ports::{Consensus, Pending, Recordings, Unavailable};
use palisade_core::time::Timestamp;
use palisade_session::recorder::Ship;
use palisade_session::recording::DataKey;
use std::sync::Arc;

/// Chunks of a node's own sessions go to a majority of nodes.
pub(crate) struct ToNodes {
    pub(crate) recordings: Arc<dyn Recordings>,
    pub(crate) consensus: Arc<dyn Consensus>,
}

impl ToNodes {
    /// A key for the session; and its sealed form in hex, which belongs into the index row.
    pub(crate) fn key(&self, session: &SessionId) -> Result<(DataKey, String), Unavailable> {
        let key = DataKey::generate().map_err(|e| Unavailable::Fault(e.to_string()))?;
        let sealed = self.recordings.seal_key(session, key.expose())?;
        Ok((key, hex::encode(sealed)))
    }
}

impl Ship for ToNodes {
    fn now(&self) -> Timestamp {
        self.consensus.now()
    }

    fn ship<'a>(
        &'a self,
        session: &'a SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Pending<'a, Result<(), Unavailable>> {
        self.recordings.ship(session, seq, bytes)
    }
}
