//! How many instructions each hot operation of the rooms takes, counted by callgrind: the same on a busy machine as
//! on a quiet one, so a change that makes one dearer is seen in the check and not a year later.
//!
//! `check` fails when an operation takes over five in a hundred more than `counts.json` says. Whoever means it to
//! says why: `accept NAME --why TEXT` writes the new count with the reason beside it.

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};
use palisade_bench_rooms::{ALL, Operation};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Command;

/// Growth that needs a reason, in percent.
const GROWTH: f64 = 5.0;
const COUNTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.json");

/// Counts the instructions of the rooms' hot operations.
#[derive(Parser)]
#[command(name = "palisade-count")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Does one operation so many times; what callgrind looks at
    Run {
        /// Which
        name: String,
        /// How often
        times: u32,
    },
    /// Counts all and compares with the counts that are kept
    Check,
    /// Counts, and keeps the new counts
    Accept {
        /// Which; all if nothing is said
        names: Vec<String>,
        /// Why they are what they are now
        #[arg(long)]
        why: String,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        What::Run { name, times } => run(find(&name)?, times),
        What::Check => check(),
        What::Accept { names, why } => accept(&names, &why),
    }
}

fn find(name: &str) -> anyhow::Result<&'static Operation> {
    static OPERATIONS: [Operation; ALL.len()] = ALL;
    OPERATIONS
        .iter()
        .find(|operation| operation.name == name)
        .with_context(|| format!("no operation is called {name}"))
}

fn run(operation: &Operation, times: u32) -> anyhow::Result<()> {
    let mut once = (operation.prepare)()?;
    for _ in 0..times {
        once()?;
    }
    Ok(())
}

/// Instructions of one time: what twice as many times take more. Start and preparation fall out of that.
fn count(operation: &Operation) -> anyhow::Result<u64> {
    let times = operation.repeat;
    Ok((least(operation, 2 * times)?.saturating_sub(least(operation, times)?)) / u64::from(times))
}

/// Fresh keys and hash seeds add to a run and seldom take away from it, so it is
/// the least of several that is compared.
fn least(operation: &Operation, times: u32) -> anyhow::Result<u64> {
    let mut least = u64::MAX;
    for _ in 0..operation.runs {
        least = least.min(collected(operation, times)?);
    }
    Ok(least)
}

fn collected(operation: &Operation, times: u32) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["run", operation.name, &times.to_string()])
        .output()
        .context("valgrind cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", operation.name);
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, number)| number.trim().parse().ok())
        .with_context(|| format!("callgrind said no count: {said}"))?;
    ensure!(count > 0, "{}: callgrind counted nothing", operation.name);
    Ok(count)
}

/// What a count depends on besides our own code.
fn compiler() -> anyhow::Result<String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-V")
        .output()
        .context("rustc cannot be asked for its version")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // Libraries choose their code by what the processor can do, and valgrind shows them one processor with AVX2 and one
    // without.
    #[cfg(target_arch = "x86_64")]
    let wide = std::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let wide = false;
    let wide = if wide { " with AVX2" } else { "" };
    Ok(format!("{version}, {}{wide}", std::env::consts::ARCH))
}

fn kept() -> anyhow::Result<Map<String, Value>> {
    let text = std::fs::read_to_string(COUNTS).with_context(|| COUNTS.to_owned())?;
    match serde_json::from_str(&text)? {
        Value::Object(kept) => Ok(kept),
        _ => bail!("{COUNTS} is not an object"),
    }
}

/// Ends with a line in the form of a test suite's, so that it is counted as one.
fn check() -> anyhow::Result<()> {
    let kept = kept()?;
    let compiler = compiler()?;
    let counted_with = kept.get("compiler").and_then(Value::as_str).unwrap_or_default();
    if counted_with != compiler {
        println!(
            "NOT COMPARED: the counts that are kept are of {counted_with}, this is {compiler}. `palisade-count accept --why` renews them."
        );
        println!(
            "test result: ok. 0 passed; 0 failed; {} ignored; counts",
            ALL.len()
        );
        return Ok(());
    }
    // In the form of a suite, by whose name the summary of the tests tells what failed.
    println!("     Running instruction counts (benches/rooms/counts.json)");
    let (mut passed, mut failed) = (0, 0);
    for operation in ALL.iter().filter(|operation| operation.counted) {
        let count = count(operation)?;
        let before = kept
            .get(operation.name)
            .and_then(|entry| entry.get("instructions"))
            .and_then(Value::as_u64);
        let said = verdict(before, count);
        println!(
            "test {} ... {} ({count} instructions; {})",
            operation.name,
            if said.is_ok() { "ok" } else { "FAILED" },
            said.as_ref().map_or_else(Clone::clone, Clone::clone)
        );
        passed += usize::from(said.is_ok());
        failed += usize::from(said.is_err());
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; counts");
    ensure!(
        failed == 0,
        "more instructions than are kept in benches/rooms/counts.json; if it is meant: palisade-count accept NAME --why TEXT"
    );
    Ok(())
}

/// Whether a count is within what is kept, in words.
fn verdict(before: Option<u64>, now: u64) -> Result<String, String> {
    let Some(before) = before else {
        return Err("nothing is kept for it".to_owned());
    };
    let growth = (now as f64 / before as f64 - 1.0) * 100.0;
    let said = format!("kept {before}, {growth:+.1} %");
    if growth > GROWTH { Err(said) } else { Ok(said) }
}

fn accept(names: &[String], why: &str) -> anyhow::Result<()> {
    ensure!(!why.trim().is_empty(), "--why wants a reason");
    let mut kept = if Path::new(COUNTS).exists() {
        kept()?
    } else {
        Map::new()
    };
    let compiler = compiler()?;
    let other = kept.get("compiler").is_some_and(|with| *with != json!(compiler));
    ensure!(
        !other || names.is_empty(),
        "the compiler is another one: all counts are renewed, or none"
    );
    kept.insert("compiler".to_owned(), json!(compiler));
    for name in names {
        find(name)?;
    }
    for operation in ALL.iter().filter(|operation| operation.counted) {
        if names.is_empty() || names.iter().any(|name| name == operation.name) {
            let count = count(operation)?;
            println!("{}: {count}", operation.name);
            kept.insert(
                operation.name.to_owned(),
                json!({"instructions": count, "why": why}),
            );
        }
    }
    std::fs::write(
        COUNTS,
        format!("{}\n", serde_json::to_string_pretty(&Value::Object(kept))?),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn growth_of_over_five_in_a_hundred_fails_and_less_does_not() {
        assert!(verdict(Some(1000), 1049).is_ok());
        assert!(verdict(Some(1000), 1051).is_err());
        assert!(verdict(Some(1000), 10).is_ok());
        assert!(verdict(None, 10).is_err());
    }
}
