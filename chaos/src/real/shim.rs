//! A node's wall clock and disk, as a library before libc gives them (`shim.c`).

use palisade_testkit::run;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The error of a disk that fails.
pub const EIO: i64 = 5;

/// What one node sees.
#[derive(Debug)]
pub struct Shim {
    libraries: String,
    control: PathBuf,
    file: File,
}

/// What can be set; the places are those of `struct control`.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub enum Knob {
    /// What the wall clock is off by, in nanoseconds.
    Clock = 0,
    /// What syncs fail with; 0 for not at all.
    SyncError = 8,
    /// What writes fail with.
    WriteError = 16,
    /// How long a sync takes besides, in microseconds.
    SyncDelay = 24,
    /// How long a write takes besides.
    WriteDelay = 32,
}

/// Compiles the library into a folder.
pub fn build(folder: &Path) -> PathBuf {
    let (source, out) = (folder.join("shim.c"), folder.join("shim.so"));
    fs::write(&source, include_str!("shim.c")).expect("the run's folder is writable");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-o"]);
    run(cc.arg(&out).arg(&source).arg("-ldl")).ok();
    out
}

impl Shim {
    /// For one node, with nothing wrong; other libraries may come with ours.
    pub fn new(libraries: &[PathBuf], control: PathBuf) -> Self {
        fs::write(&control, [0; 40]).expect("the run's folder is writable");
        let file = File::options()
            .write(true)
            .open(&control)
            .expect("it was just written");
        Shim {
            libraries: libraries
                .iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
                .join(":"),
            control,
            file,
        }
    }

    /// What to start the node under.
    pub fn under(&self) -> Vec<String> {
        vec![
            "env".into(),
            format!("LD_PRELOAD={}", self.libraries),
            format!("PALISADE_CHAOS_CONTROL={}", self.control.display()),
        ]
    }

    /// Sets one thing, from this moment on.
    pub fn set(&self, knob: Knob, value: i64) {
        self.file
            .write_all_at(&value.to_ne_bytes(), knob as u64)
            .expect("the control page is writable");
    }

    /// All is well again.
    pub fn reset(&self) {
        self.file
            .write_all_at(&[0; 40], 0)
            .expect("the control page is writable");
    }
}
