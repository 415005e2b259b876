//! Programs that are let in by their user's browser: only by who sits at a session that was just confirmed, only for the keys
//! that were asked with, only once.

use crate::browser::Browser;
use crate::support::{Keys, PASSWORD, World, keys, nobody, peer_of};
use palisade_core::api::{ApprovalReply, ApprovalState, ApprovalTicket, ApprovalView, Certificates};
use palisade_core::state::APPROVALS_MAX;
use palisade_web::Rate;
use palisade_web::testing::MemoryCluster;
use serde_json::{Value, json};
use std::time::Duration;

async fn alice() -> (World, String, Browser) {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    let browser = world.browser("alice", &secret).await;
    (world, secret, browser)
}

fn asked(keys: &Keys, more: Value) -> Value {
    let mut body = json!({
        "ssh_public_key": keys.ssh, "tls_public_key": keys.tls, "client": "pal, run by alice on build7",
    });
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

async fn ticket(world: &World, keys: &Keys, more: Value) -> ApprovalTicket {
    let body = asked(keys, more);
    world
        .call(&nobody(), "POST", "/v1/approvals", Some(body))
        .await
        .read()
}

fn take(secret: &str, keys: &Keys) -> Option<Value> {
    Some(json!({"secret": secret, "ssh_public_key": keys.ssh, "tls_public_key": keys.tls}))
}

fn of(ticket: &ApprovalTicket) -> (String, String) {
    let code = &ticket.code;
    (
        format!("/v1/approvals/{code}/take"),
        format!("/v1/web/approvals/{code}"),
    )
}

#[tokio::test]
async fn somebody_lets_a_program_in_and_it_gets_certificates_for_its_own_keys() {
    let (world, _, browser) = alice().await;
    let keys = keys();
    let ticket = ticket(&world, &keys, json!({"ttl_secs": 600})).await;
    let (taking, deciding) = of(&ticket);
    assert_eq!(
        ticket.urls,
        [format!("https://127.0.0.1:3080/approve/{}", ticket.code)]
    );
    let shown: ApprovalView = world.by(&browser, "GET", &deciding, None).await.read();
    assert_eq!(
        (shown.client.as_str(), shown.addr.as_str(), shown.state),
        ("pal, run by alice on build7", "192.0.2.7", ApprovalState::Waiting)
    );
    let yes = world
        .by(&browser, "POST", &deciding, Some(json!({"approve": true})))
        .await;
    assert_eq!(yes.status, 204, "{}", yes.text());
    let reply: ApprovalReply = world
        .call(&nobody(), "POST", &taking, take(&ticket.secret, &keys))
        .await
        .read();
    let first = reply.certificates.expect("certificates");
    assert_eq!(
        (first.user.as_str(), first.logins.as_slice()),
        ("alice", &["root".to_owned()][..])
    );
    assert_eq!(first.valid_before.since_ms(world.now()), 600_000);
    // A program whose node died before it heard asks again, and gets the same.
    let reply: ApprovalReply = world
        .call(&nobody(), "POST", &taking, take(&ticket.secret, &keys))
        .await
        .read();
    let again = reply.certificates.expect("certificates");
    assert_eq!(serial(&first), serial(&again));
    assert_eq!(world.events("cert.issue").len(), 1, "one entry allowed them");
    let event = world.events("user.approval").pop().expect("audited");
    assert_eq!(
        (event.user.as_str(), event.data["asked_from"].as_str()),
        ("alice", "192.0.2.7")
    );
    // They are alice's.
    let who = world.call(&peer_of(&first), "GET", "/v1/whoami", None).await;
    assert_eq!(who.json()["user"], "alice", "{}", who.text());
}

fn serial(certificates: &Certificates) -> u64 {
    match peer_of(certificates).caller {
        palisade_web::Caller::User(certified) => certified.serial,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nobody_else_takes_what_was_granted() {
    let (world, _, browser) = alice().await;
    let (mine, others) = (keys(), keys());
    let ticket = ticket(&world, &mine, json!({})).await;
    let (taking, deciding) = of(&ticket);
    let yes = world
        .by(&browser, "POST", &deciding, Some(json!({"approve": true})))
        .await;
    assert_eq!(yes.status, 204);
    let wrong = world.call(&nobody(), "POST", &taking, take("wrong", &mine)).await;
    wrong.refused(403, "refused");
    let foreign = world
        .call(&nobody(), "POST", &taking, take(&ticket.secret, &others))
        .await;
    foreign.refused(400, "invalid");
    let mixed = Keys {
        ssh: mine.ssh.clone(),
        tls: others.tls,
    };
    let mixed = world
        .call(&nobody(), "POST", &taking, take(&ticket.secret, &mixed))
        .await;
    mixed.refused(400, "invalid");
    for code in ["BCDF-GHJK", "x", "BCDFGHJKL", "%2e%2e"] {
        let path = format!("/v1/approvals/{code}/take");
        let none = world
            .call(&nobody(), "POST", &path, take(&ticket.secret, &mine))
            .await;
        none.refused(403, "refused");
        let path = format!("/v1/web/approvals/{code}");
        world
            .by(&browser, "GET", &path, None)
            .await
            .refused(404, "not_found");
    }
    // Nor does the code alone say anything to who has no session.
    world
        .call(&nobody(), "GET", &deciding, None)
        .await
        .refused(401, "unauthenticated");
    // Nor a certificate, which is not somebody who sits there.
    world
        .call(&world.user("alice"), "GET", &deciding, None)
        .await
        .refused(403, "refused");
}

#[tokio::test]
async fn what_is_answered_is_answered_once_and_no_stays_no() {
    let (world, _, browser) = alice().await;
    let keys = keys();
    let ticket = ticket(&world, &keys, json!({})).await;
    let (taking, deciding) = of(&ticket);
    let no = world
        .by(&browser, "POST", &deciding, Some(json!({"approve": false})))
        .await;
    assert_eq!(no.status, 204, "{}", no.text());
    let yes = world
        .by(&browser, "POST", &deciding, Some(json!({"approve": true})))
        .await;
    yes.refused(400, "invalid");
    let reply: ApprovalReply = world
        .call(&nobody(), "POST", &taking, take(&ticket.secret, &keys))
        .await
        .read();
    assert_eq!((reply.state, reply.certificates), (ApprovalState::Refused, None));
    assert_eq!(world.events("user.approval.refused").len(), 1);
    assert!(world.events("cert.issue").is_empty());
}

#[tokio::test]
async fn to_say_yes_takes_a_confirmation_and_the_pages_own_header() {
    let (world, secret, browser) = alice().await;
    let ticket = ticket(&world, &keys(), json!({})).await;
    let (_, deciding) = of(&ticket);
    world.cluster.node.pass(Duration::from_secs(6 * 60));
    let late = world
        .by(&browser, "POST", &deciding, Some(json!({"approve": true})))
        .await;
    late.refused(403, "confirm");
    let body = json!({"password": PASSWORD, "code": world.code(&secret)});
    assert_eq!(
        world
            .by(&browser, "POST", "/v1/web/confirm", Some(body))
            .await
            .status,
        204
    );
    let bare = [("cookie", browser.cookie.as_str())];
    let forged = world
        .browse("POST", &deciding, &bare, Some(json!({"approve": true})))
        .await;
    forged.refused(403, "refused");
    let yes = world
        .by(&browser, "POST", &deciding, Some(json!({"approve": true})))
        .await;
    assert_eq!(yes.status, 204, "{}", yes.text());
}

#[tokio::test]
async fn a_program_waits_for_ten_minutes_and_no_longer() {
    let (world, _, browser) = alice().await;
    let keys = keys();
    let ticket = ticket(&world, &keys, json!({})).await;
    let (taking, deciding) = of(&ticket);
    world.cluster.node.pass(Duration::from_secs(601));
    world
        .by(&browser, "GET", &deciding, None)
        .await
        .refused(404, "not_found");
    let yes = world
        .by(&browser, "POST", &deciding, Some(json!({"approve": true})))
        .await;
    yes.refused(404, "not_found");
    let none = world
        .call(&nobody(), "POST", &taking, take(&ticket.secret, &keys))
        .await;
    none.refused(403, "refused");
}

#[tokio::test]
async fn a_headless_connection_is_for_one_account_and_a_short_time() {
    let (world, _, browser) = alice().await;
    let keys = keys();
    let one = json!({"host": "web1", "login": "root", "ttl_secs": 86_400});
    let ticket = ticket(&world, &keys, one).await;
    let (taking, deciding) = of(&ticket);
    let shown: ApprovalView = world.by(&browser, "GET", &deciding, None).await.read();
    assert_eq!((shown.host.as_str(), shown.login.as_str()), ("web1", "root"));
    assert_eq!(
        world
            .by(&browser, "POST", &deciding, Some(json!({"approve": true})))
            .await
            .status,
        204
    );
    let reply: ApprovalReply = world
        .call(&nobody(), "POST", &taking, take(&ticket.secret, &keys))
        .await
        .read();
    let issued = reply.certificates.expect("certificates");
    assert_eq!(issued.logins, ["root"]);
    assert_eq!(issued.valid_before.since_ms(world.now()), 600_000);
    let event = world.events("user.approval").pop().expect("audited");
    assert_eq!((event.host.as_str(), event.login.as_str()), ("web1", "root"));
}

#[tokio::test]
async fn an_account_that_roles_do_not_allow_is_refused_where_it_is_allowed() {
    let (world, _, browser) = alice().await;
    let ticket = ticket(&world, &keys(), json!({"host": "web1", "login": "postgres"})).await;
    let (_, deciding) = of(&ticket);
    let no = world
        .by(&browser, "POST", &deciding, Some(json!({"approve": true})))
        .await;
    no.refused(403, "refused");
    assert!(no.text().contains("postgres"), "{}", no.text());
}

#[tokio::test]
async fn a_reset_or_a_lock_after_the_answer_takes_it_back() {
    for change in ["reset", "lock"] {
        let (world, _, browser) = alice().await;
        let keys = keys();
        let ticket = ticket(&world, &keys, json!({})).await;
        let (taking, deciding) = of(&ticket);
        assert_eq!(
            world
                .by(&browser, "POST", &deciding, Some(json!({"approve": true})))
                .await
                .status,
            204
        );
        match change {
            "reset" => {
                world.enrol("alice").await;
            }
            _ => world
                .cluster
                .node
                .write("kind: lock\nmetadata: {name: l}\nspec: {target: {user: alice}, message: gone}\n"),
        }
        let taken = world
            .call(&nobody(), "POST", &taking, take(&ticket.secret, &keys))
            .await;
        match change {
            "reset" => taken.refused(403, "refused"),
            _ => taken.refused(403, "locked"),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let (world, _, _) = alice().await;
    for (more, word) in [
        (json!({"client": ""}), "client"),
        (json!({"client": "a\u{1b}[2J"}), "client"),
        (json!({"client": "x".repeat(101)}), "client"),
        (json!({"host": "web1"}), "host"),
        (json!({"login": "root"}), "host"),
        (json!({"host": "web1\n", "login": "a b"}), "login"),
        (json!({"ssh_public_key": "ssh-rsa AAAA"}), "ssh_public_key"),
        (json!({"more": 1}), "more"),
    ] {
        let body = asked(&keys(), more.clone());
        let no = world.call(&nobody(), "POST", "/v1/approvals", Some(body)).await;
        no.refused(400, "invalid");
        assert!(no.text().contains(word), "{more}: {}", no.text());
    }
}

#[tokio::test]
async fn nobody_fills_the_state_by_asking() {
    let mut cluster = MemoryCluster::new();
    let endless = Rate {
        burst: 10_000.0,
        per_second: 10_000.0,
    };
    cluster.config.login_rate = endless;
    let world = World::of(cluster);
    let keys = keys();
    for _ in 0..APPROVALS_MAX {
        ticket(&world, &keys, json!({})).await;
    }
    let body = asked(&keys, json!({}));
    let full = world
        .call(&nobody(), "POST", "/v1/approvals", Some(body.clone()))
        .await;
    full.refused(400, "invalid");
    // Those whose time is over make room.
    world.cluster.node.pass(Duration::from_secs(601));
    let room = world.call(&nobody(), "POST", "/v1/approvals", Some(body)).await;
    assert_eq!(room.status, 200, "{}", room.text());
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits() {
    let mut cluster = MemoryCluster::new();
    cluster.config.login_rate = Rate {
        burst: 3.0,
        per_second: 0.0,
    };
    let world = World::of(cluster);
    for _ in 0..3 {
        ticket(&world, &keys(), json!({})).await;
    }
    let body = asked(&keys(), json!({}));
    let no = world.call(&nobody(), "POST", "/v1/approvals", Some(body)).await;
    no.refused(429, "rate_limited");
}
