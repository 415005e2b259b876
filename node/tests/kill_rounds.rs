//! Thirty rounds of kill -9 under load. Goal: every write, certificate and audit event that was acknowledged is
//! there afterwards, on every node, once. Method: people write and log in without pause while nodes die and come
//! back; what they were told succeeded is compared with what each node has at the end.

use palisade_testkit::{Cluster, Login, Person, retry};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(90);
const ROUNDS: usize = 30;

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    hosts: Mutex<BTreeSet<String>>,
    serials: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
}

/// Adds hosts until told to stop. A failure is an answer without a promise; only success is remembered.
fn write(login: &Login, worker: usize, stop: &AtomicBool, seen: &Acknowledged) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("w{worker}-{n}");
        n += 1;
        if login
            .palctl(&[
                "hosts",
                "add",
                &name,
                "--addr",
                "127.0.0.1:22",
                "--labels",
                "from=load",
            ])
            .succeeded()
        {
            seen.hosts.lock().expect("no writer panics").insert(name);
            seen.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Logs in until told to stop, and remembers the serial of every certificate.
fn log_in(person: &Person, addrs: &str, stop: &AtomicBool, seen: &Acknowledged) {
    while !stop.load(Ordering::Relaxed) {
        if person.login_by_password(addrs).succeeded() {
            let shown = person.certificate();
            let serial = shown
                .lines()
                .find_map(|l| l.trim().strip_prefix("Serial: "))
                .expect("a certificate has a serial");
            assert!(
                seen.serials
                    .lock()
                    .expect("no writer panics")
                    .insert(serial.to_owned()),
                "serial {serial} came twice"
            );
            seen.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn thirty_kills_lose_nothing_that_was_acknowledged() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    let addrs: Vec<_> = cluster.nodes.iter().map(|n| n.web_addr()).collect();
    let addrs = addrs.join(",");
    let writer = cluster.person_by_password("writer", "admin");
    writer.login_by_password(&addrs).ok();
    // Several people, because each has a home that a login overwrites.
    let people: Vec<_> = (0..2)
        .map(|n| cluster.person_by_password(&format!("p{n}"), "access"))
        .collect();

    let (stop, seen) = (AtomicBool::new(false), Acknowledged::default());
    let handle = writer.handle();
    let mut gaps = Vec::new();
    std::thread::scope(|scope| {
        // If the killer panics the writers must end as well, or the scope never would.
        struct StopOnDrop<'a>(&'a AtomicBool);
        impl Drop for StopOnDrop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = StopOnDrop(&stop);
        for worker in 0..2 {
            let (handle, stop, seen) = (handle.clone(), &stop, &seen);
            scope.spawn(move || write(&handle, worker, stop, seen));
        }
        for person in people {
            let (addrs, stop, seen) = (&addrs, &stop, &seen);
            scope.spawn(move || log_in(&person, addrs, stop, seen));
        }
        let progress = |by: usize| {
            let target = seen.count.load(Ordering::Relaxed) + by;
            retry("the load to go on", BOUND, || {
                let count = seen.count.load(Ordering::Relaxed);
                if count >= target {
                    Ok(())
                } else {
                    Err(format!("{count} of {target}"))
                }
            });
        };
        for round in 0..ROUNDS {
            progress(2);
            match round % 10 {
                // All at once, as a power cut does.
                9 => {
                    (0..3).for_each(|i| cluster.kill9(i));
                    (0..3).for_each(|i| cluster.spawn(i));
                }
                r if r % 2 == 0 => {
                    let victim = cluster.leader();
                    cluster.kill9(victim);
                    let killed = Instant::now();
                    // The survivors go on by themselves, before the dead one is back.
                    progress(1);
                    gaps.push(killed.elapsed());
                    cluster.spawn(victim);
                }
                r => {
                    let victim = (r + round) % 3;
                    cluster.kill9(victim);
                    progress(1);
                    cluster.spawn(victim);
                }
            }
        }
        progress(2);
    });

    cluster.wait_voters(3);
    cluster.wait_converged();
    let hosts = seen.hosts.into_inner().expect("no writer panicked");
    let serials = seen.serials.into_inner().expect("no writer panicked");
    gaps.sort();
    println!(
        "{} hosts and {} certificates acknowledged over {ROUNDS} kills; gaps {gaps:?}",
        hosts.len(),
        serials.len()
    );
    assert!(
        hosts.len() + serials.len() >= ROUNDS,
        "too little happened to show anything"
    );

    for i in 0..3 {
        let listed = cluster.palctl(i, &["hosts", "ls", "--format", "json"]).json();
        let listed: BTreeSet<String> = listed
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|h| h["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        let lost: Vec<_> = hosts.difference(&listed).collect();
        assert!(lost.is_empty(), "n{} lost {lost:?}", i + 1);

        // Every change has its one event, acknowledged or not; every certificate as well.
        let created = cluster.events(i, "record.create");
        for name in &listed {
            let count = created
                .iter()
                .filter(|e| e["event"]["target"].as_str().is_some_and(|t| t.ends_with(name)))
                .count();
            assert_eq!(count, 1, "n{}: {name} has {count} events", i + 1);
        }
        let issued: Vec<_> = cluster
            .events(i, "cert.issue")
            .iter()
            .map(ToString::to_string)
            .collect();
        for serial in &serials {
            let wanted = format!("\"{serial}\"");
            let count = issued.iter().filter(|e| e.contains(&wanted)).count();
            assert_eq!(count, 1, "n{}: certificate {serial} has {count} events", i + 1);
        }
        cluster.palctl(i, &["audit", "verify"]).ok();
    }
    let mut exports = (0..3).map(|i| cluster.events(i, ""));
    let first = exports.next().expect("three nodes");
    assert!(exports.all(|e| e == first), "two nodes tell different stories");
}
