//! The cluster's authorities, opened on a node: their private keys come sealed out of the state, and leave this
//! module only as [`Signer`]s, which sign and do nothing else.

use crate::authority::AuthorityPublic;
use crate::seal::Seal;
use crate::signer::{OpenError, Signer};
use palisade_core::command::Sealed;
use palisade_core::kv::{Kv, KvFault};
use palisade_core::name::Name;
use palisade_core::record::{AuthorityType, CertAuthoritySpec};
use palisade_core::state;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// An authority cannot be used on this node.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityFault {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] KvFault),
    /// It is not there: the cluster is not initialised, or this node has not caught up.
    #[error("there is no {0} authority on this node yet")]
    Missing(AuthorityType),
    /// Its private key does not open under this node's cluster key.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The public half of an authority.
pub fn public_authority(kv: &dyn Kv, authority: AuthorityType) -> Result<CertAuthoritySpec, AuthorityFault> {
    let missing = AuthorityFault::Missing(authority);
    let Ok(name) = Name::parse(authority.as_str()) else {
        return Err(missing);
    };
    Ok(state::record::<CertAuthoritySpec>(kv, &name)?
        .ok_or(missing)?
        .spec)
}

/// Opens authorities when they are first needed.
pub struct Authorities {
    seal: Arc<dyn Seal>,
    /// With the sealed bytes that were opened, so that a rotated key is opened anew.
    opened: Mutex<HashMap<AuthorityType, (Sealed, Arc<Signer>)>>,
}

impl Authorities {
    /// Opens with this seal.
    pub fn new(seal: Arc<dyn Seal>) -> Self {
        Authorities {
            seal,
            opened: Mutex::new(HashMap::new()),
        }
    }

    /// The signer of an authority.
    pub fn signer(&self, kv: &dyn Kv, authority: AuthorityType) -> Result<Arc<Signer>, AuthorityFault> {
        let missing = || AuthorityFault::Missing(authority);
        let cluster = state::cluster(kv)?.ok_or_else(missing)?;
        let sealed = state::sealed_authority(kv, authority)?.ok_or_else(missing)?;
        // A map of finished values is whole also after a panic elsewhere.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bytes, signer)) = opened.get(&authority)
            && *bytes == sealed
        {
            return Ok(signer.clone());
        }
        let public = AuthorityPublic::of(&public_authority(kv, authority)?);
        let signer = Signer::open(
            authority,
            cluster.id.as_str(),
            &sealed.0,
            &public,
            self.seal.as_ref(),
        )?;
        let signer = Arc::new(signer);
        opened.insert(authority, (sealed, signer.clone()));
        Ok(signer)
    }
}
