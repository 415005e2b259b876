//! What still works when something does not: every cell of the table in `docs/degraded.md`, tried.

use palisade_testkit::{Agent, Background, Cluster, Person, SmallDisk, Sshd, me, retry, under_clock};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);
const SHELL_UP: Duration = Duration::from_secs(150);
const LIFE: Duration = Duration::from_secs(600);
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/degraded.md");

/// The table: what, and under which condition, to whether it works.
fn table() -> BTreeMap<(String, String), bool> {
    let text = fs::read_to_string(DOCUMENT).expect("the page is there");
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut rows = text.lines().filter(|line| line.starts_with('|')).map(cells);
    let head = rows.next().expect("a head");
    let mut table = BTreeMap::new();
    for row in rows.filter(|row| !row[0].starts_with('-')) {
        for (condition, cell) in head.iter().zip(&row).skip(1) {
            let works = match cell.split(' ').next() {
                Some("yes") => true,
                Some("no") => false,
                other => panic!("{} / {condition}: {other:?} is neither yes nor no", row[0]),
            };
            table.insert((row[0].clone(), condition.clone()), works);
        }
    }
    table
}

/// A cluster with two hosts, one user with two shells open, and a recording.
struct Scene {
    cluster: Cluster,
    alice: Person,
    /// Who has no login yet.
    bob: Person,
    _plain: Sshd,
    agent: Agent,
    shells: Vec<(&'static str, Background)>,
    recording: String,
    tried: usize,
}

impl Scene {
    /// The shells go through the node at `on`, which stays.
    fn set(cluster: Cluster, on: usize) -> Scene {
        cluster.without_second_factor();
        let plain = Sshd::start(&cluster, "plain");
        let agent = Agent::start(&cluster, "agent", "");
        for node in 0..cluster.nodes.len() {
            agent.wait_known_at(&cluster, node);
        }
        let alice = cluster.person_by_password("alice", "access,auditor");
        let bob = cluster.person_by_password("bob", "access");
        alice.login_by_password(&cluster.nodes[on].web_addr()).ok();
        alice.only_through(&cluster.nodes[on]);
        alice.ssh_config();
        alice.ssh(&[&format!("{}@plain", me()), "echo recorded"]).ok();
        let recording = retry("a recording", BOUND, || {
            let listed = alice.pal(&["recordings", "ls", "--format", "json"]).json();
            let items = listed.as_array().or_else(|| listed["items"].as_array()).cloned();
            let row = items.unwrap_or_default().into_iter().next().ok_or("none yet")?;
            let id = row["recording"]["session"].as_str();
            id.map(str::to_owned).ok_or_else(|| row.to_string())
        });
        let shells = ["plain", "agent"].map(|host| {
            let mut shell = alice.ssh_interactive(&[&format!("{}@{host}", me())]);
            shell.send(b"PS1=; stty -echo; echo ready-$((40+2))\n");
            shell.expect_output("ready-42", SHELL_UP);
            (host, shell)
        });
        Scene {
            cluster,
            alice,
            bob,
            _plain: plain,
            agent,
            shells: shells.into(),
            recording,
            tried: 0,
        }
    }

    fn ask(&self, on: usize, path: &str) -> Command {
        let url = format!("https://{}{path}", self.cluster.nodes[on].web_addr());
        let mut curl = Command::new("curl");
        curl.args(["-ksf", "-m", "5", "-o", "/dev/null", &url]);
        curl
    }

    fn health(&self, on: usize, path: &str) -> bool {
        self.ask(on, path).status().expect("there is curl").success()
    }

    /// Tries everything through one node, all at once: what does not work takes its time.
    fn works(&mut self, on: usize) -> BTreeMap<String, bool> {
        self.tried += 1;
        let n = self.tried;
        for (_, shell) in &mut self.shells {
            shell.send(format!("echo still-{n}-$((40+2))\n").as_bytes());
        }
        let (cluster, alice, node) = (&self.cluster, &self.alice, &self.cluster.nodes[on]);
        alice.only_through(node);
        let ssh = |host: &str| {
            alice.openssh(
                "ssh",
                &["-o", "ConnectTimeout=10", &format!("{}@{host}", me()), "true"],
            )
        };
        let palctl = |words: &[&str]| {
            let mut command = cluster.palctl_command(on);
            command.args(words);
            command
        };
        let mut tries = vec![
            ("a new session at a host with sshd", ssh("plain")),
            ("a new session at a host with an agent", ssh("agent")),
            ("list hosts", alice.pal_command(&["ls"])),
            (
                "play a recording",
                alice.pal_command(&["play", "--no-wait", &self.recording]),
            ),
            (
                "change a record",
                palctl(&["hosts", "add", &format!("made-{n}"), "--addr", "127.0.0.1:22"]),
            ),
            (
                "search the audit log",
                palctl(&["audit", "search", "--user", "alice"]),
            ),
            ("`/livez` is green", self.ask(on, "/livez")),
            ("`/readyz` is green", self.ask(on, "/readyz")),
            ("`/readyz?write` is green", self.ask(on, "/readyz?write")),
        ];
        let mut started: Vec<_> = tries
            .iter_mut()
            .map(|(what, command)| (*what, Background::start(command)))
            .collect();
        let mut works = BTreeMap::new();
        // It ends with 1 where there is no quorum, and says everything all the same.
        let status = cluster.palctl(on, &["status", "--format", "json"]);
        works.insert("see the status".to_owned(), status.text().contains("\"nodes\""));
        let login = self.bob.login_by_password(&node.web_addr());
        works.insert("log in".to_owned(), login.succeeded());
        for (what, trial) in started.drain(..) {
            let ran = trial.finish(LIFE);
            works.insert(what.to_owned(), ran.succeeded());
        }
        for (host, shell) in &mut self.shells {
            let answered = shell.prints(&format!("still-{n}-42"), Duration::from_secs(15));
            works.insert(
                format!("a shell that is open at a host with {}", words(host)),
                answered,
            );
        }
        works
    }

    #[track_caller]
    fn check(&mut self, condition: &str, on: usize) {
        let works = self.works(on);
        let table = table();
        let wrong: Vec<String> = works
            .iter()
            .filter(|(what, done)| table.get(&((*what).clone(), condition.to_owned())) != Some(done))
            .map(|(what, done)| format!("{what}: {done}"))
            .collect();
        assert!(
            wrong.is_empty(),
            "{condition}: the page says otherwise of {wrong:#?}"
        );
        let rows = table.keys().filter(|(_, c)| c == condition).count();
        assert_eq!(
            rows,
            works.len(),
            "{condition}: the page has rows that nobody tries"
        );
    }
}

fn words(host: &str) -> &'static str {
    if host == "plain" { "sshd" } else { "an agent" }
}

/// Goal: the loss of one node costs nothing, the loss of the quorum what the page says; what happened meanwhile is there
/// afterwards, and marked.
#[test]
fn without_a_node_and_without_a_quorum() {
    let mut scene = Scene::set(Cluster::start(3), 0);
    scene.check("all is well", 0);
    scene.cluster.kill9(2);
    scene.cluster.leader();
    scene.check("one node is lost", 0);
    scene.cluster.kill9(1);
    retry("the loss to be noticed", BOUND, || {
        match scene.health(0, "/readyz") {
            true => Err("ready".to_owned()),
            false => Ok(()),
        }
    });
    scene.check("there is no quorum", 0);

    // The sessions end while nobody can write that down.
    for (_, shell) in &mut scene.shells {
        shell.send(b"exit 7\n");
    }
    for (host, shell) in scene.shells.drain(..) {
        let ran = shell.finish(LIFE);
        assert_eq!(ran.status.code(), Some(7), "{host}: {ran}");
    }
    scene.cluster.spawn(1);
    scene.cluster.spawn(2);
    scene.cluster.wait_voters(3);
    retry("both ends to be audited", Duration::from_secs(120), || {
        let ends = scene.cluster.events(0, "session.end");
        let ended = |host: &str| {
            ends.iter().any(|e| {
                let event = &e["event"];
                event["host"] == host
                    && event["data"]["kind"] == "interactive"
                    && event["data"]["exit_status"] == "7"
            })
        };
        match (ended("plain"), ended("agent")) {
            (true, true) => Ok(()),
            both => Err(format!("{both:?}")),
        }
    });
    scene.cluster.palctl(0, &["audit", "verify"]).ok();
}

#[test]
fn with_a_full_disk_and_with_a_wrong_clock() {
    let cluster = Cluster::unformed(3);
    let Some(disk) = SmallDisk::mount(&cluster.nodes[1].data, "192m") else {
        eprintln!("SKIPPED: this needs the right to mount a tmpfs");
        return;
    };
    for i in 0..2 {
        cluster.spawn(i);
    }
    cluster.spawn(2);
    cluster.palctl(0, &["cluster", "init", "--name", "test"]).ok();
    cluster.join(1);
    cluster.join(2);
    cluster.wait_voters(3);
    let mut scene = Scene::set(cluster, 1);
    disk.fill(40 << 20);
    let full = |scene: &Scene| scene.health(1, "/readyz?write");
    retry("it to be noticed", BOUND, || {
        if full(&scene) {
            Err("ready".to_owned())
        } else {
            Ok(())
        }
    });
    scene.check("the disk of the node is full", 1);
    disk.empty();
    retry("room to be noticed", BOUND, || {
        if full(&scene) {
            Ok(())
        } else {
            Err("not ready".to_owned())
        }
    });

    scene.cluster.kill9(2);
    let clock = scene.cluster.folder("clock").join("off");
    fs::write(&clock, "+3600\n").expect("the temporary folder is writable");
    scene.cluster.spawn_under(2, &under_clock(&clock));
    scene.cluster.wait_voters(3);
    retry("it to be noticed", BOUND, || {
        let said = scene.cluster.status(2)["advice"].to_string();
        if said.contains("clock") { Ok(()) } else { Err(said) }
    });
    scene.agent.wait_known_at(&scene.cluster, 2);
    scene.check("the clock of the node is an hour off", 2);
}
