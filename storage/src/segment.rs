//! Segments: immutable files, encrypted by the caller and named by their hash, too large for the log.

use std::{
    collections::{BTreeSet, HashMap},
    fmt, fs,
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{
    error::{Damage, OpenError, REPAIR_COMMAND, is_no_space},
    files::{self, FreeSpace},
};

/// The largest segment.
pub const MAX_SEGMENT: usize = 16 << 20;
/// Sessions whose file lists are kept in memory.
const KNOWN_SESSIONS: usize = 512;

/// What audit pages are stored under, in the place of a session. A page's place may be taken by several contents: one
/// that was sealed again after its first sealer died in between has another key. The log says which one holds.
pub const AUDIT_PAGES: &str = "audit-pages";

/// Names one segment: which session, which place in it, which content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    session: String,
    seq: u32,
    hash: [u8; 32],
}

/// A text that does not name a segment or session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a {1} name")]
pub struct BadName(String, &'static str);

fn check_session(session: &str) -> Result<(), BadName> {
    let is_id = session.len() == 36
        && session
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    if is_id || session == AUDIT_PAGES {
        return Ok(());
    }
    Err(BadName(session.chars().take(80).collect(), "session"))
}

impl SegmentName {
    /// A name from its parts. The session is 36 characters of `0-9`, `a-f` and `-`, so that it is a file name, or
    /// [`AUDIT_PAGES`].
    pub fn new(session: &str, seq: u32, hash: [u8; 32]) -> Result<SegmentName, BadName> {
        check_session(session)?;
        Ok(SegmentName {
            session: session.to_owned(),
            seq,
            hash,
        })
    }

    /// Reads what `Display` writes, and nothing else.
    pub fn parse(text: &str) -> Result<SegmentName, BadName> {
        let bad = || BadName(text.chars().take(160).collect(), "segment");
        let (session, file) = text.split_once('/').ok_or_else(bad)?;
        check_session(session).map_err(|_| bad())?;
        let (seq, hash) = parse_file(file).ok_or_else(bad)?;
        Ok(SegmentName {
            session: session.to_owned(),
            seq,
            hash,
        })
    }

    /// The session.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The place in the session.
    pub fn seq(&self) -> u32 {
        self.seq
    }

    /// SHA-256 of the content.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    fn file(&self) -> String {
        let mut out = format!("{:08}-", self.seq);
        for b in self.hash {
            out.push_str(&format!("{b:02x}"));
        }
        out
    }
}

fn parse_file(file: &str) -> Option<(u32, [u8; 32])> {
    let (seq_text, hex) = file.split_once('-')?;
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let seq: u32 = digits(seq_text).then(|| seq_text.parse().ok()).flatten()?;
    if format!("{seq:08}") != seq_text || hex.len() != 64 {
        return None;
    }
    if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut hash = [0; 32];
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some((seq, hash))
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.file())
    }
}

/// Why a segment was not stored, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The name is not one.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// The same place of the same session already has another content.
    #[error(
        "segment {seq} of session {session} is already stored with another content: the session has forked"
    )]
    Fork {
        /// The session.
        session: String,
        /// The place in it.
        seq: u32,
    },
    /// It is not here.
    #[error("segment {0} is not stored here")]
    NotFound(SegmentName),
    /// Its content is not what its name says.
    #[error("{0}; fetch it from a peer: {REPAIR_COMMAND}")]
    Damaged(Damage),
    /// It is too large.
    #[error("a segment of {len} bytes is too large, the limit is {MAX_SEGMENT}")]
    TooLarge {
        /// Its size.
        len: usize,
    },
    /// The disk is nearly full.
    #[error("the disk is full: {free} bytes free, {reserve} are kept in reserve")]
    NoSpace {
        /// Bytes free.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// The operating system refused.
    #[error("segment file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// How segments are kept.
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    /// Bytes that must stay free: more than the log's reserve, so that recordings give way first.
    pub reserve: u64,
    /// Where free space is read from.
    pub free_space: FreeSpace,
}

impl Default for SegmentOptions {
    fn default() -> SegmentOptions {
        SegmentOptions {
            reserve: 128 << 20,
            free_space: FreeSpace::of_the_disk(),
        }
    }
}

type Listing = BTreeSet<(u32, [u8; 32])>;

/// The segments of one node. All calls block on the disk.
#[derive(Debug)]
pub struct SegmentStore {
    dir: PathBuf,
    tmp: PathBuf,
    opts: SegmentOptions,
    next_tmp: AtomicU64,
    /// What is stored of the sessions asked for lately; also keeps two writers of one place apart.
    known: Mutex<HashMap<String, Listing>>,
}

impl SegmentStore {
    /// Opens or creates `data_dir/segments`, and removes what was half written.
    pub fn open(data_dir: &Path, opts: SegmentOptions) -> Result<SegmentStore, OpenError> {
        let dir = data_dir.join("segments");
        let tmp = dir.join("tmp");
        let io_err = |e| OpenError::io(&dir, e);
        files::make_dir(&dir).map_err(io_err)?;
        files::remove_all(&tmp).map_err(io_err)?;
        files::make_dir(&tmp).map_err(io_err)?;
        Ok(SegmentStore {
            tmp,
            opts,
            next_tmp: AtomicU64::new(0),
            known: Mutex::new(HashMap::new()),
            dir,
        })
    }

    /// Stores a segment; it is durable when this returns. Storing the same again is fine.
    pub fn put(&self, session: &str, seq: u32, bytes: &[u8]) -> Result<SegmentName, SegmentError> {
        let name = SegmentName::new(session, seq, Sha256::digest(bytes).into())?;
        if bytes.len() > MAX_SEGMENT {
            return Err(SegmentError::TooLarge { len: bytes.len() });
        }
        if self.stored(&name)? {
            return Ok(name);
        }
        let (free, reserve) = (self.free_bytes(), self.opts.reserve);
        let no_space = || SegmentError::NoSpace { free, reserve };
        if free < reserve.saturating_add(bytes.len() as u64) {
            return Err(no_space());
        }
        let tmp = self
            .tmp
            .join(self.next_tmp.fetch_add(1, Ordering::Relaxed).to_string());
        let written = write_new(&tmp, bytes).and_then(|()| self.publish(&tmp, &name));
        match written {
            Ok(true) => Ok(name),
            Ok(false) => {
                self.discard(&tmp);
                // Somebody else was quicker: with the same content, or not.
                self.stored(&name).map(|_| name)
            }
            Err(e) => {
                self.discard(&tmp);
                Err(if is_no_space(&e) {
                    no_space()
                } else {
                    self.io(&name, e)
                })
            }
        }
    }

    /// Whether this very segment is stored; an error if its place has another content.
    fn stored(&self, name: &SegmentName) -> Result<bool, SegmentError> {
        let mut known = self.known.lock();
        let listing = self
            .listing(&mut known, &name.session)
            .map_err(|e| self.io(name, e))?;
        if listing.contains(&(name.seq, name.hash)) {
            return Ok(true);
        }
        if taken(listing, name) {
            return Err(SegmentError::Fork {
                session: name.session.clone(),
                seq: name.seq,
            });
        }
        Ok(false)
    }

    /// Moves a written file to its place; false if the place was taken meanwhile.
    fn publish(&self, tmp: &Path, name: &SegmentName) -> io::Result<bool> {
        let mut known = self.known.lock();
        let listing = self.listing(&mut known, &name.session)?;
        if listing.contains(&(name.seq, name.hash)) || taken(listing, name) {
            return Ok(false);
        }
        let dir = self.dir.join(&name.session);
        files::make_dir(&dir)?;
        fs::rename(tmp, dir.join(name.file()))?;
        listing.insert((name.seq, name.hash));
        drop(known);
        files::sync_dir(&dir)?;
        Ok(true)
    }

    fn listing<'a>(
        &self,
        known: &'a mut HashMap<String, Listing>,
        session: &str,
    ) -> io::Result<&'a mut Listing> {
        if !known.contains_key(session) {
            if known.len() >= KNOWN_SESSIONS {
                known.clear();
            }
            let listing = self.read_listing(session)?;
            known.insert(session.to_owned(), listing);
        }
        Ok(known.entry(session.to_owned()).or_default())
    }

    fn read_listing(&self, session: &str) -> io::Result<Listing> {
        let mut listing = Listing::new();
        let entries = match fs::read_dir(self.dir.join(session)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(listing),
            Err(e) => return Err(e),
        };
        for entry in entries {
            if let Some((seq, hash)) = entry?.file_name().to_str().and_then(parse_file) {
                listing.insert((seq, hash));
            }
        }
        Ok(listing)
    }

    /// The content of a segment, hashed again before it is given out.
    pub fn get(&self, name: &SegmentName) -> Result<Vec<u8>, SegmentError> {
        let path = self.path(name);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|f| f.take(MAX_SEGMENT as u64 + 1).read_to_end(&mut bytes));
        match read {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(SegmentError::NotFound(name.clone())),
            Err(e) => Err(self.io(name, e)),
            Ok(_) if Sha256::digest(&bytes).as_slice() != name.hash => {
                let why = "its content does not have the hash it is named by";
                Err(SegmentError::Damaged(Damage::new(
                    &path,
                    format!("segment {name}"),
                    why,
                )))
            }
            Ok(_) => Ok(bytes),
        }
    }

    /// Whether a segment is stored (not whether it is whole).
    pub fn has(&self, name: &SegmentName) -> bool {
        self.path(name).is_file()
    }

    /// The segments of a session, in order.
    pub fn list(&self, session: &str) -> Result<Vec<SegmentName>, SegmentError> {
        check_session(session)?;
        let listing = self.read_listing(session).map_err(|source| SegmentError::Io {
            path: self.dir.join(session),
            source,
        })?;
        let name = |(seq, hash)| SegmentName {
            session: session.to_owned(),
            seq,
            hash,
        };
        Ok(listing.into_iter().map(name).collect())
    }

    /// The sessions that have segments here, in order.
    pub fn sessions(&self) -> Result<Vec<String>, SegmentError> {
        let io_err = |source| SegmentError::Io {
            path: self.dir.clone(),
            source,
        };
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io_err)? {
            if let Ok(name) = entry.map_err(io_err)?.file_name().into_string()
                && check_session(&name).is_ok()
            {
                all.push(name);
            }
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Removes a segment; one that is not there is as good as removed.
    pub fn remove(&self, name: &SegmentName) -> Result<(), SegmentError> {
        let mut known = self.known.lock();
        match fs::remove_file(self.path(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(self.io(name, e)),
            _ => {}
        }
        known.remove(&name.session);
        // Only the last one takes the directory along.
        let _ = fs::remove_dir(self.dir.join(&name.session));
        Ok(())
    }

    /// Reads everything and names what is damaged. `progress` hears of each segment and stops the scrub by `false`.
    pub fn scrub(
        &self,
        mut progress: impl FnMut(&SegmentName) -> bool,
    ) -> Result<Vec<SegmentName>, SegmentError> {
        let mut damaged = Vec::new();
        for session in self.sessions()? {
            for name in self.list(&session)? {
                if !progress(&name) {
                    return Ok(damaged);
                }
                match self.get(&name) {
                    Ok(_) | Err(SegmentError::NotFound(_)) => {}
                    Err(_) => damaged.push(name),
                }
            }
        }
        Ok(damaged)
    }

    /// Stores a segment whose stored content was found damaged again; it is durable when this returns. The damaged
    /// one goes only now that a good one is at hand.
    pub fn replace(&self, name: &SegmentName, bytes: &[u8]) -> Result<(), SegmentError> {
        if Sha256::digest(bytes).as_slice() != name.hash {
            return Err(SegmentError::BadName(BadName(
                name.to_string(),
                "fitting segment",
            )));
        }
        if self.get(name).is_err() {
            self.remove(name)?;
        }
        self.put(&name.session, name.seq, bytes).map(|_| ())
    }

    /// Bytes all segments take on the disk.
    pub fn total_bytes(&self) -> u64 {
        files::disk_use(&self.dir)
    }

    /// Whether a segment could be stored now: there is room, and a small file can be written and removed.
    pub fn try_write(&self) -> Result<(), SegmentError> {
        let (free, reserve) = (self.free_bytes(), self.opts.reserve);
        if free < reserve {
            return Err(SegmentError::NoSpace { free, reserve });
        }
        let tmp = self
            .tmp
            .join(self.next_tmp.fetch_add(1, Ordering::Relaxed).to_string());
        // Not synced: whether the disk syncs is what the log knows best.
        let tried = fs::write(&tmp, b"can this be written?");
        let removed = fs::remove_file(&tmp);
        tried
            .and(removed)
            .map_err(|source| SegmentError::Io { path: tmp, source })
    }

    /// Bytes free on the disk they are on.
    pub fn free_bytes(&self) -> u64 {
        self.opts.free_space.at(&self.dir)
    }

    fn path(&self, name: &SegmentName) -> PathBuf {
        self.dir.join(&name.session).join(name.file())
    }

    fn io(&self, name: &SegmentName, source: io::Error) -> SegmentError {
        SegmentError::Io {
            path: self.path(name),
            source,
        }
    }

    fn discard(&self, tmp: &Path) {
        if let Err(e) = files::remove_all(tmp) {
            tracing::warn!(path = %tmp.display(), %e, "an unfinished segment is left behind");
        }
    }
}

/// Whether the place of a segment has another content already. Pages may share a place.
fn taken(listing: &Listing, name: &SegmentName) -> bool {
    let place = (name.seq, [0; 32])..=(name.seq, [0xff; 32]);
    name.session != AUDIT_PAGES && listing.range(place).any(|(_, hash)| *hash != name.hash)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut f = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    f.write_all(bytes)?;
    f.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    fn store() -> (tempfile::TempDir, SegmentStore) {
        let d = tempfile::tempdir().expect("tempdir");
        let s = SegmentStore::open(d.path(), SegmentOptions::default()).expect("open");
        (d, s)
    }

    #[test]
    fn names_come_back_and_hostile_ones_are_refused() {
        let name = SegmentName::new(S, 7, [0xab; 32]).expect("name");
        assert_eq!(SegmentName::parse(&name.to_string()).as_ref(), Ok(&name));
        let good = name.to_string();
        for bad in [
            String::new(),
            "../../etc/passwd".into(),
            good.replace("0f8", "../"),
            good.replace('/', "\0"),
            good.replace("00000007", "7"),
            good.replace("00000007", "+0000007"),
            good.replace("ab", "AB"),
            format!("{good}/x"),
            format!("/{good}"),
            good.replace("a165", "a1é"),
            good.replace("abab", "a\u{0301}b"),
            good[..good.len() - 1].to_owned(),
        ] {
            assert!(SegmentName::parse(&bad).is_err(), "{bad:?}");
        }
        assert!(SegmentName::new("%2e%2e", 0, [0; 32]).is_err());
    }

    #[test]
    fn the_same_content_is_stored_once_and_another_is_a_fork() {
        let (d, s) = store();
        let name = s.put(S, 1, b"chunk").expect("put");
        assert_eq!(s.put(S, 1, b"chunk").expect("again"), name);
        assert!(matches!(s.put(S, 1, b"other"), Err(SegmentError::Fork { .. })));
        assert_eq!(s.get(&name).expect("get"), b"chunk");
        s.put(S, 0, b"").expect("empty");
        let again = SegmentStore::open(d.path(), SegmentOptions::default()).expect("open");
        assert!(matches!(
            again.put(S, 1, b"other"),
            Err(SegmentError::Fork { .. })
        ));
        assert_eq!(
            again
                .list(S)
                .expect("list")
                .iter()
                .map(SegmentName::seq)
                .collect::<Vec<_>>(),
            [0, 1]
        );
        assert_eq!(again.sessions().expect("sessions"), [S]);
        again.remove(&name).expect("remove");
        again.remove(&name).expect("twice");
        assert!(!again.has(&name));
        assert!(matches!(again.get(&name), Err(SegmentError::NotFound(_))));
        again.put(S, 1, b"other").expect("the place is free");
    }

    #[test]
    fn a_changed_byte_is_found_by_reading_and_by_scrubbing() {
        let (_d, s) = store();
        let good = s.put(S, 1, b"good").expect("put");
        let bad = s.put(S, 2, b"will rot").expect("put");
        fs::write(s.path(&bad), b"has rotten").expect("write");
        assert!(
            s.get(&bad)
                .expect_err("damaged")
                .to_string()
                .contains(REPAIR_COMMAND)
        );
        let mut seen = 0;
        let damaged = s
            .scrub(|_| {
                seen += 1;
                true
            })
            .expect("scrub");
        assert_eq!((damaged, seen), (vec![bad], 2));
        assert_eq!(s.get(&good).expect("get"), b"good");
    }

    #[test]
    fn a_damaged_segment_is_replaced_by_its_own_content_only() {
        let (_d, s) = store();
        let name = s.put(AUDIT_PAGES, 2, b"page").expect("put");
        fs::write(s.path(&name), b"rot").expect("write");
        assert!(s.replace(&name, b"another").is_err());
        assert!(s.get(&name).is_err(), "nothing was there to replace it with");
        s.replace(&name, b"page").expect("replaced");
        s.replace(&name, b"page").expect("a whole one stays");
        assert_eq!(s.get(&name).expect("get"), b"page");
    }

    #[test]
    fn the_place_of_a_page_takes_several_contents() {
        let (d, s) = store();
        let one = s.put(AUDIT_PAGES, 1, b"sealed").expect("put");
        let two = s.put(AUDIT_PAGES, 1, b"sealed again").expect("put");
        assert_eq!(s.put(AUDIT_PAGES, 1, b"sealed").expect("again"), one);
        let again = SegmentStore::open(d.path(), SegmentOptions::default()).expect("open");
        assert_eq!(again.get(&one).expect("get"), b"sealed");
        assert_eq!(again.get(&two).expect("get"), b"sealed again");
        assert_eq!(again.list(AUDIT_PAGES).expect("list").len(), 2);
        again.remove(&one).expect("remove");
        assert_eq!(again.list(AUDIT_PAGES).expect("list"), [two]);
        assert_eq!(SegmentName::parse(&one.to_string()), Ok(one));
    }

    #[test]
    fn a_nearly_full_disk_takes_no_segments_but_gives_them() {
        let d = tempfile::tempdir().expect("tempdir");
        let free = std::sync::Arc::new(AtomicU64::new(1 << 40));
        let probe = free.clone();
        let free_space = FreeSpace::from_fn(move || probe.load(Ordering::SeqCst));
        let s = SegmentStore::open(
            d.path(),
            SegmentOptions {
                reserve: 1000,
                free_space,
            },
        )
        .expect("open");
        let name = s.put(S, 1, b"x").expect("put");
        free.store(1000, Ordering::SeqCst);
        assert!(matches!(s.put(S, 2, b"y"), Err(SegmentError::NoSpace { .. })));
        assert_eq!(s.get(&name).expect("get"), b"x");
        free.store(2000, Ordering::SeqCst);
        s.put(S, 2, b"y").expect("recovered");
    }

    #[test]
    fn two_writers_of_one_place_agree_on_one_content() {
        let (_d, s) = store();
        let results: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8u8)
                .map(|i| {
                    let s = &s;
                    scope.spawn(move || s.put(S, 1, &[i / 4]))
                })
                .collect();
            writers.into_iter().map(|w| w.join().expect("writer")).collect()
        });
        let stored = s.list(S).expect("list");
        assert_eq!(stored.len(), 1);
        for r in results {
            match r {
                Ok(name) => assert_eq!(name, stored[0]),
                Err(e) => assert!(matches!(e, SegmentError::Fork { .. }), "{e}"),
            }
        }
        assert_eq!(fs::read_dir(&s.tmp).expect("dir").count(), 0);
    }
}
