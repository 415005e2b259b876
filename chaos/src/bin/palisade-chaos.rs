//! `palisade-chaos`: faults in a row against a cluster of the shipped binary, and whether it kept its promises.

use clap::Parser;
use palisade_chaos::real::faults::{ALL, named};
use palisade_chaos::real::{Options, net, run};
use std::path::PathBuf;
use std::process::ExitCode;

/// Faults in a row against a cluster of real processes, with clients of every kind, and checkers afterwards.
#[derive(Parser)]
#[command(name = "palisade-chaos")]
struct Cli {
    /// How many faults.
    #[arg(long, default_value_t = 20)]
    faults: usize,
    /// What the choices follow from: the same seed makes the same faults again.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds of fault, with commas between them; `--only list` names them.
    #[arg(long)]
    only: Option<String>,
    /// Also pauses of up to half a minute.
    #[arg(long)]
    long: bool,
    /// A deliberate fault in every node (debug builds alone): the run succeeds if a checker finds it.
    #[arg(long)]
    mutant: Option<String>,
    /// Where the logs of the nodes are kept.
    #[arg(long)]
    logs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let cli = Cli::parse();
    let mut only = Vec::new();
    for name in cli.only.iter().flat_map(|names| names.split(',')) {
        match named(name.trim()) {
            Some(kind) => only.push(kind),
            None => {
                let names: Vec<_> = ALL.iter().map(|fault| fault.name).collect();
                eprintln!("the kinds of fault are: {}", names.join(", "));
                return ExitCode::from(2);
            }
        }
    }
    match net::enter(&words, "") {
        Ok(None) => {}
        Ok(Some(code)) => return code,
        Err(why) => {
            eprintln!("palisade-chaos: NOT RUN: {why}");
            return ExitCode::FAILURE;
        }
    }
    let seed = cli.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let logs = cli
        .logs
        .unwrap_or_else(|| std::env::temp_dir().join(format!("palisade-chaos-{seed}")));
    let mutant = cli.mutant.clone();
    let report = run(&Options {
        faults: cli.faults,
        seed,
        only,
        long: cli.long,
        mutant: cli.mutant,
        logs,
    });
    println!("\n{report}");
    if let Some(mutant) = mutant {
        let caught = report.caught();
        println!(
            "{mutant}: {}",
            if caught.is_empty() {
                "NOT CAUGHT"
            } else {
                "caught by"
            }
        );
        caught.iter().for_each(|(by, what)| println!("  {by}: {what}"));
        return if caught.is_empty() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
