//! [`Authorities`] over the cluster's real ones.

use crate::ports::{Authorities, Holder, NotVouched};
use palisade_ca::{
    HostCertRequest, HostNames, Principals, Signer, StandardExtension, SubjectKey, UserCertRequest,
    check_host_cert, check_user_cert, generate_ssh_key, sign_host_cert, sign_user_cert,
};
use palisade_core::access::{Credential, Permit};
use palisade_core::name::{Login, Name};
use palisade_core::time::Timestamp;
use palisade_session::ssh::client::Identity;
use palisade_session::ssh::keys::ssh_key::{Certificate, PrivateKey, PublicKey};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// How long the certificate for one connection to a host lives, and how far it is backdated for clocks that differ.
const DIAL_SECS: u64 = 60;
const BACKDATE_SECS: u64 = 60;

/// How long the certificates live that users see.
const HOST_SECS: u64 = 24 * 3600;

/// The cluster's authorities, opened on this node.
pub struct ClusterAuthorities {
    user: Arc<Signer>,
    host: Arc<Signer>,
    user_keys: Vec<PublicKey>,
    host_keys: Vec<PublicKey>,
    /// The node's own host key: made at start, never stored.
    key: PrivateKey,
}

impl ClusterAuthorities {
    /// Takes the opened signers of the user and the host authority.
    pub fn new(user: Arc<Signer>, host: Arc<Signer>) -> Result<Self, NotVouched> {
        Ok(ClusterAuthorities {
            user_keys: public_keys(&user)?,
            host_keys: public_keys(&host)?,
            user,
            host,
            key: generate_ssh_key().map_err(failed)?,
        })
    }
}

fn public_keys(signer: &Signer) -> Result<Vec<PublicKey>, NotVouched> {
    let line = signer.public().ssh_public_key.as_deref();
    palisade_ca::parse_trusted_keys(line).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> NotVouched {
    NotVouched(error.to_string())
}

fn subject(key: &PrivateKey) -> Result<SubjectKey, NotVouched> {
    SubjectKey::parse(&key.public_key().to_openssh().map_err(failed)?).map_err(failed)
}

/// A number that no two certificates share; those of people are log indexes, far below the highest bit.
fn serial() -> u64 {
    rand::random::<u64>() | (1 << 63)
}

impl Authorities for ClusterAuthorities {
    fn check_user(
        &self,
        certificate: &Certificate,
        client: IpAddr,
        now: Timestamp,
    ) -> Result<Holder, NotVouched> {
        let checked = check_user_cert(certificate, &self.user_keys, now.secs()).map_err(failed)?;
        if !checked.allows_source(client.to_canonical()) {
            return Err(NotVouched(
                "the certificate is not for use from this address".into(),
            ));
        }
        let principals = checked
            .principals
            .iter()
            .map(|p| Login::parse(p))
            .collect::<Result<_, _>>();
        Ok(Holder {
            user: Name::parse(&checked.key_id).map_err(failed)?,
            credential: Credential {
                principals: principals.map_err(failed)?,
                serial: checked.serial,
                valid_before: Timestamp::from_secs(checked.valid_before),
                // Checked above, for networks as well as for single addresses.
                source_address: None,
            },
            extensions: checked.extensions.into_keys().collect(),
        })
    }

    fn check_host(
        &self,
        certificate: &Certificate,
        names: &[String],
        now: Timestamp,
    ) -> Result<(), NotVouched> {
        let mut last = NotVouched("no name to check".into());
        for name in names {
            match check_host_cert(certificate, &self.host_keys, name, now.secs()) {
                Ok(_) => return Ok(()),
                Err(refusal) => last = failed(refusal),
            }
        }
        Err(last)
    }

    fn host_identity(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<(PrivateKey, Certificate), NotVouched> {
        let request = HostCertRequest {
            public_key: subject(&self.key)?,
            key_id: names.first().cloned().unwrap_or_default(),
            host_names: HostNames::new(names.iter().cloned()).map_err(failed)?,
            valid_after: now.secs().saturating_sub(BACKDATE_SECS),
            valid_before: now.secs() + HOST_SECS,
            ttl_max_secs: HOST_SECS + BACKDATE_SECS,
            serial: serial(),
        };
        let line = sign_host_cert(&self.host, &request).map_err(failed)?;
        Ok((
            self.key.clone(),
            Certificate::from_openssh(&line).map_err(failed)?,
        ))
    }

    fn dial_identity(&self, permit: &Permit, now: Timestamp) -> Result<Identity, NotVouched> {
        let key = generate_ssh_key().map_err(failed)?;
        let request = UserCertRequest {
            public_key: subject(&key)?,
            key_id: permit.user().to_string(),
            principals: Principals::new([permit.login().as_str()]).map_err(failed)?,
            valid_after: now.secs().saturating_sub(BACKDATE_SECS),
            valid_before: now.secs() + DIAL_SECS,
            ttl_max_secs: DIAL_SECS + BACKDATE_SECS,
            serial: serial(),
            // What the user may do is decided channel by channel before it reaches the host.
            extensions: BTreeSet::from([
                StandardExtension::Pty,
                StandardExtension::PortForwarding,
                StandardExtension::AgentForwarding,
                StandardExtension::UserRc,
            ]),
            custom_extensions: BTreeMap::new(),
            source_networks: Vec::new(),
        };
        let line = sign_user_cert(&self.user, &request).map_err(failed)?;
        let certificate = Certificate::from_openssh(&line).map_err(failed)?;
        Ok(Identity {
            key: Arc::new(key),
            certificate,
        })
    }
}
