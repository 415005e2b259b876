//! The victim of the crash tests (`tests/crash.rs`): writes to a store as fast as it can, and says on its standard
//! output what it is about to do (`S`) and what has become durable (`D`), until it is killed.
//!
//! What it does is decided by [`Plan`] from a seed and a number alone, so that the test can work out what must be
//! there afterwards.

#[path = "../../tests/crash/plan.rs"]
mod plan;

use std::{
    collections::VecDeque,
    io::Write,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use palisade_storage::{Change, LogOptions, LogRecord, LogStore, StateOptions, StateStore};
use plan::{LogOp, Plan, StateOp};

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // The reader is gone when the test is over.
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, kind, dir, seed, skip] = args.as_slice() else {
        eprintln!("usage: storage-torture log|state DIR SEED sync|skip");
        return ExitCode::from(2);
    };
    let Ok(seed) = seed.parse() else {
        eprintln!("the seed is a number");
        return ExitCode::from(2);
    };
    let result = match kind.as_str() {
        "log" => torture_log(Path::new(dir), seed, skip == "skip"),
        _ => torture_state(Path::new(dir), seed, skip == "skip"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("storage-torture: {e}");
            ExitCode::FAILURE
        }
    }
}

fn torture_log(dir: &Path, seed: u64, skip_fdatasync: bool) -> Result<(), Box<dyn std::error::Error>> {
    let on_fatal: palisade_storage::OnFatal = Arc::new(|why| say(format_args!("F {why}")));
    let opts = LogOptions {
        skip_fdatasync,
        on_fatal: Some(on_fatal),
        ..LogOptions::default()
    };
    let log = LogStore::open(dir, opts)?;
    let mut plan = Plan::new(seed);
    let (mut first, mut next) = match (log.bounds(), log.purged()) {
        (Some((first, last)), _) => (first, last + 1),
        (None, Some((purged, _))) => (purged + 1, purged + 1),
        (None, None) => (0, 0),
    };
    say(format_args!("O {first} {next}"));
    let answered = Arc::new(AtomicU64::new(0));
    for number in 1u64.. {
        while number > answered.load(Ordering::SeqCst) + plan.pipeline() {
            std::thread::sleep(Duration::from_micros(50));
        }
        let op = plan.log_op(first, next);
        say(format_args!("S {number} {op}"));
        let answered = answered.clone();
        let done = Box::new(move |result: Result<(), palisade_storage::WriteError>| {
            match result {
                Ok(()) => say(format_args!("D {number}")),
                Err(e) => say(format_args!("E {number} {e}")),
            }
            answered.store(number, Ordering::SeqCst);
        });
        match op {
            LogOp::Append { from, to, tag } => {
                let records = (from..to).map(|index| LogRecord {
                    index,
                    payload: plan::payload(index, tag),
                });
                log.append(records.collect(), done);
                next = to;
            }
            LogOp::Vote { tag } => log.save_vote(plan::vote(tag), done),
            LogOp::Truncate { from } => {
                log.truncate_from(from, done);
                next = from;
            }
            LogOp::Purge { upto } => {
                log.purge_upto(upto, plan::marker(upto), done);
                first = upto + 1;
                next = next.max(first);
            }
        }
        log.save_committed(number.to_be_bytes().to_vec());
        if log.sync_stats().last_error.is_some() {
            // Long enough for whatever might still be acknowledged, wrongly, to be seen.
            std::thread::sleep(Duration::from_millis(100));
            return Err("the log has failed".into());
        }
    }
    Ok(())
}

fn torture_state(dir: &Path, seed: u64, skip_fdatasync: bool) -> Result<(), Box<dyn std::error::Error>> {
    let opts = StateOptions {
        skip_fdatasync,
        sync_every: Duration::from_millis(20),
        ..StateOptions::default()
    };
    let state = StateStore::open(dir, opts)?;
    let mut plan = Plan::new(seed);
    let mut version = state.applied()?.0.map_or(0, |a| plan::version(&a));
    say(format_args!("O 0 {version}"));
    let mut applied = VecDeque::new();
    for number in 1u64.. {
        let op = plan.state_op(version);
        say(format_args!("S {number} {op}"));
        applied.push_back(number);
        let durable = match op {
            StateOp::Apply { to } => {
                let changes = plan::changes(to)
                    .into_iter()
                    .map(|(key, value)| match value {
                        Some(value) => Change::Put { key, value },
                        None => Change::Delete { key },
                    })
                    .collect();
                state.apply(changes, plan::applied(to), None)?;
                version = to;
                false
            }
            StateOp::Sync => {
                state.sync()?;
                true
            }
            StateOp::Snapshot => {
                state.build_snapshot(plan::applied(version))?;
                true
            }
            StateOp::Install => match state.current_snapshot() {
                Some(snapshot) => {
                    let mut incoming = state.new_incoming()?;
                    std::io::copy(&mut snapshot.open()?, &mut incoming)?;
                    state.install_snapshot(incoming)?;
                    version = plan::version(&snapshot.meta);
                    say(format_args!("I {number} {version}"));
                    true
                }
                None => false,
            },
        };
        if durable {
            say(format_args!("D {number}"));
        }
    }
    Ok(())
}
