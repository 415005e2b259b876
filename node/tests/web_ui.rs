//! The web pages in a real browser, against real nodes with a real agent and a stock `sshd`. What is done there is written in
//! `web/ui/e2e`, one file each; it is run here, so that the nodes, the hosts and the people are those of every other test.

use palisade_testkit::{Agent, Cluster, Sshd, me, program};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long one file may take on a busy machine.
const BOUND: Duration = Duration::from_secs(480);

/// Sees everything and changes nothing.
const LOOKS: &str = "kind: role
metadata: {name: looks}
spec: {allow: {rules: [{resources: ['*'], verbs: [list, read]}]}}
";

fn ui() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/ui")
}

/// A cluster with everything that a person meets: two kinds of hosts, one who may do everything and one who may do little.
struct World {
    cluster: Cluster,
    _agent: Agent,
    _plain: Sshd,
    facts: Value,
}

impl World {
    /// Each node has an address of its own, so that a browser does not give one's cookie to another.
    fn new(nodes: u8) -> World {
        let addrs: Vec<Ipv4Addr> = (1..=nodes).map(|n| Ipv4Addr::new(127, 0, 0, n)).collect();
        let cluster = Cluster::start_at(&addrs);
        cluster.without_second_factor();
        let agent = Agent::start(&cluster, "web1", "env=prod");
        let plain = Sshd::start(&cluster, "plain1");
        cluster.create("kind: role\nmetadata: {name: little}\nspec: {allow: {logins: [nobody], host_labels: {env: prod}}}\n");
        let alice = cluster.person_by_password("alice", "admin,access,auditor");
        cluster.create(LOOKS);
        let bob = cluster.person_by_password("bob", "little");
        let dave = cluster.person_by_password("dave", "access");
        let eve = cluster.person_by_password("eve", "looks");
        let facts = json!({
            "cluster": cluster.name(),
            "nodes": cluster.nodes.iter().enumerate().map(|(i, node)| json!({
                "name": format!("n{}", i + 1),
                "url": format!("https://{}", node.web_addr()),
                // A passkey is for a name.
                "named": format!("https://localhost:{}", node.web_port),
                "pid": node.pid(),
            })).collect::<Vec<_>>(),
            "me": me(),
            "pal": program("pal"),
            "palctl": [program("palctl").display().to_string(), "--socket".to_owned(), cluster.nodes[0].socket().display().to_string()],
            "pin": alice.pin(),
            "hosts": {"agent": "web1", "plain": "plain1", "addr": format!("127.0.0.1:{}", plain.port)},
            "people": {
                "alice": {"password": alice.password},
                "bob": {"password": bob.password},
                "dave": {"password": dave.password},
                "eve": {"password": eve.password},
            },
            "folder": cluster.folder("browser"),
        });
        World {
            cluster,
            _agent: agent,
            _plain: plain,
            facts,
        }
    }

    /// Runs one file of `web/ui/e2e` to its end.
    fn browse(&self, file: &str) {
        let facts = self.cluster.folder("facts").join("facts.json");
        std::fs::write(&facts, self.facts.to_string()).expect("the temporary folder is writable");
        let mut command = Command::new("node");
        command
            .arg("e2e/run.mjs")
            .arg(file)
            .current_dir(ui())
            .env("PALISADE_FACTS", &facts);
        let mut run = palisade_testkit::Background::start(&mut command);
        run.close_input();
        let ran = run.finish(BOUND);
        println!("{}", ran.text());
        assert!(ran.succeeded(), "{}\n{}", ran.text(), ran.complaint());
    }
}

/// Goal: somebody who got an invite gets in with a password, a code or a passkey, and nobody else does.
#[test]
fn an_invited_person_enrols_signs_in_and_minds_their_own_account() {
    let mut world = World::new(1);
    world.cluster.create(
        "kind: cluster_auth_preference\nmetadata: {name: cluster-auth-preference}\nspec: {second_factor: totp}\n",
    );
    let made = world
        .cluster
        .palctl(
            0,
            &[
                "users", "add", "carol", "--roles", "access", "--logins", "carol", "--format", "json",
            ],
        )
        .json();
    world.facts["invite"] = made["url"].clone();
    world.browse("signin.mjs");
}

/// Goal: a program is let in by its user's browser, and by nobody else's.
#[test]
fn a_program_is_let_in_from_a_browser() {
    let world = World::new(1);
    world.browse("programs.mjs");
}

/// Goal: from the list of hosts to a shell, and on with the same shell after the node that served it was killed.
#[test]
fn a_terminal_finds_its_shell_again_after_its_node_was_killed() {
    let world = World::new(3);
    world.browse("terminal.mjs");
}

/// Goal: sessions are seen, ended and played.
#[test]
fn sessions_are_seen_ended_and_played() {
    let world = World::new(1);
    world.browse("sessions.mjs");
}

/// Goal: the audit log is searched, followed and given out; records are made, changed and removed, with the reason where not.
#[test]
fn the_log_is_searched_and_records_are_changed() {
    let world = World::new(1);
    world.browse("admin.mjs");
    // What a browser took with it is the log, by the judgement of the program that auditors have.
    let file = world.cluster.folder("browser").join("audit.ndjson");
    let file = file.to_str().expect("a plain path");
    let said = world.cluster.palctl(0, &["audit", "verify", file]).ok();
    assert!(said.contains("The audit log is good"), "{said}");
}

/// Goal: whatever a button of the administration changes, it changes; and who may not is told why, by the page and by the API.
#[test]
fn what_the_administrations_buttons_change_is_changed() {
    let world = World::new(3);
    world.browse("changes.mjs");
}

/// Goal: sessions are joined, hosts that are typed are reached, files are moved and passwords changed, all by the pages.
#[test]
fn people_work_at_hosts_and_mind_their_account_by_the_pages() {
    let world = World::new(1);
    world.browse("work.mjs");
}

/// Goal: every page in both themes, wide and narrow, for who may do everything and who may do little: nothing that an
/// accessibility checker finds, nothing in the browser's console, nothing wider than the screen.
#[test]
fn every_page_is_sound() {
    let world = World::new(3);
    world.browse("pages.mjs");
}

/// Goal: what others write into names, labels and recordings stays text; other sites get nowhere.
#[test]
fn what_others_write_stays_text_and_other_sites_get_nowhere() {
    let world = World::new(1);
    world.browse("hostile.mjs");
}
