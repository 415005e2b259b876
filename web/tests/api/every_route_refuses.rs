//! Nothing unlisted: every route of the OpenAPI document, which is made of the same table as the router, either is on
//! the list of open routes or refuses somebody without a credential, somebody without the right, and somebody locked.

use crate::support::{World, keys, nobody};
use palisade_core::api::path;
use serde_json::{Value, json};

const SESSION: &str = "0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a";

/// Routes that need no credential, and why that is right.
const OPEN: &[(&str, &str)] = &[
    ("get", "/livez"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", path::OPENAPI),
    ("get", path::PING),
    ("get", path::WEB_WAYS),
    // Packages are no secret; what is fetched is held against a hash that the operator gives.
    ("get", path::BUNDLE),
    // The password, the invite's token and the join token are the credential.
    ("post", path::LOGIN),
    ("post", path::WEB_LOGIN),
    ("post", path::PASSKEY_LOGIN_BEGIN),
    ("post", path::PASSKEY_LOGIN_FINISH),
    ("get", path::INVITE),
    ("post", path::INVITE),
    ("get", path::INVITE_RECOVERY),
    // Asks, and gets no more than a ticket; what that proves is a secret, and the answer is bound to the asker's keys.
    ("post", path::APPROVALS),
    ("post", path::APPROVAL_TAKE),
    ("post", path::JOIN),
    ("post", path::HOST_JOIN),
    // The secret of a link to a recording is one as well: see `recordings.rs`.
    ("post", path::SHARED),
    ("post", path::SHARED_EVENTS),
    // So is the first frame of the socket, and the page that it comes from: see `terminals.rs`.
    ("get", path::TERMINAL),
];

/// Routes that everybody with a valid certificate may use: they show and change nothing but their own.
const OWN: &[(&str, &str)] = &[
    ("get", path::WHOAMI),
    ("get", path::HOSTS),
    ("post", path::LOGOUT),
    ("post", path::CERTS),
    ("post", path::LINT),
    // Of one's own browsers. What needs the cookie refuses a certificate.
    ("get", path::WEB_SESSION),
    ("get", path::WEB_SESSIONS),
    ("delete", path::WEB_SESSION_OF),
    ("post", path::WEB_LOGOUT),
    ("post", path::WEB_CONFIRM),
    ("put", path::WEB_PASSWORD),
    ("post", path::PASSKEY_BEGIN),
    ("post", path::PASSKEY_FINISH),
    ("get", path::PASSKEYS),
    ("delete", path::PASSKEY),
    ("get", path::MFA),
    ("post", path::RECOVERY),
    ("post", path::TOTP_BEGIN),
    ("post", path::TOTP_FINISH),
    ("get", path::WEB_APPROVAL),
    ("post", path::WEB_APPROVAL),
];

/// Routes to hosts: what somebody may do there is decided, and a refusal audited, by the way to the host.
const AT_A_HOST: &[(&str, &str)] = &[("get", path::FILE), ("put", path::FILE)];

fn example(method: &str, route: &str) -> Option<Value> {
    let keys = || {
        let keys = keys();
        json!({"ssh_public_key": keys.ssh, "tls_public_key": keys.tls})
    };
    match (method, route) {
        ("post", path::CERTS | path::HOST_RENEW) => Some(keys()),
        ("post", path::INVITES | path::TOKENS | path::TRANSFER) => Some(json!({})),
        ("post", path::RECORDS) | ("put", path::RECORD) => {
            Some(json!({"kind": "host", "metadata": {"name": "web1"}, "spec": {"addr": "10.0.0.7:22"}}))
        }
        ("post", path::SIGN_HOST) => Some(json!({"names": ["web1"], "public_key": keys()["ssh_public_key"]})),
        ("post", path::WEB_CONFIRM) => Some(json!({"password": "x", "code": ""})),
        ("post", path::PASSKEY_FINISH) => Some(json!({"id": "x", "name": "x", "credential": {}})),
        ("post", path::PASSKEY_LOGIN_FINISH) => Some(json!({"id": "x", "credential": {}})),
        ("post", path::TOTP_FINISH) => Some(json!({"id": "x", "code": "000000"})),
        ("post", path::WEB_APPROVAL) => Some(json!({"approve": true})),
        ("put", path::WEB_PASSWORD) => Some(json!({"password": "a long password"})),
        ("post", path::LINT) => Some(json!({"text": "kind: role"})),
        ("post", path::EXPLAIN) => Some(json!({"text": "kind: role\nmetadata: {name: r}\nspec: {}\n"})),
        ("post", path::REPLACE) => Some(json!({"old": "n1", "with": "n2"})),
        ("post", path::SHARES) => Some(json!({"expires": "2026-11-23T00:00:00Z"})),
        ("post", path::SHARED | path::SHARED_EVENTS) => Some(json!({"token": "x"})),
        ("post", path::INIT) => Some(json!({"cluster": "x"})),
        ("post", path::JOIN_ORDER) => Some(json!({"token": "x", "addr": "x"})),
        _ => None,
    }
}

fn filled(route: &str) -> String {
    route
        .replace("{kind}", "host")
        .replace("{name}", "web1")
        .replace("{id}", SESSION)
        .replace("{type}", "user")
        .replace("{token}", "x")
        .replace("{share}", "0123456789abcdef0123456789abcdef")
        .replace("{file}", "SHA256SUMS")
        .replace("{host}/file", "web1/file?login=root&path=x")
}

#[tokio::test]
async fn every_route_refuses_who_may_not() {
    let world = World::new();
    world.cluster.node.write(
        "kind: role\nmetadata: {name: none}\nspec: {allow: {logins: [dev]}}\n---\n\
         kind: user\nmetadata: {name: weak}\nspec: {roles: [none]}\n---\n\
         kind: user\nmetadata: {name: locked}\nspec: {roles: [admin], traits: {logins: [root]}}\n---\n\
         kind: lock\nmetadata: {name: lock1}\nspec: {target: {user: locked}, message: gone}\n",
    );
    let (weak, locked) = (world.user("weak"), world.user("locked"));
    let agent = world.agent("web1");
    let document = palisade_web::openapi();
    let paths = document["paths"].as_object().expect("paths");
    let mut walked = 0;
    for (route, item) in paths {
        for (method, operation) in item.as_object().expect("methods") {
            walked += 1;
            let key = (method.as_str(), route.as_str());
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(
                open,
                OPEN.contains(&key),
                "{key:?} is open in one list and not in the other"
            );
            if open {
                continue;
            }
            let (method, uri) = (method.to_uppercase(), filled(route));
            let body = example(key.0, key.1);
            let answer = world.call(&nobody(), &method, &uri, body.clone()).await;
            answer.refused(401, "unauthenticated");
            let answer = world.call(&locked, &method, &uri, body.clone()).await;
            answer.refused(403, "locked");
            assert!(answer.text().contains("gone"));
            // An agent reads and changes nothing over the API; it renews itself, and is told that it is not known here.
            let answer = world.call(&agent, &method, &uri, body.clone()).await;
            match key {
                ("post", path::HOST_RENEW) => answer.refused(404, "not_found"),
                _ => answer.refused(403, "refused"),
            }
            if !OWN.contains(&key) {
                let events = world.events("api.refused").len();
                let answer = world.call(&weak, &method, &uri, body).await;
                answer.refused(403, "refused");
                let local = AT_A_HOST.contains(&key)
                    || [path::INIT, path::JOIN_ORDER, path::SUPPORT].contains(&key.1);
                assert!(
                    local || world.events("api.refused").len() == events + 1,
                    "{key:?} is not audited"
                );
            }
        }
    }
    for key in OPEN.iter().chain(OWN) {
        assert!(
            paths[key.1].get(key.0).is_some(),
            "{key:?} is not a route any more"
        );
    }
    assert!(walked >= 35, "only {walked} routes");
}

#[tokio::test]
async fn every_path_of_the_contract_is_served() {
    let document = palisade_web::openapi();
    let served = document["paths"].as_object().expect("paths");
    for wanted in [
        path::PING,
        path::LOGIN,
        path::LOGOUT,
        path::CERTS,
        path::INVITE,
        path::INVITES,
        path::WHOAMI,
        path::RECORDS,
        path::RECORD,
        path::TOKENS,
        path::JOIN,
        path::BUNDLE,
        path::HOST_JOIN,
        path::HOST_RENEW,
        path::HOSTS,
        path::TERMINAL,
        path::FILE,
        path::SESSIONS,
        path::SESSION,
        path::RECORDINGS,
        path::RECORDING,
        path::RECORDING_EVENTS,
        path::RECORDING_CAST,
        path::RECORDINGS_SEARCH,
        path::SHARES,
        path::SHARE,
        path::SHARED,
        path::SHARED_EVENTS,
        path::AUDIT,
        path::AUDIT_EXPORT,
        path::AUTHORITY,
        path::SIGN_HOST,
        path::STATUS,
        path::NODE,
        path::TRANSFER,
        path::REPLACE,
        path::WEB_WAYS,
        path::WEB_LOGIN,
        path::WEB_LOGOUT,
        path::WEB_SESSION,
        path::WEB_SESSIONS,
        path::WEB_SESSION_OF,
        path::WEB_CONFIRM,
        path::WEB_PASSWORD,
        path::PASSKEY_BEGIN,
        path::PASSKEY_FINISH,
        path::PASSKEYS,
        path::PASSKEY,
        path::PASSKEY_LOGIN_BEGIN,
        path::PASSKEY_LOGIN_FINISH,
        path::LINT,
        path::EXPLAIN,
        path::AUDIT_STATE,
        path::AUDIT_DOWNLOAD,
        path::OPENAPI,
        path::INIT,
        path::JOIN_ORDER,
    ] {
        assert!(served.contains_key(wanted), "{wanted} is not served");
    }
}

#[tokio::test]
async fn unknown_paths_methods_and_tricks_with_paths_are_refused_in_json() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let alice = world.user("alice");
    for uri in [
        "/v1",
        "/v1/records/../whoami",
        "/v1//whoami",
        "/v1/whoami/",
        "/v1/whoami;x",
        "/v1/%77hoami/x",
    ] {
        world
            .call(&alice, "GET", uri, None)
            .await
            .refused(404, "not_found");
    }
    world
        .call(&alice, "PATCH", "/v1/records/role/x", None)
        .await
        .refused(405, "invalid");
    world
        .call(&alice, "POST", "/v1/whoami", None)
        .await
        .refused(405, "invalid");
    let answer = world.call(&alice, "GET", "/v1/records/role/%ff", None).await;
    answer.refused(400, "invalid");
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_browsers_heed() {
    let world = World::new();
    for (peer, uri) in [
        (nobody(), "/v1/ping"),
        (nobody(), "/v1/nothing"),
        (nobody(), "/v1/whoami"),
    ] {
        let answer = world.call(&peer, "GET", uri, None).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(
            answer.headers["content-security-policy"]
                .to_str()
                .is_ok_and(|csp| csp.contains("default-src 'none'"))
        );
        assert!(answer.headers.contains_key("strict-transport-security"));
    }
}

/// Garbage and truncated bodies, to every route that takes one, from somebody who may do everything.
#[tokio::test]
async fn no_body_makes_the_server_fail() {
    let world = World::new();
    let document = palisade_web::openapi();
    let keys = keys();
    let login = json!({
        "user": "a", "password": "b", "ssh_public_key": keys.ssh, "tls_public_key": keys.tls,
    });
    let mut sent = 0;
    for (route, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            if operation["requestBody"].is_null() {
                continue;
            }
            let whole = example(method, route)
                .unwrap_or_else(|| login.clone())
                .to_string();
            let mut bodies: Vec<Vec<u8>> = (0..whole.len())
                .step_by(7)
                .map(|cut| whole.as_bytes()[..cut].to_vec())
                .collect();
            bodies.extend((0..16u8).map(|n| {
                (0..200u8)
                    .map(|at| at.wrapping_mul(n.wrapping_add(17)) ^ n)
                    .collect()
            }));
            for body in bodies {
                for kind in ["application/json", "application/yaml"] {
                    let request = axum::http::Request::builder()
                        .method(method.to_uppercase().as_str())
                        .uri(filled(route))
                        .header("content-type", kind)
                        .body(axum::body::Body::from(body.clone()))
                        .expect("a request");
                    let answer = world.send(&crate::support::operator(), request).await;
                    assert!(
                        answer.status.is_client_error(),
                        "{method} {route}: {} for {body:?}",
                        answer.status
                    );
                    assert!(!answer.code().is_empty());
                    sent += 1;
                }
            }
        }
    }
    assert!(sent > 300, "only {sent} bodies");
}
