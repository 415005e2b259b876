//! What an agent's SSH server is given, and what may be replaced while it runs.

use crate::env::AllowedEnv;
use palisade_core::name::Name;
use palisade_session::ssh::keys::ssh_key::Certificate;
use palisade_session::ssh::keys::{PrivateKey, PublicKey};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The host's key and its certificate of the host authority.
#[derive(Clone)]
pub struct HostIdentity {
    /// The private key.
    pub key: PrivateKey,
    /// The certificate of its public half.
    pub certificate: Certificate,
}

impl std::fmt::Debug for HostIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostIdentity")
            .field("key_id", &self.certificate.key_id())
            .finish_non_exhaustive()
    }
}

/// How an agent serves.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The host's name in the cluster.
    pub host: Name,
    /// Under which key; replaced by [`Server::set_identity`](crate::Server::set_identity).
    pub identity: HostIdentity,
    /// The user authorities; replaced by [`Server::set_user_authorities`](crate::Server::set_user_authorities).
    pub user_authorities: Vec<PublicKey>,
    /// The program that becomes the user: see [`helper_beside_us`].
    pub helper: PathBuf,
    /// Variables that a client may set.
    pub env: AllowedEnv,
    /// Where recordings wait while no node can be reached. Made when it is needed, readable by the agent only.
    pub spool: PathBuf,
    /// The most that waits there, in bytes.
    pub spool_bytes_max: u64,
    /// How long a session waits for its owner after their connection was lost.
    pub grace: Duration,
    /// How long a connection may take to log in.
    pub login_grace: Duration,
}

impl ServerConfig {
    /// The usual settings.
    pub fn new(
        host: Name,
        identity: HostIdentity,
        user_authorities: Vec<PublicKey>,
        helper: PathBuf,
        spool: PathBuf,
    ) -> Self {
        ServerConfig {
            host,
            identity,
            user_authorities,
            helper,
            env: AllowedEnv::default(),
            spool,
            spool_bytes_max: 1 << 30,
            grace: Duration::from_secs(60),
            login_grace: palisade_session::ssh::config::LOGIN_GRACE,
        }
    }
}

/// Where the helper is when it was installed with us: beside our own executable, or, as nobody calls it by hand, where a
/// package puts such programs.
pub fn helper_beside_us() -> std::io::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("palisade-spawn");
    let packaged = beside
        .parent()
        .and_then(Path::parent)
        .map(|prefix| prefix.join("libexec/palisade-spawn"))
        .filter(|path| path.exists());
    Ok(match packaged {
        Some(packaged) if !beside.exists() => packaged,
        _ => beside,
    })
}
