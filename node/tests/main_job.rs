//! The main job, end to end, on real processes: a cluster that signs, connects and records, and what it does when
//! the leader goes away.

use palisade_testkit::{Agent, Cluster, Sshd, me, program, retry, run};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

/// What `pal play` shows of a recording, as plain text.
fn played(person: &palisade_testkit::Person, session: &str) -> String {
    person.pal(&["play", "--no-wait", session]).ok()
}

/// The ids of all recordings whose text contains the marker.
fn recordings_with(person: &palisade_testkit::Person, marker: &str) -> Vec<String> {
    let rows = person.pal(&["recordings", "ls", "--format", "json"]).json();
    let rows = rows
        .as_array()
        .or_else(|| rows["items"].as_array())
        .cloned()
        .unwrap_or_default();
    let id = |row: &serde_json::Value| {
        let row = if row["recording"].is_object() {
            &row["recording"]
        } else {
            row
        };
        row["session"].as_str().map(str::to_owned)
    };
    let ids = rows.iter().filter_map(id);
    ids.filter(|id| person.pal(&["play", "--no-wait", id]).text().contains(marker))
        .collect()
}

/// Goal: everything that `make demo` shows, with each result checked. Method: three nodes and a stock sshd; the
/// leader is killed while it carries a live session.
#[test]
fn the_main_job_survives_the_loss_of_the_leader() {
    let cluster = Cluster::start(3);
    let host = Sshd::start(&cluster, "web1");
    let alice = cluster.person("alice", "access,auditor");
    alice.login(&cluster.nodes[0].web_addr()).ok();

    let certificate = alice.certificate();
    assert!(certificate.contains("user certificate"), "{certificate}");
    assert!(certificate.contains(&me()), "{certificate}");
    assert!(certificate.contains("Critical Options: (none)"), "{certificate}");

    let target = format!("{}@web1", me());
    assert_eq!(
        alice.ssh(&[&target, "echo through a node"]).ok(),
        "through a node\n"
    );
    assert_eq!(alice.ssh(&[&target, "exit 7"]).status.code(), Some(7));
    let mut first = alice.ssh_interactive(&[&target]);
    first.send(b"echo first-$((6*7))\nexit\n");
    first.finish(BOUND).ok();

    // A second, live session through the leader.
    let leader = cluster.leader();
    let mut second = alice.ssh_interactive_through(cluster.nodes[leader].ssh_port, &[&target]);
    second.send(b"echo second-$((6*7))\n");
    second.expect_output("second-42", BOUND);
    // What was on the screen a second ago must play: type, let a second pass, type on.
    second.send(b"echo kept-$((50+5))\n");
    second.expect_output("kept-55", BOUND);
    let seen = Instant::now();
    let mut n = 0;
    while seen.elapsed() < Duration::from_millis(1500) {
        n += 1;
        second.send(format!("echo still-{n}-$((1+1))\n").as_bytes());
        second.expect_output(&format!("still-{n}-2"), BOUND);
    }
    let code = alice.code();
    cluster.kill9(leader);
    let killed = Instant::now();

    let survivor = cluster.any_running();
    retry("a login through a survivor", BOUND, || {
        let ran = alice.login_with(&cluster.nodes[survivor].web_addr(), &alice.password, Some(&code));
        if ran.succeeded() {
            Ok(())
        } else {
            Err(ran.to_string())
        }
    });
    let login_gap = killed.elapsed();
    retry("a session through a survivor", BOUND, || {
        let ran = alice.ssh(&[&target, "echo back"]);
        if ran.succeeded() {
            Ok(())
        } else {
            Err(ran.to_string())
        }
    });
    println!("gap: login {login_gap:?}, session {:?}", killed.elapsed());
    assert!(
        killed.elapsed() < Duration::from_secs(20),
        "the gap is {:?}",
        killed.elapsed()
    );
    // The node is gone, so its session ends; ssh must notice by itself.
    assert!(!second.finish(BOUND).succeeded());

    // Both recordings play on a survivor, and the dead node's one up to its last second.
    assert_eq!(recordings_with(&alice, "first-42").len(), 1);
    let cut = recordings_with(&alice, "second-42");
    assert_eq!(cut.len(), 1, "the recording of the dead node is listed and plays");
    assert!(
        played(&alice, &cut[0]).contains("kept-55"),
        "{}",
        played(&alice, &cut[0])
    );

    // Everything is in the log, and the log holds.
    for kind in [
        "cluster.init",
        "node.join",
        "user.invite",
        "user.login",
        "cert.issue",
        "session.start",
        "session.exec",
    ] {
        assert!(
            !cluster.events(survivor, kind).is_empty(),
            "no {kind} in the audit log"
        );
    }
    cluster.palctl(survivor, &["audit", "verify"]).ok();

    // The dead node comes back, catches up and agrees.
    cluster.spawn(leader);
    cluster.wait_voters(3);
    cluster.wait_converged();
    cluster.palctl(leader, &["audit", "verify"]).ok();
    let counts: Vec<_> = (0..3).map(|i| cluster.events(i, "user.login").len()).collect();
    assert!(counts.iter().all(|c| *c == counts[0] && *c >= 2), "{counts:?}");
    drop(host);
}

/// Goal: an upgrade or a reboot of one node after another is noticed by nobody. Method: two people write without a pause and
/// a third has a shell open at a host with an agent while each node is restarted, whoever leads.
#[test]
fn restarting_every_node_in_turn_loses_no_request_and_no_session() {
    let cluster = Cluster::start(3);
    let editor = cluster.person("ed", "admin,access");
    editor.login(&cluster.nodes[0].web_addr()).ok();
    let _web1 = Agent::start(&cluster, "web1", "");
    editor.ssh_config();
    let mut shell = editor.ssh_interactive(&[&format!("{}@web1", me())]);
    shell.send(b"PS1=; stty -echo; echo ready-$((40+2))\n");
    shell.expect_output("ready-42", Duration::from_secs(150));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let written = || cluster.events(cluster.any_running(), "record.create").len();
    let made = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let (login, stop) = (editor.handle(), &stop);
                scope.spawn(move || {
                    let mut made = Vec::new();
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let name = format!("h{worker}-{}", made.len());
                        login
                            .palctl(&["hosts", "add", &name, "--addr", "127.0.0.1:22"])
                            .ok();
                        made.push(name);
                    }
                    made
                })
            })
            .collect();
        let more = |what: &str| {
            let before = written();
            retry(what, BOUND, || match written() {
                count if count > before + 8 => Ok(()),
                count => Err(format!("{count} so far, {before} before")),
            });
        };
        more("some writes before");
        for i in 0..3 {
            cluster.stop(i);
            more("some writes while a node is down");
            cluster.spawn(i);
            cluster.wait_voters(3);
            shell.send(format!("echo after-''{i}\n").as_bytes());
            shell.expect_output(&format!("after-{i}"), BOUND);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        workers
            .into_iter()
            .flat_map(|w| w.join().expect("a request failed during a planned restart"))
            .collect::<Vec<_>>()
    });
    let hosts = cluster
        .palctl(cluster.any_running(), &["hosts", "ls", "--format", "json"])
        .ok();
    for name in &made {
        assert!(
            hosts.contains(&format!("\"{name}\"")),
            "{name} was acknowledged and is gone"
        );
    }
    println!(
        "{} requests while every node was restarted, none failed",
        made.len()
    );
    shell.send(b"exit 3\n");
    let ran = shell.finish(Duration::from_secs(300));
    assert_eq!(ran.status.code(), Some(3), "{ran}");
}

#[test]
fn a_lock_ends_an_open_session_and_refuses_the_next() {
    let cluster = Cluster::start(3);
    let _host = Sshd::start(&cluster, "web1");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let target = format!("{}@web1", me());
    alice.ssh_config();
    // The session is carried by one node, the lock is made on another.
    let follower = cluster.follower();
    let mut session = alice.ssh_interactive_through(cluster.nodes[follower].ssh_port, &[&target]);
    session.send(b"echo alive-$((6*7))\n");
    session.expect_output("alive-42", BOUND);
    cluster
        .palctl(
            cluster.leader(),
            &["lock", "--user", "alice", "--message", "see security"],
        )
        .ok();
    let locked = Instant::now();
    let ended = session.finish(BOUND);
    println!("ended {:?} after the lock", locked.elapsed());
    assert!(!ended.succeeded());
    assert!(
        locked.elapsed() < Duration::from_secs(5),
        "it went on for {:?}",
        locked.elapsed()
    );
    alice.ssh(&[&target, "true"]).refused();
}

#[test]
fn a_node_joins_a_running_cluster_and_another_leaves_it() {
    let mut cluster = Cluster::start(3);
    let fourth = cluster.add_node();
    cluster.spawn(fourth);
    cluster.join(fourth);
    cluster.wait_voters(4);
    // The leader itself leaves: leadership is handed over first.
    let leader = cluster.leader();
    let name = cluster.nodes[leader].name.clone();
    let on = cluster.follower();
    cluster.palctl(on, &["cluster", "leave", &name, "--yes"]).ok();
    let status = retry("the node to be gone", BOUND, || {
        let status = cluster.status(on);
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        if nodes.iter().all(|n| n["name"] != name.as_str()) {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    });
    assert_ne!(status["leader"].as_u64(), None);
    // Its id is not given out again.
    let ids: Vec<_> = status["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|n| n["id"].as_u64())
        .collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    cluster.palctl(on, &["audit", "verify"]).ok();
}

#[test]
fn without_a_quorum_writes_are_refused_and_nothing_is_lost() {
    let cluster = Cluster::start(3);
    cluster
        .palctl(0, &["hosts", "add", "kept", "--addr", "127.0.0.1:22"])
        .ok();
    // One is gone, the other does not answer: both ways of being lost.
    cluster.kill9(1);
    cluster.pause(2);
    let refused = cluster
        .palctl(0, &["hosts", "add", "lost", "--addr", "127.0.0.1:22"])
        .refused();
    assert!(
        refused.contains("quorum") || refused.contains("not known"),
        "{refused}"
    );
    // Whoever looks learns what is the matter and what to do, soon.
    let said = cluster.wait_probe(0, "/readyz?write", 503);
    assert!(said.contains("quorum") || said.contains("leader"), "{said}");
    assert_eq!(cluster.probe(0, "/livez"), (200, "ok".into()));
    let asked = Instant::now();
    let (code, status) = {
        let ran = cluster.palctl(0, &["status"]);
        (ran.succeeded(), ran.text())
    };
    let took = asked.elapsed();
    println!("status without a quorum: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!code && status.contains("start n2 and n3"), "{status}");
    assert!(status.contains("May lose:     no node"), "{status}");
    cluster.spawn(1);
    cluster.resume(2);
    cluster.leader();
    cluster.wait_probe(0, "/readyz?write", 200);
    cluster.wait_voters(3);
    let status = cluster.palctl(0, &["status"]).ok();
    assert!(status.contains("May lose:     1 more node"), "{status}");
    // Every member says of itself what an operator asks.
    let status = cluster.status(1);
    for node in status["nodes"].as_array().expect("members") {
        let vitals = &node["vitals"];
        assert_eq!(vitals["version"], env!("CARGO_PKG_VERSION"), "{node}");
        assert!(vitals["disk_free_bytes"].as_u64() > Some(0), "{node}");
        assert!(vitals["fsync_p99_us"].as_u64() > Some(0), "{node}");
        let ends = vitals["certificates"].as_array().expect("certificates");
        let left = |what: &str| {
            let found = ends.iter().find(|c| c["what"] == what);
            found.and_then(|c| c["days_left"].as_u64()).unwrap_or_default()
        };
        assert!(
            (88..=90).contains(&left("peer")) && (5..=7).contains(&left("https")),
            "{node}"
        );
    }
    let authorities = status["certificates"].as_array().expect("authorities");
    assert_eq!(authorities.len(), 2, "{authorities:?}");
    let hosts = cluster.palctl(0, &["hosts", "ls", "--format", "json"]).ok();
    assert!(hosts.contains("\"kept\""), "{hosts}");
}

/// The export holds all there is to check: one changed byte, one missing or exchanged line is found without a cluster.
#[test]
fn an_altered_audit_log_is_named_offline() {
    let cluster = Cluster::start(1);
    for n in 0..20 {
        cluster
            .palctl(0, &["hosts", "add", &format!("h{n}"), "--addr", "127.0.0.1:22"])
            .ok();
    }
    let folder = cluster.folder("audit");
    let (export, authority) = (folder.join("audit.jsonl"), folder.join("authority.pub"));
    fs::write(
        &authority,
        cluster.palctl(0, &["auth", "export", "--type", "audit"]).ok(),
    )
    .expect("the folder is writable");
    let verify = |file: &Path| {
        let words = ["audit", "verify", "--authority"];
        run(Command::new(program("palctl"))
            .args(words)
            .arg(&authority)
            .arg(file))
    };
    // The newest events are signed a moment later; all are wanted under a head.
    let text = retry("a signed head over the events", BOUND, || {
        cluster
            .palctl(0, &["audit", "export", "--out", &export.display().to_string()])
            .ok();
        let said = verify(&export).ok();
        let text = fs::read_to_string(&export).expect("it was written");
        let lines: Vec<_> = text.lines().collect();
        let head = lines.iter().rposition(|l| l.contains("\"head\""));
        let last = lines.iter().rposition(|l| l.contains("\"event\""));
        if head > last && head.is_some() {
            Ok(text)
        } else {
            Err(said)
        }
    });
    let lines: Vec<&str> = text.lines().collect();
    let events: Vec<usize> = (0..lines.len())
        .filter(|i| lines[*i].contains("\"event\""))
        .collect();
    let (one, two) = (events[events.len() / 2], events[events.len() / 2 + 1]);
    let altered = |change: &dyn Fn(&mut Vec<String>)| {
        let mut copy: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        change(&mut copy);
        let path = folder.join("altered.jsonl");
        fs::write(&path, copy.join("\n") + "\n").expect("the folder is writable");
        verify(&path).refused()
    };
    altered(&|copy| {
        copy.remove(one);
    });
    altered(&|copy| copy.swap(one, two));
    altered(&|copy| copy.truncate(two));
    let said = altered(&|copy| {
        let at = copy[one].find("\"bytes\"").expect("an event has bytes") + 30;
        let old = copy[one].as_bytes()[at];
        copy[one].replace_range(at..=at, if old == b'A' { "B" } else { "A" });
    });
    let seq: serde_json::Value = serde_json::from_str(lines[one]).expect("a line is JSON");
    let seq = seq["event"]["seq"].to_string();
    assert!(said.contains(&seq), "entry {seq} is not named: {said}");
}

/// Goal: what nobody uses for a while still works. A node grants nothing once it has not heard of a quorum for ten
/// seconds, so every node is asked, all the time, for longer than that.
#[test]
fn an_idle_cluster_goes_on_granting() {
    for size in [1, 3] {
        let cluster = Cluster::start(size);
        let _host = Sshd::start(&cluster, "web1");
        let alice = cluster.person("alice", "access");
        alice.login(&cluster.nodes[0].web_addr()).ok();
        let idle = Instant::now();
        while idle.elapsed() < Duration::from_secs(12) {
            for i in 0..size {
                let status = cluster.status(i);
                assert_eq!(status["quorum"], true, "after {:?}: {status}", idle.elapsed());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        for node in &cluster.nodes {
            let config = alice.ssh_config_through(node.ssh_port);
            let mut ssh = Command::new("ssh");
            ssh.arg("-F")
                .arg(config)
                .args(["-o", "BatchMode=yes", &format!("{}@web1", me()), "true"]);
            alice.at_home(&mut ssh);
            run(&mut ssh).ok();
        }
    }
}
