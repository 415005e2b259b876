//! Live sessions at hosts with an agent: joined through any node, and ended by what the policy says, whichever node
//! carries them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_testkit::{Agent, Background, Cluster, Person, Ran, Sshd, me, retry, run, until};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long anything may take on a busy machine.
const BOUND: Duration = Duration::from_secs(60);
/// How long a login shell may take to come up: what a profile does before the first prompt may wait for others that do
/// the same.
const SHELL_UP: Duration = Duration::from_secs(150);
/// A process of a test lives no longer than this.
const LIFE: Duration = Duration::from_secs(600);
/// What acts within a second, with room for a busy machine.
const SOON: Duration = Duration::from_secs(5);

fn role(name: &str, spec: &str) -> String {
    format!("kind: role\nversion: v1\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// Lets its holders join the sessions of whoever holds `access`.
fn looks(modes: &str) -> String {
    role(
        "looks",
        &format!("{{allow: {{join_sessions: [{{roles: [access], modes: [{modes}]}}]}}}}"),
    )
}

fn shell(person: &Person, host: &str) -> Background {
    let mut shell = person.ssh_interactive(&[&format!("{}@{host}", me())]);
    shell.send(b"PS1=; stty -echo; echo ready-$((40+2))\n");
    shell.expect_output("ready-42", SHELL_UP);
    shell
}

/// What a person's `pal sessions ls` lists.
fn listed(person: &Person) -> Vec<Value> {
    let all = person.pal(&["sessions", "ls", "--format", "json"]).json();
    let all = all.as_array().or_else(|| all["items"].as_array()).cloned();
    all.unwrap_or_default()
}

/// The only live session, once it is listed with these in it.
fn session_with(person: &Person, participants: &[(&str, &str)]) -> String {
    let wanted: Vec<_> = participants
        .iter()
        .map(|(user, mode)| serde_json::json!({"user": user, "mode": mode}))
        .collect();
    retry("the session to be listed", BOUND, || match &listed(person)[..] {
        [one] if one["participants"] == Value::from(wanted.clone()) => {
            Ok(one["session"].as_str().expect("a session id").to_owned())
        }
        other => Err(format!("{other:?}")),
    })
}

fn joins(person: &Person, session: &str, mode: &str) -> Background {
    let mut joined = Background::start(&mut person.pal_command(&["join", "--mode", mode, session]));
    joined.expect_output(&format!("you are {mode}"), BOUND);
    joined
}

fn told(ran: &Ran) -> String {
    ran.text() + &ran.complaint()
}

/// The program that a program started.
fn only_child(pid: u32) -> Pid {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let listed = listed.expect("the process runs");
    Pid::from_raw(listed.trim().parse().expect("one child"))
}

/// Whether an event says all of this.
fn says(event: &Value, words: &[&str]) -> bool {
    let text = event.to_string();
    words.iter().all(|word| text.contains(word))
}

/// Goal: somebody with no login on any host takes part in a session through whichever node they reach. Method: three
/// nodes, of which an agent holds tunnels to two; they join through each in turn.
#[test]
fn a_session_is_joined_through_any_node_and_goes_on_without_whoever_leaves() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    cluster.create(&looks("observer, peer"));
    let _web1 = Agent::start(&cluster, "web1", "");
    let alice = cluster.person_by_password("alice", "access");
    let bob = cluster.person_by_password("bob", "looks");
    let carol = cluster.person_by_password("carol", "access");
    for person in [&alice, &bob, &carol] {
        person.login_by_password(&cluster.nodes[0].web_addr()).ok();
    }
    let mut owner = shell(&alice, "web1");
    let session = session_with(&bob, &[("alice", "owner")]);
    let text = bob.pal(&["sessions", "ls"]).ok();
    assert!(text.contains("alice (owner)"), "{text}");

    // They gain nothing else, and access to the host alone lets nobody in.
    let target = format!("{}@web1", me());
    let no = bob.pal(&["ssh", &target, "true"]).refused();
    assert!(no.contains("no access to a host"), "{no}");
    for (who, mode) in [(&carol, "observer"), (&bob, "moderator")] {
        let no = who.pal(&["join", "--mode", mode, &session]).refused();
        assert!(no.contains("no live session") && no.contains(mode), "{no}");
    }
    assert!(
        !carol.pal(&["sessions", "ls"]).succeeded(),
        "nothing is listed to whoever may join none"
    );
    let refused = cluster.events(0, "session.refused");
    assert!(
        refused.iter().any(|event| says(event, &["carol", &session])),
        "{refused:?}"
    );

    for (i, node) in cluster.nodes.iter().enumerate() {
        bob.only_through(node);
        let mode = if i == 0 { "peer" } else { "observer" };
        let mut joined = joins(&bob, &session, mode);
        session_with(&bob, &[("alice", "owner"), ("bob", mode)]);
        joined.send(format!("echo of-''bob-{i}\n").as_bytes());
        owner.send(format!("echo of-''alice-{i}\n").as_bytes());
        joined.expect_output(&format!("of-alice-{i}"), BOUND);
        if mode == "peer" {
            owner.expect_output("of-bob-0", BOUND);
            // ssh ends while the program that carries its connection gets no turn: its goodbye arrives all the same.
            let carrier = only_child(joined.pid());
            kill(carrier, Signal::SIGSTOP).expect("it is ours");
            joined.send(b"\n~.");
            until("ssh to end", BOUND, || (!joined.is_running()).then_some(()));
            kill(carrier, Signal::SIGCONT).expect("it is ours");
        } else {
            joined.send(b"\x03");
        }
        let ran = joined.finish(LIFE);
        assert_eq!(ran.status.code() == Some(0), mode == "observer", "{ran}");
        session_with(&bob, &[("alice", "owner")]);
    }
    owner.send(b"echo still-''here; exit 3\n");
    let ran = owner.finish(LIFE);
    assert_eq!(ran.status.code(), Some(3), "{ran}");
    assert!(
        ran.text().contains("still-here") && !ran.text().contains("of-bob-1"),
        "{ran}"
    );
    let (joined, left) = (
        cluster.events(1, "session.join"),
        cluster.events(1, "session.leave"),
    );
    assert_eq!((joined.len(), left.len()), (3, 3), "{joined:?} {left:?}");
    for event in joined.iter().chain(&left) {
        assert!(
            says(event, &["bob", &session, "web1", r#""owner":"alice""#]),
            "{event}"
        );
    }

    // A plain OpenSSH host has no room: who might join reads so, who might not reads nothing.
    let _web2 = Sshd::start(&cluster, "web2");
    alice.ssh_config();
    let _owner = shell(&alice, "web2");
    let session = session_with(&bob, &[("alice", "owner")]);
    let no = bob.pal(&["join", &session]).refused();
    assert!(no.contains("plain OpenSSH server") && no.contains("web2"), "{no}");
    let no = carol.pal(&["join", &session]).refused();
    assert!(no.contains("no live session"), "{no}");
}

/// What is taken away ends at once for whoever joined, and the owner's session stays.
#[test]
fn whoever_loses_the_right_to_be_in_a_session_is_out_and_the_owner_stays() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    cluster.create(&looks("observer"));
    let _web1 = Agent::start(&cluster, "web1", "");
    let alice = cluster.person_by_password("alice", "access");
    let bob = cluster.person_by_password("bob", "looks");
    for person in [&alice, &bob] {
        person.login_by_password(&cluster.nodes[0].web_addr()).ok();
    }
    let mut owner = shell(&alice, "web1");
    let session = session_with(&bob, &[("alice", "owner")]);
    let on = cluster.follower();

    let joined = joins(&bob, &session, "observer");
    // Until the nodes know of them, they are decided about again when they do.
    session_with(&bob, &[("alice", "owner"), ("bob", "observer")]);
    let edited = Instant::now();
    cluster.create(&looks("peer"));
    let ran = joined.finish(LIFE);
    println!("out {:?} after the role was edited", edited.elapsed());
    assert!(edited.elapsed() < SOON, "{:?}", edited.elapsed());
    assert!(told(&ran).contains("no live session"), "{ran}");

    cluster.create(&looks("observer"));
    let joined = joins(&bob, &session, "observer");
    session_with(&bob, &[("alice", "owner"), ("bob", "observer")]);
    let locked = Instant::now();
    cluster
        .palctl(on, &["lock", "--user", "bob", "--message", "see security"])
        .ok();
    let ran = joined.finish(LIFE);
    println!("out {:?} after the lock", locked.elapsed());
    assert!(locked.elapsed() < SOON, "{:?}", locked.elapsed());
    assert!(told(&ran).contains("see security"), "{ran}");
    assert!(!bob.pal(&["join", &session]).succeeded());

    owner.send(b"echo still-''here; exit 3\n");
    let ran = owner.finish(LIFE);
    assert_eq!(ran.status.code(), Some(3), "{ran}");
    assert!(ran.text().contains("still-here"), "{ran}");
    let left = retry("both leaves in the audit log", BOUND, || {
        let left = cluster.events(on, "session.leave");
        if left.len() == 2 {
            Ok(left)
        } else {
            Err(format!("{left:?}"))
        }
    });
    assert!(says(&left[1], &["bob", "see security"]), "{left:?}");
}

/// A role may want a moderator: nothing runs without one, and the session ends when they are gone.
#[test]
fn a_session_that_needs_a_moderator_waits_for_one_and_ends_with_them() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    cluster.create(&looks("moderator, observer"));
    cluster.create(&role(
        "careful",
        "{allow: {require_session_join: [{modes: [moderator]}]}}",
    ));
    let _web1 = Agent::start(&cluster, "web1", "");
    let alice = cluster.person_by_password("alice", "access,careful");
    let bob = cluster.person_by_password("bob", "looks");
    for person in [&alice, &bob] {
        person.login_by_password(&cluster.nodes[0].web_addr()).ok();
    }
    let target = format!("{}@web1", me());
    let no = alice.ssh(&[&target, "true"]);
    assert!(told(&no).contains("1 moderator"), "{no}");
    let _web2 = Sshd::start(&cluster, "web2");
    alice.ssh_config();
    let no = alice.ssh(&["-tt", &format!("{}@web2", me())]);
    assert!(told(&no).contains("1 moderator"), "{no}");

    let mut owner = alice.ssh_interactive(&[&target]);
    owner.expect_output("1 moderator is needed", BOUND);
    let session = session_with(&bob, &[("alice", "owner")]);
    let mut moderator = joins(&bob, &session, "moderator");
    owner.expect_output("the session begins", BOUND);
    owner.send(b"PS1=; stty -echo; echo ready-$((40+2))\n");
    moderator.expect_output("ready-42", SHELL_UP);
    let gone = Instant::now();
    moderator.send(b"\x03");
    assert_eq!(moderator.finish(LIFE).status.code(), Some(0));
    let ran = owner.finish(LIFE);
    println!("ended {:?} after the moderator left", gone.elapsed());
    assert!(gone.elapsed() < SOON, "{:?}", gone.elapsed());
    assert!(told(&ran).contains("ended because others left"), "{ran}");

    // One whose program is killed is missed as well.
    let mut owner = alice.ssh_interactive(&[&target]);
    owner.expect_output("1 moderator is needed", BOUND);
    let session = session_with(&bob, &[("alice", "owner")]);
    let moderator = joins(&bob, &session, "moderator");
    owner.expect_output("the session begins", BOUND);
    let gone = Instant::now();
    run(Command::new("kill").args(["-9", &moderator.pid().to_string()])).ok();
    let ran = owner.finish(LIFE);
    println!(
        "ended {:?} after the moderator's client was killed",
        gone.elapsed()
    );
    // Cut off, they might have come back for ten seconds.
    assert!(
        gone.elapsed() < Duration::from_secs(10) + SOON,
        "{:?}",
        gone.elapsed()
    );
    assert!(told(&ran).contains("ended because others left"), "{ran}");
}

/// Goal: a node that dies takes no participant with it. Method: each node in turn is killed under a session that would end
/// with its moderator; whichever carries either of them is among them.
#[test]
fn a_moderated_session_outlives_the_nodes_that_carry_it_and_its_moderator() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    cluster.create(&looks("moderator"));
    cluster.create(&role(
        "careful",
        "{allow: {require_session_join: [{modes: [moderator]}]}}",
    ));
    let _web1 = Agent::start(&cluster, "web1", "");
    let alice = cluster.person_by_password("alice", "access,careful");
    let bob = cluster.person_by_password("bob", "looks");
    for person in [&alice, &bob] {
        person.login_by_password(&cluster.nodes[0].web_addr()).ok();
    }
    let mut owner = alice.ssh_interactive(&[&format!("{}@web1", me())]);
    owner.expect_output("1 moderator is needed", BOUND);
    let session = session_with(&bob, &[("alice", "owner")]);
    let mut moderator = joins(&bob, &session, "moderator");
    owner.send(b"PS1=; stty -echo; echo ready-$((40+2))\n");
    moderator.expect_output("ready-42", SHELL_UP);
    for i in 0..cluster.nodes.len() {
        cluster.kill9(i);
        let killed = Instant::now();
        retry("both to see what is typed", BOUND, || {
            // What is typed while the moderator is cut off is thrown away.
            owner.send(format!("echo on-''{i}\n").as_bytes());
            let seen = |one: &Background| one.output().contains(&format!("on-{i}"));
            match seen(&owner) && seen(&moderator) {
                true => Ok(()),
                false => Err(owner.output()),
            }
        });
        println!("node {i} killed: both went on after {:?}", killed.elapsed());
        cluster.spawn(i);
        cluster.wait_voters(3);
    }
    assert!(moderator.is_running());
    owner.send(b"exit 3\n");
    assert_eq!(owner.finish(LIFE).status.code(), Some(3));
    assert!(told(&moderator.finish(LIFE)).contains("ready-42"));
    retry("their leave, once, before the end", BOUND, || {
        let all = cluster.events(0, "session.");
        // A link that came while a node could not decide may have been turned away; another one did not.
        let (refused, all): (Vec<_>, Vec<_>) = all
            .iter()
            .map(|event| &event["event"])
            .partition(|event| event["event"] == "session.refused");
        for event in refused {
            println!("refused meanwhile: {} {}", event["user"], event["message"]);
        }
        let names: Vec<_> = all.iter().filter_map(|event| event["event"].as_str()).collect();
        match names[..] {
            ["session.start", "session.join", "session.leave", "session.end"] => Ok(()),
            _ => Err(format!("{names:?}")),
        }
    });
}

/// `max_sessions` counts sessions at all agents, whichever node each came through.
#[test]
fn the_limit_of_sessions_counts_them_at_all_agents_and_nodes() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    cluster.create(&role("two", "{options: {max_sessions: 2}}"));
    let _hosts = ["web1", "web2"].map(|name| Agent::start(&cluster, name, ""));
    let alice = cluster.person_by_password("alice", "access,two");
    alice.login_by_password(&cluster.nodes[0].web_addr()).ok();
    alice.only_through(&cluster.nodes[0]);
    let mut first = shell(&alice, "web1");
    alice.only_through(&cluster.nodes[1]);
    let mut second = shell(&alice, "web2");
    alice.only_through(&cluster.nodes[2]);
    let target = format!("{}@web1", me());
    let no = alice.ssh(&[&target, "true"]);
    assert!(!no.succeeded() && told(&no).contains("sessions"), "{no}");
    first.send(b"exit\n");
    assert!(first.finish(LIFE).succeeded());
    let freed = Instant::now();
    retry("a place to be free", BOUND, || {
        let ran = alice.ssh(&[&target, "true"]);
        if ran.succeeded() {
            Ok(())
        } else {
            Err(ran.to_string())
        }
    });
    // The command itself takes its time, so this is no measure of the limit's.
    println!("a command had run {:?} after a session ended", freed.elapsed());
    second.send(b"exit\n");
    assert!(second.finish(LIFE).succeeded());
}

/// Silence and the end of a certificate end a session at an agent at their moment.
#[test]
fn the_idle_limit_and_the_end_of_a_certificate_end_a_session_at_an_agent() {
    const IDLE: Duration = Duration::from_secs(10);
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    cluster.create(&role("quick", "{options: {client_idle_timeout: 10s}}"));
    cluster.create(&role(
        "brief",
        "{options: {max_session_ttl: 60s, disconnect_expired_cert: true}}",
    ));
    let _web1 = Agent::start(&cluster, "web1", "");
    let brief = cluster.person_by_password("brief", "access,brief");
    let alice = cluster.person_by_password("alice", "access,quick");
    for person in [&alice, &brief] {
        person.login_by_password(&cluster.nodes[0].web_addr()).ok();
    }
    let target = format!("{}@web1", me());
    let to_expire = brief.ssh_interactive(&[&target]);
    let mut idle = alice.ssh_interactive(&[&target]);
    retry("both to be live", BOUND, || {
        let live = cluster.palctl(0, &["sessions", "ls"]).ok();
        match live.contains("brief (owner)") && live.contains("alice (owner)") {
            true => Ok(()),
            false => Err(live),
        }
    });
    idle.send(b"\n");
    let silent = Instant::now();
    let ran = idle.finish(LIFE);
    let took = silent.elapsed();
    println!("ended after {took:?} of silence; the limit is {IDLE:?}");
    assert!(told(&ran).contains("nothing happened for 10s"), "{ran}");
    // The key was on its way for a moment.
    assert!(
        took > IDLE - Duration::from_secs(1) && took < IDLE + SOON,
        "{took:?}"
    );

    let status = brief.pal(&["status", "--format", "json"]).json();
    let ends = status["active"]["valid_before"]
        .as_str()
        .expect("an end")
        .to_owned();
    let ends = run(Command::new("date").args(["-d", &ends, "+%s"])).ok();
    let ends = Duration::from_secs(ends.trim().parse().expect("seconds"));
    let ran = to_expire.finish(LIFE);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    println!("ended {:?} after the certificate", now.saturating_sub(ends));
    assert!(told(&ran).contains("certificate has expired"), "{ran}");
    assert!(now >= ends && now < ends + SOON, "{now:?} {ends:?}");
}
