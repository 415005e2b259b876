//! What bad input gets, on real processes: a clear error, nothing lost, nothing left half done.

use palisade_testkit::{Cluster, Sshd, me, program, retry, run};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

/// Sends bytes to a port, closes that direction, and reads what comes back until the other side hangs up. The
/// other side may hang up at any moment.
fn throw_at(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).expect("the node listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout can be set");
    stream
        .set_write_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout can be set");
    let mut answer = Vec::new();
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let _ = stream.take(64 * 1024).read_to_end(&mut answer);
    answer
}

/// Bytes without any order, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut x = 0x2545_F491_4F6C_DD1D_u64;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}

#[test]
fn garbage_at_every_port_changes_nothing() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let web = SocketAddr::from(([127, 0, 0, 1], node.web_port));
    let mut tls_hello_cut_short = vec![0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00, 0x3f, 0xfc];
    tls_hello_cut_short.extend(noise(300));
    let mut ssh_too_long = b"SSH-2.0-x\r\n".to_vec();
    ssh_too_long.extend([0xff, 0xff, 0xff, 0xff, 0x10, 0x14]);
    ssh_too_long.extend(noise(4096));
    let thrown: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        noise(70_000),
        vec![b'A'; 1 << 20],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\xff\xff\x04\x00\x00\x00\x00\x00".to_vec(),
        tls_hello_cut_short,
        ssh_too_long,
        b"SSH-1.5-old\r\n".to_vec(),
        [b"SSH-2.0-".as_slice(), &vec![b'x'; 100_000]].concat(),
    ];
    for addr in [node.cluster_addr(), web, node.ssh_addr()] {
        for bytes in &thrown {
            throw_at(addr, bytes);
        }
    }
    assert!(node.is_running(), "{}", node.log());
    assert!(!node.log().contains("panicked at"), "{}", node.log());
    cluster
        .palctl(0, &["hosts", "add", "after", "--addr", "127.0.0.1:22"])
        .ok();
    cluster.palctl(0, &["audit", "verify"]).ok();
}

#[test]
fn wrong_yaml_is_refused_with_its_place_and_the_nearest_name() {
    let cluster = Cluster::start(1);
    let role = |spec: &str| format!("kind: role\nversion: v1\nmetadata:\n  name: ops\nspec:\n{spec}");
    let cases = [
        (role("  allow:\n    lgins: [root]\n"), vec!["line 7", "logins"]),
        (
            role("  allow:\n    rules:\n    - resources: [user]\n      verbs: [raed]\n"),
            vec!["read"],
        ),
        (
            role("  allow:\n    host_labels:\n      env: '^(prod$'\n"),
            vec!["line"],
        ),
        (role("  options:\n    max_sessions: many\n"), vec!["line"]),
        (
            "kind: rloe\nversion: v1\nmetadata:\n  name: x\nspec: {}\n".to_owned(),
            vec!["role"],
        ),
        (
            "kind: role\nversion: v1\nmetadata:\n  name: \"a\\nb\"\nspec: {}\n".to_owned(),
            vec!["name"],
        ),
        ("{{{{".to_owned(), vec![]),
        ("\u{0}\u{1}".to_owned(), vec![]),
        (
            format!(
                "kind: role\nversion: v1\nmetadata:\n  name: deep\nspec: {}\n",
                "[".repeat(100_000)
            ),
            vec![],
        ),
    ];
    let before = cluster.palctl(0, &["get", "roles", "--format", "json"]).ok();
    for (yaml, wanted) in cases {
        let said = cluster
            .palctl_with_input(0, &["create", "-f", "-"], &yaml)
            .refused();
        for word in wanted {
            assert!(
                said.contains(word),
                "{word:?} is not in {said:?} for:\n{}",
                &yaml[..yaml.len().min(300)]
            );
        }
    }
    assert_eq!(
        cluster.palctl(0, &["get", "roles", "--format", "json"]).ok(),
        before
    );
}

#[test]
fn only_a_fresh_token_of_this_cluster_lets_a_node_in() {
    let mut cluster = Cluster::start(1);
    let newcomer = cluster.add_node();
    cluster.spawn(newcomer);

    let token = cluster.join_token(0);
    let mut parts: Vec<&str> = token.split('.').collect();
    let wrong_secret = token[..token.len() - 4].to_owned() + "0000";
    cluster.join_with(newcomer, &wrong_secret).refused();
    // The pin inside the token: a member that cannot show the right authority gets nothing.
    let other_pin = "0".repeat(parts[2].len());
    parts[2] = &other_pin;
    let said = cluster.join_with(newcomer, &parts.join(".")).refused();
    assert!(
        said.to_lowercase().contains("pin") || said.contains("trust"),
        "{said}"
    );
    cluster.join_with(newcomer, "not a token").refused();

    // An expired one. Its time is in the token's record, and is waited for, not guessed.
    let made = cluster
        .palctl(0, &["tokens", "add", "--ttl", "1s", "--format", "json"])
        .json();
    let name = made["name"].as_str().expect("a token has a name").to_owned();
    let expired = made["token"].as_str().expect("a token").to_owned();
    retry("the token to expire", BOUND, || {
        let listed = cluster.palctl(0, &["tokens", "ls", "--format", "json"]).ok();
        let began = made["expires"].as_str().unwrap_or_default();
        let now = run(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S"])).ok();
        if !listed.contains(&name) || now.trim() > &began[..19.min(began.len())] {
            Ok(())
        } else {
            Err(listed)
        }
    });
    cluster.join_with(newcomer, &expired).refused();

    // None of that used the good one up, and it works once.
    cluster.join_with(newcomer, &token).ok();
    cluster.wait_voters(2);
    let third = cluster.add_node();
    cluster.spawn(third);
    cluster.join_with(third, &token).refused();
    let status = cluster.status(0);
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(2), "{status}");
    assert!(!cluster.events(0, "node.join.refused").is_empty());
}

#[test]
fn a_wrong_pin_stops_before_anything_secret_is_sent() {
    let cluster = Cluster::start(1);
    let alice = cluster.person("alice", "access");
    let addr = cluster.nodes[0].web_addr();
    let pin = format!("sha256:{}", "0".repeat(64));
    let words = [
        "login",
        "--proxy",
        &addr,
        "--user",
        "alice",
        "--ca-pin",
        &pin,
        "--password-stdin",
        "--code",
        "123456",
    ];
    let said = alice
        .pal_with_input(&words, "correct horse battery staple\n")
        .refused();
    assert!(said.contains("pin"), "{said}");
    // Not even an attempt reached the node.
    assert!(cluster.events(0, "user.login").is_empty());
}

#[test]
fn a_code_works_once_and_failures_lock_out() {
    let cluster = Cluster::start(1);
    let alice = cluster.person("alice", "access");
    let addr = cluster.nodes[0].web_addr();
    alice.login(&addr).ok();
    let used = alice.used_code();
    alice.login_with(&addr, &alice.password, Some(&used)).refused();
    let wrong = alice.login_with(&addr, "wrong", Some("000000")).refused();
    let unknown_user = {
        let words = [
            "login",
            "--proxy",
            &addr,
            "--user",
            "nobody-here",
            "--password-stdin",
            "--code",
            "000000",
        ];
        alice.pal_with_input(&words, "wrong\n").refused()
    };
    assert_eq!(
        wrong, unknown_user,
        "the answer tells whether there is such a user"
    );
    // Failures are counted and lock out, also for the right password.
    retry("the lock-out", BOUND, || {
        alice.login_with(&addr, "wrong", Some("000000")).refused();
        if cluster.events(0, "user.lockout").is_empty() {
            Err("not yet".into())
        } else {
            Ok(())
        }
    });
    let said = alice.login(&addr).refused();
    assert!(!said.contains("panicked"), "{said}");
    assert!(cluster.events(0, "user.login.refused").len() >= 3);
}

#[test]
fn control_characters_in_names_and_logins_are_refused() {
    let cluster = Cluster::start(1);
    for name in [
        "a\nb",
        "a\x1b[31mb",
        "a;b",
        "a b",
        "-x",
        "",
        "é",
        "A",
        &"x".repeat(65),
    ] {
        cluster
            .palctl(0, &["users", "add", "--roles", "access", "--", name])
            .refused();
        cluster
            .palctl(0, &["hosts", "add", "--addr", "127.0.0.1:22", "--", name])
            .refused();
    }
    for login in ["root\nx", "root,admin\x07", "a b"] {
        cluster
            .palctl(
                0,
                &["users", "add", "bob", "--roles", "access", "--logins", login],
            )
            .refused();
    }
    assert!(
        cluster
            .palctl(0, &["users", "ls", "--format", "json"])
            .ok()
            .trim()
            == "[]"
    );
    assert!(
        cluster
            .palctl(0, &["hosts", "ls", "--format", "json"])
            .ok()
            .trim()
            == "[]"
    );
}

#[test]
fn certificates_that_do_not_fit_are_refused_at_the_ssh_port() {
    let cluster = Cluster::start(1);
    let _host = Sshd::start(&cluster, "web1");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let target = format!("{}@web1", me());
    alice.ssh(&[&target, "true"]).ok();

    // A login that the certificate does not have.
    alice.ssh(&["somebody-else@web1", "true"]).refused();
    // A host that there is not.
    alice
        .ssh(&[
            "-o",
            "HostKeyAlias=web1",
            &format!("{}@web9.{}", me(), cluster.name()),
            "true",
        ])
        .refused();

    // A certificate of somebody's own authority, with every name right; then a key without a certificate.
    let folder = cluster.folder("forged");
    let (ca, key) = (folder.join("ca"), folder.join("key"));
    for path in [&ca, &key] {
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(path))
        .ok();
    }
    let mut sign = Command::new("ssh-keygen");
    sign.arg("-q")
        .arg("-s")
        .arg(&ca)
        .args(["-I", "alice", "-n", &me(), "-V", "-1h:+1h"]);
    run(sign.arg(folder.join("key.pub"))).ok();
    let config =
        fs::read_to_string(alice.ssh_config_through(cluster.nodes[0].ssh_port)).expect("it was written");
    for with_certificate in [true, false] {
        let lines = config.lines().filter_map(|line| match line.trim_start() {
            l if l.starts_with("IdentityFile") => Some(format!("    IdentityFile {}", key.display())),
            l if l.starts_with("CertificateFile") && with_certificate => Some(format!(
                "    CertificateFile {}",
                folder.join("key-cert.pub").display()
            )),
            l if l.starts_with("CertificateFile") => None,
            _ => Some(line.to_owned()),
        });
        let forged = folder.join("config");
        fs::write(&forged, lines.collect::<Vec<_>>().join("\n") + "\n").expect("the folder is writable");
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(&forged)
            .args(["-o", "BatchMode=yes", &target, "true"]);
        alice.at_home(&mut ssh);
        run(&mut ssh).refused();
    }
    assert!(!cluster.nodes[0].log().contains("panicked at"));
}

#[test]
fn a_host_with_another_key_is_not_spoken_to() {
    let cluster = Cluster::start(1);
    let _right = Sshd::start(&cluster, "web1");
    // Another sshd, with a key of its own and no certificate, entered under the name web2.
    let folder = cluster.folder("impostor");
    let key = folder.join("host_key");
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key))
    .ok();
    let impostor = Sshd::start_with(&folder, &key, "");
    let addr = format!("127.0.0.1:{}", impostor.port);
    cluster.palctl(0, &["hosts", "add", "web2", "--addr", &addr]).ok();
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    alice.ssh(&[&format!("{}@web2", me()), "true"]).refused();
    assert!(!cluster.events(0, "host.refused").is_empty());
    assert!(!impostor.log().contains("Accepted"), "{}", impostor.log());
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_half_done() {
    let cluster = Cluster::unformed(1);
    let node = &cluster.nodes[0];
    cluster.spawn(0);
    for port in [node.cluster_port, node.web_port, node.ssh_port] {
        let taken = TcpListener::bind(("127.0.0.1", port));
        // A node in no cluster may hold its ports already.
        let Ok(taken) = taken else { continue };
        let said = cluster
            .palctl(0, &["cluster", "init", "--name", "test"])
            .refused();
        assert!(said.contains(&port.to_string()), "the port is not named: {said}");
        drop(taken);
    }
    cluster.palctl(0, &["cluster", "init", "--name", "test"]).ok();
    cluster.stop(0);
    for port in [node.cluster_port, node.web_port, node.ssh_port] {
        let taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is ours");
        let said = cluster.spawn_refused(0);
        assert!(said.contains(&port.to_string()), "the port is not named: {said}");
        drop(taken);
    }
    cluster.spawn(0);
    cluster.palctl(0, &["audit", "verify"]).ok();
}

#[test]
fn a_data_directory_has_one_node_and_one_owner() {
    let mut cluster = Cluster::start(1);
    // A second process on the same directory, while the first runs.
    let twin = cluster.add_node();
    let data = cluster.nodes[0].data.clone();
    cluster.nodes[twin].data = data;
    cluster.write_config(twin, "");
    let said = cluster.spawn_refused(twin);
    assert!(said.contains("use") || said.contains("lock"), "{said}");
    assert!(cluster.nodes[0].is_running());
    // The directory of n1 with the configuration of n2.
    cluster.stop(0);
    let said = cluster.spawn_refused(twin);
    assert!(
        said.contains("n1"),
        "it does not say whose directory it is: {said}"
    );
    cluster.spawn(0);
    cluster.palctl(0, &["audit", "verify"]).ok();
}

#[test]
fn a_member_cannot_be_made_into_another_cluster() {
    let one = Cluster::start(1);
    let other = Cluster::start(1);
    // A second init answers what there is and changes nothing.
    let before = one.status(0)["cluster_id"].clone();
    one.palctl(0, &["cluster", "init", "--name", "test"]);
    assert_eq!(one.status(0)["cluster_id"], before);
    // A member of one cluster does not join another.
    let token = other.join_token(0);
    let said = one.palctl(0, &["cluster", "join", &token, &other.nodes[0].web_addr()]);
    assert_eq!(one.status(0)["cluster_id"], before, "{said}");
    assert_eq!(other.status(0)["nodes"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    let cluster = Cluster::unformed(1);
    let config = &cluster.nodes[0].config;
    let good = fs::read_to_string(config).expect("it was written");
    let check = || {
        run(Command::new(program("palisade"))
            .args(["config", "check"])
            .arg(config))
    };
    check().ok();
    for (more, wanted) in [
        ("web_lisen: 127.0.0.1:1\n", "web_listen"),
        ("log: loud\n", "log"),
        ("raft:\n  heartbeat_ms: soon\n", "line"),
        ("raft:\n  hartbeat_ms: 50\n", "heartbeat_ms"),
        ("\tname: x\n", "line"),
    ] {
        fs::write(config, format!("{good}{more}")).expect("the folder is writable");
        let said = check().refused();
        assert!(said.contains(wanted), "{wanted:?} is not in {said:?}");
        cluster.spawn_refused(0);
    }
    // Every fault is named at once.
    fs::write(config, "name: A B\nweb_listen: nowhere\n").expect("the folder is writable");
    let said = check().refused();
    assert!(said.contains("name") && said.contains("web_listen"), "{said}");
}

#[test]
fn names_from_outside_cannot_drive_the_terminal() {
    let cluster = Cluster::start(1);
    let _host = Sshd::start(&cluster, "web1");
    let alice = cluster.person("alice", "access");
    let auditor = cluster.person("audrey", "auditor");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    auditor.login(&cluster.nodes[0].web_addr()).ok();
    let evil = "true \x1b]0;owned\x07 \x1b[2J";
    alice.ssh(&[&format!("{}@web1", me()), evil]);
    for shown in [
        auditor.pal(&["recordings", "ls"]),
        auditor.pal(&["recordings", "ls", "--format", "json"]),
        cluster.palctl(0, &["audit", "search"]),
        cluster.palctl(0, &["audit", "search", "--format", "json"]),
    ] {
        let raw = shown.stdout.iter().any(|b| *b == 0x1b || *b == 0x07);
        assert!(!raw, "a control character reached the terminal: {shown}");
    }
}

/// What operators take back is gone on every node, and saying it twice is told apart from saying it once.
#[test]
fn what_an_operator_takes_back_is_gone_everywhere() {
    let mut cluster = Cluster::start(3);
    let made = cluster.palctl(0, &["tokens", "add", "--format", "json"]).json();
    let name = made["name"].as_str().expect("a token has a name").to_owned();
    let token = made["token"].as_str().expect("a token").to_owned();
    cluster.palctl(1, &["tokens", "rm", &name, "--yes"]).ok();
    cluster.palctl(2, &["tokens", "rm", &name, "--yes"]).refused();
    let newcomer = cluster.add_node();
    cluster.spawn(newcomer);
    cluster.join_with(newcomer, &token).refused();
    cluster.stop(newcomer);
    assert_eq!(cluster.status(0)["nodes"].as_array().map(Vec::len), Some(3));

    let _host = Sshd::start(&cluster, "web1");
    cluster.without_second_factor();
    let alice = cluster.person_by_password("alice", "access");
    alice.login_by_password(&cluster.nodes[0].web_addr()).ok();
    let target = format!("{}@web1", me());
    let mut open = alice.ssh_interactive(&[&target]);
    open.send(b"echo open-$((40+2))\n");
    open.expect_output("open-42", BOUND);
    cluster.palctl(2, &["hosts", "rm", "web1", "--yes"]).ok();
    assert!(!open.finish(BOUND).succeeded(), "the session went on");
    alice.ssh(&[&target, "true"]).refused();
    cluster.palctl(0, &["hosts", "rm", "web1", "--yes"]).refused();

    // Leadership goes where it is sent, and nowhere else.
    let to = cluster.follower();
    let name = cluster.nodes[to].name.clone();
    cluster
        .palctl(0, &["cluster", "transfer", "--to", "n9"])
        .refused();
    cluster.palctl(0, &["cluster", "transfer", "--to", &name]).ok();
    retry("it to lead", BOUND, || {
        let leader = cluster.leader();
        if leader == to {
            Ok(())
        } else {
            Err(format!("n{} leads", leader + 1))
        }
    });
    cluster.palctl(to, &["users", "reset", "nobody-here"]).refused();
    cluster.palctl(to, &["audit", "verify"]).ok();
}
