//! A note beside the log: what is good to know at the next start and does no harm when it is lost.

use std::{fs, io, path::Path};

use crate::files;

const MAGIC: &[u8; 8] = b"PALnot01";

/// Replaces the note. After a power cut there may be the old one, the new one or none.
pub(super) fn write(path: &Path, note: &[u8]) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(note).to_be_bytes());
    bytes.extend_from_slice(note);
    let tmp = files::with_suffix(path, ".tmp");
    fs::write(&tmp, bytes)?;
    fs::rename(&tmp, path)
}

/// The note; none if there is none or it is not whole.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let (crc, note) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    (crc32c::crc32c(note) == u32::from_be_bytes(*crc)).then(|| note.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("log.notes");
        assert_eq!(read(&path), None);
        write(&path, b"first").expect("written");
        write(&path, b"second").expect("written");
        assert_eq!(read(&path).as_deref(), Some(&b"second"[..]));
        let mut bytes = fs::read(&path).expect("there");
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            fs::write(&path, &bytes).expect("ours");
            assert_eq!(read(&path), None, "byte {at}");
            bytes[at] ^= 1;
        }
        fs::write(&path, &bytes[..9]).expect("ours");
        assert_eq!(read(&path), None);
    }
}
