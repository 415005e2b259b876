//! Disks that fill up.

use crate::run::run;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own in memory, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one. `None` where this test may not.
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).ok()?;
        let option = format!("size={size}");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &option, "palisade-test"])
            .arg(at);
        run(&mut mount).succeeded().then(|| SmallDisk(at.to_owned()))
    }

    /// Takes room until so many bytes are left; all of it with 0.
    pub fn fill(&self, left: u64) {
        let mut file = fs::File::create(self.ballast()).expect("the disk has room for a name");
        let free = || {
            let disk = nix::sys::statvfs::statvfs(&self.0).expect("the disk is there");
            disk.blocks_available() * disk.fragment_size()
        };
        while free() > left && file.write_all(&[1; 64 * 1024]).is_ok() {}
    }

    /// Whether that was done, and not undone.
    pub fn is_filled(&self) -> bool {
        self.ballast().exists()
    }

    /// Gives it back.
    pub fn empty(&self) {
        fs::remove_file(self.ballast()).expect("it is ours");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
