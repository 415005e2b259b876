//! Small file operations with the durability each needs spelled out: a rename or a new name is only there
//! after a power cut once its directory has been synced.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::fcntl::{Flock, FlockArg};

use crate::error::OpenError;

/// Syncs a directory, so that names made, renamed or removed in it survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Syncs a file if it is there.
pub(crate) fn sync_if_there(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(f) => f.sync_all(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Writes a small file so that after a power cut either the old or the new content is there, never a mixture.
pub(crate) fn replace_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let dir = parent(path);
    let tmp = with_suffix(path, ".tmp");
    let mut f = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&tmp)?;
    f.write_all(content)?;
    f.sync_all()?;
    drop(f);
    fs::rename(&tmp, path)?;
    sync_dir(&dir)
}

/// Removes a directory tree or file if it is there.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    let r = match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match r {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        r => r,
    }
}

/// Makes a directory only its owner can enter, with its parents, and syncs the parent.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if !dir.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    sync_dir(&parent(dir))
}

/// The directory a path is in.
pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// `path` with `suffix` appended to its file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// Bytes that the files below `dir` take on the disk. What disappears while we look counts as nothing.
pub(crate) fn disk_use(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|e| match e.metadata() {
            Ok(m) if m.is_dir() => disk_use(&e.path()),
            Ok(m) => m.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// An exclusive lock on a file, held until dropped. The kernel lets go of it when the process dies.
#[derive(Debug)]
pub struct DirLock {
    _held: Flock<File>,
}

impl DirLock {
    /// Takes the lock or says who is in the way.
    pub fn take(path: &Path) -> Result<DirLock, OpenError> {
        let f = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|e| OpenError::io(path, e))?;
        match Flock::lock(f, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(DirLock { _held: held }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(OpenError::Locked {
                path: path.to_path_buf(),
            }),
            Err((_, e)) => Err(OpenError::io(path, e.into())),
        }
    }
}

/// Says how many bytes are free for us; a test gives its own.
#[derive(Clone)]
pub struct FreeSpace(Arc<dyn Fn(&Path) -> u64 + Send + Sync>);

impl FreeSpace {
    /// What the file system says is available to an ordinary user.
    pub fn of_the_disk() -> FreeSpace {
        FreeSpace(Arc::new(|path| match nix::sys::statvfs::statvfs(path) {
            Ok(s) => s.blocks_available() * s.fragment_size(),
            // Not knowing is no reason to refuse: the write itself will tell.
            Err(_) => u64::MAX,
        }))
    }

    /// A made-up answer, for tests.
    pub fn from_fn(f: impl Fn() -> u64 + Send + Sync + 'static) -> FreeSpace {
        FreeSpace(Arc::new(move |_| f()))
    }

    /// Bytes free on the file system that holds `path`.
    pub fn at(&self, path: &Path) -> u64 {
        (self.0)(path)
    }
}

impl std::fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FreeSpace")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_dropped() {
        let d = tempfile::tempdir().expect("tempdir");
        let path = d.path().join("x.lock");
        let first = DirLock::take(&path).expect("first");
        assert!(matches!(DirLock::take(&path), Err(OpenError::Locked { .. })));
        drop(first);
        DirLock::take(&path).expect("again");
    }

    #[test]
    fn replace_file_leaves_the_new_content_and_no_temporary() {
        let d = tempfile::tempdir().expect("tempdir");
        let path = d.path().join("pointer");
        replace_file(&path, b"one", 0o600).expect("one");
        replace_file(&path, b"two", 0o600).expect("two");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(d.path()).expect("dir").count(), 1);
    }
}
