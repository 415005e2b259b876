//! Where sessions at hosts with an agent are recorded: by the agent, or at the node.

use palisade_testkit::{Agent, Background, Cluster, Person, Sshd, free_port, me, retry, run};
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

/// Sets where sessions are recorded, for the cluster.
fn cluster_site(cluster: &Cluster, site: &str) {
    cluster.create(&format!(
        "kind: session_recording_config\nversion: v1\nmetadata:\n  name: session-recording-config\nspec:\n  site: {site}\n"
    ));
    cluster.wait_converged();
}

/// Sets it for one host; the rest of its record stays.
fn host_site(cluster: &Cluster, host: &str, site: &str) {
    let on = cluster.any_running();
    let written = cluster.palctl(on, &["get", &format!("host/{host}")]).ok();
    let site = written.replacen("spec:\n", &format!("spec:\n  site: {site}\n"), 1);
    assert_ne!(site, written, "{written}");
    cluster.create(&site);
    cluster.wait_converged();
}

/// Runs a command in three ways that people have, and answers where each session was recorded.
fn recorded_at(cluster: &Cluster, alice: &Person, host: &str) -> Vec<String> {
    let target = format!("{}@{host}", me());
    let before = cluster.events(0, "session.start").len();
    let jump = alice.ssh_config_through(cluster.nodes[1].ssh_addr().port());
    let mut by_jump = Command::new("ssh");
    by_jump.arg("-F").arg(jump).args(["-o", "BatchMode=yes"]);
    alice.at_home(&mut by_jump);
    for command in [
        &mut alice.pal_command(&["ssh"]),
        &mut alice.openssh("ssh", &[]),
        &mut by_jump,
    ] {
        let ran = run(command.args([&target, "echo from $PALISADE_HOST; exit 5"]));
        assert_eq!(
            (ran.text(), ran.status.code()),
            (format!("from {host}\n"), Some(5)),
            "{ran}"
        );
    }
    let starts = retry("the starts of all three", BOUND, || {
        let starts = cluster.events(0, "session.start");
        match starts.len() - before {
            3 => Ok(starts),
            n => Err(format!("{n}")),
        }
    });
    // Oldest first.
    let newest = &starts[before..];
    assert!(
        newest.iter().all(|start| start["event"]["host"] == host),
        "{newest:?}"
    );
    let at = |start: &Value| {
        let text = start.to_string();
        let at = text
            .split(r#""recorded_at":""#)
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        at.unwrap_or("nowhere").to_owned()
    };
    newest.iter().map(at).collect()
}

fn rows(alice: &Person) -> Vec<Value> {
    let rows = alice.pal(&["recordings", "ls", "--format", "json"]).json();
    let rows = rows
        .as_array()
        .or_else(|| rows["items"].as_array())
        .cloned()
        .unwrap_or_default();
    let row = |row: &Value| {
        if row["recording"].is_object() {
            row["recording"].clone()
        } else {
            row.clone()
        }
    };
    rows.iter().map(row).collect()
}

/// Goal: the cluster says where sessions are recorded, a host may say otherwise, and each session is recorded once,
/// whatever way its user came. Method: two hosts with agents, all four combinations, three ways each.
#[test]
fn a_session_is_recorded_once_and_where_the_cluster_or_the_host_says() {
    let cluster = Cluster::start(3);
    let _hosts = ["web1", "web2"].map(|name| Agent::start(&cluster, name, "env=test"));
    let alice = cluster.person("alice", "access,auditor");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    alice.ssh_config();
    assert_eq!(
        recorded_at(&cluster, &alice, "web1"),
        ["agent"; 3],
        "as long as nobody says otherwise"
    );
    host_site(&cluster, "web1", "proxy");
    assert_eq!(recorded_at(&cluster, &alice, "web1"), ["node"; 3]);
    cluster_site(&cluster, "proxy");
    assert_eq!(recorded_at(&cluster, &alice, "web2"), ["node"; 3]);
    host_site(&cluster, "web2", "node");
    assert_eq!(recorded_at(&cluster, &alice, "web2"), ["agent"; 3]);
    let rows = retry("every recording to be complete", BOUND, || {
        let rows = rows(&alice);
        match rows.iter().all(|row| row["completeness"] == "complete") {
            true => Ok(rows),
            false => Err(format!("{rows:?}")),
        }
    });
    assert_eq!(rows.len(), 12, "one recording each: {rows:#?}");
    for row in &rows {
        let session = row["session"].as_str().expect("a session id");
        let played = alice.pal(&["play", "--no-wait", session]).ok();
        let host = row["host"].as_str().expect("a host");
        assert!(played.contains(&format!("from {host}")), "{row}: {played}");
    }
}

/// Goal: at a node everything works as at a plain host, and is told once. Method: a shell, a file each way and a forward at
/// a host whose sessions the node records.
#[test]
fn a_session_recorded_at_the_node_has_its_shell_its_files_and_its_forwards() {
    let cluster = Cluster::start(1);
    let _web1 = Agent::start(&cluster, "web1", "");
    let alice = cluster.person("alice", "access,auditor");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    cluster_site(&cluster, "proxy");
    let target = format!("{}@web1", me());

    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let behind = service.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in service.incoming().flatten() {
            let _ = stream.write_all(b"hello");
        }
    });
    let near = free_port();
    let forward = format!("127.0.0.1:{near}:{behind}");
    let mut ssh = alice.openssh("ssh", &["-tt", "-L", &forward, &target]);
    let mut shell = Background::start(&mut ssh);
    shell.send(b"echo shell-$((40+2)); test -t 0 && echo is''-a-tty; echo [$PALISADE_SESSION]\n");
    shell.expect_output("shell-42", BOUND);
    shell.expect_output("is-a-tty", BOUND);
    // The agent's own number for it would be of no use to anybody.
    shell.expect_output("[]", BOUND);
    let mut said = String::new();
    let through = TcpStream::connect(("127.0.0.1", near)).expect("ssh listens");
    through
        .take(5)
        .read_to_string(&mut said)
        .expect("the service speaks");
    assert_eq!(said, "hello");
    let live = cluster.palctl(0, &["sessions", "ls", "--format", "json"]).json();
    let live = live
        .as_array()
        .or_else(|| live["items"].as_array())
        .cloned()
        .expect("a list");
    assert_eq!(live.len(), 1, "it is listed once: {live:?}");
    shell.send(b"exit 4\n");
    assert_eq!(shell.finish(BOUND).status.code(), Some(4));

    let folder = cluster.folder("files");
    let (from, there, back) = (folder.join("from"), folder.join("there"), folder.join("back"));
    fs::write(&from, vec![7; 300_000]).expect("the folder is writable");
    let (local, remote) = (
        from.display().to_string(),
        format!("{target}:{}", there.display()),
    );
    run(&mut alice.openssh("scp", &[&local, &remote])).ok();
    run(&mut alice.openssh("scp", &[&remote, &back.display().to_string()])).ok();
    assert_eq!(fs::read(&back).expect("it came back"), vec![7; 300_000]);
    let files = retry("both transfers in the audit log", BOUND, || {
        let files = cluster.events(0, "session.file");
        match (files.len(), cluster.events(0, "session.files").len()) {
            (2, 2) => Ok(files),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(
        files.iter().all(|file| file.to_string().contains("sha256")),
        "{files:?}"
    );
    assert_eq!(cluster.events(0, "session.forward").len(), 1);
    assert_eq!(cluster.events(0, "session.start").len(), 3);
    assert_eq!(cluster.events(0, "session.end").len(), 3);
    let shell = rows(&alice)
        .into_iter()
        .find(|row| row["session_kind"] == "interactive");
    let session = shell.expect("the shell's recording")["session"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(
        alice
            .pal(&["play", "--no-wait", &session])
            .ok()
            .contains("shell-42")
    );

    // A lock ends it as it ends every session that a node carries.
    let mut shell = alice.ssh_interactive(&[&target]);
    shell.send(b"echo again-$((40+2))\n");
    shell.expect_output("again-42", BOUND);
    cluster
        .palctl(0, &["lock", "--user", "alice", "--message", "see security"])
        .ok();
    let ended = shell.finish(BOUND);
    assert!(ended.complaint().contains("see security"), "{ended}");
}

/// A plain OpenSSH server records nothing, and nobody can say that it does.
#[test]
fn a_plain_host_is_recorded_at_the_node_and_nowhere_else() {
    let cluster = Cluster::start(1);
    let _plain = Sshd::start(&cluster, "plain1");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let create = |yaml: &str| cluster.palctl_with_input(0, &["create", "--force", "-f", "-"], yaml);
    let host = |site: &str| {
        format!(
            "kind: host\nversion: v1\nmetadata:\n  name: plain2\nspec:\n  addr: 127.0.0.1:22\n  site: {site}\n"
        )
    };
    let said = create(&host("node")).refused();
    assert!(said.contains("a plain OpenSSH server records nothing"), "{said}");
    let said = create(&host("nodes")).refused();
    assert!(
        said.contains(r#"line 7, column 9: spec.site: unknown value "nodes": did you mean "node"?"#),
        "{said}"
    );
    create(&host("proxy")).ok();
    let config =
        "kind: session_recording_config\nversion: v1\nmetadata:\n  name: session-recording-config\nspec:\n";
    let said = create(&format!("{config}  site: nowhere\n")).refused();
    assert!(said.contains("line 6, column 9: spec.site"), "{said}");
    let said = create(&format!("{config}  sites: proxy\n")).refused();
    assert!(said.contains("line 6") && said.contains("site"), "{said}");
    alice.ssh(&[&format!("{}@plain1", me()), "true"]).ok();
    let starts = cluster.events(0, "session.start");
    assert!(
        starts[0].to_string().contains(r#""recorded_at":"node""#),
        "{starts:?}"
    );
}
