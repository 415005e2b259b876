//! Terminals and files of hosts in a browser, against real nodes, a real agent and a stock `sshd`.

use palisade_testkit::{Agent, Cluster, Person, Sshd, Terminal, download, me, retry, upload};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

fn ready(terminal: &mut Terminal) {
    terminal.send(b"PS1=; stty -echo; echo ready-$((40+2))\n");
    terminal.expect_output("ready-42", BOUND);
}

/// How long a key takes until it is shown.
fn echo(terminal: &mut Terminal) -> Duration {
    let (shown, began) = (terminal.output.len(), Instant::now());
    terminal.send(b"#");
    terminal.wait("an echo", BOUND, |terminal| {
        (terminal.output.len() > shown).then_some(())
    });
    began.elapsed()
}

fn says(event: &Value, words: &[&str]) -> bool {
    let text = event.to_string();
    words.iter().all(|word| text.contains(word))
}

fn recorded(alice: &Person, session: &str) -> Value {
    retry("the recording to be complete", BOUND, || {
        let row = alice.pal(&["recordings", "ls", "--format", "json"]).json();
        let rows = row.as_array().or_else(|| row["items"].as_array()).cloned();
        let rows = rows.unwrap_or_default();
        let found = rows.iter().map(|row| match row["recording"].is_object() {
            true => row["recording"].clone(),
            false => row.clone(),
        });
        match found.into_iter().find(|row| row["session"] == session) {
            Some(row) if row["completeness"] == "complete" => Ok(row),
            other => Err(format!("{other:?}")),
        }
    })
}

/// Goal: a shell in a browser is a shell: it echoes, knows its size, ends with its status, and is recorded under the
/// person's name, at a host with an agent as at a plain one.
#[test]
fn a_shell_in_a_browser_at_either_kind_of_host() {
    let cluster = Cluster::start(1);
    let _web1 = Agent::start(&cluster, "web1", "");
    let _plain = Sshd::start(&cluster, "plain1");
    let alice = cluster.person("alice", "access,auditor");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    for host in ["web1", "plain1"] {
        let began = Instant::now();
        let mut terminal = Terminal::open(&alice, &cluster.nodes[0], host, &me());
        let opened = terminal.said[0]["opened"].clone();
        println!("{host}: open after {:?}: {opened}", began.elapsed());
        assert_eq!(
            (&opened["host"], &opened["login"], &opened["again"]),
            (&json!(host), &json!(me()), &json!(false))
        );
        assert_eq!(opened["node"], "n1");
        let session = terminal.session();
        terminal.send(b"echo typed-$((1+1))\n");
        terminal.expect_output("typed-2", BOUND);
        terminal.send(b"stty size\n");
        terminal.expect_output("24 80", BOUND);
        terminal.say(&json!({"resize": {"cols": 132, "rows": 43}}));
        retry("the new size", BOUND, || {
            terminal.send(b"stty size\n");
            let until = Instant::now() + Duration::from_millis(500);
            while Instant::now() < until {
                terminal.look();
            }
            match terminal.text().contains("43 132") {
                true => Ok(()),
                false => Err(terminal.text()),
            }
        });
        assert!(terminal.ping(BOUND) < Duration::from_secs(5));
        let mut echoes: Vec<_> = (0..60).map(|_| echo(&mut terminal)).collect();
        echoes.sort();
        println!(
            "{host}: a key is on the screen after {:?} (median), {:?} (worst)",
            echoes[30], echoes[59]
        );
        terminal.send(b"\n");
        terminal.send(b"exit 3\n");
        let closed = terminal.expect("closed", BOUND);
        assert_eq!(closed["status"], 3, "{closed}");
        assert_eq!(closed["reason"], "", "{closed}");
        let row = recorded(&alice, &session);
        assert_eq!((&row["user"], &row["host"]), (&json!("alice"), &json!(host)));
        let played = alice.pal(&["play", "--no-wait", &session]).ok();
        assert!(played.contains("typed-2"), "{played}");
        let starts = cluster.events(0, "session.start");
        let start = starts.iter().find(|event| says(event, &[&session]));
        let start = start.unwrap_or_else(|| panic!("{starts:?}"));
        // Where the person is, to the port.
        assert!(says(start, &["alice", host, r#""127.0.0.1:"#]), "{start}");
        assert!(!says(start, &[r#""127.0.0.1:0""#]), "{start}");
    }
    assert!(
        cluster.events(0, "cert.issue").len() >= 3,
        "each terminal has a certificate, and each certificate its event"
    );
}

/// Goal: whoever may not is told why, and the log says so too.
#[test]
fn a_login_that_is_not_allowed_is_refused_with_the_reason() {
    let cluster = Cluster::start(1);
    let _web1 = Agent::start(&cluster, "web1", "");
    let _plain = Sshd::start(&cluster, "plain1");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    for host in ["web1", "plain1"] {
        let open = json!({"host": host, "login": "nobody-here", "cols": 80, "rows": 24});
        let mut terminal = Terminal::asks(&alice, &cluster.nodes[0], &open);
        let failed = terminal.expect("failed", BOUND);
        println!("{host}: {failed}");
        assert_eq!(failed["code"], "refused", "{failed}");
        assert!(says(&failed, &["nobody-here"]), "{failed}");
        retry("the refusal to be in the log", BOUND, || {
            let refused = cluster.events(0, "session.refused");
            match refused
                .iter()
                .any(|event| says(event, &["alice", host, "nobody-here"]))
            {
                true => Ok(()),
                false => Err(format!("{refused:?}")),
            }
        });
    }
    let open = json!({"host": "no-such-host", "login": me(), "cols": 80, "rows": 24});
    let mut terminal = Terminal::asks(&alice, &cluster.nodes[0], &open);
    let failed = terminal.expect("failed", BOUND);
    assert!(says(&failed, &["refused", "no access to a host"]), "{failed}");
}

/// Goal: a lock ends a terminal within a second, and says so to whoever sits at it, at either kind of host.
#[test]
fn a_lock_ends_a_terminal_with_its_reason() {
    let cluster = Cluster::start(1);
    cluster.without_second_factor();
    let _web1 = Agent::start(&cluster, "web1", "");
    let _plain = Sshd::start(&cluster, "plain1");
    let alice = cluster.person_by_password("alice", "access");
    alice.login_by_password(&cluster.nodes[0].web_addr()).ok();
    let mut open: Vec<_> = ["web1", "plain1"]
        .iter()
        .map(|host| {
            let mut terminal = Terminal::open(&alice, &cluster.nodes[0], host, &me());
            ready(&mut terminal);
            (host, terminal)
        })
        .collect();
    cluster
        .create("kind: lock\nmetadata: {name: out}\nspec: {target: {user: alice}, message: you are out}\n");
    let locked = Instant::now();
    for (host, terminal) in &mut open {
        let closed = terminal.expect("closed", BOUND);
        println!("{host}: closed {:?} after the lock: {closed}", locked.elapsed());
        assert!(says(&closed, &["you are out"]), "{closed}");
        assert!(
            locked.elapsed() < Duration::from_secs(5),
            "{:?}",
            locked.elapsed()
        );
    }
    let open = json!({"host": "web1", "login": me(), "cols": 80, "rows": 24});
    let failed = Terminal::asks(&alice, &cluster.nodes[0], &open).expect("failed", BOUND);
    assert!(says(&failed, &["locked", "you are out"]), "{failed}");
}

/// Goal: a terminal that is silent for longer than the role allows ends, and one that was left by its page is over at the
/// host after the grace, or at once where the page said so.
#[test]
fn silence_and_closing_end_a_session() {
    let cluster = Cluster::start(1);
    cluster.without_second_factor();
    cluster.create(
        "kind: role\nversion: v1\nmetadata: {name: brisk}\nspec: {options: {client_idle_timeout: 3s}}\n",
    );
    let _web1 = Agent::start(&cluster, "web1", "");
    let alice = cluster.person_by_password("alice", "access,auditor,brisk");
    alice.login_by_password(&cluster.nodes[0].web_addr()).ok();
    let mut idle = Terminal::open(&alice, &cluster.nodes[0], "web1", &me());
    let closed = idle.expect("closed", BOUND);
    assert!(says(&closed, &["nothing happened for 3s"]), "{closed}");

    let mut closing = Terminal::open(&alice, &cluster.nodes[0], "web1", &me());
    let session = closing.session();
    closing.say(&json!({"close": {}}));
    closing.expect("closed", BOUND);
    let closed = Instant::now();
    recorded(&alice, &session);
    println!("over {:?} after it was closed", closed.elapsed());
    assert!(
        closed.elapsed() < Duration::from_secs(20),
        "{:?}",
        closed.elapsed()
    );
}

/// Goal: a terminal outlives the node that serves it. Method: the shell sets a variable; its node is killed; the page takes
/// the session up at another node, sees its screen, and the variable is set; then a page that merely lost its socket does
/// the same at the same node; somebody else cannot.
#[test]
fn a_shell_is_taken_up_again_through_another_node() {
    let cluster = Cluster::start(3);
    cluster.without_second_factor();
    cluster.create(
        "kind: role\nversion: v1\nmetadata: {name: looks}\nspec: {allow: {join_sessions: [{roles: [access], modes: [observer]}]}}\n",
    );
    let web1 = Agent::start(&cluster, "web1", "");
    let alice = cluster.person_by_password("alice", "access,auditor");
    let bob = cluster.person_by_password("bob", "looks");
    let carol = cluster.person_by_password("carol", "access");
    for person in [&alice, &bob, &carol] {
        person.login_by_password(&cluster.nodes[0].web_addr()).ok();
    }
    let mut terminal = Terminal::open(&alice, &cluster.nodes[0], "web1", &me());
    ready(&mut terminal);
    terminal.send(b"marker=kept; echo on-the-$((0+1))-screen\n");
    terminal.expect_output("on-the-1-screen", BOUND);
    let session = terminal.session();
    let again = json!({"session": session, "cols": 100, "rows": 30});

    cluster.kill9(0);
    let killed = Instant::now();
    web1.wait_known_at(&cluster, 1);
    let (mut taken, opened) = retry("the session to be taken up", BOUND, || {
        let mut taken = Terminal::asks(&alice, &cluster.nodes[1], &again);
        let opened = taken.wait("an answer", BOUND, |taken| taken.said.first().cloned());
        match opened["opened"].is_object() {
            true => Ok((taken, opened["opened"].clone())),
            false => Err(opened.to_string()),
        }
    });
    println!("taken up again {:?} after the kill: {opened}", killed.elapsed());
    assert_eq!(
        (
            &opened["again"],
            &opened["session"],
            &opened["host"],
            &opened["node"]
        ),
        (&json!(true), &json!(session), &json!("web1"), &json!("n2"))
    );
    taken.expect_output("on-the-1-screen", BOUND);
    taken.send(b"echo $marker-$((20+3)); stty size\n");
    taken.expect_output("kept-23", BOUND);
    taken.expect_output("30 100", BOUND);

    // Another user gets nothing of it, neither as an owner nor uninvited; one whose role says so looks on.
    let failed = Terminal::asks(&carol, &cluster.nodes[1], &again).expect("failed", BOUND);
    assert!(says(&failed, &["session_unknown"]), "{failed}");
    let mut joins = again.clone();
    joins["mode"] = json!("observer");
    let failed = Terminal::asks(&carol, &cluster.nodes[1], &joins).expect("failed", BOUND);
    assert!(says(&failed, &["refused", "no live session"]), "{failed}");
    let mut looking = Terminal::asks(&bob, &cluster.nodes[2], &joins);
    looking.expect_opened();
    looking.expect_output("you are observer", BOUND);
    looking.expect_output("kept-23", BOUND);
    looking.send(b"echo never\n");
    taken.send(b"echo seen-$((7*6))\n");
    looking.expect_output("seen-42", BOUND);
    assert!(!taken.text().contains("never"), "{}", taken.text());

    // A page that lost its socket, and one that takes the session from another page of its user.
    drop(taken);
    let mut back = Terminal::asks(&alice, &cluster.nodes[1], &again);
    back.expect_opened();
    back.send(b"echo $marker-$((30+3))\n");
    back.expect_output("kept-33", BOUND);
    let mut other = Terminal::asks(&alice, &cluster.nodes[2], &again);
    other.expect_opened();
    let closed = back.expect("closed", BOUND);
    assert!(says(&closed, &["goes on elsewhere"]), "{closed}");

    // A node that stops in order says so by closing the socket, and nothing is lost either.
    cluster.spawn(0);
    cluster.wait_voters(3);
    cluster.stop(2);
    let went = retry("the socket to be closed", BOUND, || {
        other.look();
        match other.is_over {
            true => Ok(other.said.clone()),
            false => Err(format!("{:?}", other.said)),
        }
    });
    assert!(!went.iter().any(|frame| frame["closed"].is_object()), "{went:?}");
    web1.wait_known_at(&cluster, 0);
    let mut other = Terminal::asks(&alice, &cluster.nodes[0], &again);
    other.expect_opened();
    other.send(b"echo $marker-$((40+3)); exit 5\n");
    other.expect_output("kept-43", BOUND);
    assert_eq!(other.expect("closed", BOUND)["status"], 5);

    // One session, one recording, whole.
    let row = recorded(&alice, &session);
    assert_eq!(row["user"], "alice");
    let played = alice.pal(&["play", "--no-wait", &session]).ok();
    for text in ["on-the-1-screen", "kept-23", "kept-33", "kept-43"] {
        assert!(played.contains(text), "{text} is not in {played}");
    }
    let failed = Terminal::asks(&alice, &cluster.nodes[1], &again).expect("failed", BOUND);
    assert!(says(&failed, &["session_over", "over"]), "{failed}");
}

/// Goal: much output through a page that is slow costs the node nothing, and every byte arrives. Method: 20 MB at each kind
/// of host; the page acks nothing for a while, then slowly all; the node's memory is looked at while nothing moves.
#[test]
fn a_slow_page_costs_no_memory() {
    const BYTES: usize = 20_000_000;
    let cluster = Cluster::start(1);
    cluster.without_second_factor();
    let _web1 = Agent::start(&cluster, "web1", "");
    let _plain = Sshd::start(&cluster, "plain1");
    let alice = cluster.person_by_password("alice", "access");
    alice.login_by_password(&cluster.nodes[0].web_addr()).ok();
    let resident = || {
        let pid = cluster.nodes[0].pid().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
    };
    for host in ["web1", "plain1"] {
        let mut slow = Terminal::open(&alice, &cluster.nodes[0], host, &me());
        ready(&mut slow);
        let mut other = Terminal::open(&alice, &cluster.nodes[0], host, &me());
        ready(&mut other);
        let before = resident();
        slow.output.clear();
        slow.acks = false;
        let command =
            format!("stty -opost; head -c {BYTES} /dev/zero | tr '\\0' x; echo; echo the-$((1+1))-end\n");
        slow.send(command.as_bytes());
        slow.wait("all that is sent without an ack", BOUND, |slow| {
            (slow.unacked == 512 << 10).then_some(())
        });
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            slow.look();
        }
        assert_eq!(slow.unacked, 512 << 10, "not a byte more");
        let grown = resident().saturating_sub(before);
        println!("{host}: a stalled page costs the node {} KiB", grown >> 10);
        assert!(grown < 24 << 20, "{grown} bytes");
        // Others go on meanwhile.
        other.send(b"echo other-$((5+5))\n");
        other.expect_output("other-10", BOUND);
        slow.ping(BOUND);
        let began = Instant::now();
        while !slow.lately_showed("the-2-end") {
            assert!(
                began.elapsed() < Duration::from_secs(300) && !slow.is_over,
                "{} bytes, {} of them unacked: {:?}",
                slow.output.len(),
                slow.unacked,
                slow.said
            );
            if slow.unacked >= 64 << 10 {
                slow.ack(64 << 10);
            }
            slow.look();
        }
        println!("{host}: {} bytes in {:?}", slow.output.len(), began.elapsed());
        let shown = slow.output.iter().filter(|byte| **byte == b'x').count();
        assert_eq!(shown, BYTES);
        let grown = resident().saturating_sub(before);
        println!("{host}: and after it {} KiB", grown >> 10);
        assert!(grown < 48 << 20, "{grown} bytes");
    }
}

/// Goal: files go to a host and come back the same, with their events; and where the role says no, neither way.
#[test]
fn files_go_up_and_down_and_only_where_they_may() {
    let cluster = Cluster::start(1);
    cluster.without_second_factor();
    cluster.create(
        "kind: role\nversion: v1\nmetadata: {name: no-copies}\nspec: {options: {file_copy: false}}\n",
    );
    let _web1 = Agent::start(&cluster, "web1", "");
    let _plain = Sshd::start(&cluster, "plain1");
    let alice = cluster.person_by_password("alice", "access");
    let bob = cluster.person_by_password("bob", "access,no-copies");
    for person in [&alice, &bob] {
        person.login_by_password(&cluster.nodes[0].web_addr()).ok();
    }
    let node = &cluster.nodes[0];
    let here = cluster.folder("files");
    let content: Vec<u8> = (0..5_000_000u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let from = here.join("from");
    std::fs::write(&from, &content).expect("the folder is ours");
    let login = me();
    for host in ["web1", "plain1"] {
        let path = here.join(format!("on {host}")).display().to_string();
        let query = [login.as_str(), path.as_str()];
        let began = Instant::now();
        let sent = upload(&alice, node, host, query, &from).ok();
        println!("{host}: 5 MB up in {:?}", began.elapsed());
        assert!(sent.ends_with("204"), "{sent}");
        assert!(
            std::fs::read(&path).expect("it is there") == content,
            "it is another file"
        );
        let to = here.join("to");
        let began = Instant::now();
        let got = download(&alice, node, host, query, &to).ok();
        println!("{host}: 5 MB down in {:?}", began.elapsed());
        assert!(got.ends_with("200"), "{got}");
        assert!(
            std::fs::read(&to).expect("it is there") == content,
            "it is another file"
        );

        let nothing = here.join("nothing").display().to_string();
        let said = |query: [&str; 2]| {
            let got = download(&alice, node, host, query, &to).ok();
            let answer = std::fs::read_to_string(&to).unwrap_or_default();
            format!("{answer}{got}")
        };
        let missing = said([&login, &nothing]);
        assert!(
            missing.contains("not_found") && missing.ends_with("404"),
            "{missing}"
        );
        let folder = said([&login, "/tmp"]);
        assert!(
            folder.contains("is a folder") && folder.ends_with("409"),
            "{folder}"
        );
        let made_up = said([&login, "/proc/self/stat"]);
        assert!(made_up.ends_with("200") && made_up.len() > 30, "{made_up}");
        let other = said(["nobody-here", "/etc/hostname"]);
        assert!(other.contains("refused") && other.ends_with("403"), "{other}");

        // Whoever may not copy files: neither way, and it is written down.
        let mark = here.join(format!("never on {host}"));
        let never = mark.display().to_string();
        let up = upload(&bob, node, host, [&login, &never], &from).ok();
        assert!(up.contains("refused") && up.ends_with("403"), "{up}");
        assert!(!mark.exists(), "it was written");
        let down = download(&bob, node, host, query, &to).ok();
        let answer = std::fs::read_to_string(&to).unwrap_or_default();
        assert!(
            answer.contains("refused") && down.ends_with("403"),
            "{down}{answer}"
        );
        println!("{host}: {up}");
        retry("what happened to be in the log", BOUND, || {
            let refused = cluster.events(0, "session.channel.refused");
            let files = cluster.events(0, "session.file");
            let name = format!("on {host}");
            let action = |word: &str| {
                files
                    .iter()
                    .any(|event| says(event, &["alice", &name, word, "sha256"]))
            };
            let refused = refused
                .iter()
                .filter(|event| says(event, &["bob", host, "sftp"]))
                .count();
            match action("write") && action("read") && refused >= 2 {
                true => Ok(()),
                false => Err(format!("{refused} refusals; {files:?}")),
            }
        });
    }
    // The disk of the host is full, which only a file system of its own can show.
    if std::path::Path::new("/dev/full").exists() {
        let full = upload(&alice, node, "plain1", [&login, "/dev/full"], &from).ok();
        assert!(full.ends_with("409"), "{full}");
    }
}
