//! Sessions, recordings, the audit log, and what operators do.

use crate::support::{World, nobody, operator};
use palisade_core::api::{AuditExportLine, AuditPage, LiveSession, LiveSessions, SessionParticipant};
use palisade_core::command::Command;
use palisade_core::event::{Event, EventKind};
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::ports::Consensus;
use palisade_core::record::{Completeness, Record, RecordingMode, RecordingSpec, SessionKind};
use palisade_web::testing::START;
use serde_json::json;
use std::time::Duration;

fn session(n: u32) -> String {
    format!("0c9a4c9e-5c5c-4f6e-9c7a-{n:012x}")
}

fn record(world: &World, n: u32, user: &str) {
    let name = |text: &str| Name::parse(text).expect("a name");
    let spec = RecordingSpec {
        at_agent: false,
        session: SessionId::parse(&session(n)).expect("a UUID"),
        session_kind: SessionKind::Interactive,
        user: name(user),
        login: Login::parse("root").expect("a login"),
        host: name("web1"),
        node: 1,
        client_addr: "192.0.2.7".into(),
        command: String::new(),
        mode: RecordingMode::BestEffort,
        started: START.plus_ms(u64::from(n) * 1000),
        ended: None,
        completeness: Completeness::Live,
        chunks: 0,
        output_bytes: 0,
        last_chunk: String::new(),
        sealed_key: "5ea1ed".into(),
    };
    let command = Command::StartSession {
        recording: Box::new(Record::new(name(&session(n)), spec)),
        events: vec![
            Event::new(EventKind::SessionStart)
                .user(user)
                .host("web1")
                .session(session(n)),
        ],
        max_sessions: None,
    };
    world.cluster.node.apply("node:1", command).done().expect("begun");
}

#[tokio::test]
async fn recordings_are_listed_newest_first_and_their_keys_are_not_shown() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    for n in 0..7 {
        record(&world, n, "alice");
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world
            .call(
                &operator(),
                "GET",
                &format!("/v1/recordings?limit=3&after={after}"),
                None,
            )
            .await;
        assert!(!page.text().contains("5ea1ed"));
        let page = page.json();
        for item in page["items"].as_array().expect("items") {
            seen.push(
                item["recording"]["session"]
                    .as_str()
                    .expect("a session")
                    .to_owned(),
            );
        }
        after = page["next"].as_str().expect("next").to_owned();
        if after.is_empty() {
            break;
        }
    }
    let wanted: Vec<_> = (0..7).rev().map(session).collect();
    assert_eq!(seen, wanted);
    let row = world
        .call(
            &operator(),
            "GET",
            &format!("/v1/recordings/{}", session(3)),
            None,
        )
        .await;
    assert!(row.status.is_success() && !row.text().contains("5ea1ed"));
    let row = world
        .call(
            &operator(),
            "GET",
            &format!("/v1/records/recording/{}", session(3)),
            None,
        )
        .await;
    assert!(
        row.status.is_success() && !row.text().contains("5ea1ed"),
        "{}",
        row.text()
    );
    for after in ["x", "1", "1.x", "-1.0c9a4c9e-5c5c-4f6e-9c7a-000000000001"] {
        world
            .call(&operator(), "GET", &format!("/v1/recordings?after={after}"), None)
            .await
            .refused(400, "invalid");
    }
}

#[tokio::test]
async fn a_condition_limits_recordings_to_ones_own() {
    let world = World::new();
    world.cluster.node.write(
        "kind: role\nmetadata: {name: own}\nspec:\n  allow:\n    logins: [root]\n    rules:\n      \
         - {resources: [recording], verbs: [list, read], where: 'equals(resource.labels[\"user\"], user.name)'}\n---\n\
         kind: user\nmetadata: {name: bob}\nspec: {roles: [own]}\n---\n\
         kind: user\nmetadata: {name: carol}\nspec: {roles: [own]}\n",
    );
    record(&world, 1, "bob");
    record(&world, 2, "carol");
    let page = world
        .call(&world.user("bob"), "GET", "/v1/recordings", None)
        .await
        .json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    assert_eq!(
        world
            .call(
                &world.user("bob"),
                "GET",
                &format!("/v1/recordings/{}/events", session(1)),
                None
            )
            .await
            .status,
        200
    );
    // By the way of records it is the same.
    let page = world
        .call(&world.user("bob"), "GET", "/v1/records/recording", None)
        .await
        .json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    for ending in ["", "/events", "/asciicast"] {
        let path = format!("/v1/recordings/{}{ending}", session(2));
        world
            .call(&world.user("bob"), "GET", &path, None)
            .await
            .refused(403, "refused");
    }
}

/// Lines of a recording, as a port gives them.
const LINES: [&str; 2] = [
    "{\"event\":{\"at_ms\":0,\"wall_ms\":1,\"what\":{\"output\":\"b25l\"}}}\n",
    "{\"end\":{\"complete\":true,\"text\":\"whole\"}}\n",
];

#[tokio::test]
async fn playing_is_audited_before_the_first_byte() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    record(&world, 1, "alice");
    *world.cluster.ports.pieces.lock() = LINES.map(|line| line.as_bytes().to_vec()).to_vec();
    let alice = world.user("alice");
    let answer = world
        .call(
            &alice,
            "GET",
            &format!("/v1/recordings/{}/events", session(1)),
            None,
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, LINES.concat().as_str())
    );
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let played = world.events("session.play").pop().expect("audited");
    assert_eq!((played.user.as_str(), played.session), ("alice", session(1)));
    let cast = world
        .call(
            &alice,
            "GET",
            &format!("/v1/recordings/{}/asciicast", session(1)),
            None,
        )
        .await;
    assert_eq!(cast.status, 200);
    assert_eq!(world.events("session.play").len(), 2);
    // Without the event, not a byte.
    let why = palisade_core::ports::Unavailable::NoQuorum("no leader".into());
    world.cluster.node.break_with(Some(why));
    let answer = world
        .call(
            &alice,
            "GET",
            &format!("/v1/recordings/{}/events", session(1)),
            None,
        )
        .await;
    answer.refused(503, "unavailable");
    world.cluster.node.break_with(None);
    world
        .call(
            &alice,
            "GET",
            &format!("/v1/recordings/{}/events", session(9)),
            None,
        )
        .await
        .refused(404, "not_found");
    world
        .call(&alice, "GET", "/v1/recordings/..%2fx/events", None)
        .await
        .refused(400, "invalid");
}

#[tokio::test]
async fn live_sessions_are_listed_and_ended() {
    let world = World::new();
    world.cluster.ports.live.lock().push(LiveSession {
        session: session(1),
        user: "alice".into(),
        login: "root".into(),
        host: "web1".into(),
        client_addr: String::new(),
        node: 1,
        kind: "interactive".into(),
        started: START,
        participants: Vec::new(),
    });
    let list = world.call(&operator(), "GET", "/v1/sessions", None).await.json();
    assert_eq!(list["items"][0]["session"], session(1));
    let path = format!("/v1/sessions/{}", session(1));
    assert_eq!(world.call(&operator(), "DELETE", &path, None).await.status, 204);
    world
        .call(&operator(), "DELETE", &path, None)
        .await
        .refused(404, "not_found");
}

/// Who sees which live session: by a rule all, by a right to join those, and nobody else any.
#[tokio::test]
async fn live_sessions_are_shown_to_whoever_may_join_them() {
    let world = World::new();
    world.cluster.node.write(
        "kind: role\nmetadata: {name: dev}\nspec: {allow: {logins: [dev], host_labels: {'*': '*'}}}\n---\n\
         kind: role\nmetadata: {name: ops}\nspec: {allow: {logins: [ops], host_labels: {'*': '*'}}}\n---\n\
         kind: role\nmetadata: {name: looks}\nspec: {allow: {join_sessions: [{roles: [dev], modes: [peer]}]}}\n---\n\
         kind: role\nmetadata: {name: barred}\nspec: {deny: {join_sessions: [{roles: ['d*'], modes: [peer]}]}}\n---\n\
         kind: role\nmetadata: {name: lists}\nspec: {allow: {rules: [{resources: [session], verbs: [list]}]}}\n---\n\
         kind: user\nmetadata: {name: alice}\nspec: {roles: [dev]}\n---\n\
         kind: user\nmetadata: {name: carol}\nspec: {roles: [ops]}\n---\n\
         kind: user\nmetadata: {name: bob}\nspec: {roles: [looks]}\n---\n\
         kind: user\nmetadata: {name: dave}\nspec: {roles: [looks, barred]}\n---\n\
         kind: user\nmetadata: {name: erin}\nspec: {roles: [lists]}\n",
    );
    for (n, user) in [(1, "alice"), (2, "carol"), (3, "nobody-any-more")] {
        world.cluster.ports.live.lock().push(LiveSession {
            session: session(n),
            user: user.into(),
            login: "dev".into(),
            host: "web1".into(),
            client_addr: String::new(),
            node: 1,
            kind: "interactive".into(),
            started: START,
            participants: vec![SessionParticipant {
                user: user.into(),
                mode: "owner".into(),
            }],
        });
    }
    let seen = async |name: &str| -> Vec<String> {
        let list: LiveSessions = world
            .call(&world.user(name), "GET", "/v1/sessions", None)
            .await
            .read();
        list.items.into_iter().map(|one| one.session).collect()
    };
    assert_eq!(seen("bob").await, [session(1)]);
    assert!(seen("dave").await.is_empty());
    assert_eq!(seen("erin").await, [session(1), session(2), session(3)]);
    assert!(world.events("api.refused").is_empty());
    for name in ["alice", "carol"] {
        let answer = world.call(&world.user(name), "GET", "/v1/sessions", None).await;
        answer.refused(403, "refused");
    }
    // To join is not to end.
    let path = format!("/v1/sessions/{}", session(1));
    let answer = world.call(&world.user("bob"), "DELETE", &path, None).await;
    answer.refused(403, "refused");
    assert_eq!(world.events("api.refused").len(), 3);
    world
        .cluster
        .node
        .write("kind: lock\nmetadata: {name: l}\nspec: {target: {host: web1}, message: closed}\n");
    assert!(
        seen("bob").await.is_empty(),
        "what may not be joined now is not shown"
    );
}

#[tokio::test]
async fn the_audit_log_is_searched_with_filters_and_cursors() {
    let world = World::new();
    let node = &world.cluster.node;
    for n in 0..30u32 {
        let user = if n % 3 == 0 { "alice" } else { "bob" };
        let event = Event::new(EventKind::Exec)
            .user(user)
            .host("web1")
            .message(format!("ran number {n}"));
        node.apply("node:1", Command::Audit { events: vec![event] });
        node.pass(Duration::from_secs(1));
    }
    let get = async |query: &str| -> AuditPage {
        world
            .call(&operator(), "GET", &format!("/v1/audit/events?{query}"), None)
            .await
            .read()
    };
    // In the state, on pages and in the state, on pages alone: the answers are the same.
    for recent in [1000, 20, 0] {
        world.cluster.seal_pages(recent, 8);
        let all = get("event=session.exec&limit=1000").await;
        assert_eq!(all.items.len(), 30);
        assert_eq!(all.items[0].code, "PS110I");
        assert!(all.items.is_sorted_by(|a, b| a.seq > b.seq));
        assert_eq!(get("user=alice&event=session.").await.items.len(), 10);
        assert_eq!(get("text=number%2017").await.items.len(), 1);
        assert_eq!(get("host=other").await.items.len(), 0);
        for order in ["", "&oldest_first=true"] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = get(&format!("event=session.exec&limit=7{order}&cursor={cursor}")).await;
                seen.extend(page.items.iter().map(|item| item.seq));
                cursor = page.cursor;
                if cursor.is_empty() {
                    break;
                }
            }
            assert_eq!(seen.len(), 30, "{order}");
            seen.dedup();
            assert_eq!(seen.len(), 30, "{order}");
        }
    }
    let first = get("event=session.exec&limit=7").await.cursor;
    for query in [
        "limit=1001".to_owned(),
        "limit=-1".into(),
        "cursor=AAAA".into(),
        format!("user=alice&cursor={first}"),
        "from=yesterday".into(),
        "unknown=1".into(),
        format!("text={}", "x".repeat(300)),
    ] {
        world
            .call(&operator(), "GET", &format!("/v1/audit/events?{query}"), None)
            .await
            .refused(400, "invalid");
    }
}

#[tokio::test]
async fn the_export_holds_the_bytes_that_the_tree_hashes() {
    let world = World::new();
    for n in 0..1200 {
        let event = Event::new(EventKind::Exec).message(format!("{n}"));
        world
            .cluster
            .node
            .apply("node:1", Command::Audit { events: vec![event] });
    }
    let size = world.cluster.node.events().len();
    world.cluster.seal_pages(100, 256);
    world.cluster.node.apply(
        "node:1",
        Command::SignHead {
            size: 5,
            time: world.now(),
            root: "aa".into(),
            signature: "bb".into(),
        },
    );
    let answer = world.call(&operator(), "GET", "/v1/audit/export", None).await;
    let lines: Vec<AuditExportLine> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect();
    assert!(
        matches!(&lines[0], AuditExportLine::Authority { cluster_id, .. } if *cluster_id == palisade_web::testing::CLUSTER_ID)
    );
    let events = lines
        .iter()
        .filter(|line| matches!(line, AuditExportLine::Event { .. }))
        .count();
    // The event of the signing itself is there as well.
    assert_eq!(events, size + 1);
    assert!(matches!(
        lines.last(),
        Some(AuditExportLine::Head { size: 5, .. })
    ));
    let seqs = |line: &AuditExportLine| match line {
        AuditExportLine::Event { seq, .. } => Some(*seq),
        _ => None,
    };
    let seqs: Vec<u64> = lines.iter().filter_map(seqs).collect();
    assert_eq!(seqs, (0..=size as u64).collect::<Vec<_>>());

    // A lost page is a line of its own, and a search that needs it says so.
    let kv = world.cluster.node.kv();
    let lost = palisade_core::state::pages_from(kv.as_ref(), 256, 1)
        .expect("memory")
        .remove(0);
    world.cluster.ports.pages.lock().remove(&lost.file_sha256);
    let text = world
        .call(&operator(), "GET", "/v1/audit/export", None)
        .await
        .text();
    assert_eq!(text.lines().count(), lines.len() - 255);
    let named = text
        .lines()
        .find(|line| line.contains("\"lost\""))
        .expect("a line");
    assert!(
        named.contains(&lost.file_sha256) && named.contains("256"),
        "{named}"
    );
    let needs = world
        .call(
            &operator(),
            "GET",
            "/v1/audit/events?oldest_first=true&limit=300",
            None,
        )
        .await;
    needs.refused(503, "unavailable");
    assert!(needs.text().contains("page 1"), "{}", needs.text());
    let needs_not = world
        .call(&operator(), "GET", "/v1/audit/events?limit=300", None)
        .await;
    assert_eq!(needs_not.read::<AuditPage>().items.len(), 300);
}

#[tokio::test]
async fn operators_manage_the_cluster() {
    let world = World::new();
    assert_eq!(
        world
            .call(&operator(), "GET", "/v1/cluster/status", None)
            .await
            .json()["cluster"],
        "demo"
    );
    assert_eq!(
        world
            .call(
                &operator(),
                "POST",
                "/v1/cluster/transfer",
                Some(json!({"to": "n2"}))
            )
            .await
            .status,
        204
    );
    assert_eq!(
        world
            .call(&operator(), "DELETE", "/v1/cluster/nodes/n2", None)
            .await
            .status,
        204
    );
    let swap = json!({"old": "n2", "with": "n4"});
    let swapped = world
        .call(&operator(), "POST", "/v1/cluster/replace", Some(swap))
        .await;
    assert_eq!(swapped.status, 204);
    assert_eq!(
        *world.cluster.ports.done.lock(),
        [
            "transfer n2",
            "local:operator removes n2",
            "local:operator has n4 replace n2, healthy false"
        ]
    );
    assert!(
        world
            .call(&operator(), "GET", "/metrics", None)
            .await
            .text()
            .contains("palisade_up 1")
    );
    // Without a quorum the operator at the node still sees it.
    let why = palisade_core::ports::Unavailable::NoQuorum("no leader".into());
    world.cluster.node.break_with(Some(why));
    assert_eq!(
        world
            .call(&operator(), "GET", "/v1/cluster/status", None)
            .await
            .status,
        200
    );
    assert_eq!(world.call(&operator(), "GET", "/metrics", None).await.status, 200);
}

#[tokio::test]
async fn probes_answer_without_a_credential() {
    let world = World::new();
    for path in ["/livez", "/healthz", "/readyz", "/readyz?write"] {
        let answer = world.call(&nobody(), "GET", path, None).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (200, "ok\n".into()),
            "{path}"
        );
    }
    *world.cluster.ports.unready.lock() = Some("the disk is full\nand more".into());
    for path in ["/readyz", "/readyz?write"] {
        let answer = world.call(&nobody(), "GET", path, None).await;
        let told = (answer.status.as_u16(), answer.text());
        assert_eq!(told, (503, "the disk is full and more\n".into()), "{path}");
    }
    assert_eq!(world.call(&nobody(), "GET", "/livez", None).await.status, 200);
    let answer = world.call(&nobody(), "GET", "/readyz?wirte", None).await;
    assert_eq!(answer.status, 400, "a probe that is written wrongly looks green");
}

#[tokio::test]
async fn wrong_join_requests_never_reach_the_cluster() {
    let world = World::new();
    let good = json!({
        "token": "join-x", "secret": "s", "cluster_id": palisade_web::testing::CLUSTER_ID, "name": "n2",
        "peer_addr": "127.0.0.1:1", "web_addr": "127.0.0.1:2", "ssh_addr": "127.0.0.1:3", "incarnation": "1",
        "peer_public_key": "", "wrap_public_key": "", "now": "2026-11-22T12:00:00Z", "version": "0.1.0",
    });
    for (field, value, status) in [
        ("cluster_id", json!(session(1)), 403),
        ("cluster_id", json!("x"), 403),
        ("token", json!("../x"), 403),
        ("secret", json!("x".repeat(200)), 403),
        ("name", json!("a\nb"), 400),
        ("peer_addr", json!("x"), 400),
        ("peer_public_key", json!("x".repeat(5000)), 413),
    ] {
        let mut request = good.clone();
        request[field] = value;
        assert_eq!(
            world
                .call(&nobody(), "POST", "/v1/join", Some(request))
                .await
                .status,
            status,
            "{field}"
        );
    }
    assert!(world.cluster.ports.joins.lock().is_empty());
    world
        .call(&nobody(), "POST", "/v1/join", Some(good))
        .await
        .refused(403, "refused");
    assert_eq!(*world.cluster.ports.joins.lock(), ["n2"]);
}

#[tokio::test]
async fn a_condition_that_denies_holds_on_every_way_to_a_recording() {
    let world = World::new();
    world.cluster.node.write(
        "kind: role\nmetadata: {name: auditor}\nspec:\n  allow:\n    logins: [root]\n    rules:\n      \
         - {resources: [recording], verbs: [list, read]}\n  deny:\n    rules:\n      \
         - {resources: [recording], verbs: [list, read], where: 'equals(resource.labels[\"user\"], \"boss\")'}\n---\n\
         kind: user\nmetadata: {name: audrey}\nspec: {roles: [auditor]}\n---\n\
         kind: user\nmetadata: {name: boss}\nspec: {roles: [admin], traits: {logins: [root]}}\n",
    );
    record(&world, 1, "boss");
    record(&world, 2, "audrey");
    let audrey = world.user("audrey");
    for path in ["/v1/recordings", "/v1/records/recording"] {
        let page = world.call(&audrey, "GET", path, None).await;
        assert!(
            page.text().contains(&session(2)) && !page.text().contains(&session(1)),
            "{}",
            page.text()
        );
    }
    for path in ["/v1/recordings/", "/v1/records/recording/"] {
        let path = format!("{path}{}", session(1));
        world
            .call(&audrey, "GET", &path, None)
            .await
            .refused(403, "refused");
    }
}

#[tokio::test]
async fn the_bundle_is_given_to_whoever_asks_by_the_names_in_it_alone() {
    let world = World::new();
    let answer = world.call(&nobody(), "GET", "/v1/bundle/SHA256SUMS", None).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "one two"));
    for name in [
        "other",
        ".hidden",
        "..%2Fcluster.key",
        "..",
        "a%00b",
        &"x".repeat(200),
    ] {
        let answer = world
            .call(&nobody(), "GET", &format!("/v1/bundle/{name}"), None)
            .await;
        assert_eq!(answer.status.as_u16(), 404, "{name}: {}", answer.text());
    }
}
