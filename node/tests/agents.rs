//! Hosts that run an agent: joined by a token, reached through tunnels, and what a session there survives.

use palisade_testkit::{Agent, Cluster, Sshd, me, outlive, retry};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

/// Goal: the whole way of a host with an agent. Method: three nodes, one agent, stock OpenSSH under `pal proxy ssh`;
/// the node that carries a live shell is killed, and the shell goes on where it was.
#[test]
fn a_shell_at_an_agent_outlives_the_node_that_carries_it() {
    let cluster = Cluster::start(3);
    let _web1 = Agent::start(&cluster, "web1", "env=test");
    let alice = cluster.person("alice", "access,auditor");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let target = format!("{}@web1", me());
    assert_eq!(
        alice.ssh(&[&target, "echo through a tunnel"]).ok(),
        "through a tunnel\n"
    );
    assert_eq!(alice.ssh(&[&target, "exit 7"]).status.code(), Some(7));

    let mut shell = alice.ssh_interactive(&[&target]);
    shell.send(b"marker=kept; echo begin-$((40+2))\n");
    shell.expect_output("begin-42", BOUND);
    // Each node in turn dies and comes back: whichever carries the shell is among them.
    for i in 0..cluster.nodes.len() {
        cluster.kill9(i);
        let killed = Instant::now();
        shell.send(format!("echo $marker-{i}-$((1+1))\n").as_bytes());
        shell.expect_output(&format!("kept-{i}-2"), BOUND);
        println!("node {i} killed: the shell answered after {:?}", killed.elapsed());
        assert!(
            killed.elapsed() < Duration::from_secs(10),
            "{:?}",
            killed.elapsed()
        );
        cluster.spawn(i);
        cluster.wait_voters(3);
    }
    shell.send(b"exit 3\n");
    assert_eq!(shell.finish(BOUND).status.code(), Some(3));

    // One session, one recording, whole.
    let starts = cluster.events(0, "session.start");
    let live = retry("the recording to be complete", BOUND, || {
        let rows = alice.pal(&["recordings", "ls", "--format", "json"]).json();
        let rows = rows
            .as_array()
            .or_else(|| rows["items"].as_array())
            .cloned()
            .unwrap_or_default();
        let mine: Vec<_> = rows
            .iter()
            .map(|row| {
                if row["recording"].is_object() {
                    &row["recording"]
                } else {
                    row
                }
            })
            .filter(|row| row["session_kind"] == "interactive")
            .cloned()
            .collect();
        match &mine[..] {
            [row] if row["completeness"] == "complete" => Ok(row.clone()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(starts.len(), 3, "{starts:?}");
    let by_agent = |event: &serde_json::Value| event.to_string().contains(r#""recorded_at":"agent""#);
    assert!(starts.iter().all(by_agent), "{starts:?}");
    let session = live["session"].as_str().expect("a session id");
    let played = alice.pal(&["play", "--no-wait", session]).ok();
    for i in 0..3 {
        assert!(played.contains(&format!("kept-{i}-2")), "{played}");
    }
}

/// Goal: plain `ssh -J` cannot go on elsewhere, so whoever used it reads how to come back, in one line. Method: stock
/// ssh through one node; the node stops, the agent dies, the agent stops, each under a live shell.
#[test]
fn a_jump_that_ends_says_in_one_line_how_to_come_back() {
    let cluster = Cluster::start(3);
    let web1 = Agent::start(&cluster, "web1", "env=test");
    let _plain = Sshd::start(&cluster, "plain1");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let through = |i: usize, host: &str| {
        let port = cluster.nodes[i].ssh_addr().port();
        let mut shell = alice.ssh_interactive_through(port, &[&format!("{}@{host}", me())]);
        shell.send(b"echo ready-$((40+2))\n");
        shell.expect_output("ready-42", BOUND);
        shell
    };
    let again = format!("pal ssh {}@web1", me());
    let one_line = |said: &str, words: &[&str]| {
        let found: Vec<_> = said
            .lines()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .collect();
        assert_eq!(found.len(), 1, "{words:?} in {said}");
    };

    // The node stops, in order, under a shell at a host with an agent and under one at a plain host.
    let stopped = cluster.follower();
    let (agents, plains) = (through(stopped, "web1"), through(stopped, "plain1"));
    cluster.stop(stopped);
    one_line(
        &agents.finish(BOUND).complaint(),
        &["this node is stopping", &again],
    );
    let plains = plains.finish(BOUND);
    let said = plains.complaint() + &plains.text();
    assert!(
        said.contains("this node is stopping: connect again, another node will take you"),
        "{said}"
    );
    // Both lines are true.
    assert_eq!(
        alice.pal(&["ssh", &format!("{}@web1", me()), "echo back"]).ok(),
        "back\n"
    );
    let other = cluster.nodes[cluster.any_running()].ssh_addr().port();
    let config = alice.ssh_config_through(other);
    let mut ssh = std::process::Command::new("ssh");
    ssh.arg("-F")
        .arg(config)
        .args(["-o", "BatchMode=yes", &format!("{}@plain1", me()), "echo back"]);
    alice.at_home(&mut ssh);
    assert_eq!(palisade_testkit::run(&mut ssh).ok(), "back\n");
    cluster.spawn(stopped);
    cluster.wait_voters(3);

    // The agent dies.
    web1.wait_known_at(&cluster, stopped);
    let shell = through(stopped, "web1");
    web1.kill9();
    one_line(
        &shell.finish(BOUND).complaint(),
        &["the agent of web1 was lost", &again],
    );

    // The agent stops in order: it says so itself, in the user's own SSH.
    web1.spawn();
    web1.wait_known_at(&cluster, stopped);
    let shell = through(stopped, "web1");
    web1.stop();
    let ended = shell.finish(BOUND);
    let said = ended.complaint() + &ended.text();
    assert!(
        said.contains("the agent of this host is stopping: connect again when it is back"),
        "{said}"
    );
    assert!(!said.contains("was lost"), "{said}");
    retry("the end of that session", BOUND, || {
        let ends = cluster.events(stopped, "session.terminated");
        match ends
            .iter()
            .any(|end| end.to_string().contains("the agent of this host is stopping"))
        {
            true => Ok(()),
            false => Err(format!("{ends:?}")),
        }
    });

    // Whoever leaves by themselves reads nothing of the kind.
    web1.spawn();
    web1.wait_online(&cluster);
    let mut shell = through(stopped, "web1");
    shell.send(b"exit 3\n");
    let ended = shell.finish(BOUND);
    assert_eq!(ended.status.code(), Some(3), "{ended}");
    assert!(!ended.complaint().contains("pal ssh"), "{ended}");
}

/// A token for one host is no good for another, nor for a node, nor twice.
#[test]
fn a_host_token_is_for_one_host_once() {
    let cluster = Cluster::start(1);
    let addr = cluster.nodes[0].web_addr();
    let token = cluster
        .palctl(0, &["tokens", "add", "--host", "web1", "--quiet"])
        .ok();
    let other = Agent::configured(&cluster, "web2", "");
    let said = other.join(&token, &addr).refused();
    assert!(said.contains("token is not valid"), "{said}");
    let node_token = cluster.join_token(0);
    let web1 = Agent::configured(&cluster, "web1", "");
    let said = web1.join(&node_token, &addr).refused();
    assert!(said.contains("token is not valid"), "{said}");
    web1.join(&token, &addr).ok();
    let said = web1.join(&token, &addr).refused();
    assert!(said.contains("token is not valid"), "{said}");
    assert_eq!(
        cluster.events(0, "host.join").len(),
        4,
        "one join and three refusals"
    );
}

/// A lock, a removed host and a stopped agent: each ends what runs and refuses what comes.
#[test]
fn a_lock_ends_a_session_at_an_agent_and_a_removed_host_is_gone() {
    let cluster = Cluster::start(3);
    let _web1 = Agent::start(&cluster, "web1", "env=test");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let target = format!("{}@web1", me());
    let mut shell = alice.ssh_interactive(&[&target]);
    shell.send(b"echo ready-$((40+2))\n");
    shell.expect_output("ready-42", BOUND);
    let on = cluster.follower();
    let locked = Instant::now();
    cluster
        .palctl(on, &["lock", "--user", "alice", "--message", "see security"])
        .ok();
    let ended = shell.finish(BOUND);
    assert!(!ended.succeeded());
    assert!(ended.complaint().contains("see security"), "{ended}");
    println!("ended {:?} after the lock", locked.elapsed());
    assert!(locked.elapsed() < Duration::from_secs(5));
    assert!(!alice.ssh(&[&target, "true"]).succeeded());
    cluster.palctl(on, &["hosts", "rm", "web1", "--yes"]).ok();
    retry("the agent to be turned away", BOUND, || {
        let refused = cluster.events(on, "agent.refused");
        if refused.is_empty() {
            Err("not yet".to_owned())
        } else {
            Ok(())
        }
    });
}

/// One command on all hosts with a label: output in order of names, each line behind its host, one exit code.
#[test]
fn a_command_runs_on_every_host_with_a_label() {
    let cluster = Cluster::start(1);
    let _hosts = ["web2", "web1"].map(|name| Agent::start(&cluster, name, "env=prod"));
    let _other = Agent::start(&cluster, "db1", "env=dev");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let target = format!("{}@env=prod", me());
    let said = alice.pal(&["ssh", &target, "echo one; echo two"]).ok();
    assert_eq!(said, "web1 | one\nweb1 | two\nweb2 | one\nweb2 | two\n");
    let ran = alice.pal(&["ssh", &target, "exit 4"]);
    assert_eq!(ran.status.code(), Some(4), "{ran}");
    let nobody = alice.pal(&["ssh", "env=test", "true"]).refused();
    assert!(nobody.contains("no host"), "{nobody}");
}

#[test]
fn an_agent_takes_new_labels_while_it_runs_and_keeps_its_sessions() {
    let cluster = Cluster::start(1);
    let agent = Agent::start(&cluster, "web1", "");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let target = format!("{}@web1", me());
    let mut shell = alice.ssh_interactive(&[&target]);
    shell.send(b"echo up-$((1+1))\n");
    shell.expect_output("up-2", BOUND);
    agent.configure("labels: {env: test}\nlabel_commands: {kernel: {command: [/bin/echo, six], interval: 1h}}\ngrace: 2m\n");
    retry("the new labels", BOUND, || {
        let labels = alice.pal(&["ls", "--format", "json"]).json()[0]["labels"].to_string();
        match labels.contains(r#""env":"test""#) && labels.contains(r#""kernel":"six""#) {
            true => Ok(()),
            false => Err(format!("{labels}\n{}", agent.log())),
        }
    });
    let log = agent.log();
    assert!(
        log.contains("at the next start of the agent") && log.contains("grace"),
        "{log}"
    );
    agent.configure("label: {env: prod}\n");
    retry("the fault to be named", BOUND, || {
        match agent.log().contains("everything stays as it was") {
            true => Ok(()),
            false => Err(agent.log()),
        }
    });
    shell.send(b"echo still-$((1+1))\n");
    shell.expect_output("still-2", BOUND);
}

/// Files both ways through the agent, with stock tools; each is in the audit log with its hash.
#[test]
fn files_pass_through_an_agent_and_are_audited_with_their_hash() {
    let cluster = Cluster::start(1);
    let _web1 = Agent::start(&cluster, "web1", "");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let folder = cluster.folder("files");
    let (from, there, back) = (folder.join("from"), folder.join("there"), folder.join("back"));
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(&from, &content).expect("the folder is writable");
    let remote = format!("{}@web1:{}", me(), there.display());
    let local = from.display().to_string();
    palisade_testkit::run(&mut alice.openssh("scp", &[&local, &remote])).ok();
    palisade_testkit::run(&mut alice.openssh("scp", &[&remote, &back.display().to_string()])).ok();
    assert_eq!(std::fs::read(&back).expect("it came back"), content);
    let hash = palisade_testkit::run(std::process::Command::new("sha256sum").arg(&from)).ok();
    let hash = hash.split_whitespace().next().expect("a hash").to_owned();
    let events = retry("both transfers in the audit log", BOUND, || {
        let events = cluster.events(0, "session.file");
        let with_hash = events
            .iter()
            .filter(|event| event.to_string().contains(&hash))
            .count();
        if with_hash >= 2 {
            Ok(events)
        } else {
            Err(format!("{events:?}"))
        }
    });
    assert!(
        events
            .iter()
            .any(|event| event.to_string().contains(&there.display().to_string()))
    );
}

/// Goal: nothing that runs through a node is lost with it. Method: a shell, a transfer and a forwarded TCP stream at
/// once; the node that carries them is killed, twice, once in each direction of the transfer. `make bench BENCH=kills`
/// is the long form.
#[test]
fn a_shell_a_transfer_and_a_forward_outlive_the_node_that_carries_them() {
    let cluster = Cluster::start(3);
    let _web1 = Agent::start(&cluster, "web1", "env=test");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let folder = cluster.folder("files");
    let (from, to) = (folder.join("from"), folder.join("to"));
    let content: Vec<u8> = (0..192_u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(&from, &content).expect("the folder is writable");
    for down in [true, false] {
        retry("two tunnels of the agent", BOUND, || match cluster.tunnels() {
            2.0 => Ok(()),
            other => Err(format!("{other} tunnels")),
        });
        let mut killed = 0;
        let target = format!("{}@web1", me());
        let pauses = outlive(&alice, &target, (&from, &to), down, || {
            killed = cluster.carrier();
            cluster.kill9(killed);
        });
        println!("node {killed} killed: {pauses:?}");
        // The aim is three seconds, on a machine that does nothing else.
        assert!(pauses.longest() < Duration::from_secs(10), "{pauses:?}");
        cluster.spawn(killed);
        cluster.wait_voters(3);
    }
}
