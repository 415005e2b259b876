//! `palctl`: operate a Palisade cluster.

use clap::Parser;
use palisade_client::{errors, palctl::Palctl};
use std::process::ExitCode;

fn main() -> ExitCode {
    let palctl = Palctl::parse();
    errors::run(palctl.run())
}
