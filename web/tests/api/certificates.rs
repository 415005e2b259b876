//! Renewal, pinned addresses, host certificates.

use crate::support::{Keys, PASSWORD, World, keys, nobody, operator};
use palisade_core::api::{Certificates, HostCertificate};
use palisade_core::command::Command as Entry;
use palisade_core::event::{Event, EventKind};
use palisade_web::Caller;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

fn body(keys: &Keys, ttl_secs: u64) -> Option<Value> {
    Some(json!({"ssh_public_key": keys.ssh, "tls_public_key": keys.tls, "ttl_secs": ttl_secs}))
}

fn shown(certificate: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x-cert.pub");
    std::fs::write(&file, certificate).expect("written");
    let shown = Command::new("ssh-keygen")
        .arg("-L")
        .arg("-f")
        .arg(&file)
        .output()
        .expect("ssh-keygen runs");
    String::from_utf8_lossy(&shown.stdout).into_owned()
}

#[tokio::test]
async fn a_renewal_lives_no_longer_than_what_it_renews() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    let (first, peer) = world.logged_in("alice", &secret).await;
    world.cluster.node.pass(Duration::from_secs(3600));
    let renewed: Certificates = world
        .call(&peer, "POST", "/v1/certs", body(&keys(), 0))
        .await
        .read();
    assert_eq!(renewed.valid_before.secs(), first.valid_before.secs());
    let short: Certificates = world
        .call(&peer, "POST", "/v1/certs", body(&keys(), 60))
        .await
        .read();
    assert_eq!(short.valid_before, world.now().plus_ms(60_000));
    world.cluster.node.pass(Duration::from_secs(12 * 3600));
    world
        .call(&peer, "POST", "/v1/certs", body(&keys(), 0))
        .await
        .refused(401, "unauthenticated");
    world
        .call(&nobody(), "POST", "/v1/certs", body(&keys(), 0))
        .await
        .refused(401, "unauthenticated");
    world
        .call(&operator(), "POST", "/v1/certs", body(&keys(), 0))
        .await
        .refused(403, "refused");
}

#[tokio::test]
async fn a_renewal_names_no_login_that_the_first_one_did_not() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    let (_, peer) = world.logged_in("alice", &secret).await;
    world.add_user("alice", "admin", "root, deploy");
    let renewed: Certificates = world
        .call(&peer, "POST", "/v1/certs", body(&keys(), 0))
        .await
        .read();
    assert_eq!(renewed.logins, ["root"]);
}

#[tokio::test]
async fn roles_limit_the_life_of_a_certificate() {
    let world = World::new();
    world.cluster.node.write(
        "kind: role\nmetadata: {name: short}\nspec: {options: {max_session_ttl: 10m}, allow: {logins: [dev]}}\n",
    );
    world.add_user("bob", "short", "x");
    let secret = world.enrol("bob").await;
    let mut body = world.login_body("bob", PASSWORD, &world.code(&secret));
    body["ttl_secs"] = json!(86_400);
    let certificates: Certificates = world
        .call(&nobody(), "POST", "/v1/login", Some(body))
        .await
        .read();
    assert_eq!(certificates.valid_before, world.now().plus_ms(600_000));
    assert_eq!(certificates.logins, ["dev"]);
}

#[tokio::test]
async fn a_pinned_certificate_works_from_its_address_alone() {
    let world = World::new();
    world.cluster.node.write(
        "kind: role\nmetadata: {name: pinned}\nspec: {options: {pin_source_ip: true}, allow: {logins: [dev]}}\n",
    );
    world.add_user("bob", "pinned", "x");
    let secret = world.enrol("bob").await;
    let (certificates, peer) = world.logged_in("bob", &secret).await;
    let text = shown(&certificates.ssh_certificate);
    assert!(text.contains("source-address 192.0.2.7/32"), "{text}");
    assert_eq!(world.call(&peer, "GET", "/v1/whoami", None).await.status, 200);
    let mut elsewhere = peer.clone();
    elsewhere.addr = Some("192.0.2.8".parse().expect("an address"));
    world
        .call(&elsewhere, "GET", "/v1/whoami", None)
        .await
        .refused(401, "unauthenticated");
    world
        .call(&elsewhere, "POST", "/v1/certs", body(&keys(), 0))
        .await
        .refused(401, "unauthenticated");
    let renewed: Certificates = world
        .call(&peer, "POST", "/v1/certs", body(&keys(), 0))
        .await
        .read();
    assert!(shown(&renewed.ssh_certificate).contains("source-address 192.0.2.7/32"));
}

/// A node that was restarted remembers nothing: it reads what a certificate says from the log, however old its entry is.
#[tokio::test]
async fn a_pinned_certificate_works_when_its_entry_has_left_the_state() {
    let mut world = World::new();
    world.cluster.node.write(
        "kind: role\nmetadata: {name: pinned}\nspec: {options: {pin_source_ip: true}, allow: {logins: [dev]}}\n",
    );
    world.add_user("bob", "pinned", "x");
    let secret = world.enrol("bob").await;
    let (_, peer) = world.logged_in("bob", &secret).await;
    for (later, recent) in [(0, 0), (1000, 40)] {
        for n in 0..100 {
            let event = Event::new(EventKind::Exec).message(format!("{n}"));
            world
                .cluster
                .node
                .apply("node:1", Entry::Audit { events: vec![event] });
            world.cluster.node.pass(Duration::from_millis(later));
        }
        world.cluster.seal_pages(recent, 4);
        world = World::of(world.cluster);
        assert_eq!(world.call(&peer, "GET", "/v1/whoami", None).await.status, 200);
        world = World::of(world.cluster);
        let mut elsewhere = peer.clone();
        elsewhere.addr = Some("192.0.2.8".parse().expect("an address"));
        world
            .call(&elsewhere, "GET", "/v1/whoami", None)
            .await
            .refused(401, "unauthenticated");
    }
    // With the page gone nobody knows what it says, and it is refused.
    world.cluster.ports.pages.lock().clear();
    world = World::of(world.cluster);
    world
        .call(&peer, "GET", "/v1/whoami", None)
        .await
        .refused(503, "unavailable");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_an_open_connection() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let peer = world.user("alice");
    assert_eq!(world.call(&peer, "GET", "/v1/whoami", None).await.status, 200);
    world.cluster.node.pass(Duration::from_secs(3601));
    world
        .call(&peer, "GET", "/v1/whoami", None)
        .await
        .refused(401, "unauthenticated");
    world.add_user("alice", "admin", "root");
    world
        .call(&peer, "GET", "/v1/whoami", None)
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn the_certificate_of_a_removed_user_is_worthless_also_to_a_new_user_of_the_name() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    let (_, peer) = world.logged_in("alice", &secret).await;
    assert_eq!(
        world
            .call(&operator(), "DELETE", "/v1/records/user/alice", None)
            .await
            .status,
        204
    );
    world
        .call(&peer, "GET", "/v1/whoami", None)
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_host_key_is_certified_for_its_names() {
    let world = World::new();
    let key = keys().ssh;
    let request = json!({"names": ["web1", "10.0.0.7"], "public_key": key});
    let answer: HostCertificate = world
        .call(&operator(), "POST", "/v1/authorities/host/sign", Some(request))
        .await
        .read();
    let text = shown(&answer.certificate);
    assert!(
        text.contains("host certificate") && text.contains("10.0.0.7"),
        "{text}"
    );
    assert!(answer.user_authorities[0].starts_with("ssh-ed25519 "));
    assert_eq!(world.events("cert.host.issue").len(), 1);
    for names in [json!([]), json!(["*"]), json!(["a\nb"]), json!(["-x"])] {
        let request = json!({"names": names, "public_key": key});
        world
            .call(&operator(), "POST", "/v1/authorities/host/sign", Some(request))
            .await
            .refused(400, "invalid");
    }
    let certificate = json!({"names": ["web1"], "public_key": answer.certificate});
    world
        .call(
            &operator(),
            "POST",
            "/v1/authorities/host/sign",
            Some(certificate),
        )
        .await
        .refused(400, "invalid");
}

#[tokio::test]
async fn authorities_are_exported_by_name() {
    let world = World::new();
    for (name, begins) in [
        ("user", "ssh-ed25519 "),
        ("host", "ssh-ed25519 "),
        ("tls", "-----BEGIN CERTIFICATE"),
    ] {
        let answer = world
            .call(&operator(), "GET", &format!("/v1/authorities/{name}"), None)
            .await
            .json();
        assert!(
            answer["public"]
                .as_str()
                .is_some_and(|text| text.starts_with(begins)),
            "{answer}"
        );
        assert!(
            answer["pin"]
                .as_str()
                .is_some_and(|pin| pin.starts_with("sha256:")),
            "{answer}"
        );
    }
    world
        .call(&operator(), "GET", "/v1/authorities/x", None)
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn who_is_asked_is_answered() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let me = world
        .call(&world.user("alice"), "GET", "/v1/whoami", None)
        .await
        .json();
    assert_eq!(
        me,
        json!({"user": "alice", "roles": ["admin"], "logins": ["root"]})
    );
    let me = world.call(&operator(), "GET", "/v1/whoami", None).await.json();
    assert_eq!(me["user"], "local:operator");
    assert!(matches!(operator().caller, Caller::LocalOperator));
}
