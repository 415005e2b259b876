//! `palctl bundle ...`: loads the offline bundle into this node, which serves it to hosts that have no internet.

use super::Link;
use crate::errors::{Failure, print};
use palisade_core::api::{ClusterStatus, bundle_name, path};
use palisade_core::shown::Shown;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const SUMS: &str = "SHA256SUMS";
const INSTALLER: &str = "install-agent.sh";

#[derive(Debug, clap::Subcommand)]
pub(super) enum BundleCommand {
    /// Check a bundle and let this node serve it, instead of the one before
    Add {
        /// The archive of `make bundle`; verify its signature first
        file: PathBuf,
    },
    /// Print what a host types to install its agent from this node
    Show,
}

pub(super) async fn run(link: &Link, command: BundleCommand) -> Result<(), Failure> {
    let folder = link.data_dir()?.join("bundle");
    if let BundleCommand::Add { file } = command {
        let count = add(&file, &folder)?;
        print(&format!(
            "{count} files were checked and are served by this node. Load them into each node that shall serve them.\n\n"
        ))?;
    }
    let status: ClusterStatus = link.control()?.get(path::STATUS, &[]).await?;
    let own = status.nodes.iter().find(|n| n.id == status.node);
    let addr = own.map_or("ADDRESS:3080", |n| n.web_addr.as_str());
    let hash = |name: &str| hash_of(&folder.join(name));
    print(&lines(&Shown(addr).to_string(), &hash(INSTALLER)?, &hash(SUMS)?))
}

/// What is typed on a host. Nothing that is fetched is believed: it is held against these hashes, which come from here.
fn lines(addr: &str, installer: &str, sums: &str) -> String {
    format!(
        "On a host, as root, with a token of `palctl tokens add --host NAME`:\n\n  curl -fsSk https://{addr}/v1/bundle/{INSTALLER} -o {INSTALLER}\n  echo '{installer}  {INSTALLER}' | sha256sum -c && sh {INSTALLER} {addr} {sums} TOKEN\n"
    )
}

fn add(file: &Path, folder: &Path) -> Result<usize, Failure> {
    let fresh = folder.with_extension("new");
    remove(&fresh)?;
    let made = unpack(file, &fresh)
        .and_then(|()| check(&fresh))
        .and_then(|count| {
            remove(folder)?;
            fs::rename(&fresh, folder).map_err(|e| Failure::file(folder, "put the bundle into", &e))?;
            Ok(count)
        });
    if made.is_err() {
        remove(&fresh)?;
    }
    made
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Failure::file(folder, "remove", &e)),
        _ => Ok(()),
    }
}

fn unpack(file: &Path, into: &Path) -> Result<(), Failure> {
    fs::create_dir(into).map_err(|e| Failure::file(into, "make", &e))?;
    let mut tar = std::process::Command::new("tar");
    tar.args(["-x", "--no-same-owner", "--no-same-permissions", "-f"])
        .arg(file)
        .arg("-C")
        .arg(into);
    let done = tar
        .output()
        .map_err(|e| Failure::file(Path::new("tar"), "run", &e))?;
    if done.status.success() {
        return Ok(());
    }
    Err(Failure::new(
        format!(
            "{} cannot be unpacked: {}",
            file.display(),
            Shown(String::from_utf8_lossy(&done.stderr).trim())
        ),
        "copy the bundle here again, and verify its signature",
    ))
}

/// Everything in the folder is listed with its hash, and everything listed is there.
fn check(folder: &Path) -> Result<usize, Failure> {
    let damaged = |what: String| Failure::new(what, "copy the bundle here again, and verify its signature");
    let sums = folder.join(SUMS);
    let text = fs::read_to_string(&sums).map_err(|e| Failure::file(&sums, "read", &e))?;
    let mut wanted =
        listed(&text).map_err(|line| damaged(format!("{SUMS} has a line that is none: {}", Shown(&line))))?;
    let entries = fs::read_dir(folder).map_err(|e| Failure::file(folder, "read", &e))?;
    let mut count = 0;
    for entry in entries {
        let entry = entry.map_err(|e| Failure::file(folder, "read", &e))?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if name != SUMS {
            let regular = entry.file_type().is_ok_and(|kind| kind.is_file());
            let hash = wanted.remove(&name).filter(|_| regular);
            let hash =
                hash.ok_or_else(|| damaged(format!("{} is in the bundle and not listed", Shown(&name))))?;
            if hash_of(&path)? != hash {
                return Err(damaged(format!("{} is not what {SUMS} says", Shown(&name))));
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
            .map_err(|e| Failure::file(&path, "make readable", &e))?;
        count += 1;
    }
    if let Some(name) = wanted.keys().next() {
        return Err(damaged(format!("the bundle lacks {}", Shown(name))));
    }
    if !folder.join(INSTALLER).exists() {
        return Err(damaged(format!("the bundle lacks {INSTALLER}")));
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .map_err(|e| Failure::file(folder, "make readable", &e))?;
    Ok(count)
}

/// The lines of `sha256sum`: names and hashes; the line that is none.
fn listed(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut wanted = BTreeMap::new();
    for line in text.lines() {
        match line.split_once("  ") {
            Some((hash, name)) if hash.len() == 64 && bundle_name(name) => {
                wanted.insert(name.to_owned(), hash.to_owned());
            }
            _ => return Err(line.chars().take(100).collect()),
        }
    }
    Ok(wanted)
}

fn hash_of(path: &Path) -> Result<String, Failure> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Failure::new(
            format!("this node has no bundle: there is no {}", path.display()),
            "load one with `palctl bundle add FILE`",
        ),
        _ => Failure::file(path, "read", &e),
    };
    let mut file = fs::File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).map_err(failed)?;
    Ok(hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(files: &[(&str, &str)], sums: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let from = dir.path().join("from");
        fs::create_dir(&from).expect("made");
        for (name, text) in files {
            fs::write(from.join(name), text).expect("written");
        }
        fs::write(from.join(SUMS), sums).expect("written");
        let tar = dir.path().join("b.tar");
        let made = std::process::Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(&from)
            .arg(".")
            .status();
        assert!(made.expect("there is tar").success());
        (dir, tar)
    }

    fn sum(name: &str, text: &str) -> String {
        format!("{}  {name}\n", hex::encode(Sha256::digest(text)))
    }

    #[test]
    fn only_a_whole_bundle_takes_the_place_of_the_one_before() {
        let good = [(INSTALLER, "#!/bin/sh\n"), ("a.deb", "package")];
        let sums: String = good.iter().map(|(name, text)| sum(name, text)).collect();
        let (dir, tar) = bundle(&good, &sums);
        let folder = dir.path().join("bundle");
        assert_eq!(add(&tar, &folder).expect("it is whole"), 3);
        let cases = [
            (vec![good[0], ("a.deb", "changed")], sums.clone(), "not what"),
            (vec![good[0]], sums.clone(), "lacks a.deb"),
            (vec![good[0], good[1], ("more", "")], sums.clone(), "not listed"),
            (vec![good[1]], sum(good[1].0, good[1].1), "lacks install"),
            (vec![good[0], good[1]], "what\n".into(), "line"),
            (
                vec![good[0], good[1]],
                format!("{sums}{}", sum("../x", "")),
                "line",
            ),
        ];
        for (files, sums, wanted) in cases {
            let (_other, tar) = bundle(&files, &sums);
            let why = add(&tar, &folder).expect_err(wanted);
            assert!(why.what.contains(wanted), "{wanted:?} is not in {:?}", why.what);
            assert!(folder.join("a.deb").exists() && !folder.with_extension("new").exists());
        }
        let (_other, tar) = bundle(&good, &sums);
        let cut = fs::read(&tar).expect("read");
        fs::write(&tar, &cut[..700]).expect("written");
        add(&tar, &folder).expect_err("it was cut");
        assert_eq!(fs::read(folder.join("a.deb")).expect("it is there"), b"package");
    }
}
