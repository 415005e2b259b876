//! Durable appends per second by number of producers, beside a plain file and `fdatasync` on the same disk.
//!
//! `cargo run --release -p palisade-storage --example append_bench [DIR] [SECONDS]`

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use palisade_storage::{LogOptions, LogRecord, LogStore};

const SIZE: usize = 512;

fn show(name: &str, took: &mut [Duration], elapsed: Duration) {
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "{name:<28} {:>8.0} entries/s   p50 {:>7.3} ms   p99 {:>7.3} ms",
        took.len() as f64 / elapsed.as_secs_f64(),
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3
    );
}

fn plain(dir: &Path, time: Duration) -> std::io::Result<()> {
    let mut f = std::fs::File::create(dir.join("plain"))?;
    let mut took = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let t = Instant::now();
        f.write_all(&[7; SIZE])?;
        f.sync_data()?;
        took.push(t.elapsed());
    }
    show("plain file and fdatasync", &mut took, start.elapsed());
    Ok(())
}

/// One durable write to each in turn, so that both meet the same disk.
fn in_turn(dir: &Path, time: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let log = LogStore::open(&dir.join("raft-in-turn"), LogOptions::default())?;
    let mut f = std::fs::File::create(dir.join("plain-in-turn"))?;
    let (mut plain, mut logged) = (Vec::new(), Vec::new());
    let (tx, rx) = mpsc::channel();
    let start = Instant::now();
    for index in 0.. {
        if start.elapsed() > time {
            break;
        }
        let t = Instant::now();
        f.write_all(&[7; SIZE])?;
        f.sync_data()?;
        plain.push(t.elapsed());
        let t = Instant::now();
        let tx = tx.clone();
        log.append(
            vec![LogRecord {
                index,
                payload: vec![7; SIZE],
            }],
            Box::new(move |r| drop(tx.send(r))),
        );
        rx.recv()??;
        logged.push(t.elapsed());
    }
    show("in turn: plain file", &mut plain, start.elapsed());
    show("in turn: log", &mut logged, start.elapsed());
    println!("of which the log's own fdatasync: p50 {:?}", log.sync_stats().p50);
    Ok(())
}

fn producers(dir: &Path, n: usize, time: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let log = LogStore::open(&dir.join(format!("raft-{n}")), LogOptions::default())?;
    let next = Mutex::new(0u64);
    let all = Mutex::new(Vec::new());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..n {
            scope.spawn(|| {
                let mut took = Vec::new();
                let (tx, rx) = mpsc::channel();
                while start.elapsed() < time {
                    let t = Instant::now();
                    let tx = tx.clone();
                    if let Ok(mut next) = next.lock() {
                        let record = LogRecord {
                            index: *next,
                            payload: vec![7; SIZE],
                        };
                        *next += 1;
                        log.append(vec![record], Box::new(move |r| drop(tx.send(r))));
                    }
                    match rx.recv() {
                        Ok(Ok(())) => took.push(t.elapsed()),
                        other => return eprintln!("append failed: {other:?}"),
                    }
                }
                if let Ok(mut all) = all.lock() {
                    all.append(&mut took);
                }
            });
        }
    });
    let elapsed = start.elapsed();
    if let Ok(mut all) = all.lock() {
        show(&format!("log, {n} producer(s)"), &mut all, elapsed);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let time = Duration::from_secs(args.next().map_or(Ok(3), |s| s.parse())?);
    let dir = dir.join(format!("append-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    in_turn(&dir, time)?;
    for n in [1, 16, 64] {
        // Each time anew: a shared disk is fast now and slow a second later.
        plain(&dir, time)?;
        producers(&dir, n, time)?;
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
