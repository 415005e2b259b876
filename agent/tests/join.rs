//! Others in a session: what they see, what their keys do, and sessions that need them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_agent::Mode;
use palisade_core::event::EventKind;
use palisade_core::record::JoinMode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::tty::Tty;
use support::{EVERYTHING, Joiner, WITHIN, World, ended, me, said, until};

/// Those in the only room, by name and what they are.
fn here(world: &World) -> Vec<(String, &'static str)> {
    let rows = world.server.live();
    let people = rows.iter().flat_map(|row| &row.participants);
    people
        .map(|one| (one.user.to_string(), one.mode.as_str()))
        .collect()
}

fn owner_alone(world: &World) -> Option<()> {
    (here(world) == [("alice".to_owned(), "owner")]).then_some(())
}

/// A role whose holders' sessions need a moderator.
fn moderated(on_leave: &str) -> String {
    EVERYTHING.replace(
        "allow: {",
        &format!("allow: {{require_session_join: [{{modes: [moderator], on_leave: {on_leave}}}], "),
    )
}

/// The process ids of a session's programs.
fn programs(session: &str) -> usize {
    let wanted = format!("PALISADE_SESSION={session}");
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment
            .split(|b| *b == 0)
            .any(|variable| variable == wanted.as_bytes())
    })
    .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_sees_the_screen_and_types_nothing_and_leaving_keeps_the_session() {
    let world = World::new().await;
    let (mut alice, id) = Tty::started(&world).await;
    let Joiner { tty: mut bob, .. } = world.join("bob", &id, JoinMode::Observer).await;
    bob.shows("session of alice").await;
    bob.shows("alice (owner)").await;
    bob.shows("you are observer").await;
    // What was on the screen before they came.
    bob.shows("up-and-running").await;
    alice.shows("bob joined as observer").await;
    assert_eq!(
        here(&world),
        [("alice".to_owned(), "owner"), ("bob".to_owned(), "observer")]
    );
    bob.keys("echo from-''bob\n").await;
    // Not theirs to end, either.
    bob.keys("t").await;
    alice.keys("echo seen-''by-both\n").await;
    bob.shows("seen-by-both").await;
    alice.shows("seen-by-both").await;
    bob.keys("\x03").await;
    assert_eq!(bob.ends().await.0, Some(0));
    alice.shows("bob has left").await;
    until("the owner is alone", || owner_alone(&world)).await;
    alice.keys("echo still-''here; exit 4\n").await;
    let (status, seen) = alice.ends().await;
    assert_eq!(status, Some(4), "{seen}");
    assert!(
        seen.contains("still-here") && !seen.contains("from-bob"),
        "{seen}"
    );
    let session = until("the end is written", || world.uplink.ended()).await;
    let tape = session.tape();
    for note in ["bob joined as observer", "bob left"] {
        assert!(tape.notes.iter().any(|said| said == note), "{:?}", tape.notes);
    }
    for kind in [EventKind::SessionJoin, EventKind::SessionLeave] {
        let events = world.uplink.of(kind);
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(
            (events[0].user.as_str(), events[0].session.as_str()),
            ("bob", id.as_str())
        );
        assert_eq!(events[0].data["mode"], "observer");
        assert_eq!(events[0].data["owner"], "alice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_types_as_well_and_the_size_stays_the_owners() {
    let world = World::new().await;
    let (mut alice, id) = Tty::started(&world).await;
    alice.keys("stty size; echo si''zed\n").await;
    alice.shows("sized").await;
    let Joiner { tty: mut bob, .. } = world.join("bob", &id, JoinMode::Peer).await;
    bob.shows("you are peer").await;
    bob.keys("echo peer-''typed $x\n").await;
    alice.shows("peer-typed kept").await;
    bob.keys("\n~.").await;
    alice.shows("bob has left").await;
    alice.keys("exit\n").await;
    assert_eq!(alice.ends().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moderator_ends_the_session_by_one_key_alone() {
    let world = World::new().await;
    let (mut alice, id) = Tty::started(&world).await;
    let Joiner { tty: mut bob, .. } = world.join("bob", &id, JoinMode::Moderator).await;
    bob.shows("t ends the session").await;
    // Text, and what a terminal answers by itself, is no such key.
    bob.keys("text\x1b[?1;2t").await;
    alice.keys("echo goes-''on\n").await;
    bob.shows("goes-on").await;
    bob.keys("t").await;
    let (status, told) = alice.ends().await;
    assert_ne!(status, Some(0));
    assert!(told.contains("bob, a moderator, ended the session"), "{told}");
    let (_, told) = bob.ends().await;
    assert!(told.contains("ended the session"), "{told}");
    until("the end is written", || world.uplink.ended()).await;
    let events = world.uplink.of(EventKind::SessionTerminated);
    assert!(events[0].message.contains("bob"), "{events:?}");
    let left = until("the leave is written", || {
        world.uplink.of(EventKind::SessionLeave).pop()
    })
    .await;
    assert_eq!(left.message, "the session ended");
    assert!(world.server.live().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moderated_session_waits_pauses_and_goes_on() {
    let world = World::with_role(&moderated("pause")).await;
    let mut alice = Tty::open(&world, &[]);
    alice.shows("1 moderator is needed").await;
    let id = world.server.live()[0].session.session.clone();
    alice.shows(&format!("pal join {id}")).await;
    alice.keys("echo typed-''too-early\n").await;
    // Somebody else is not enough, and the session's own owner is not somebody else.
    let Joiner { tty: mut carol, .. } = world.join("carol", &id, JoinMode::Observer).await;
    carol.shows("you are observer").await;
    alice.shows("carol joined as observer").await;
    assert_eq!(programs(&id), 0, "nothing runs before a moderator is there");
    let Joiner {
        tty: mut bob, linked, ..
    } = world.join("bob", &id, JoinMode::Moderator).await;
    alice.shows("the session begins").await;
    alice.keys("stty -echo; PS1=; echo run-''now\n").await;
    bob.shows("run-now").await;
    assert!(programs(&id) > 0);

    // Cut off and back, without having left.
    linked.send_replace(false);
    alice.shows("the session is paused").await;
    carol.shows("the session is paused").await;
    linked.send_replace(true);
    alice.shows("the session goes on").await;

    alice.seen.clear();
    bob.keys("\x03").await;
    assert_eq!(bob.ends().await.0, Some(0));
    alice.shows("the session is paused").await;
    alice.keys("echo typed-''while-paused\n").await;
    let Joiner { tty: mut dave, .. } = world.join("dave", &id, JoinMode::Moderator).await;
    alice.shows("the session goes on").await;
    alice.keys("echo run-''again; exit 5\n").await;
    dave.shows("run-again").await;
    let (status, seen) = alice.ends().await;
    assert_eq!(status, Some(5));
    assert!(
        !seen.contains("typed-too-early") && !seen.contains("typed-while-paused"),
        "{seen}"
    );
    let session = until("the end is written", || world.uplink.ended()).await;
    let tape = session.tape();
    assert!(tape.finished && said(&tape.output).contains("run-again"));
    assert!(
        tape.notes.iter().any(|note| note.contains("paused")),
        "{:?}",
        tape.notes
    );
    assert_eq!(world.uplink.of(EventKind::SessionStart).len(), 1);
}

/// Goal: nobody's screen ends before the session's last words. Method: many sessions that say something and end at once. On a busy
/// machine the end overtook what was still on its way to those who had joined.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_joined_sees_a_session_to_its_last_word() {
    let world = World::new().await;
    for n in 0..25 {
        let (mut alice, id) = Tty::started(&world).await;
        let Joiner { tty: mut bob, .. } = world.join("bob", &id, JoinMode::Observer).await;
        alice.shows("bob joined as observer").await;
        alice
            .keys(&format!("seq 100; echo the-last-''word-{n}; exit\n"))
            .await;
        bob.shows(&format!("the-last-word-{n}")).await;
        assert_eq!(bob.ends().await.0, Some(0));
        assert_eq!(alice.ends().await.0, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_moderator_leaves_ends_where_the_role_says_so() {
    let world = World::with_role(&moderated("terminate")).await;
    let mut alice = Tty::open(&world, &[]);
    alice.shows("1 moderator is needed").await;
    let id = world.server.live()[0].session.session.clone();
    // Twice the same person: the first to leave is not missed.
    let Joiner { tty: mut first, .. } = world.join("bob", &id, JoinMode::Moderator).await;
    first.shows("you are moderator").await;
    let Joiner { tty: mut second, .. } = world.join("bob", &id, JoinMode::Moderator).await;
    second.shows("you are moderator").await;
    alice.keys("stty -echo; PS1=; echo run-''now\n").await;
    alice.shows("run-now").await;
    first.keys("\x03").await;
    assert_eq!(first.ends().await.0, Some(0));
    alice.keys("echo still-''here\n").await;
    alice.shows("still-here").await;
    let left = Instant::now();
    second.keys("\x03").await;
    let (status, told) = alice.ends().await;
    println!("ended {:?} after the moderator left", left.elapsed());
    assert!(left.elapsed() < Duration::from_secs(5));
    assert_ne!(status, Some(0));
    assert!(told.contains("ended because others left"), "{told}");
    until("nothing of it runs", || (programs(&id) == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_may_give_up_waiting_and_nothing_else_is_left_to_them() {
    let world = World::with_role(&moderated("terminate")).await;
    let mut alice = Tty::open(&world, &[]);
    alice.shows("Ctrl-C gives up").await;
    let id = world.server.live()[0].session.session.clone();
    alice.keys("\x03").await;
    let (status, told) = alice.ends().await;
    assert_ne!(status, Some(0));
    assert!(told.contains("gave up waiting"), "{told}");
    until("the end is written", || world.uplink.ended()).await;
    assert_eq!(programs(&id), 0);
    let socket = world.path("r.sock");
    let forward = format!("{}:127.0.0.1:1", socket.display());
    for args in [
        &["web1", "true"][..],
        &["-tt", "web1", "true"],
        &["-T", "web1"],
        &["-s", "web1", "sftp"],
        &["-o", "ExitOnForwardFailure=yes", "-N", "-R", &forward, "web1"],
    ] {
        let out = ended(world.ssh(args)).await;
        let told = said(&out.stderr) + &said(&out.stdout);
        assert_eq!(out.status.code(), Some(255), "{args:?}: {told}");
        // A refused listener has no text of its own in the protocol.
        assert!(
            told.contains("1 moderator") || args.contains(&"-R"),
            "{args:?}: {told}"
        );
    }
    let refused = world.uplink.of(EventKind::ChannelRefused);
    assert!(refused.len() >= 5, "{refused:?}");
    assert!(
        refused.iter().all(|event| event.message.contains("1 moderator")),
        "{refused:?}"
    );
    assert_eq!(
        world.uplink.of(EventKind::SessionStart).len(),
        1,
        "only the one that waited"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_who_takes_nothing_slows_nobody() {
    let world = World::new().await;
    let (mut alice, id) = Tty::started(&world).await;
    let Joiner { tty: mut bob, .. } = world.join("bob", &id, JoinMode::Observer).await;
    bob.shows("you are observer").await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(bob.child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    // Far more than any buffer between the program and them.
    alice
        .keys("head -c 40000000 /dev/zero | base64 -w 76; echo do''ne\n")
        .await;
    let mut tail = String::new();
    let mut piece = vec![0; 1 << 16];
    let read = async {
        while !tail.contains("done") {
            let n = tokio::io::AsyncReadExt::read(&mut alice.screen, &mut piece)
                .await
                .unwrap();
            assert!(n > 0);
            tail = said(&piece[n.saturating_sub(100)..n]);
        }
    };
    tokio::time::timeout(WITHIN, read)
        .await
        .expect("the owner is not held up");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    // They hear of the next thing that happens, and that they missed some.
    let mut more = tokio::time::interval(Duration::from_millis(200));
    let told = async {
        loop {
            tokio::select! {
                () = bob.shows("some output was left out") => break,
                _ = more.tick() => alice.keys("echo more\n").await,
            }
        }
    };
    tokio::time::timeout(WITHIN, told).await.expect("they are told");
    alice.keys("exit\n").await;
    assert_eq!(alice.ends().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_stay_is_out_at_once_and_the_owner_stays() {
    let world = World::new().await;
    let (mut alice, id) = Tty::started(&world).await;
    let Joiner {
        tty: mut bob,
        connection,
        ..
    } = world.join("bob", &id, JoinMode::Peer).await;
    bob.shows("you are peer").await;
    let taken = Instant::now();
    world
        .server
        .revise(&connection, &Err("your right to be here is gone".to_owned()));
    until("they are out", || owner_alone(&world)).await;
    println!("out {:?} after the decision", taken.elapsed());
    assert!(taken.elapsed() < Duration::from_secs(5));
    let (status, told) = bob.ends().await;
    assert_ne!(status, Some(0));
    assert!(told.contains("your right to be here is gone"), "{told}");
    let left = until("the leave is written", || {
        world.uplink.of(EventKind::SessionLeave).pop()
    })
    .await;
    assert_eq!(left.message, "your right to be here is gone");
    alice.keys("echo still-''here; exit\n").await;
    alice.shows("still-here").await;
    assert_eq!(alice.ends().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_joins_unseen_and_a_leave_that_no_node_takes_waits() {
    let world = World::new().await;
    let (mut alice, id) = Tty::started(&world).await;
    let Joiner { tty: mut bob, .. } = world.join("bob", &id, JoinMode::Observer).await;
    bob.shows("you are observer").await;
    world.uplink.away.store(true, Ordering::SeqCst);
    let Joiner { tty: carol, .. } = world.join("carol", &id, JoinMode::Observer).await;
    let (status, told) = carol.ends().await;
    assert_eq!(status, Some(255));
    assert!(
        told.contains("cannot be reached") && !told.contains("up-and-running"),
        "{told}"
    );
    bob.keys("\x03").await;
    assert_eq!(bob.ends().await.0, Some(0));
    until("the owner is alone", || owner_alone(&world)).await;
    world.uplink.away.store(false, Ordering::SeqCst);
    let left = until("the leave is written", || {
        world.uplink.of(EventKind::SessionLeave).pop()
    })
    .await;
    assert_eq!((left.user.as_str(), left.session.as_str()), ("bob", id.as_str()));
    // What follows is the owner's again.
    alice.keys("exit\n").await;
    assert_eq!(alice.ends().await.0, Some(0));
    let session = until("the end is written", || world.uplink.ended()).await;
    assert!(session.tape().finished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_live_terminal_is_joined_and_only_as_who_joins() {
    let world = World::new().await;
    let mut command = world.ssh(&["web1", "echo up; cat"]);
    command.stdin(std::process::Stdio::piped());
    let _exec = Tty::run(command);
    let id = until("it runs", || {
        world.server.live().first().map(|row| row.session.session.clone())
    })
    .await;
    let wrong = "00000000-0000-4000-8000-000000000000";
    for (id, why) in [(id.as_str(), "with a terminal"), (wrong, "the session is over")] {
        let Joiner { tty: bob, .. } = world.join("bob", id, JoinMode::Observer).await;
        let (status, told) = bob.ends().await;
        assert_eq!(status, Some(255));
        assert!(told.contains(why), "{told}");
    }
    // A connection that was not let in to join does not become one by the name of its user.
    let out = ended(world.ssh(&["-l", "join@palisade", "web1"])).await;
    assert!(
        said(&out.stderr).contains("no session was named"),
        "{}",
        said(&out.stderr)
    );
    assert!(world.uplink.of(EventKind::SessionJoin).is_empty());
    let rows = world.server.live();
    assert!(rows[0].participants.iter().all(|one| one.mode == Mode::Owner));
    assert_eq!(rows[0].session.user, "alice");
    assert_eq!(rows[0].session.login, me());
}
