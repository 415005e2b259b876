//! Logins and requests over a whole cluster: what one node has seen counts at every other.

use palisade_testkit::{Cluster, Person, me, retry, run, run_with_input};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

/// Goal: failures are counted by the cluster. Method: five wrong passwords, each at another node than the one before.
#[test]
fn failures_at_different_nodes_lock_out_together() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    let alice = cluster.person_by_password("alice", "access");
    let bob = cluster.person_by_password("bob", "access");
    for n in 0..5 {
        let addr = cluster.nodes[n % 3].web_addr();
        alice.login_with(&addr, "a wrong password", None).refused();
    }
    assert_eq!(cluster.events(0, "user.lockout").len(), 1);
    for node in &cluster.nodes {
        alice.login_by_password(&node.web_addr()).refused();
        // Nobody else is kept out by it.
        bob.login_by_password(&node.web_addr()).ok();
    }
    assert_eq!(cluster.events(1, "user.login.refused").len(), 8);
}

#[test]
fn a_code_used_at_one_node_is_refused_at_every_other() {
    let cluster = Cluster::start(3);
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let used = alice.used_code();
    for node in &cluster.nodes {
        alice
            .login_with(&node.web_addr(), &alice.password, Some(&used))
            .refused();
    }
    assert_eq!(
        cluster
            .events(2, "user.login")
            .iter()
            .filter(|e| e["event"]["event"] == "user.login")
            .count(),
        1
    );
    // Used codes are in the log, so that a dead leader takes no memory of them along.
    let leader = cluster.leader();
    cluster.kill9(leader);
    for node in (0..3).filter(|i| *i != leader) {
        retry("a leader", BOUND, || {
            let said = alice
                .login_with(&cluster.nodes[node].web_addr(), &alice.password, Some(&used))
                .refused();
            if said.contains("wrong user name") {
                Ok(())
            } else {
                Err(said)
            }
        });
    }
}

/// Ten characters in two groups.
fn recovery_codes(said: &str) -> Vec<String> {
    let lines = said.lines().map(str::trim);
    let codes = lines.filter(|line| line.len() == 11 && line.as_bytes()[5] == b'-');
    codes.map(str::to_owned).collect()
}

/// Goal: whoever lost their authenticator gets in by a recovery code, and sets up another, with `pal` alone; at any node.
#[test]
fn a_recovery_code_gets_in_and_a_new_authenticator_is_set_up_by_pal() {
    let cluster = Cluster::start(3);
    let alice = cluster.person("alice", "access");
    let at = |i: usize| cluster.nodes[i].web_addr();
    let password = format!("{}\n", alice.password);
    alice.login(&at(0)).ok();
    let listed = alice.pal(&["mfa", "ls"]).ok();
    assert!(listed.contains("10 of 10 left"), "{listed}");
    let code = alice.code();
    let words = ["mfa", "add", "recovery", "--password-stdin", "--code", &code];
    let codes = recovery_codes(&alice.pal_with_input(&words, &password).ok());
    assert_eq!(codes.len(), 10);
    alice.login_with(&at(1), &alice.password, Some(&codes[0])).ok();
    for i in 0..3 {
        alice
            .login_with(&at(i), &alice.password, Some(&codes[0]))
            .refused();
    }
    let listed = alice.pal(&["mfa", "ls"]).ok();
    assert!(listed.contains("9 of 10 left"), "{listed}");
    // The authenticator is lost: a recovery code proves who sets up another.
    let words = [
        "mfa",
        "add",
        "authenticator",
        "--password-stdin",
        "--code",
        &codes[1],
    ];
    let codes = recovery_codes(&alice.new_authenticator(&words));
    assert_eq!(codes.len(), 10);
    alice.login(&at(2)).ok();
    alice.login_with(&at(0), &alice.password, Some(&codes[9])).ok();
    let gone = alice.pal_with_input(&["mfa", "rm", "blue key", "--password-stdin"], &password);
    let said = gone.refused();
    assert!(said.contains("pal mfa ls"), "{said}");
}

/// Files of a login that `curl` needs.
struct Credential {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
}

impl Credential {
    fn of(person: &Person) -> Self {
        Credential {
            certificate: person.saved("-tls.pem"),
            key: person.saved("-tls.key"),
            authority: person.saved("ca.pem"),
        }
    }

    /// One request under an id; answers the status and the body.
    fn send(&self, addr: &str, method: &str, path: &str, id: &str, body: &str) -> (u16, String) {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--request",
            method,
        ])
        .arg("--cacert")
        .arg(&self.authority)
        .arg("--cert")
        .arg(&self.certificate)
        .arg("--key")
        .arg(&self.key)
        .args(["--header", "content-type: application/json"])
        .args(["--header", &format!("x-request-id: {id}")])
        .args(["--data", body, "--write-out", "\n%{http_code}"])
        .arg(format!("https://{addr}{path}"));
        let said = run(&mut curl).text();
        let (body, status) = said.rsplit_once('\n').unwrap_or_default();
        (status.parse().unwrap_or(0), body.to_owned())
    }
}

/// Goal: a request that is repeated has one effect and one answer, wherever and whenever it is repeated. Method: the
/// same request to every node, then to the survivors after the leader was killed.
#[test]
fn a_repeated_request_has_one_effect_on_every_node_and_after_the_leader_died() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    let root = cluster.person_by_password("root-of-all", "admin");
    root.login_by_password(&cluster.nodes[0].web_addr()).ok();
    let credential = Credential::of(&root);
    let id = "5d0c9f0e-7a0b-4a53-8a5e-1f8f0f3b7c11";
    let path = "/v1/records/host";
    let body = r#"{"kind":"host","version":"v1","metadata":{"name":"web1"},"spec":{"addr":"10.0.0.1:22"}}"#;
    let at = |node: usize| credential.send(&cluster.nodes[node].web_addr(), "POST", path, id, body);
    let first = at(0);
    assert_eq!(first.0 / 100, 2, "{first:?}");
    for node in [1, 2, 0] {
        assert_eq!(at(node), first);
    }
    let created = || {
        let on = cluster.any_running();
        let events = cluster.events(on, "record.");
        events
            .iter()
            .filter(|e| e["event"]["target"] == "host/web1")
            .count()
    };
    assert_eq!(created(), 1);
    // Somebody changes it; the repetition does not change it back.
    let survivor = cluster.follower();
    cluster.palctl(survivor, &["hosts", "rm", "web1", "--yes"]).ok();
    let leader = cluster.leader();
    cluster.kill9(leader);
    for node in (0..3).filter(|i| *i != leader) {
        retry("the same answer", BOUND, || {
            let answer = at(node);
            if answer.0 == 503 {
                return Err(format!("{answer:?}"));
            }
            assert_eq!(answer, first);
            Ok(())
        });
    }
    let listed = cluster
        .palctl(survivor, &["hosts", "ls", "--format", "json"])
        .ok();
    assert_eq!(listed.trim(), "[]", "the repetition made it again");
    // The same id for something else is something else.
    let other = credential.send(
        &cluster.nodes[survivor].web_addr(),
        "POST",
        path,
        id,
        &body.replace("web1", "web2"),
    );
    assert_eq!(other.0 / 100, 2, "{other:?}");
}

fn ssh_public_key(cluster: &Cluster) -> String {
    let file = cluster.folder("keys").join("id");
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&file))
    .ok();
    std::fs::read_to_string(file.with_extension("pub")).expect("ssh-keygen wrote it")
}

fn tls_public_key() -> String {
    let private =
        run(Command::new("openssl").args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"])).ok();
    run_with_input(
        Command::new("openssl").args(["ec", "-pubout"]),
        private.as_bytes(),
    )
    .ok()
}

/// `curl` with many requests to nodes at the same moment: one status a line.
fn at_once(more: &[String]) -> String {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--insecure",
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        "200",
    ])
    .args(["--max-time", "60", "--header", "content-type: application/json"])
    .args(more);
    run(&mut curl).text()
}

/// Goal: many logins at once neither stop the node nor grow it. Method: 200 at the same moment; each needs 19 MiB for a
/// moment.
#[test]
fn two_hundred_logins_at_once_are_bounded() {
    let cluster = Cluster::start(1);
    cluster.without_second_factor();
    let alice = cluster.person_by_password("alice", "access");
    let node = &cluster.nodes[0];
    let pid = node.pid().expect("it runs");
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let kib = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .expect("Linux says so");
        kib.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
    };
    let before = resident();
    let addr = node.web_addr();
    let mut body = tempfile::NamedTempFile::new().expect("a file");
    let login = serde_json::json!({
        "user": "alice", "password": "a wrong password", "code": "",
        "ssh_public_key": ssh_public_key(&cluster), "tls_public_key": tls_public_key(),
    });
    std::io::Write::write_all(&mut body, login.to_string().as_bytes()).expect("written");
    let began = Instant::now();
    let url = format!("https://{addr}/v1/login?n=[1-200]");
    let said = at_once(&[
        "--data-binary".into(),
        format!("@{}", body.path().display()),
        "--output".into(),
        "/dev/null".into(),
        "--write-out".into(),
        "%{http_code}\n".into(),
        url,
    ]);
    let count = |status: &str| said.lines().filter(|line| *line == status).count();
    println!(
        "in {:?}: {} refused, {} asked to wait, {} turned away; VmHWM {before} -> {} KiB",
        began.elapsed(),
        count("401"),
        count("429"),
        count("503"),
        resident()
    );
    assert_eq!(count("401") + count("429") + count("503"), 200, "{said}");
    assert!(count("401") > 0, "{said}");
    // Those that came in by the limit of one address would take 1.2 GB if they were hashed at once.
    assert!(
        resident() < before + 400 * 1024,
        "{before} KiB became {} KiB",
        resident()
    );
    // An operator's way in does not depend on it.
    cluster
        .palctl(0, &["hosts", "add", "after", "--addr", "127.0.0.1:22"])
        .ok();
    assert!(node.is_running());
    drop(alice);
}

/// Goal: a reset ends what the old password had given: the certificates that are out and the sessions under them.
#[test]
fn a_reset_ends_what_the_old_password_had_given() {
    let cluster = Cluster::start(3);
    let _host = palisade_testkit::Sshd::start(&cluster, "web1");
    cluster.without_second_factor();
    let alice = cluster.person_by_password("alice", "access");
    alice.login_by_password(&cluster.nodes[0].web_addr()).ok();
    let target = format!("{}@web1", me());
    let mut open = alice.ssh_interactive(&[&target]);
    open.send(b"echo open-$((40+2))\n");
    open.expect_output("open-42", BOUND);

    let reset = cluster
        .palctl(1, &["users", "reset", "alice", "--format", "json"])
        .json();
    let url = reset["url"].as_str().expect("a reset has a url");
    let configs: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| alice.ssh_config_through(node.ssh_port))
        .collect();
    // Until it is used nothing changes.
    alice.ssh(&[&target, "true"]).ok();
    alice.accept_by_password(url);
    assert!(!open.finish(BOUND).succeeded(), "the session went on");
    for config in configs {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(config)
            .args(["-o", "BatchMode=yes", &target, "true"]);
        alice.at_home(&mut ssh);
        let said = run(&mut ssh).refused();
        assert!(said.contains("before your password was set"), "{said}");
    }
    alice.pal(&["ls"]).refused();
    alice.login_by_password(&cluster.nodes[2].web_addr()).ok();
    alice.ssh(&[&target, "true"]).ok();

    // Removed and made again under the same name: the certificate of before is nobody's.
    cluster.palctl(0, &["users", "rm", "alice", "--yes"]).ok();
    let words = [
        "users",
        "add",
        "alice",
        "--roles",
        "access",
        "--logins",
        &me(),
        "--format",
        "json",
    ];
    cluster.palctl(0, &words).ok();
    cluster.wait_converged();
    alice.ssh(&[&target, "true"]).refused();
    alice.pal(&["ls"]).refused();
}

/// Goal: one token lets one node in. Method: fifty nodes ask with the same token at the same moment, at all members.
#[test]
fn of_fifty_joins_at_once_with_one_token_one_succeeds() {
    const NODES: usize = 50;
    let cluster = Cluster::start(3);
    let token = cluster.join_token(0);
    let parts: Vec<&str> = token.split('.').collect();
    let key = tls_public_key();
    let now = run(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])).ok();
    let mut words = Vec::new();
    // Each can be reached, as a member tries before it lets one in.
    let listening: Vec<_> = (0..NODES)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free"))
        .collect();
    for (n, listener) in listening.iter().enumerate() {
        let peer_addr = listener.local_addr().expect("it listens").to_string();
        let request = serde_json::json!({
            "cluster_id": parts[1], "token": parts[3], "secret": parts[4], "name": format!("late-{n}"),
            "peer_addr": peer_addr, "web_addr": "127.0.0.1:1", "ssh_addr": "127.0.0.1:2",
            "incarnation": format!("{}", 1000 + n), "peer_public_key": key, "wrap_public_key": "09".repeat(32),
            "now": now.trim(), "version": cluster.status(0)["version"],
        });
        let file = cluster.folder("joins").join(n.to_string());
        std::fs::write(&file, request.to_string()).expect("the folder is writable");
        if n > 0 {
            words.push("--next".to_owned());
        }
        words.extend(
            [
                "--silent",
                "--insecure",
                "--header",
                "content-type: application/json",
            ]
            .map(str::to_owned),
        );
        words.extend(["--output", "/dev/null", "--write-out", "%{http_code}\n"].map(str::to_owned));
        words.extend(["--data-binary".to_owned(), format!("@{}", file.display())]);
        words.push(format!("https://{}/v1/join", cluster.nodes[n % 3].web_addr()));
    }
    let said = at_once(&words);
    let count = |status: &str| said.lines().filter(|line| *line == status).count();
    assert_eq!((count("200"), count("403")), (1, NODES - 1), "{said}");
    cluster.wait_converged();
    for node in 0..3 {
        let status = cluster.status(node);
        assert_eq!(status["nodes"].as_array().map(Vec::len), Some(4), "{status}");
    }
    assert_eq!(cluster.events(0, "node.join.refused").len(), NODES - 1);
}
