//! `pal`: log in to a Palisade cluster and reach its hosts.

use clap::Parser;
use palisade_client::{errors, pal::Pal};
use std::process::ExitCode;

fn main() -> ExitCode {
    let pal = Pal::parse();
    errors::run(pal.run())
}
