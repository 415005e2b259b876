//! The cluster key: 32 random bytes that every node of one cluster keeps in a file of mode 0600.
//!
//! Nothing is encrypted under it directly. Each object gets a key of its own by HKDF over the object's name.

use crate::hex;
use crate::seal::{Seal, SealError};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Size of the key, in the file and in memory.
pub(crate) const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + ID_BYTES + NONCE_BYTES;
const SEAL_VERSION: u8 = 1;
/// Keys, seeds and short secrets are sealed, never files.
const SEALED_BYTES_MAX: usize = 1 << 20;

/// The secret that seals all others of one cluster. Does not print, does not clone, wipes itself.
pub struct ClusterKey {
    root: Zeroizing<[u8; KEY_BYTES]>,
    id: [u8; ID_BYTES],
}

/// Why a cluster key could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum ClusterKeyError {
    /// The system gave no randomness.
    #[error("the system gave no randomness for a cluster key")]
    Random,
    /// The file could not be opened or read.
    #[error("cannot read the cluster key {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write the cluster key {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A key is already there; it is never overwritten.
    #[error("{0} exists: a cluster key is never overwritten")]
    Exists(PathBuf),
    /// A directory, a device or the like.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Others than its owner may use the file.
    #[error("{path} has mode {mode:04o}: run `chmod 600` on it and find out who has read it")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a cluster key, or a damaged one.
    #[error("{path} holds {size} bytes, a cluster key has 32")]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
}

impl ClusterKey {
    /// A new key, for a new cluster.
    pub fn generate() -> Result<Self, ClusterKeyError> {
        let mut root = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new()
            .fill(root.as_mut())
            .map_err(|_| ClusterKeyError::Random)?;
        Ok(Self::from_root(root))
    }

    /// Reads the key of this node.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ClusterKeyError> {
        let path = path.as_ref();
        let read = |source| ClusterKeyError::Read {
            path: path.into(),
            source,
        };
        let mut file = File::open(path).map_err(read)?;
        // Asked of the open file, so that what was checked is what is read.
        let meta = file.metadata().map_err(read)?;
        if !meta.is_file() {
            return Err(ClusterKeyError::NotAFile(path.into()));
        }
        let mode = meta.permissions().mode() & 0o7777;
        if mode & !0o600 != 0 {
            return Err(ClusterKeyError::TooOpen {
                path: path.into(),
                mode,
            });
        }
        if meta.len() != KEY_BYTES as u64 {
            return Err(ClusterKeyError::WrongSize {
                path: path.into(),
                size: meta.len(),
            });
        }
        let mut root = Zeroizing::new([0; KEY_BYTES]);
        file.read_exact(root.as_mut()).map_err(read)?;
        Ok(Self::from_root(root))
    }

    /// Writes the key to a new file of mode 0600 and waits until the disk has it. The file appears whole or not at
    /// all, and one that exists is left alone.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<(), ClusterKeyError> {
        let path = path.as_ref();
        let failed = |source| ClusterKeyError::Write {
            path: path.into(),
            source,
        };
        let mut staged_name = path.file_name().unwrap_or_default().to_owned();
        staged_name.push(".new");
        let staged = path.with_file_name(staged_name);
        let create = || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&staged)
        };
        let mut file = match create() {
            // What an earlier, interrupted try left.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&staged).and_then(|()| create()).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
        let written = file.write_all(self.root.as_ref()).and_then(|()| file.sync_all());
        // A link, unlike a rename, fails when the name is taken.
        let linked = written.and_then(|()| fs::hard_link(&staged, path));
        let removed = fs::remove_file(&staged);
        match linked {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ClusterKeyError::Exists(path.into()));
            }
            other => other.map_err(failed)?,
        }
        removed.map_err(failed)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }

    /// A public name of this key: nodes of one cluster show the same one.
    pub fn id(&self) -> String {
        hex::encode(&self.id)
    }

    pub(crate) fn from_root(root: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let derived = derive(root.as_ref(), b"palisade cluster key v1", &[b"key id"]);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&derived[..ID_BYTES]);
        Self { root, id }
    }

    pub(crate) fn root(&self) -> &[u8; KEY_BYTES] {
        &self.root
    }

    fn object_key(&self, context: &str) -> Result<LessSafeKey, SealError> {
        let key = derive(
            self.root.as_ref(),
            b"palisade cluster key v1",
            &[b"seal ", context.as_bytes()],
        );
        aead_key(&key).ok_or(SealError::Crypto)
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterKey")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// version byte | key id (8) | nonce (12) | ciphertext and tag
impl Seal for ClusterKey {
    fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        if context.is_empty() {
            return Err(SealError::NoContext);
        }
        if plain.len() > SEALED_BYTES_MAX {
            return Err(SealError::TooLarge {
                size: plain.len(),
                max: SEALED_BYTES_MAX,
            });
        }
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| SealError::Crypto)?;
        let mut sealed = Vec::with_capacity(HEADER_BYTES + plain.len() + TAG_BYTES);
        sealed.push(SEAL_VERSION);
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let (header, body) = sealed.split_at_mut(HEADER_BYTES);
        let tag = self
            .object_key(context)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                associated(header, context),
                body,
            )
            .map_err(|_| SealError::Crypto)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if context.is_empty() {
            return Err(SealError::NoContext);
        }
        let version = *sealed.first().ok_or(SealError::Truncated)?;
        if version != SEAL_VERSION {
            return Err(SealError::UnknownVersion(version));
        }
        let (header, body) = sealed
            .split_at_checked(HEADER_BYTES)
            .ok_or(SealError::Truncated)?;
        if body.len() < TAG_BYTES {
            return Err(SealError::Truncated);
        }
        let (id, nonce) = header[1..].split_at(ID_BYTES);
        if id != self.id {
            return Err(SealError::OtherKey {
                found: hex::encode(id),
                held: self.id(),
            });
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Truncated)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let size = self
            .object_key(context)?
            .open_in_place(nonce, associated(header, context), &mut plain)
            .map_err(|_| SealError::Refused)?
            .len();
        plain.truncate(size);
        Ok(plain)
    }
}

/// The header has a fixed size, so header and context cannot run into each other.
fn associated(header: &[u8], context: &str) -> Aad<Vec<u8>> {
    Aad::from([header, context.as_bytes()].concat())
}

pub(crate) fn aead_key(key: &[u8; KEY_BYTES]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

/// 32 bytes of HKDF-SHA256.
pub(crate) fn derive(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut out = Zeroizing::new([0; KEY_BYTES]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, HKDF_SHA256)
        .and_then(|okm| okm.fill(out.as_mut()))
        .expect("32 bytes are within what HKDF-SHA256 yields, and fill the buffer of that size");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_under_the_same_name_only() {
        let key = ClusterKey::generate().unwrap();
        let sealed = key.seal("a", b"secret").unwrap();
        assert_eq!(&*key.open("a", &sealed).unwrap(), b"secret");
        assert_eq!(key.open("b", &sealed).unwrap_err(), SealError::Refused);
        assert_eq!(key.open("", &sealed).unwrap_err(), SealError::NoContext);
        assert_eq!(key.seal("", b"secret").unwrap_err(), SealError::NoContext);
    }

    #[test]
    fn every_changed_bit_and_every_truncation_is_refused() {
        let key = ClusterKey::generate().unwrap();
        let sealed = key.seal("a", b"secret").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open("a", &bad).is_err(), "bit {bit}");
        }
        for size in 0..sealed.len() {
            assert!(key.open("a", &sealed[..size]).is_err(), "size {size}");
        }
        let mut longer = sealed.clone();
        longer.push(0);
        assert_eq!(key.open("a", &longer).unwrap_err(), SealError::Refused);
    }

    #[test]
    fn another_key_is_named_in_the_refusal() {
        let (one, two) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
        let sealed = one.seal("a", b"secret").unwrap();
        assert_eq!(
            two.open("a", &sealed).unwrap_err(),
            SealError::OtherKey {
                found: one.id(),
                held: two.id()
            }
        );
    }

    #[test]
    fn oversized_secrets_are_not_sealed() {
        let key = ClusterKey::generate().unwrap();
        let size = SEALED_BYTES_MAX + 1;
        let refused = key.seal("a", &vec![0; size]).unwrap_err();
        assert_eq!(
            refused,
            SealError::TooLarge {
                size,
                max: SEALED_BYTES_MAX
            }
        );
    }

    #[test]
    fn the_file_is_private_whole_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.key");
        let key = ClusterKey::generate().unwrap();
        key.write_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing else is left in the folder"
        );
        assert_eq!(ClusterKey::from_file(&path).unwrap().id(), key.id());
        let other = ClusterKey::generate().unwrap();
        assert!(matches!(other.write_file(&path), Err(ClusterKeyError::Exists(_))));
        assert_eq!(ClusterKey::from_file(&path).unwrap().id(), key.id());
    }

    #[test]
    fn an_interrupted_write_does_not_stop_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.key");
        fs::write(folder.path().join("cluster.key.new"), b"half").unwrap();
        ClusterKey::generate().unwrap().write_file(&path).unwrap();
        assert!(ClusterKey::from_file(&path).is_ok());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.key");
        ClusterKey::generate().unwrap().write_file(&path).unwrap();
        for mode in [0o640, 0o604, 0o700, 0o4600] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = ClusterKey::from_file(&path).unwrap_err();
            assert!(
                matches!(refused, ClusterKeyError::TooOpen { mode: m, .. } if m == mode),
                "{refused:?}"
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(ClusterKey::from_file(&path).is_ok());
    }

    #[test]
    fn a_wrong_size_a_missing_file_and_a_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.key");
        assert!(matches!(
            ClusterKey::from_file(&path),
            Err(ClusterKeyError::Read { .. })
        ));
        for size in [0, 31, 33] {
            fs::write(&path, vec![7; size]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(
                matches!(
                    ClusterKey::from_file(&path),
                    Err(ClusterKeyError::WrongSize { .. })
                ),
                "{size}"
            );
        }
        assert!(matches!(
            ClusterKey::from_file(folder.path()),
            Err(ClusterKeyError::NotAFile(_))
        ));
        assert!(matches!(
            ClusterKey::generate()
                .unwrap()
                .write_file(folder.path().join("no/such/folder")),
            Err(ClusterKeyError::Write { .. })
        ));
    }

    #[test]
    fn debug_output_shows_no_key_bytes() {
        let key = ClusterKey::from_root(Zeroizing::new([0xab; KEY_BYTES]));
        let shown = format!("{key:?} {key:#?}");
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    }
}
