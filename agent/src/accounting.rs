//! Who is logged in: `utmp`, `wtmp` and `lastlog` in the form of glibc's utmp(5), written by hand.
//!
//! Files that are not there are not made: a host that keeps no such records (Debian 13 does not) goes without.

use rustix::fs::{FlockOperation, fcntl_lock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Whether `utmp` has 32-bit times here, for the sake of 32-bit programs (`__WORDSIZE_TIME64_COMPAT32`).
const NARROW: bool = cfg!(any(
    target_arch = "x86_64",
    target_arch = "powerpc64",
    target_arch = "mips64"
));

/// The size of one record.
const RECORD: usize = if NARROW { 384 } else { 400 };

const USER_PROCESS: i16 = 7;
const DEAD_PROCESS: i16 = 8;

/// Where the files are.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// Who is logged in now.
    pub utmp: &'a Path,
    /// Who ever was.
    pub wtmp: &'a Path,
    /// When each account last was.
    pub lastlog: &'a Path,
}

impl Files<'static> {
    /// The usual places.
    pub fn usual() -> Self {
        Files {
            utmp: Path::new("/run/utmp"),
            wtmp: Path::new("/var/log/wtmp"),
            lastlog: Path::new("/var/log/lastlog"),
        }
    }
}

/// One login on one terminal.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The process that leads the session.
    pub pid: i32,
    /// The terminal without `/dev/`, such as `pts/3`.
    pub line: &'a str,
    /// The account.
    pub user: &'a str,
    /// Its number.
    pub uid: u32,
    /// Where the user came from, an address.
    pub host: &'a str,
    /// Seconds since 1970.
    pub at: i64,
}

/// Notes a login. A file that cannot be written is left out: nobody is kept out for it.
pub fn login(files: Files<'_>, entry: &Entry<'_>) {
    let record = record(USER_PROCESS, entry);
    let _ = put(files.utmp, &record);
    let _ = append(files.wtmp, &record);
    let _ = last(files.lastlog, entry);
}

/// Notes the end of a login.
pub fn logout(files: Files<'_>, entry: &Entry<'_>) {
    let gone = Entry {
        user: "",
        host: "",
        ..*entry
    };
    let record = record(DEAD_PROCESS, &gone);
    let _ = put(files.utmp, &record);
    let _ = append(files.wtmp, &record);
}

fn record(kind: i16, entry: &Entry<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD);
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(entry.pid.to_ne_bytes());
    text(&mut bytes, entry.line, 32);
    // What tells terminals apart: the end of the name.
    let id = entry.line.trim_start_matches("pts/");
    text(&mut bytes, &format!("p{id}"), 4);
    text(&mut bytes, entry.user, 32);
    text(&mut bytes, entry.host, 256);
    // Exit status.
    bytes.extend([0; 4]);
    if NARROW {
        bytes.extend(entry.pid.to_ne_bytes());
        bytes.extend(i32::try_from(entry.at).unwrap_or(i32::MAX).to_ne_bytes());
        bytes.extend([0; 4]);
    } else {
        bytes.extend(i64::from(entry.pid).to_ne_bytes());
        bytes.extend(entry.at.to_ne_bytes());
        bytes.extend([0; 8]);
    }
    let mut address = [0; 16];
    match entry.host.parse() {
        Ok(std::net::IpAddr::V4(v4)) => address[..4].copy_from_slice(&v4.octets()),
        Ok(std::net::IpAddr::V6(v6)) => address = v6.octets(),
        Err(_) => {}
    }
    bytes.extend(address);
    bytes.resize(RECORD, 0);
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str, width: usize) {
    let end = bytes.len() + width;
    bytes.extend(text.bytes().take(width));
    bytes.resize(end, 0);
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    // Everybody who writes these takes this lock; it ends with the file.
    fcntl_lock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Replaces the record of the same terminal, or adds one.
fn put(path: &Path, record: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    let (line, id) = (8..40, 40..44);
    let same =
        |old: &[u8]| old[line.clone()] == record[line.clone()] || old[id.clone()] == record[id.clone()];
    // The boot record and others have types below those of processes.
    let at = all
        .chunks_exact(RECORD)
        .position(|old| i16::from_ne_bytes([old[0], old[1]]) >= 5 && same(old))
        .unwrap_or(all.len() / RECORD);
    file.seek(SeekFrom::Start((at * RECORD) as u64))?;
    file.write_all(record)
}

fn append(path: &Path, record: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    // A torn record before ours would shift all that follow.
    file.seek(SeekFrom::Start(end - end % RECORD as u64))?;
    file.write_all(record)
}

fn last(path: &Path, entry: &Entry<'_>) -> io::Result<()> {
    let mut bytes = Vec::new();
    if NARROW {
        bytes.extend(i32::try_from(entry.at).unwrap_or(i32::MAX).to_ne_bytes());
    } else {
        bytes.extend(entry.at.to_ne_bytes());
    }
    text(&mut bytes, entry.line, 32);
    text(&mut bytes, entry.host, 256);
    let mut file = open(path)?;
    file.seek(SeekFrom::Start(u64::from(entry.uid) * bytes.len() as u64))?;
    file.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_and_its_end_use_one_record_per_terminal() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let (utmp, wtmp, lastlog) = (at("utmp"), at("wtmp"), at("lastlog"));
        for path in [&utmp, &wtmp, &lastlog] {
            std::fs::write(path, b"").expect("made");
        }
        let files = Files {
            utmp: &utmp,
            wtmp: &wtmp,
            lastlog: &lastlog,
        };
        let entry = |line, pid| Entry {
            pid,
            line,
            user: "alice",
            uid: 3,
            host: "10.0.0.9",
            at: 1_800_000_000,
        };
        login(files, &entry("pts/1", 10));
        login(files, &entry("pts/2", 11));
        logout(files, &entry("pts/1", 10));
        login(files, &entry("pts/1", 12));
        let now = std::fs::read(&utmp).expect("read");
        assert_eq!(now.len(), 2 * RECORD);
        assert_eq!(
            (&now[4..8], &now[8..13], &now[44..49]),
            (&12_i32.to_ne_bytes()[..], &b"pts/1"[..], &b"alice"[..])
        );
        assert_eq!(std::fs::read(&wtmp).expect("read").len(), 4 * RECORD);
        assert!(std::fs::read(&lastlog).expect("read").ends_with(&[0; 200]));
    }

    #[test]
    fn what_is_not_there_is_not_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("utmp");
        let files = Files {
            utmp: &path,
            wtmp: &path,
            lastlog: &path,
        };
        let entry = Entry {
            pid: 1,
            line: "pts/1",
            user: "a",
            uid: 0,
            host: "",
            at: 0,
        };
        login(files, &entry);
        assert!(!path.exists());
    }
}
