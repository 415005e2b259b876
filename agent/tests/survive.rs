//! Sessions that outlive their connection, and recordings that outlive their nodes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_agent::{Mode, ServerConfig};
use palisade_core::event::EventKind;
use palisade_core::record::Completeness;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::tty::Tty;
use support::{EVERYTHING, WITHIN, World, ended, me, said, until};
use tokio::io::AsyncReadExt;

fn alone(world: &World) -> Option<()> {
    let rows = world.server.live();
    (rows.len() == 1 && rows[0].participants.is_empty()).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_comes_back_to_a_session_whose_client_was_killed() {
    let world = World::new().await;
    let (mut tty, id) = Tty::started(&world).await;
    tty.keys("(sleep 1; echo said''-meanwhile) & echo under''-way\n")
        .await;
    tty.shows("under-way").await;
    tty.child.kill().await.unwrap();
    until("the owner is missed", || alone(&world)).await;
    let set = format!("SetEnv=PALISADE_SESSION={id}");
    let mut again = Tty::open(&world, &["-o", &set]);
    again.shows("up-and-running").await;
    again.shows("said-meanwhile").await;
    again.keys("echo $x''-$PALISADE_SESSION; exit 4\n").await;
    again.shows(&format!("kept-{id}")).await;
    let status = tokio::time::timeout(WITHIN, again.child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(4));
    let session = until("the end is written", || world.uplink.ended()).await;
    assert_eq!(session.completeness(), Completeness::Complete);
    assert_eq!(world.uplink.of(EventKind::SessionStart).len(), 1, "one session");
    assert!(session.tape().notes.iter().any(|note| note.contains("came back")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_back_takes_the_seat_from_a_connection_that_still_seems_to_live() {
    let world = World::new().await;
    let (mut old, id) = Tty::started(&world).await;
    let set = format!("SetEnv=PALISADE_SESSION={id}");
    let mut new = Tty::open(&world, &["-o", &set]);
    new.shows("up-and-running").await;
    let status = tokio::time::timeout(WITHIN, old.child.wait())
        .await
        .expect("the old client ends")
        .unwrap();
    assert!(!status.success());
    new.keys("echo $x''-here; exit\n").await;
    new.shows("kept-here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_back_to_what_is_not_theirs() {
    let world = World::new().await;
    let (mut tty, id) = Tty::started(&world).await;
    // The same person, but as another account.
    let other = if me() == "root" { "daemon" } else { "root" };
    world.policy.lock().unwrap().logins.push(other.into());
    world.identity("alice", |request| {
        request.principals = palisade_ca::Principals::new([me().as_str(), other]).unwrap();
    });
    let wrong = "00000000-0000-4000-8000-000000000000";
    for (login, id) in [
        (other, id.as_str()),
        (me().as_str(), wrong),
        (me().as_str(), "nonsense\x1b[2J"),
    ] {
        let set = format!("SetEnv=PALISADE_SESSION={id}");
        let out = ended(world.ssh(&["-tt", "-l", login, "-o", &set, "web1"])).await;
        assert!(!out.status.success());
        let text = said(&out.stderr);
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(
            text.contains("you have no session") || text.contains("no login shell"),
            "{text}"
        );
    }
    let row = world.server.live().remove(0);
    assert_eq!(
        (row.participants.len(), row.participants[0].mode),
        (1, Mode::Owner)
    );
    tty.keys("exit\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_nobody_comes_back_to_ends_after_its_grace() {
    let short = |config: &mut ServerConfig| config.grace = Duration::from_secs(2);
    let world = World::with(EVERYTHING, &me(), short).await;
    let (mut tty, _) = Tty::started(&world).await;
    tty.child.kill().await.unwrap();
    until("the owner is missed", || alone(&world)).await;
    let session = until("the end is written", || world.uplink.ended()).await;
    assert!(
        session
            .tape()
            .notes
            .iter()
            .any(|note| note.contains("nobody came back"))
    );
    assert!(world.server.live().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_is_closed_on_purpose_ends_at_once() {
    let world = World::new().await;
    let (mut tty, _) = Tty::started(&world).await;
    // The escape by which ssh says goodbye.
    tty.keys("\n~.").await;
    let session = until("the end is written", || world.uplink.ended()).await;
    assert_eq!(session.completeness(), Completeness::Complete);
    assert!(world.uplink.of(EventKind::SessionTerminated).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_waits_on_disk_while_no_node_answers_and_is_whole_in_the_end() {
    let world = World::new().await;
    let (mut tty, id) = Tty::started(&world).await;
    world.uplink.away.store(true, Ordering::SeqCst);
    tty.keys("for n in $(seq 1 2000); do echo unheard-$n; done; echo do''ne\n")
        .await;
    tty.shows("done").await;
    let file = world.path("spool").join(format!("{id}.spool"));
    until("it waits on disk", || file.exists().then_some(())).await;
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    tty.keys("exit\n").await;
    tokio::time::timeout(WITHIN, tty.child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(world.uplink.ended().is_none());
    world.uplink.away.store(false, Ordering::SeqCst);
    let session = until("the end is written", || world.uplink.ended()).await;
    assert_eq!(session.completeness(), Completeness::Complete);
    let tape = session.tape();
    assert!(tape.finished && said(&tape.output).contains("unheard-2000"));
    until("nothing waits", || (!file.exists()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_left_behind_is_shipped_and_damage_is_named_and_keeps_nobody() {
    let world = World::new().await;
    let mut files = Vec::new();
    for _ in 0..3 {
        let (mut tty, id) = Tty::started(&world).await;
        world.uplink.away.store(true, Ordering::SeqCst);
        tty.keys("for n in $(seq 1 2000); do echo unheard-$n; done; echo do''ne\n")
            .await;
        tty.shows("done").await;
        tty.keys("exit\n").await;
        tty.child.wait().await.unwrap();
        let file = world.path("spool").join(format!("{id}.spool"));
        until("it is over", || world.server.live().is_empty().then_some(())).await;
        until("the end waits", || {
            // Chunks first; the end is the last of what is written.
            let bytes = std::fs::read(&file).ok()?;
            bytes.windows(11).any(|w| w == b"session.end").then_some(())
        })
        .await;
        // Taken away, so that this agent does not ship it.
        let kept = world.path(&format!("{id}.kept"));
        std::fs::rename(&file, &kept).unwrap();
        files.push((id, kept));
        world.uplink.away.store(false, Ordering::SeqCst);
    }
    let spool = world.path("spool2");
    std::fs::create_dir(&spool).unwrap();
    for (n, (id, kept)) in files.iter().enumerate() {
        let mut bytes = std::fs::read(kept).unwrap();
        match n {
            0 => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            // The agent died in the middle of a write.
            1 => bytes.truncate(bytes.len() - 10),
            _ => {}
        }
        std::fs::write(spool.join(format!("{id}.spool")), bytes).unwrap();
    }
    let config = ServerConfig::new(
        palisade_core::name::Name::parse("web1").unwrap(),
        world.cas.host_identity("web1"),
        Vec::new(),
        "/nowhere".into(),
        spool.clone(),
    );
    let _again = palisade_agent::Server::new(config, world.uplink.clone());
    let how = |n: usize| {
        let sessions = world.uplink.sessions.lock().unwrap();
        sessions[&files[n].0]
            .end
            .as_ref()
            .map(|end| end.completeness.clone())
    };
    until("all have an end", || {
        (0..3).all(|n| how(n).is_some()).then_some(())
    })
    .await;
    assert!(matches!(how(0), Some(Completeness::Interrupted(why)) if why.contains("damaged")));
    assert!(matches!(how(1), Some(Completeness::Interrupted(why)) if why.contains("cut off")));
    assert_eq!(how(2), Some(Completeness::Complete));
    let left: Vec<_> = std::fs::read_dir(&spool)
        .unwrap()
        .flatten()
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, [format!("{}.damaged", files[0].0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_is_full_says_what_was_lost() {
    let small = |config: &mut ServerConfig| config.spool_bytes_max = 100;
    let world = World::with(EVERYTHING, &me(), small).await;
    let (mut tty, _) = Tty::started(&world).await;
    until("what came before is there", || {
        let sessions = world.uplink.sessions.lock().unwrap();
        sessions.values().any(|s| !s.chunks.is_empty()).then_some(())
    })
    .await;
    world.uplink.away.store(true, Ordering::SeqCst);
    // More than is kept in memory, in random bytes: they cannot be compressed.
    tty.keys("head -c 12000000 /dev/urandom | base64; echo do''ne\n")
        .await;
    tty.seen.clear();
    let mut piece = vec![0; 1 << 16];
    let mut tail = String::new();
    let read = async {
        while !tail.contains("done") {
            let n = tty.screen.read(&mut piece).await.unwrap();
            assert!(n > 0);
            tail = said(&piece[n.saturating_sub(100)..n]);
        }
    };
    tokio::time::timeout(WITHIN * 2, read)
        .await
        .expect("best effort goes on");
    world.uplink.away.store(false, Ordering::SeqCst);
    tty.keys("exit\n").await;
    let session = until("the end is written", || world.uplink.ended()).await;
    assert!(
        matches!(session.completeness(), Completeness::Interrupted(why) if why.contains("could not be recorded")),
        "{:?}",
        session.completeness()
    );
}
