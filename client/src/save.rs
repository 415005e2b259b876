//! Answers that go into files.

use crate::errors::Failure;
use reqwest::Response;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes an answer into a file as it comes: whole, or not at all.
pub async fn save(mut response: Response, out: Option<&Path>) -> Result<(), Failure> {
    let broken = |e: reqwest::Error| Failure::new(format!("the answer broke off: {e}"), "try again");
    let Some(path) = out.filter(|p| *p != Path::new("-")) else {
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            let mut stdout = std::io::stdout().lock();
            match stdout.write_all(&chunk).and_then(|()| stdout.flush()) {
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                Err(e) => {
                    return Err(Failure::new(
                        format!("cannot write the output: {e}"),
                        "check where it goes",
                    ));
                }
                Ok(()) => {}
            }
        }
        return Ok(());
    };
    let mut temp = path.as_os_str().to_owned();
    temp.push(".part");
    let temp = PathBuf::from(temp);
    let failed = |e: std::io::Error| Failure::file(path, "write", &e);
    let mut file = crate::profile::private_file(&temp).map_err(failed)?;
    let mut size = 0u64;
    let outcome = async {
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            size += chunk.len() as u64;
            file.write_all(&chunk).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        std::fs::rename(&temp, path).map_err(failed)
    }
    .await;
    if let Err(failure) = outcome {
        let _ = std::fs::remove_file(&temp);
        return Err(failure);
    }
    eprintln!("{}: {size} bytes", path.display());
    Ok(())
}
