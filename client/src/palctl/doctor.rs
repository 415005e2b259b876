//! `palctl doctor`: what somebody who helps wants to see, in one file, without secrets.

use super::Link;
use crate::errors::{Failure, print};
use flate2::Compression;
use flate2::write::GzEncoder;
use palisade_core::api::{SupportBundle, SupportFile, path};
use palisade_core::shown::Shown;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// The file to write [default: palisade-doctor-SECONDS.tar.gz here]
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// The node's configuration, for a node that does not run
    #[arg(long, default_value = "/etc/palisade/palisade.yaml")]
    config: PathBuf,
}

pub(super) async fn run(link: &Link, args: &DoctorArgs) -> Result<(), Failure> {
    let asked = match link.control() {
        Ok(nodes) => {
            let nodes = nodes.deadline(Duration::from_secs(30));
            nodes
                .get::<SupportBundle>(path::SUPPORT, &[])
                .await
                .map_err(|e| e.to_string())
        }
        Err(failure) => Err(failure.to_string()),
    };
    let mut files = match asked {
        Ok(bundle) => bundle.files,
        Err(why) => without_node(&why, &args.config),
    };
    files.push(SupportFile {
        name: "palctl.txt".into(),
        text: format!("palctl {}\n", env!("CARGO_PKG_VERSION")),
    });
    let out = args.out.clone().unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        PathBuf::from(format!("palisade-doctor-{}.tar.gz", now.as_secs()))
    });
    write(&out, &files).map_err(|e| {
        Failure::new(
            format!("{} cannot be written: {e}", out.display()),
            "give --out FILE",
        )
    })?;
    let names: Vec<String> = files.iter().map(|f| format!("  {}", Shown(&f.name))).collect();
    print(&format!(
        "{} was written:\n{}\nIt holds names of nodes and their addresses, and no passwords, keys or tokens. Look at it before you give it away.\n",
        out.display(),
        names.join("\n")
    ))
}

/// What can be found out about a node that does not answer: its stores may be looked at, since nobody holds them.
fn without_node(why: &str, config: &Path) -> Vec<SupportFile> {
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|me| Some(me.parent()?.join("palisade")));
    let program = beside.filter(|p| p.exists()).unwrap_or_else(|| "palisade".into());
    let ran = |words: &[&str]| match Command::new(&program).args(words).output() {
        Ok(done) => {
            let said = [done.stdout, done.stderr].concat();
            format!("{}\n{}", String::from_utf8_lossy(&said), done.status)
        }
        Err(e) => format!("{}: {e}", program.display()),
    };
    let file = config.display().to_string();
    let named = |name: &str, text: String| SupportFile {
        name: name.into(),
        text,
    };
    vec![
        named("node.txt", format!("the node does not answer: {why}\n")),
        named("version.txt", ran(&["--version"])),
        named("config.txt", ran(&["config", "show", &file])),
        // Reads only; refuses by itself where the node runs and holds its stores.
        named("storage.txt", ran(&["repair", "--config", &file])),
    ]
}

fn write(out: &Path, files: &[SupportFile]) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for SupportFile { name, text } in files {
        // What a node calls its files decides nothing here.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let name: String = name.chars().filter(|c| plain(*c)).collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        archive.append_data(
            &mut header,
            Path::new("palisade-doctor").join(name),
            text.as_bytes(),
        )?;
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()?;
    file.sync_all()
}
