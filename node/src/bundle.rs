//! The offline bundle in the data directory: put there by `palctl bundle add`, served as it is.

use palisade_core::ports::{ByteSource, Pending, Unavailable};
use std::io;
use std::path::Path;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

/// Its folder in the data directory.
pub(crate) const FOLDER: &str = "bundle";
/// So much is read at once.
const PIECE: usize = 64 * 1024;

/// A file of it; the name has no folders in it.
pub(crate) async fn open(folder: &Path, name: &str) -> io::Result<Option<Box<dyn ByteSource>>> {
    match File::open(folder.join(name)).await {
        Ok(file) if file.metadata().await?.is_file() => Ok(Some(Box::new(Pieces(file)))),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

struct Pieces(File);

impl ByteSource for Pieces {
    fn next(&mut self) -> Pending<'_, Option<Result<Vec<u8>, Unavailable>>> {
        Box::pin(async move {
            let mut piece = vec![0; PIECE];
            match self.0.read(&mut piece).await {
                Ok(0) => None,
                Ok(len) => {
                    piece.truncate(len);
                    Some(Ok(piece))
                }
                Err(e) => Some(Err(Unavailable::Fault(e.to_string()))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_comes_whole_and_what_is_none_is_not_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        std::fs::write(dir.path().join("a.deb"), &bytes).expect("written");
        std::fs::create_dir(dir.path().join("folder")).expect("made");
        let mut source = open(dir.path(), "a.deb")
            .await
            .expect("it is read")
            .expect("it is there");
        let mut got = Vec::new();
        while let Some(piece) = source.next().await {
            got.extend(piece.expect("it is read"));
        }
        assert!(got == bytes, "{} bytes of {}", got.len(), bytes.len());
        for none in ["b.deb", "folder"] {
            assert!(
                open(dir.path(), none).await.expect("no fault").is_none(),
                "{none}"
            );
        }
    }
}
