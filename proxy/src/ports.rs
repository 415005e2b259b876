//! What the proxy needs beside [`palisade_core::ports::Consensus`]: who vouches for keys, and where recordings go.

use palisade_core::access::{Credential, Permit};
use palisade_core::name::{Name, SessionId};
use palisade_core::ports::{Pending, Unavailable};
use palisade_core::record::{Completeness, RecordingMode};
use palisade_core::time::Timestamp;
use palisade_session::ssh::client::Identity;
use palisade_session::ssh::keys::PrivateKey;
use palisade_session::ssh::keys::ssh_key::Certificate;
use palisade_session::ssh::relay::Chunk;

/// What a user certificate says, once it was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Whose it is.
    pub user: Name,
    /// What it allows.
    pub credential: Credential,
    /// Extensions that it carries, such as `permit-pty`.
    pub extensions: Vec<String>,
    /// Its serial number, for the audit log.
    pub serial: u64,
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
    fn check_host(&self, certificate: &Certificate, names: &[String], now: Timestamp) -> Result<(), NotVouched>;

    /// The node's host key with a certificate for `names`, under which the node ends a user's connection.
    fn host_identity(&self, names: &[String], now: Timestamp) -> Result<(PrivateKey, Certificate), NotVouched>;

    /// A fresh key with a certificate for the permit's login, good for a minute: what the node dials a host with.
    fn dial_identity(&self, permit: &Permit, now: Timestamp) -> Result<Identity, NotVouched>;
}

/// How a recording ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Whole or cut off.
    pub completeness: Completeness,
    /// Chunks written.
    pub chunks: u32,
    /// Bytes of output in it.
    pub output_bytes: u64,
    /// Hex SHA-256 of the last chunk.
    pub last_chunk: String,
}

/// One recording being made.
pub trait RecordingSink: Send + Sync {
    /// The size of the terminal, at the start and when it changes.
    fn resize(&mut self, at: Timestamp, columns: u32, rows: u32);
    /// Somebody typed this many bytes; what was typed is not recorded.
    fn input(&mut self, at: Timestamp, bytes: u64);
    /// Output. Ready when it may be shown to the user: in strict mode once it is durable, otherwise once it is
    /// accepted into a bounded queue.
    fn output<'a>(&'a mut self, at: Timestamp, data: &'a [Chunk]) -> Pending<'a, Result<(), Unavailable>>;
    /// Writes what is left.
    fn finish(self: Box<Self>) -> Pending<'static, Recorded>;
}

/// Makes recordings.
pub trait Recorders: Send + Sync + 'static {
    /// Prepares one. The second value is the sealed data key, in hex, for the index row that is committed before the
    /// first byte is recorded.
    fn begin(
        &self,
        session: &SessionId,
        mode: RecordingMode,
    ) -> Result<(Box<dyn RecordingSink>, String), Unavailable>;
}
