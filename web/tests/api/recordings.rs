//! Recordings: narrowed, searched, and shared by links.

use crate::support::{World, nobody, operator};
use palisade_core::command::{Command, Expect};
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::ports::{FoundText, PlayFormat, SearchedPart};
use palisade_core::record::{Completeness, Kind, Record, RecordingMode, RecordingSpec, SessionKind};
use palisade_web::testing::{MEMORY_MASKED, START};
use serde_json::{Value, json};
use std::time::Duration;

fn session(n: u32) -> String {
    format!("0c9a4c9e-5c5c-4f6e-9c7a-{n:012x}")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// An ended recording that began `n` minutes after the start.
fn record(world: &World, n: u32, user: &str, host: &str, login: &str) {
    let spec = RecordingSpec {
        at_agent: false,
        session: SessionId::parse(&session(n)).expect("a UUID"),
        session_kind: SessionKind::Exec,
        user: name(user),
        login: Login::parse(login).expect("a login"),
        host: name(host),
        node: 1,
        client_addr: "192.0.2.7".into(),
        command: format!("mysql -p{MEMORY_MASKED}"),
        mode: RecordingMode::BestEffort,
        started: START.plus_ms(u64::from(n) * 60_000),
        ended: None,
        completeness: Completeness::Live,
        chunks: 0,
        output_bytes: 0,
        last_chunk: String::new(),
        sealed_key: "5ea1ed".into(),
    };
    let start = Command::StartSession {
        recording: Box::new(Record::new(name(&session(n)), spec)),
        events: vec![],
        max_sessions: None,
    };
    world.cluster.node.apply("node:1", start).done().expect("begun");
    let end = Command::EndSession {
        session: SessionId::parse(&session(n)).expect("a UUID"),
        completeness: Completeness::Complete,
        chunks: 1,
        output_bytes: 1,
        last_chunk: String::new(),
        events: vec![],
    };
    world.cluster.node.apply("node:1", end).done().expect("ended");
}

fn world() -> World {
    let world = World::new();
    world.cluster.node.write(
        "kind: role\nmetadata: {name: auditor}\nspec:\n  allow:\n    rules:\n      \
         - {resources: [recording], verbs: [list, read, create]}\n  deny:\n    rules:\n      \
         - {resources: [recording], verbs: [read], where: 'equals(resource.labels[\"user\"], \"boss\")'}\n---\n\
         kind: role\nmetadata: {name: reader}\nspec: {allow: {rules: [{resources: [recording], verbs: [list, read]}]}}\n---\n\
         kind: user\nmetadata: {name: audrey}\nspec: {roles: [auditor]}\n---\n\
         kind: user\nmetadata: {name: rita}\nspec: {roles: [reader]}\n",
    );
    for user in ["alice", "boss"] {
        world.add_user(user, "admin", "root");
    }
    record(&world, 1, "alice", "web1", "root");
    record(&world, 2, "alice", "db1", "deploy");
    record(&world, 3, "boss", "web1", "root");
    record(&world, 4, "alice", "web1", "root");
    world
}

fn listed(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().expect("items");
    let session = |item: &Value| {
        item["recording"]["session"]
            .as_str()
            .expect("a session")
            .to_owned()
    };
    items.iter().map(session).collect()
}

#[tokio::test]
async fn the_list_is_narrowed_by_the_node_and_paged_as_before() {
    let world = world();
    let ask = async |query: &str| {
        let path = format!("/v1/recordings?{query}");
        let answer = world.call(&operator(), "GET", &path, None).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer.json()
    };
    let of = |numbers: &[u32]| -> Vec<String> { numbers.iter().map(|n| session(*n)).collect() };
    let minute = |n: u64| START.plus_ms(n * 60_000).to_string();
    for (query, wanted) in [
        ("user=alice".to_owned(), of(&[4, 2, 1])),
        ("user=alice&host=web1".into(), of(&[4, 1])),
        ("login=deploy".into(), of(&[2])),
        (format!("since={}&until={}", minute(2), minute(4)), of(&[3, 2])),
        ("q=BOSS%20web".into(), of(&[3])),
        ("q=deploy%40db1".into(), of(&[2])),
        (format!("q={}", &session(4)[24..]), of(&[4])),
        ("q=nothing-of-the-kind".into(), of(&[])),
        ("user=nobody".into(), of(&[])),
    ] {
        assert_eq!(listed(&ask(&query).await), wanted, "{query}");
    }
    let first = ask("user=alice&limit=2").await;
    assert_eq!(listed(&first), of(&[4, 2]));
    let next = first["next"].as_str().expect("a cursor");
    let rest = ask(&format!("user=alice&limit=2&after={next}")).await;
    assert_eq!((listed(&rest), rest["next"].as_str()), (of(&[1]), Some("")));
}

#[tokio::test]
async fn bad_filters_and_cursors_are_refused_with_the_name_of_the_field() {
    let world = world();
    let long = "x".repeat(300);
    for (query, field) in [
        ("user=a%20b".to_owned(), "user: "),
        ("host=..".into(), "host: "),
        ("login=a%0Ab".into(), "login: "),
        ("since=yesterday".into(), "since: "),
        ("until=2026-99-99T00:00:00Z".into(), "until: "),
        (
            "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z".into(),
            "until: ",
        ),
        ("after=x".into(), "after: "),
    ] {
        for path in [
            format!("/v1/recordings?{query}"),
            format!("/v1/recordings/search?q=x&{query}"),
        ] {
            let answer = world.call(&operator(), "GET", &path, None).await;
            answer.refused(400, "invalid");
            assert!(answer.text().contains(field), "{path}: {}", answer.text());
        }
    }
    for query in [
        format!("q={long}"),
        "q=%1B%5B2J".into(),
        "limit=1001".into(),
        "other=1".into(),
    ] {
        let path = format!("/v1/recordings?{query}");
        world
            .call(&operator(), "GET", &path, None)
            .await
            .refused(400, "invalid");
    }
    // A search has no empty, overlong or unprintable text, and no cursor but its own.
    let after = format!("1.{}.9999999999999", session(1));
    for query in [
        String::new(),
        "q=".into(),
        format!("q={long}"),
        "q=a%0Ab".into(),
        "q=%C2%9B".into(),
        format!("q=x&after={after}"),
        format!("q=x&after=1.{}.1.1", session(1)),
        "q=x&after=-1".into(),
        "q=x&limit=1".into(),
    ] {
        let path = format!("/v1/recordings/search?{query}");
        world
            .call(&operator(), "GET", &path, None)
            .await
            .refused(400, "invalid");
    }
    assert!(world.events("recording.search").is_empty());
    assert!(world.cluster.ports.searched.lock().is_empty());
}

fn hit(at_ms: u64, found: &str) -> FoundText {
    FoundText {
        at_ms,
        before: "$ ".into(),
        found: found.into(),
        rest: " /etc/shadow".into(),
    }
}

fn part(hits: Vec<FoundText>) -> SearchedPart {
    SearchedPart {
        hits,
        bytes: 10,
        ..SearchedPart::default()
    }
}

#[tokio::test]
async fn a_search_passes_over_what_may_not_be_read_and_is_audited_with_what_it_showed() {
    let world = world();
    for n in 1..=4 {
        let found = part(vec![hit(u64::from(n), "CAT")]);
        world.cluster.ports.found.lock().insert(session(n), found);
    }
    let answer = world
        .call(
            &world.user("audrey"),
            "GET",
            "/v1/recordings/search?q=cat&host=web1",
            None,
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let found = answer.json();
    assert_eq!((&found["searched"], &found["next"]), (&json!(2), &json!("")));
    assert_eq!(found["items"][0]["session"], session(4));
    assert_eq!(
        (
            &found["items"][0]["found"],
            &found["items"][0]["at_ms"],
            &found["items"][0]["host"]
        ),
        (&json!("CAT"), &json!(4), &json!("web1"))
    );
    assert!(!answer.text().contains(&session(3)), "the boss's may not be read");
    let searched: Vec<_> = world.cluster.ports.searched.lock().drain(..).collect();
    assert_eq!(searched, [(session(4), 0), (session(1), 0)]);
    let event = world.events("recording.search").pop().expect("audited");
    assert_eq!(event.user, "audrey");
    assert_eq!(
        (event.data["query"].as_str(), event.data["hits"].as_str()),
        ("cat", "2")
    );
    assert_eq!(event.data["sessions"], format!("{} {}", session(4), session(1)));
    assert_eq!(event.data["on"], "web1");
    assert!(
        world.events("api.refused").is_empty(),
        "nobody is told off for what was passed over"
    );
    // Without the event, not a line.
    world
        .cluster
        .node
        .break_with(Some(palisade_core::ports::Unavailable::NoQuorum(
            "no leader".into(),
        )));
    let answer = world
        .call(&world.user("audrey"), "GET", "/v1/recordings/search?q=cat", None)
        .await;
    answer.refused(503, "unavailable");
    assert!(!answer.text().contains("shadow"));
}

#[tokio::test]
async fn a_search_stops_when_it_is_enough_and_goes_on_where_it_stopped() {
    let world = world();
    let many = |n: usize| part((0..n as u64).map(|at| hit(at, "cat")).collect());
    let ports = &world.cluster.ports;
    // The newest stops in its middle; then it holds more than is given; then there is a gap.
    let stopped = SearchedPart {
        next_chunk: Some(7),
        ..many(1)
    };
    ports.found.lock().insert(session(4), stopped);
    let ask = async |after: &str| {
        let path = format!("/v1/recordings/search?q=cat&after={after}");
        world.call(&operator(), "GET", &path, None).await.json()
    };
    let first = ask("").await;
    assert_eq!(
        (&first["searched"], first["items"].as_array().map(Vec::len)),
        (&json!(1), Some(1))
    );
    let next = first["next"].as_str().expect("a cursor").to_owned();
    assert!(next.ends_with(&format!("{}.7", session(4))), "{next}");
    let full = SearchedPart {
        more: true,
        ..many(100)
    };
    ports.found.lock().insert(session(4), full);
    ports.searched.lock().clear();
    let second = ask(&next).await;
    assert_eq!(
        *ports.searched.lock(),
        [(session(4), 7)],
        "enough was found in the first"
    );
    assert_eq!(second["more_in"], json!([session(4)]));
    let next = second["next"].as_str().expect("a cursor").to_owned();
    let torn = SearchedPart {
        gap: Some("stops at chunk 3".into()),
        ..SearchedPart::default()
    };
    ports.found.lock().insert(session(2), torn);
    ports.searched.lock().clear();
    let third = ask(&next).await;
    let searched: Vec<String> = ports
        .searched
        .lock()
        .iter()
        .map(|(session, _)| session.clone())
        .collect();
    assert_eq!(searched, [session(3), session(2), session(1)]);
    assert_eq!(
        third["gaps"][0],
        json!({"session": session(2), "why": "stops at chunk 3"})
    );
    assert_eq!(
        (&third["next"], &third["reached"]),
        (&json!(""), &json!(START.plus_ms(60_000).to_string()))
    );
    assert_eq!(
        world.events("recording.search").len(),
        3,
        "each answer is audited"
    );
}

/// A link made by somebody; its token.
async fn shared(world: &World, by: &str, n: u32) -> (String, String) {
    let expires = START.plus_ms(7 * 86_400_000).to_string();
    let body = json!({"expires": expires, "note": " for the auditor "});
    let path = format!("/v1/recordings/{}/shares", session(n));
    let answer = world.call(&world.user(by), "POST", &path, Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let link = answer.json();
    let url = link["url"].as_str().expect("a link");
    let (page, token) = url.split_once('#').expect("the secret stands behind the #");
    assert_eq!(page, "https://127.0.0.1:3080/shared");
    (token.to_owned(), link["id"].as_str().expect("an id").to_owned())
}

async fn open(world: &World, token: &str, path: &str) -> crate::support::Answer {
    world
        .call(&nobody(), "POST", path, Some(json!({"token": token})))
        .await
}

#[tokio::test]
async fn a_link_shows_one_recording_masked_and_writes_down_each_opening() {
    let world = world();
    let (token, _) = shared(&world, "audrey", 1).await;
    let line = "{\"end\":{\"complete\":true,\"text\":\"whole\"}}\n";
    *world.cluster.ports.pieces.lock() = vec![line.as_bytes().to_vec()];
    let view = open(&world, &token, "/v1/shared").await;
    assert_eq!(view.status, 200, "{}", view.text());
    let said = view.json();
    assert_eq!(said["recording"]["recording"]["session"], session(1));
    assert_eq!(
        (&said["maker"], &said["note"]),
        (&json!("audrey"), &json!("for the auditor"))
    );
    assert!(
        !view.text().contains("5ea1ed") && !view.text().contains(MEMORY_MASKED),
        "{}",
        view.text()
    );
    let events = open(&world, &token, "/v1/shared/events").await;
    assert_eq!((events.status.as_u16(), events.text().as_str()), (200, line));
    assert_eq!(*world.cluster.ports.played.lock(), [PlayFormat::Shared]);
    let made = world.events("recording.share").pop().expect("audited");
    assert_eq!(
        (made.user.as_str(), made.session.as_str()),
        ("audrey", session(1).as_str())
    );
    let opened = world.events("recording.share.open");
    let what: Vec<&str> = opened.iter().map(|event| event.data["what"].as_str()).collect();
    assert_eq!(what, ["description", "recording"]);
    assert_eq!(
        (opened[0].user.as_str(), opened[0].addr.as_str()),
        ("", "192.0.2.7")
    );
    // Without the event, not a byte.
    world
        .cluster
        .node
        .break_with(Some(palisade_core::ports::Unavailable::NoQuorum(
            "no leader".into(),
        )));
    open(&world, &token, "/v1/shared/events")
        .await
        .refused(503, "unavailable");
}

#[tokio::test]
async fn the_secret_of_a_link_is_kept_nowhere() {
    let world = world();
    let (token, id) = shared(&world, "audrey", 1).await;
    open(&world, &token, "/v1/shared").await;
    let path = format!("/v1/recordings/{}/shares", session(1));
    let list = world.call(&world.user("audrey"), "GET", &path, None).await;
    assert!(list.text().contains(&id) && !list.text().contains(&token));
    let kv = palisade_core::ports::Consensus::kv(world.cluster.node.as_ref());
    for (key, value) in kv.scan(b"", None, usize::MAX, false).expect("memory") {
        for bytes in [key, value] {
            let found = bytes.windows(token.len()).any(|part| part == token.as_bytes());
            assert!(!found, "{}", String::from_utf8_lossy(&bytes));
        }
    }
    let debug = format!("{:?}", palisade_core::api::OpenShare { token: token.clone() });
    assert!(!debug.contains(&token));
}

#[tokio::test]
async fn every_link_that_opens_nothing_is_answered_the_same() {
    let world = world();
    let (token, _) = shared(&world, "audrey", 1).await;
    let (revoked, id) = shared(&world, "audrey", 2).await;
    let path = format!("/v1/recordings/{}/shares/{id}", session(2));
    let gone = world.call(&world.user("audrey"), "DELETE", &path, None).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    world
        .call(&world.user("audrey"), "DELETE", &path, None)
        .await
        .refused(404, "not_found");
    let (voided, _) = shared(&world, "alice", 1).await;
    world
        .cluster
        .node
        .write("kind: lock\nmetadata: {name: l}\nspec: {target: {user: alice}}\n");
    let mut answers = Vec::new();
    for bad in [
        "",
        "x",
        &"x".repeat(4000),
        &revoked,
        &voided,
        &token.to_uppercase(),
    ] {
        for path in ["/v1/shared", "/v1/shared/events"] {
            let answer = open(&world, bad, path).await;
            answer.refused(403, "refused");
            answers.push(answer.text());
        }
    }
    // Its time is over.
    world.cluster.node.pass(Duration::from_secs(7 * 86_400));
    let answer = open(&world, &token, "/v1/shared/events").await;
    answer.refused(403, "refused");
    answers.push(answer.text());
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let refused = world.events("recording.share.refused");
    assert_eq!(
        refused.len(),
        3,
        "those that there are leave an event: {refused:?}"
    );
    assert!(world.events("recording.share.open").is_empty());
    assert!(world.cluster.ports.played.lock().is_empty());
}

#[tokio::test]
async fn a_link_lives_by_the_rights_of_whoever_made_it() {
    let world = world();
    let (token, _) = shared(&world, "audrey", 1).await;
    let works = async || open(&world, &token, "/v1/shared").await.status == 200;
    let role = |verbs: &str| {
        format!(
            "kind: role\nmetadata: {{name: auditor}}\nspec: {{allow: {{rules: [{{resources: [recording], verbs: {verbs}}}]}}}}\n"
        )
    };
    assert!(works().await);
    // A lock, and its removal.
    world
        .cluster
        .node
        .write("kind: lock\nmetadata: {name: l}\nspec: {target: {role: auditor}}\n");
    assert!(!works().await);
    let shares = format!("/v1/recordings/{}/shares", session(1));
    let row = async || {
        let list = world.call(&world.user("alice"), "GET", &shares, None).await;
        list.json()["items"][0].clone()
    };
    let void = row().await["void"].as_str().expect("a reason").to_owned();
    assert!(void.contains("audrey"), "{void}");
    let remove = |kind, name_of: &str| {
        let name = name(name_of);
        let expect = Expect::Any;
        let command = Command::DeleteRecord { kind, name, expect };
        world
            .cluster
            .node
            .apply("node:1", command)
            .done()
            .expect("removed");
    };
    remove(Kind::Lock, "l");
    assert!(works().await);
    // No right to play it any more, none to share it; this recording is not to be read.
    for verbs in ["[list, create]", "[list, read]"] {
        world.cluster.node.write(&role(verbs));
        assert!(!works().await, "{verbs}");
    }
    world.cluster.node.write(&role("[list, read, create]"));
    assert!(works().await);
    assert_eq!(row().await["void"], "");
    // Removed, and another user of that name.
    remove(Kind::User, "audrey");
    assert!(!works().await);
    world
        .cluster
        .node
        .write("kind: user\nmetadata: {name: audrey}\nspec: {roles: [auditor]}\n");
    assert!(!works().await);
}

#[tokio::test]
async fn links_are_made_by_those_who_may_play_and_share_alone() {
    let world = world();
    let expires = START.plus_ms(86_400_000).to_string();
    let body = json!({"expires": expires, "note": ""});
    let shares = |n: u32| format!("/v1/recordings/{}/shares", session(n));
    let make = async |by: &str, n: u32, body: Value| {
        world.call(&world.user(by), "POST", &shares(n), Some(body)).await
    };
    // May play and not share; may share and not play this one.
    make("rita", 1, body.clone()).await.refused(403, "refused");
    make("audrey", 3, body.clone()).await.refused(403, "refused");
    for (method, path) in [
        ("GET", shares(1)),
        ("DELETE", format!("{}/{}", shares(1), "0".repeat(32))),
    ] {
        world
            .call(&world.user("rita"), method, &path, None)
            .await
            .refused(403, "refused");
    }
    // The operator at the node is nobody whose rights could end.
    world
        .call(&operator(), "POST", &shares(1), Some(body.clone()))
        .await
        .refused(403, "refused");
    make("alice", 9, body.clone()).await.refused(404, "not_found");
    for bad in [
        json!({"expires": ""}),
        json!({"expires": "tomorrow"}),
        json!({"expires": START.to_string()}),
        json!({"expires": START.plus_ms(31 * 86_400_000).to_string()}),
        json!({"expires": expires, "note": "x".repeat(201)}),
        json!({"expires": expires, "note": "a\u{1b}[2Jb"}),
        json!({"expires": expires, "other": 1}),
        json!({}),
    ] {
        make("audrey", 1, bad).await.refused(400, "invalid");
    }
    for bad in ["x", &"0".repeat(33), &"G".repeat(32), "..%2f.."] {
        let path = format!("{}/{bad}", shares(1));
        world
            .call(&world.user("audrey"), "DELETE", &path, None)
            .await
            .refused(400, "invalid");
    }
    assert!(world.events("recording.share").is_empty());
}

#[tokio::test]
async fn guessing_tokens_is_limited() {
    let mut cluster = palisade_web::testing::MemoryCluster::new();
    cluster.config.token_rate = palisade_web::Rate {
        burst: 5.0,
        per_second: 0.0,
    };
    let world = World::of(cluster);
    let mut codes = Vec::new();
    for n in 0..7 {
        codes.push(
            open(&world, &format!("guess{n}"), "/v1/shared/events")
                .await
                .status
                .as_u16(),
        );
    }
    assert_eq!(codes, [403, 403, 403, 403, 403, 429, 429]);
}
