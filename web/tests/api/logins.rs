//! Invites and logins.

use crate::support::{PASSWORD, World, keys, nobody, operator};
use palisade_core::api::{Certificates, InviteLink};
use palisade_core::name::Name;
use palisade_core::ports::{Consensus, Unavailable};
use palisade_core::state;
use palisade_web::Rate;
use palisade_web::testing::{MemoryCluster, totp_code};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

const ID: &str = "0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a";

#[tokio::test]
async fn an_invited_user_logs_in_and_openssh_reads_the_certificate() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    let (certificates, _) = world.logged_in("alice", &secret).await;
    assert_eq!(
        (certificates.user.as_str(), certificates.cluster.as_str()),
        ("alice", "demo")
    );
    assert_eq!(certificates.logins, ["root"]);
    assert_eq!(certificates.web_addrs, ["127.0.0.1:3080"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("alice-cert.pub");
    std::fs::write(&file, &certificates.ssh_certificate).expect("written");
    let shown = Command::new("ssh-keygen")
        .arg("-L")
        .arg("-f")
        .arg(&file)
        .output()
        .expect("ssh-keygen runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let issued = world.events("cert.issue").pop().expect("audited");
    for wanted in [
        "user certificate",
        "Key ID: \"alice\"",
        "root",
        &format!("Serial: {}", issued.data["serial"]),
    ] {
        assert!(shown.contains(wanted), "{wanted:?} is not in {shown}");
    }
    assert!(!shown.contains("permit-agent-forwarding"), "{shown}");
    let names: Vec<_> = world
        .cluster
        .node
        .events()
        .iter()
        .map(|e| e.event.name())
        .collect();
    for name in ["user.invite", "user.invite.accept", "user.login", "cert.issue"] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
}

#[tokio::test]
async fn a_code_works_once_on_any_node() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    let code = world.code(&secret);
    assert_eq!(world.login("alice", PASSWORD, &code).await.status, 200);
    // Another node over the same state.
    let other = palisade_web::router(world.cluster.api());
    let other = World {
        cluster: MemoryCluster::new(),
        router: other,
    };
    other
        .login("alice", PASSWORD, &code)
        .await
        .refused(401, "unauthenticated");
    world
        .login("alice", PASSWORD, &code)
        .await
        .refused(401, "unauthenticated");
    let why = world.events("user.login.refused").pop().expect("audited").message;
    assert_eq!(why, "the code was used before");
}

#[tokio::test]
async fn other_spellings_of_a_code_are_refused() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    let code = world.code(&secret);
    let wide: String = code
        .chars()
        .filter_map(|c| char::from_u32(c as u32 - 0x30 + 0xff10))
        .collect();
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    for code in [wide, spaced, format!("{code} "), String::new()] {
        world
            .login("alice", PASSWORD, &code)
            .await
            .refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn failures_lock_out_and_the_right_password_waits() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    for _ in 0..5 {
        world
            .login("alice", "wrong password", &world.code(&secret))
            .await
            .refused(401, "unauthenticated");
    }
    assert_eq!(world.events("user.lockout").len(), 1);
    let locked = world.login("alice", PASSWORD, &world.code(&secret)).await;
    let wrong = world.login("nobody", PASSWORD, "000000").await;
    assert_eq!((locked.status, locked.text()), (wrong.status, wrong.text()));
    world.cluster.node.pass(Duration::from_secs(301));
    assert_eq!(
        world.login("alice", PASSWORD, &world.code(&secret)).await.status,
        200
    );
}

#[tokio::test]
async fn every_failed_login_answers_the_same_after_the_same_time() {
    let mut cluster = MemoryCluster::new();
    cluster.config.failed_login_floor = Duration::from_millis(400);
    let world = World::of(cluster);
    world.add_user("alice", "admin", "root");
    world.add_user("uninvited", "admin", "root");
    let secret = world.enrol("alice").await;
    let mut answers = Vec::new();
    for (user, password, code) in [
        ("alice", "wrong password", world.code(&secret)),
        ("alice", PASSWORD, "000000".into()),
        ("nobody", PASSWORD, "000000".into()),
        ("uninvited", PASSWORD, "000000".into()),
        ("Alice ", PASSWORD, "000000".into()),
        ("alice\n", PASSWORD, "000000".into()),
    ] {
        let began = Instant::now();
        let answer = world.login(user, password, &code).await;
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(400), "{user:?} took {took:?}");
        answers.push((answer.status, answer.text()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let refused = world.events("user.login.refused");
    assert_eq!(refused.len(), 6);
    assert!(refused.iter().all(|event| event.user != "Alice "));
}

/// Goal: whether there is such a user cannot be told by the clock. Method: wrong passwords for a user that there is and
/// for one that there is not, by turns, with a hash so cheap that what surrounds it is most of the time, and without
/// the floor under failed logins that hides the rest. `LOGIN_SAMPLES=10000` for the long form.
#[tokio::test]
async fn unknown_users_take_as_long_as_known_ones() {
    let samples = std::env::var("LOGIN_SAMPLES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(500);
    let mut cluster = MemoryCluster::new();
    cluster.config.hash_kib = 8;
    let world = World::of(cluster);
    world.add_user("alice", "admin", "root");
    world.enrol("alice").await;
    // Nobody is locked out: that is another answer, after another time, which the floor hides.
    world.cluster.node.write(
        "kind: cluster_auth_preference\nmetadata: {name: cluster-auth-preference}\nspec: {max_failures: 1000000, lockout_window: 1s}\n",
    );
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let body = |user: &str| world.login_body(user, "wrong password", "000000");
    let (alice, nobody_here) = (body("alice"), body("nobody-here"));
    for n in 0..samples {
        // The order changes, so that neither always comes first.
        for turn in 0..2 {
            let first = (n + turn) % 2 == 0;
            let (body, times) = if first {
                (&alice, &mut known)
            } else {
                (&nobody_here, &mut unknown)
            };
            let began = Instant::now();
            let answer = world
                .call(&nobody(), "POST", "/v1/login", Some(body.clone()))
                .await;
            times.push(began.elapsed());
            answer.refused(401, "unauthenticated");
        }
        world.cluster.node.pass(Duration::from_secs(2));
    }
    // The slowest hundredth of each is this machine's doing.
    let mean = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times.truncate(times.len() - times.len() / 100);
        times.iter().sum::<Duration>().as_secs_f64() * 1e3 / times.len() as f64
    };
    let (known, unknown) = (mean(&mut known), mean(&mut unknown));
    println!("{samples} samples: {known:.3} ms for a known user, {unknown:.3} ms for an unknown one");
    assert!((known - unknown).abs() < 1.0, "{known:.3} ms and {unknown:.3} ms");
}

#[tokio::test]
async fn a_repeated_login_gives_the_same_certificate_and_no_second_effect() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    let body = world.login_body("alice", PASSWORD, &world.code(&secret));
    let send = async || {
        world
            .call_as(&nobody(), "POST", "/v1/login", Some(body.clone()), Some(ID))
            .await
    };
    let first: Certificates = send().await.read();
    world.cluster.node.pass(Duration::from_secs(2));
    let second: Certificates = send().await.read();
    assert_eq!(first.valid_before, second.valid_before);
    assert_eq!(world.events("cert.issue").len(), 1);
    assert_eq!(world.events("user.login").len(), 1);
    // The same id with another key is another request: its code is used up.
    let other = world.login_body("alice", PASSWORD, &world.code(&secret));
    world
        .call_as(&nobody(), "POST", "/v1/login", Some(other), Some(ID))
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn invites_work_once_until_they_run_out_or_a_newer_one_is_made() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let make = async |ttl: u64| {
        world
            .call(
                &operator(),
                "POST",
                "/v1/users/alice/invites",
                Some(json!({"ttl_secs": ttl})),
            )
            .await
    };
    let older: InviteLink = make(0).await.read();
    let newer: InviteLink = make(600).await.read();
    let path = |link: &InviteLink| format!("/v1/invites/{}", link.token);
    world
        .call(&nobody(), "GET", &path(&older), None)
        .await
        .refused(403, "refused");
    let view = world.call(&nobody(), "GET", &path(&newer), None).await.json();
    let secret = view["totp_secret"].as_str().expect("a secret").to_owned();
    assert!(
        view["totp_uri"]
            .as_str()
            .is_some_and(|uri| uri.starts_with("otpauth://totp/demo:alice?secret="))
    );
    let accept = async |password: &str, code: String| {
        world
            .call(
                &nobody(),
                "POST",
                &path(&newer),
                Some(json!({"password": password, "code": code})),
            )
            .await
    };
    accept(PASSWORD, "000000".into()).await.refused(400, "invalid");
    accept("short", world.code(&secret)).await.refused(400, "invalid");
    accept(&"x".repeat(1025), world.code(&secret))
        .await
        .refused(413, "too_large");
    assert_eq!(accept(PASSWORD, world.code(&secret)).await.status, 204);
    accept("another password", world.code(&secret))
        .await
        .refused(403, "refused");
    let expired: InviteLink = make(60).await.read();
    world.cluster.node.pass(Duration::from_secs(61));
    world
        .call(&nobody(), "GET", &path(&expired), None)
        .await
        .refused(403, "refused");
    world
        .call(&nobody(), "GET", "/v1/invites/guessed", None)
        .await
        .refused(403, "refused");
    make(8 * 86_400).await.refused(400, "invalid");
}

#[tokio::test]
async fn a_repeated_acceptance_is_accepted_once() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let link: InviteLink = world
        .call(&operator(), "POST", "/v1/users/alice/invites", Some(json!({})))
        .await
        .read();
    let path = format!("/v1/invites/{}", link.token);
    let view = world.call(&nobody(), "GET", &path, None).await.json();
    let code = totp_code(view["totp_secret"].as_str().expect("a secret"), world.now());
    let body = json!({"password": PASSWORD, "code": code});
    for _ in 0..2 {
        let answer = world
            .call_as(&nobody(), "POST", &path, Some(body.clone()), Some(ID))
            .await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    assert_eq!(world.events("user.invite.accept").len(), 1);
    let other = "1c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a";
    world
        .call_as(&nobody(), "POST", &path, Some(body), Some(other))
        .await
        .refused(403, "refused");
    let auth = state::local_auth(
        world.cluster.api().consensus.kv().as_ref(),
        &Name::parse("alice").expect("a name"),
    );
    assert!(
        auth.expect("memory")
            .is_some_and(|auth| auth.password_hash.starts_with("$argon2id$"))
    );
}

#[tokio::test]
async fn a_reset_voids_the_old_password_and_the_certificates_that_are_out() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let old = world.enrol("alice").await;
    let (_, peer) = world.logged_in("alice", &old).await;
    assert_eq!(world.call(&peer, "GET", "/v1/whoami", None).await.status, 200);
    world.cluster.node.pass(Duration::from_secs(30));
    let link: InviteLink = world
        .call(&operator(), "POST", "/v1/users/alice/invites", Some(json!({})))
        .await
        .read();
    let path = format!("/v1/invites/{}", link.token);
    let view = world.call(&nobody(), "GET", &path, None).await.json();
    let code = world.code(view["totp_secret"].as_str().expect("a secret"));
    let body = json!({"password": "another password", "code": code});
    assert_eq!(world.call(&nobody(), "POST", &path, Some(body)).await.status, 204);
    world.cluster.node.pass(Duration::from_secs(30));
    world
        .login("alice", PASSWORD, &world.code(&old))
        .await
        .refused(401, "unauthenticated");
    let keys = keys();
    let renew = json!({"ssh_public_key": keys.ssh, "tls_public_key": keys.tls});
    for (method, path, body) in [
        ("GET", "/v1/whoami", None),
        ("GET", "/v1/records/user/alice", None),
        ("POST", "/v1/certs", Some(renew)),
    ] {
        let answer = world.call(&peer, method, path, body).await;
        answer.refused(401, "unauthenticated");
        assert!(
            answer.text().contains("before your password was set"),
            "{}",
            answer.text()
        );
    }
    assert!(world.events("api.refused").len() >= 3);
}

#[tokio::test]
async fn bad_logins_are_turned_away_before_they_cost_anything() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let before = world.cluster.node.proposals();
    for long in [1025, 1_000_000, 2_000_000] {
        world
            .login("alice", &"x".repeat(long), "000000")
            .await
            .refused(413, "too_large");
    }
    let good = keys();
    for (ssh, tls) in [
        ("garbage", good.tls.as_str()),
        (good.ssh.as_str(), "garbage"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACBAP", good.tls.as_str()),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", good.tls.as_str()),
    ] {
        let body = json!({
            "user": "alice", "password": PASSWORD, "code": "000000", "ssh_public_key": ssh, "tls_public_key": tls,
        });
        world
            .call(&nobody(), "POST", "/v1/login", Some(body))
            .await
            .refused(400, "invalid");
    }
    assert_eq!(world.cluster.node.proposals(), before);
}

#[tokio::test]
async fn tries_from_one_address_are_limited() {
    let mut cluster = MemoryCluster::new();
    cluster.config.login_rate = Rate {
        burst: 3.0,
        per_second: 0.001,
    };
    cluster.config.token_rate = cluster.config.login_rate;
    let world = World::of(cluster);
    for _ in 0..3 {
        world
            .login("nobody", PASSWORD, "000000")
            .await
            .refused(401, "unauthenticated");
        world
            .call(&nobody(), "GET", "/v1/invites/x", None)
            .await
            .refused(403, "refused");
    }
    let answer = world.login("nobody", PASSWORD, "000000").await;
    answer.refused(429, "rate_limited");
    assert!(answer.headers.contains_key("retry-after"));
    world
        .call(&nobody(), "GET", "/v1/invites/x", None)
        .await
        .refused(429, "rate_limited");
}

#[tokio::test]
async fn without_a_quorum_nobody_logs_in() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    world
        .cluster
        .node
        .break_with(Some(Unavailable::NoQuorum("no leader".into())));
    let answer = world.login("alice", PASSWORD, &world.code(&secret)).await;
    answer.refused(503, "unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    world
        .cluster
        .node
        .break_with(Some(Unavailable::Unknown("lost".into())));
    world
        .login("alice", PASSWORD, &world.code(&secret))
        .await
        .refused(503, "unknown_outcome");
    world.cluster.node.break_with(None);
    assert_eq!(
        world.login("alice", PASSWORD, &world.code(&secret)).await.status,
        200
    );
}

#[tokio::test]
async fn secrets_reach_neither_the_audit_log_nor_the_state_in_clear() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    world.logged_in("alice", &secret).await;
    let raw = data_encoding::BASE32_NOPAD
        .decode(secret.as_bytes())
        .expect("base32");
    let stored = world
        .cluster
        .node
        .kv()
        .scan(b"", None, usize::MAX, false)
        .expect("memory");
    for (key, value) in stored {
        for needle in [PASSWORD.as_bytes(), secret.as_bytes(), &raw] {
            let found = value.windows(needle.len()).any(|part| part == needle);
            assert!(
                !found,
                "a secret is kept under {:?}",
                String::from_utf8_lossy(&key)
            );
        }
    }
}
