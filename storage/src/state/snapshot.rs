//! Building snapshots while changes go on, and finding the newest one.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    Export, Inner, StateStore,
    format::{self, Header, SnapshotFault},
    value::{self, DATA},
};
use crate::{
    error::{OpenError, ReadError, WriteError},
    files,
    kv::Pair,
};

/// Pairs taken from the database in one go; changes wait that long.
const STEP: usize = 256;
const DIR: &str = "snap";

/// A finished snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Where it is. It is replaced by newer ones: open it before using it.
    pub path: PathBuf,
    /// Its size.
    pub len: u64,
    /// What `build_snapshot` was given, opaque here.
    pub meta: Vec<u8>,
    /// The applied marker of the state in it.
    pub applied: Option<Vec<u8>>,
}

impl SnapshotFile {
    /// Opens it for reading; it stays readable when a newer one replaces it.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

/// Why a snapshot was not built or installed. The state is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The snapshot itself is not usable.
    #[error(transparent)]
    Fault(#[from] SnapshotFault),
    /// A file operation failed.
    #[error("cannot write a snapshot: {0}")]
    Io(#[from] io::Error),
    /// The state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The state could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The new database could not be made.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A snapshot on its way in: write the received bytes, then install it. Dropped, it is gone.
#[derive(Debug)]
pub struct IncomingSnapshot {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// What it says at its head, once all of it was found whole.
    verified: Option<Header>,
}

/// What a received snapshot is a snapshot of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotContents {
    /// What `build_snapshot` was given, opaque here.
    pub meta: Vec<u8>,
    /// The applied marker of the state in it.
    pub applied: Option<Vec<u8>>,
}

impl IncomingSnapshot {
    /// Where it is being written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file it is written to.
    pub fn file(&mut self) -> &mut File {
        self.verified = None;
        &mut self.file
    }

    /// Reads all of it, checks everything there is to check, and says what it is: a receiver can refuse a damaged one
    /// before anything depends on it.
    pub fn verify(&mut self) -> Result<SnapshotContents, SnapshotError> {
        let header = self.verified_header()?;
        Ok(SnapshotContents {
            meta: header.meta,
            applied: header.applied,
        })
    }

    /// The same for the installation, which does not read it twice.
    pub(super) fn verified_header(&mut self) -> Result<Header, SnapshotError> {
        if let Some(header) = &self.verified {
            return Ok(header.clone());
        }
        self.file.seek(SeekFrom::Start(0))?;
        let (header, _) = format::read_all::<SnapshotError>(BufReader::new(&self.file), |_, _| Ok(()))?;
        Ok(self.verified.insert(header).clone())
    }
}

impl Write for IncomingSnapshot {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.verified = None;
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for IncomingSnapshot {
    fn drop(&mut self) {
        if let Err(e) = files::remove_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %e, "a received snapshot is left behind");
        }
    }
}

/// The snapshots there are, oldest first.
fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|n| n.strip_prefix("snapshot-")?.parse().ok());
        if let Some(number) = number {
            all.push((number, entry.path()));
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// At start: removes what was half written, and finds the newest snapshot whose header is whole. A damaged one is
/// no loss, because the state itself is there to make another.
pub(super) fn find_current(data_dir: &Path) -> io::Result<Option<SnapshotFile>> {
    let dir = data_dir.join(DIR);
    files::make_dir(&dir)?;
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("snapshot-") {
            files::remove_all(&entry.path())?;
        }
    }
    for (_, path) in list(&dir)?.into_iter().rev() {
        match describe(&path) {
            Ok(file) => return Ok(Some(file)),
            Err(e) => tracing::warn!(path = %path.display(), %e, "a snapshot is not used"),
        }
    }
    Ok(None)
}

fn describe(path: &Path) -> Result<SnapshotFile, SnapshotFault> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let header = format::read_header(BufReader::new(file))?;
    Ok(SnapshotFile {
        path: path.to_path_buf(),
        len,
        meta: header.meta,
        applied: header.applied,
    })
}

impl StateStore {
    /// Writes the state as it is now to a file, while changes go on. The state is durable up to it when this
    /// returns, so that the log may be purged that far.
    pub fn build_snapshot(&self, meta: Vec<u8>) -> Result<SnapshotFile, SnapshotError> {
        let inner = &self.inner;
        let _alone = inner.maintenance.lock();
        inner.check()?;
        let dir = inner.data_dir.join(DIR);
        let free = inner.opts.free_space.at(&dir);
        if free < inner.opts.reserve {
            return Err(WriteError::NoSpace {
                free,
                reserve: inner.opts.reserve,
            }
            .into());
        }
        let header = {
            let mut live = inner.live.write();
            let (applied, membership) = live.markers()?;
            live.export = Some(Export::default());
            Header {
                meta,
                applied,
                membership,
            }
        };
        let tmp = dir.join("tmp");
        let built = inner.write_out(&tmp, &header);
        inner.live.write().export = None;
        if let Err(e) = built.and_then(|()| Ok(inner.sync()?)) {
            if let Err(e) = files::remove_all(&tmp) {
                tracing::warn!(path = %tmp.display(), %e, "an unfinished snapshot is left behind");
            }
            return Err(e);
        }
        inner.adopt(&tmp)
    }

    /// The newest finished snapshot.
    pub fn current_snapshot(&self) -> Option<SnapshotFile> {
        self.inner.current.lock().clone()
    }

    /// A file to receive a snapshot in.
    pub fn new_incoming(&self) -> Result<IncomingSnapshot, SnapshotError> {
        let dir = self.inner.data_dir.join(DIR);
        for n in 0u32.. {
            let path = dir.join(format!("incoming-{n}"));
            match File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)
            {
                Ok(file) => {
                    return Ok(IncomingSnapshot {
                        file,
                        path,
                        verified: None,
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists).into())
    }
}

impl Inner {
    fn write_out(&self, tmp: &Path, header: &Header) -> Result<(), SnapshotError> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(tmp)?;
        let mut out = format::Writer::new(BufWriter::with_capacity(256 << 10, file), header)?;
        while let Some(pairs) = self.export_step()? {
            for (key, value) in pairs {
                out.pair(&key, &value)?;
            }
        }
        let file = out
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(())
    }

    /// The next pairs as they were when the snapshot was begun; none after the last.
    fn export_step(&self) -> Result<Option<Vec<Pair>>, SnapshotError> {
        let mut live = self.live.write();
        let engine = live.engine.clone();
        let Some(export) = &mut live.export else {
            return Ok(None);
        };
        let start = value::head_key(DATA, &export.cursor);
        let mut now = std::collections::BTreeMap::new();
        let mut count = 0;
        engine.scan(&start, Some(&[DATA + 1]), false, |head, stored| {
            let key = head[1..].to_vec();
            if !export.old.contains_key(&key) {
                now.insert(key.clone(), value::load(&engine, head, stored)?);
            }
            export.cursor = key;
            count += 1;
            Ok(count < STEP)
        })?;
        let kept = if count < STEP {
            let kept = std::mem::take(&mut export.old);
            live.export = None;
            kept
        } else {
            // The first key that was not looked at.
            export.cursor.push(0);
            let later = export.old.split_off(&export.cursor);
            std::mem::replace(&mut export.old, later)
        };
        now.extend(kept.into_iter().filter_map(|(key, old)| Some((key, old?))));
        Ok(Some(now.into_iter().collect()))
    }

    /// Makes a finished, synced file the current snapshot and removes older ones.
    pub(super) fn adopt(&self, tmp: &Path) -> Result<SnapshotFile, SnapshotError> {
        let dir = self.data_dir.join(DIR);
        let older = list(&dir)?;
        let number = older.last().map_or(1, |(n, _)| n + 1);
        let path = dir.join(format!("snapshot-{number}"));
        fs::rename(tmp, &path)?;
        files::sync_dir(&dir)?;
        let file = describe(&path)?;
        *self.current.lock() = Some(file.clone());
        for (_, old) in older {
            if let Err(e) = files::remove_all(&old) {
                tracing::warn!(path = %old.display(), %e, "an old snapshot is left behind");
            }
        }
        Ok(file)
    }
}
