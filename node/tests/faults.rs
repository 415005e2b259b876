//! A disk that cannot sync and a clock that is wrong: one node has the fault, the cluster goes on, and nothing that
//! was acknowledged is lost or wrong.

use palisade_testkit::{Background, Cluster, Person, Sshd, me, retry, run, under_clock};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BOUND: Duration = Duration::from_secs(60);

fn add_host(cluster: &Cluster, on: usize, name: &str) -> bool {
    cluster
        .palctl(on, &["hosts", "add", name, "--addr", "127.0.0.1:22"])
        .succeeded()
}

fn host_names(cluster: &Cluster, on: usize) -> Vec<String> {
    let listed = cluster.palctl(on, &["hosts", "ls", "--format", "json"]).json();
    let name = |host: &serde_json::Value| host["metadata"]["name"].as_str().map(str::to_owned);
    listed
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(name)
        .collect()
}

/// Runs a node under `libfiu`, which fails system calls when it is told to.
fn spawn_under_fiu(cluster: &Cluster, node: usize) -> PathBuf {
    let control = cluster.root().join("fiu-control");
    let control_text = control.display().to_string();
    cluster.spawn_under(node, &["fiu-run", "-x", "-f", &control_text].map(str::to_owned));
    control
}

/// Nobody waits for the one who tells it: a node that stops at once may be gone before it has answered.
fn fail_every_sync(control: &Path, pid: u32) -> Background {
    let mut fiu = Command::new("fiu-ctrl");
    fiu.arg("-f")
        .arg(control)
        .args(["-c", "enable name=posix/io/sync/*,failinfo=5"])
        .arg(pid.to_string());
    Background::start(&mut fiu)
}

/// Goal: a node whose disk does not sync any more stops instead of acknowledging. Method: the syncs of the leader, then
/// those of a follower, begin to fail with EIO under load; what was acknowledged is compared with what there is.
#[test]
fn a_failing_fsync_stops_the_node_and_the_others_go_on() {
    let cluster = Cluster::start(3);
    let mut acknowledged = Vec::new();
    for leads in [true, false] {
        let victim = cluster.follower();
        cluster.stop(victim);
        let control = spawn_under_fiu(&cluster, victim);
        cluster.wait_voters(3);
        if leads {
            let name = cluster.nodes[victim].name.clone();
            cluster
                .palctl(victim, &["cluster", "transfer", "--to", &name])
                .ok();
            retry("it to lead", BOUND, || {
                (cluster.leader() == victim).then_some(()).ok_or_else(String::new)
            });
        }
        let word = if leads { "leader" } else { "follower" };
        for n in 0..5 {
            let name = format!("{word}-before-{n}");
            assert!(add_host(&cluster, victim, &name));
            acknowledged.push(name);
        }
        let pid = cluster.nodes[victim].pid().expect("it runs");
        let _told = fail_every_sync(&control, pid);
        let other = (0..3).find(|i| *i != victim).expect("there are three");
        let mut n = 0;
        retry("the node to stop", BOUND, || {
            n += 1;
            let name = format!("{word}-after-{n}");
            if add_host(&cluster, other, &name) {
                acknowledged.push(name);
            }
            (!cluster.nodes[victim].is_running())
                .then_some(())
                .ok_or_else(String::new)
        });
        let log = cluster.nodes[victim].log();
        assert!(log.contains("this node stops at once"), "{log}");
        assert!(log.contains("sync"), "the log does not say what failed: {log}");
        // The others go on, and have everything that anybody was told.
        for n in 0..5 {
            let name = format!("{word}-without-{n}");
            assert!(add_host(&cluster, other, &name));
            acknowledged.push(name);
        }
        // With a disk that works the node comes back by itself.
        cluster.spawn(victim);
        cluster.wait_voters(3);
        cluster.wait_converged();
        for node in 0..3 {
            let there = host_names(&cluster, node);
            for name in &acknowledged {
                assert!(
                    there.contains(name),
                    "{name} was acknowledged and is not at n{}",
                    node + 1
                );
            }
        }
        cluster.palctl(victim, &["audit", "verify"]).ok();
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("seconds fit")
}

/// First and last second of somebody's SSH certificate.
fn window(person: &Person) -> (i64, i64) {
    let shown = person.certificate();
    let words: Vec<&str> = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("Valid: from "))
        .expect("ssh-keygen shows the time")
        .split(" to ")
        .collect();
    let secs = |text: &str| {
        let said = run(Command::new("date").args(["-d", text, "+%s"])).ok();
        said.trim().parse().expect("a number")
    };
    (secs(words[0]), secs(words[1]))
}

/// Goal: a node whose clock is an hour off says so, and what it signs and checks is right all the same. Method: the
/// wall clock of one node alone is moved while it runs, forwards and backwards; people log in and connect through it.
#[test]
fn a_clock_that_is_an_hour_off_is_warned_of_and_certificates_stay_right() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    let _host = Sshd::start(&cluster, "web1");
    let alice = cluster.person_by_password("alice", "access");
    let target = format!("{}@web1", me());
    let off = cluster.follower();
    let right = (0..3).find(|i| *i != off).expect("there are three");
    cluster.stop(off);
    let clock = cluster.root().join("clock");
    fs::write(&clock, "+0\n").expect("the folder is writable");
    cluster.spawn_under(off, &under_clock(&clock));
    cluster.wait_voters(3);
    alice.login_by_password(&cluster.nodes[right].web_addr()).ok();
    let (from, to) = window(&alice);
    let life = to - now();
    assert!(life > 0 && from <= now());

    for step in ["+3600\n", "-3600\n"] {
        fs::write(&clock, step).expect("the folder is writable");
        let at_once = || {
            alice.login_by_password(&cluster.nodes[off].web_addr()).ok();
            let (from, to) = window(&alice);
            assert!(
                (from..=from + 180).contains(&now()),
                "it is valid from {from}, and it is {}",
                now()
            );
            assert!(
                (to - now() - life).abs() < 60,
                "it lives for {} s instead of {life}",
                to - now()
            );
        };
        // Also before the clocks were compared: a jump is not believed.
        at_once();
        retry("the warning", BOUND, || {
            let status = cluster.palctl(off, &["status"]).text();
            let elsewhere = cluster.palctl(right, &["status"]).text();
            if status.contains("clocks") && elsewhere.contains("clocks") {
                Ok(())
            } else {
                Err(format!("{status}{elsewhere}"))
            }
        });
        assert!(cluster.nodes[off].log().contains("this node's clock is wrong"));
        assert!(
            cluster.nodes[right]
                .log()
                .contains("the clocks of two nodes differ")
        );
        at_once();
        // The certificate from there is good everywhere, and there as well.
        for node in [right, off] {
            let mut ssh = alice.ssh_interactive_through(cluster.nodes[node].ssh_port, &[&target]);
            ssh.send(b"echo at-$((40+2))\nexit\n");
            ssh.expect_output("at-42", BOUND);
            ssh.finish(BOUND).ok();
            alice.pal(&["ls"]).ok();
        }
        let issued = cluster.events(right, "cert.issue").pop().expect("audited");
        let when = issued["event"]["time"]
            .as_str()
            .expect("an event has a time")
            .to_owned();
        let said = run(Command::new("date").args(["-d", &when, "+%s"])).ok();
        let when: i64 = said.trim().parse().expect("a number");
        assert!(
            (when - now()).abs() < 120,
            "the event says {when}, and it is {}",
            now()
        );
    }

    // Once the clock is right again, so is the status.
    fs::write(&clock, "+0\n").expect("the folder is writable");
    retry("the warning to end", BOUND, || {
        let status = cluster.palctl(off, &["status"]).text();
        if status.contains("clocks") {
            Err(status)
        } else {
            Ok(())
        }
    });

    // A node that starts with a wrong clock is right from its first answer on.
    cluster.stop(off);
    fs::write(&clock, "+3600\n").expect("the folder is writable");
    cluster.spawn_under(off, &under_clock(&clock));
    cluster.wait_voters(3);
    alice.login_by_password(&cluster.nodes[off].web_addr()).ok();
    let (from, to) = window(&alice);
    assert!(
        from <= now() && (to - now() - life).abs() < 60,
        "{from} to {to}, and it is {}",
        now()
    );
}
