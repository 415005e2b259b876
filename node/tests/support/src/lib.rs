//! Clusters of real processes for tests: nodes, a stock `sshd`, and people who use `pal` and `ssh`.
//!
//! Everything is waited for as a condition with a bound, every process is stopped by its own process id when its
//! owner is dropped, and the logs of all nodes are printed when a test fails. Nothing listens beyond loopback.

mod agent;
mod browser;
mod cluster;
mod disk;
mod outlive;
mod person;
mod ports;
mod power;
mod run;
mod sshd;
mod wait;

pub use agent::Agent;
pub use browser::{Terminal, download, upload};
pub use cluster::{Cluster, NodeHandle};
pub use disk::SmallDisk;
pub use outlive::{Pauses, outlive};
pub use person::{Login, Person};
pub use ports::free_port;
pub use power::{Loss, build_power_shim, cut_power, forget_synced, under_power_shim};
pub use run::{Background, Ran, run, run_with_input, under_clock};
pub use sshd::Sshd;
pub use wait::{retry, until};

use std::path::PathBuf;

/// A program that was built with this test: they stand side by side.
pub fn program(name: &str) -> PathBuf {
    let me = std::env::current_exe().expect("a running test has a path");
    let folder = me.parent().expect("a program lies in a folder");
    // A test is in target/<profile>/deps, a bench in target/<profile>.
    let folder = if folder.ends_with("deps") {
        folder.parent().expect("deps is in a folder")
    } else {
        folder
    };
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --workspace --bins` first (`make test` does)",
        path.display()
    );
    path
}

/// The account that the test runs as: the login on the test's own `sshd`.
pub fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .ok()
        .flatten()
        .expect("the test's own account exists")
        .name
}

/// Programs in the tests' Python environment (`ansible`, `ssh-audit`); `None` outside of `make test`.
pub fn python_program(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("PALISADE_TEST_VENV")?)
        .join("bin")
        .join(name);
    path.exists().then_some(path)
}
