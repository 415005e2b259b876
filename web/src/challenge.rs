//! What is remembered between a question and its answer: it goes out sealed and comes back with the answer, so that any
//! node can take that. Whoever has the answer taken makes sure that it is taken once.

use crate::ask::Ask;
use crate::error::Failure;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palisade_ca::SealContext;
use palisade_core::state;
use palisade_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How long a question may be answered, in milliseconds.
pub(crate) const ANSWER_MS: u64 = state::PASSKEY_CHALLENGE_MS;
/// The longest challenge that is opened, in characters.
const CHALLENGE_MAX: usize = 16 * 1024;

/// What is remembered, and since when.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pending<T> {
    pub(crate) issued: Timestamp,
    pub(crate) state: T,
}

fn context(ask: &Ask, what: &str) -> Result<SealContext, Failure> {
    let cluster = state::cluster(ask.kv().as_ref())?
        .ok_or_else(|| Failure::unavailable("this node is in no cluster yet"))?;
    Ok(SealContext::new(cluster.id.as_str(), what, 1))
}

/// Seals what is to be remembered. `what` keeps questions of different kinds apart.
pub(crate) fn seal<T: Serialize>(ask: &Ask, what: &str, state: T) -> Result<String, Failure> {
    let pending = Pending {
        issued: ask.now(),
        state,
    };
    let bytes = serde_json::to_vec(&pending).map_err(|e| Failure::internal("challenge", &e))?;
    let sealed = ask.app.api.seal.seal(context(ask, what)?.as_str(), &bytes);
    let sealed = sealed.map_err(|e| Failure::internal("challenge", &e))?;
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

/// Opens what came back, if it is of this kind and not too old.
pub(crate) fn open<T: DeserializeOwned>(ask: &Ask, what: &str, id: &str) -> Result<Pending<T>, Failure> {
    let foreign = || Failure::invalid("id: this is no challenge of this cluster");
    if id.len() > CHALLENGE_MAX {
        return Err(foreign());
    }
    let bytes = URL_SAFE_NO_PAD.decode(id).map_err(|_| foreign())?;
    let open = ask.app.api.seal.open(context(ask, what)?.as_str(), &bytes);
    let pending: Pending<T> = serde_json::from_slice(&open.map_err(|_| foreign())?).map_err(|_| foreign())?;
    if ask.now().since_ms(pending.issued) > ANSWER_MS {
        return Err(Failure::invalid("this took too long: try again"));
    }
    Ok(pending)
}
