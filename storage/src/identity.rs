//! Which node of which cluster a data directory belongs to.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{REPAIR_COMMAND, files};

/// Version of `identity.json`.
const FORMAT: u32 = 1;

/// Whose data directory this is, in `identity.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    format: u32,
    /// The cluster.
    pub cluster: String,
    /// The node in it. Never given out twice.
    pub node: u64,
    /// The node's name when it joined.
    pub name: String,
    /// A random number made anew each time a data directory is made, so that an old copy of one is told from the
    /// one in use. Its certificate carries it.
    pub incarnation: u64,
    /// The stores have been made: from now on they must be there.
    pub complete: bool,
}

/// Why a data directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{} is damaged: {why}; repair this node from its peers: {REPAIR_COMMAND}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It was written by a newer program.
    #[error("{} has format version {found}, this program knows {FORMAT}; start the newer version", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// Stores without an identity.
    #[error("{} holds {what} but no identity.json: it was half made, half removed or half copied; use an empty directory or repair this node from its peers: {REPAIR_COMMAND}", path.display())]
    HalfMade {
        /// The data directory.
        path: PathBuf,
        /// What was found in it.
        what: String,
    },
    /// There is one already.
    #[error("{} belongs to node {node} of cluster {cluster} already", path.display())]
    Taken {
        /// The data directory.
        path: PathBuf,
        /// Its node.
        node: u64,
        /// Its cluster.
        cluster: String,
    },
    /// It is another cluster's.
    #[error("{} belongs to cluster {found}, not to {expected}; give this node its own data directory", path.display())]
    OtherCluster {
        /// The data directory.
        path: PathBuf,
        /// The cluster found.
        found: String,
        /// The cluster expected.
        expected: String,
    },
    /// It is another node's.
    #[error("{} belongs to node {found}, not to node {expected}; give this node its own data directory", path.display())]
    OtherNode {
        /// The data directory.
        path: PathBuf,
        /// The node found.
        found: u64,
        /// The node expected.
        expected: u64,
    },
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("identity.json")
}

impl Identity {
    /// Reads the identity; none if the directory is new. Stores without an identity are an error.
    pub fn load(data_dir: &Path) -> Result<Option<Identity>, IdentityError> {
        let path = file(data_dir);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return match stores(data_dir) {
                    Some(what) => Err(IdentityError::HalfMade {
                        path: data_dir.to_path_buf(),
                        what,
                    }),
                    None => Ok(None),
                };
            }
            Err(source) => return Err(IdentityError::Io { path, source }),
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |e: serde_json::Error| IdentityError::Damaged {
            path: path.clone(),
            why: e.to_string(),
        };
        let Format { format: found } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if found > FORMAT {
            return Err(IdentityError::Version { path, found });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Makes a new directory this node's. Refused if it is somebody's already.
    pub fn create(
        data_dir: &Path,
        cluster: &str,
        node: u64,
        name: &str,
        incarnation: u64,
    ) -> Result<Identity, IdentityError> {
        let path = file(data_dir);
        if let Some(there) = Identity::load(data_dir)? {
            return Err(IdentityError::Taken {
                path: data_dir.to_path_buf(),
                node: there.node,
                cluster: there.cluster,
            });
        }
        let io_err = |source| IdentityError::Io {
            path: path.clone(),
            source,
        };
        files::make_dir(data_dir).map_err(io_err)?;
        let identity = Identity {
            format: FORMAT,
            cluster: cluster.to_owned(),
            node,
            name: name.to_owned(),
            incarnation,
            complete: false,
        };
        identity.save(data_dir)?;
        Ok(identity)
    }

    /// Notes that log and state have been made: open them with `must_exist` from now on.
    pub fn mark_complete(&mut self, data_dir: &Path) -> Result<(), IdentityError> {
        if !self.complete {
            self.complete = true;
            self.save(data_dir)?;
        }
        Ok(())
    }

    /// Refuses the data directory of another cluster or node.
    pub fn expect(&self, data_dir: &Path, cluster: &str, node: Option<u64>) -> Result<(), IdentityError> {
        let path = data_dir.to_path_buf();
        if self.cluster != cluster {
            let (found, expected) = (self.cluster.clone(), cluster.to_owned());
            return Err(IdentityError::OtherCluster {
                path,
                found,
                expected,
            });
        }
        match node {
            Some(expected) if expected != self.node => Err(IdentityError::OtherNode {
                path,
                found: self.node,
                expected,
            }),
            _ => Ok(()),
        }
    }

    fn save(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let path = file(data_dir);
        let io_err = |source| IdentityError::Io {
            path: path.clone(),
            source,
        };
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| io_err(e.into()))?;
        text.push(b'\n');
        files::replace_file(&path, &text, 0o600).map_err(io_err)
    }
}

/// Names the stores in a directory, if there are any.
fn stores(data_dir: &Path) -> Option<String> {
    let found: Vec<&str> = ["raft", "sm.current", "sm-1", "snap"]
        .into_iter()
        .filter(|name| data_dir.join(name).exists())
        .collect();
    (!found.is_empty()).then(|| found.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_identity_is_made_once_and_is_private() {
        let d = tempfile::tempdir().expect("tempdir");
        assert_eq!(Identity::load(d.path()).expect("new"), None);
        let mut made = Identity::create(d.path(), "c1", 3, "n3", 9).expect("create");
        made.mark_complete(d.path()).expect("complete");
        assert_eq!(Identity::load(d.path()).expect("load"), Some(made));
        let mode = fs::metadata(file(d.path()))
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            Identity::create(d.path(), "c1", 4, "n4", 9),
            Err(IdentityError::Taken { node: 3, .. })
        ));
    }

    #[test]
    fn another_clusters_or_nodes_directory_is_refused() {
        let d = tempfile::tempdir().expect("tempdir");
        let id = Identity::create(d.path(), "c1", 3, "n3", 9).expect("create");
        id.expect(d.path(), "c1", Some(3)).expect("its own");
        id.expect(d.path(), "c1", None).expect("its own");
        assert!(matches!(
            id.expect(d.path(), "c2", None),
            Err(IdentityError::OtherCluster { .. })
        ));
        assert!(matches!(
            id.expect(d.path(), "c1", Some(4)),
            Err(IdentityError::OtherNode { .. })
        ));
    }

    #[test]
    fn half_made_damaged_and_newer_directories_are_refused() {
        let d = tempfile::tempdir().expect("tempdir");
        fs::create_dir(d.path().join("raft")).expect("mkdir");
        let e = Identity::load(d.path()).expect_err("half made").to_string();
        assert!(e.contains("holds raft but no identity.json"), "{e}");
        fs::write(file(d.path()), b"{\"format\": 1, \"clus").expect("write");
        assert!(matches!(
            Identity::load(d.path()),
            Err(IdentityError::Damaged { .. })
        ));
        fs::write(file(d.path()), b"{\"format\": 2, \"new\": true}").expect("write");
        assert!(matches!(
            Identity::load(d.path()),
            Err(IdentityError::Version { found: 2, .. })
        ));
    }
}
