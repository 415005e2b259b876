//! What a node keeps in its data directory beside the stores: who it is, its peer certificate and key, and the
//! cluster key. A directory is a node's from the moment its [`Identity`] is there, which is written last.

use palisade_raft::PeerTls;
use palisade_storage::{Identity, IdentityError};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The file of the peer key, the certificate and the peer authorities.
const PEER: &str = "peer.pem";

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is there and makes no sense.
    #[error(
        "{path} is damaged: {why}. Restore the file, or move the whole directory aside and join the cluster anew with `palctl cluster join`"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It belongs to nobody yet, to another, or is damaged.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The directory is another node's.
    #[error(
        "{path} belongs to node {found:?}, and this node's name is {ours:?}: correct `name` or `data_dir` in the configuration"
    )]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who we are.
        ours: String,
    },
}

/// A data directory.
#[derive(Debug, Clone)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// Opens or makes the directory, mode 0700.
    pub fn open(dir: &Path) -> Result<Home, HomeError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| file_error(dir, e))?;
        Ok(Home { dir: dir.to_owned() })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of the cluster key.
    pub fn cluster_key(&self) -> PathBuf {
        self.dir.join("cluster.key")
    }

    /// The first entry of a cluster that is being made: kept until it is committed, so that a crash in between is
    /// finished at the next start instead of leaving half a cluster.
    pub fn pending_init(&self) -> PathBuf {
        self.dir.join("init.pending")
    }

    /// Who this directory belongs to; `None` if to nobody yet.
    pub fn identity(&self, name: &str) -> Result<Option<Identity>, HomeError> {
        match Identity::load(&self.dir)? {
            Some(identity) if identity.name != name => Err(HomeError::OtherNode {
                path: self.dir.clone(),
                found: identity.name,
                ours: name.into(),
            }),
            found => Ok(found),
        }
    }

    /// Writes the peer certificate and what belongs to it. All in one file: a crash between a new key and its
    /// certificate would leave a node that cannot start.
    pub fn write_peer(&self, peer: &PeerFiles) -> Result<(), HomeError> {
        let parts = [
            peer.private_key.as_str(),
            peer.certificate.as_str(),
            peer.authorities.as_str(),
        ];
        let pem = Zeroizing::new(parts.join("\n"));
        self.write(PEER, pem.as_bytes())
    }

    /// The peer certificate and key, as the Raft room takes them.
    pub fn peer_tls(&self) -> Result<PeerTls, HomeError> {
        let path = self.dir.join(PEER);
        let pem = Zeroizing::new(fs::read(&path).map_err(|e| file_error(&path, e))?);
        let damaged = |why: String| HomeError::Damaged {
            path: path.clone(),
            why,
        };
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| damaged(e.to_string()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let mut certificates = certificates.map_err(|e| damaged(e.to_string()))?.into_iter();
        let own = certificates
            .next()
            .ok_or_else(|| damaged("it holds no certificate".into()))?;
        Ok(PeerTls {
            cert_chain: vec![own],
            key: Arc::new(key),
            authorities: certificates.collect(),
        })
    }

    /// Replaces a file whole or not at all, mode 0600, durable when this returns.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        let path = self.dir.join(name);
        let tmp = self.dir.join(format!("{name}.tmp"));
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&tmp)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&tmp, &path)?;
            File::open(&self.dir)?.sync_all()
        })();
        written.map_err(|e| file_error(&path, e))
    }
}

/// A node's peer certificate and what belongs to it, in PEM.
pub struct PeerFiles {
    /// PKCS#8.
    pub private_key: Zeroizing<String>,
    /// The node's own.
    pub certificate: String,
    /// The peer authorities', one after another.
    pub authorities: String,
}

fn file_error(path: &Path, source: io::Error) -> HomeError {
    HomeError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_node_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = Home::open(dir.path()).expect("a home");
        assert_eq!(home.identity("a").expect("empty"), None);
        let made = Identity::create(dir.path(), "c", 1, "a", 7).expect("made");
        assert_eq!(home.identity("a").expect("ours"), Some(made));
        assert!(matches!(home.identity("b"), Err(HomeError::OtherNode { .. })));
    }

    #[test]
    fn a_renewed_certificate_replaces_key_and_certificate_at_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = Home::open(dir.path()).expect("a home");
        let pem = |label: &str, bytes: &[u8]| {
            let body = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes);
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        for life in [b"one".as_slice(), b"two"] {
            let files = PeerFiles {
                private_key: Zeroizing::new(pem("PRIVATE KEY", life)),
                certificate: pem("CERTIFICATE", life),
                authorities: pem("CERTIFICATE", b"ca") + &pem("CERTIFICATE", b"old ca"),
            };
            home.write_peer(&files).expect("written");
            let tls = home.peer_tls().expect("read");
            assert_eq!(tls.key.secret_der(), life);
            assert_eq!(tls.cert_chain, [CertificateDer::from_slice(life)]);
            let authorities = [b"ca".as_slice(), b"old ca"].map(CertificateDer::from_slice);
            assert_eq!(tls.authorities, authorities);
        }
        assert_eq!(
            fs::read_dir(dir.path()).expect("dir").count(),
            1,
            "one file holds all"
        );
    }

    #[test]
    fn a_log_without_an_identity_is_not_started_as_a_new_node() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = Home::open(dir.path()).expect("a home");
        fs::create_dir(dir.path().join("raft")).expect("made");
        assert!(matches!(home.identity("a"), Err(HomeError::Identity(_))));
    }
}
