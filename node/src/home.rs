//! What a node keeps in its data directory beside the stores: who it is, its peer certificate and key, and the
//! cluster key. A directory is a node's from the moment `identity.json` is there, which is written last.

use palisade_core::name::ClusterId;
use palisade_raft::PeerTls;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Version of this file's format.
    pub format: u32,
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// The node's id.
    pub node_id: u64,
    /// The node's name when it joined.
    pub name: String,
    /// Made anew with each data directory.
    pub incarnation: u64,
    /// Whether the stores have been opened once: from then on a missing one is a loss, not a beginning.
    pub started: bool,
}

/// The format that this program writes.
const FORMAT: u32 = 1;

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
        let path = self.dir.join("identity.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return self.no_identity(),
            Err(e) => return Err(file_error(&path, e)),
        };
        let identity: Identity = serde_json::from_str(&text).map_err(|e| HomeError::Damaged {
            path: path.clone(),
            why: e.to_string(),
        })?;
        if identity.format != FORMAT {
            let why = format!("format {} is not known to this program", identity.format);
            return Err(HomeError::Damaged { path, why });
        }
        if identity.name != name {
            return Err(HomeError::OtherNode {
                path: self.dir.clone(),
                found: identity.name,
                ours: name.into(),
            });
        }
        Ok(Some(identity))
    }

    /// Stores without an identity would be started as a new node that has forgotten its vote.
    fn no_identity(&self) -> Result<Option<Identity>, HomeError> {
        if self.dir.join("raft").exists() {
            let why = "there is a Raft log but no identity.json".to_owned();
            return Err(HomeError::Damaged {
                path: self.dir.clone(),
                why,
            });
        }
        Ok(None)
    }

    /// Makes the directory a node's: certificate and key first, the identity last.
    pub fn settle(&self, identity: &Identity, peer: &PeerFiles) -> Result<(), HomeError> {
        self.write("peer.key", peer.private_key.as_bytes())?;
        self.write("peer.crt", peer.certificate.as_bytes())?;
        self.write("peer-ca.crt", peer.authorities.as_bytes())?;
        self.write_identity(identity)
    }

    /// Remembers that the stores are there.
    pub fn mark_started(&self, identity: &Identity) -> Result<(), HomeError> {
        self.write_identity(&Identity {
            started: true,
            ..identity.clone()
        })
    }

    fn write_identity(&self, identity: &Identity) -> Result<(), HomeError> {
        let text =
            serde_json::to_vec_pretty(identity).map_err(|e| file_error(&self.dir, io::Error::other(e)))?;
        self.write("identity.json", &text)
    }

    /// An identity in this program's format.
    pub fn new_identity(cluster_id: ClusterId, node_id: u64, name: &str, incarnation: u64) -> Identity {
        Identity {
            format: FORMAT,
            cluster_id,
            node_id,
            name: name.to_owned(),
            incarnation,
            started: false,
        }
    }

    /// The peer certificate and key, as the Raft room takes them.
    pub fn peer_tls(&self) -> Result<PeerTls, HomeError> {
        let certificates = |name: &str| {
            let path = self.dir.join(name);
            let pem = fs::read(&path).map_err(|e| file_error(&path, e))?;
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            found.map_err(|e| HomeError::Damaged {
                path,
                why: e.to_string(),
            })
        };
        let path = self.dir.join("peer.key");
        let pem = Zeroizing::new(fs::read(&path).map_err(|e| file_error(&path, e))?);
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| HomeError::Damaged {
            path,
            why: e.to_string(),
        })?;
        Ok(PeerTls {
            cert_chain: certificates("peer.crt")?,
            key: Arc::new(key),
            authorities: certificates("peer-ca.crt")?,
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
        let id = ClusterId::parse("0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a").expect("a UUID");
        let identity = Home::new_identity(id, 1, "a", 7);
        home.write(
            "identity.json",
            &serde_json::to_vec(&identity).expect("plain data"),
        )
        .expect("written");
        assert_eq!(home.identity("a").expect("ours"), Some(identity));
        assert!(matches!(home.identity("b"), Err(HomeError::OtherNode { .. })));
    }

    #[test]
    fn a_log_without_an_identity_is_not_started_as_a_new_node() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = Home::open(dir.path()).expect("a home");
        fs::create_dir(dir.path().join("raft")).expect("made");
        assert!(matches!(home.identity("a"), Err(HomeError::Damaged { .. })));
    }
}
