//! What the proxy needs beside [`palisade_core::ports`]: who vouches for keys.

use palisade_core::access::{Credential, Permit};
use palisade_core::name::Name;
use palisade_core::time::Timestamp;
use palisade_session::ssh::client::Identity;
use palisade_session::ssh::keys::PrivateKey;
use palisade_session::ssh::keys::ssh_key::Certificate;

/// What a user certificate says, once it was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Whose it is.
    pub user: Name,
    /// What it allows.
    pub credential: Credential,
    /// Extensions that it carries, such as `permit-pty`.
    pub extensions: Vec<String>,
}

/// Why a key or certificate could not be made or is not accepted. Shown to operators and in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotVouched(pub String);

/// The cluster's authorities: checks certificates and signs the short-lived ones that the proxy itself uses.
pub trait Authorities: Send + Sync + 'static {
    /// Checks everything about a user certificate but the possession of its key, which the handshake proves: type,
    /// authority, time, principals, critical options, and that it may be used from `client`.
    fn check_user(
        &self,
        certificate: &Certificate,
        client: std::net::IpAddr,
        now: Timestamp,
    ) -> Result<Holder, NotVouched>;

    /// Checks the certificate of a host that was dialled under one of `names`.
    fn check_host(
        &self,
        certificate: &Certificate,
        names: &[String],
        now: Timestamp,
    ) -> Result<(), NotVouched>;

    /// The node's host key with a certificate for `names`, under which the node ends a user's connection.
    fn host_identity(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<(PrivateKey, Certificate), NotVouched>;

    /// A fresh key with a certificate for the permit's login, good for a minute: what the node dials a host with.
    fn dial_identity(&self, permit: &Permit, now: Timestamp) -> Result<Identity, NotVouched>;
}
