//! Recovery codes and new authenticators: each code stands once for the authenticator's, and only whoever has just shown who
//! they are gets new ones.

use crate::browser::Browser;
use crate::support::{PASSWORD, World, nobody, operator};
use palisade_core::api::{InviteLink, InviteView, RecoveryCodes, SecondFactors, TotpChallenge};
use palisade_core::name::Name;
use palisade_core::ports::Consensus;
use palisade_core::state;
use palisade_web::testing::totp_code;
use serde_json::json;
use std::time::Duration;

/// The world, somebody's TOTP secret, and the codes that their invite showed.
async fn alice() -> (World, String, Vec<String>) {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let link: InviteLink = world
        .call(&operator(), "POST", "/v1/users/alice/invites", Some(json!({})))
        .await
        .read();
    let path = format!("/v1/invites/{}", link.token);
    let view: InviteView = world.call(&nobody(), "GET", &path, None).await.read();
    let shown: RecoveryCodes = world
        .call(&nobody(), "GET", &format!("{path}/recovery"), None)
        .await
        .read();
    let code = totp_code(&view.totp_secret, world.now());
    let body = json!({"password": PASSWORD, "code": code});
    assert_eq!(world.call(&nobody(), "POST", &path, Some(body)).await.status, 204);
    // Shown as long as the invite is good, and no longer.
    let after = world
        .call(&nobody(), "GET", &format!("{path}/recovery"), None)
        .await;
    after.refused(403, "refused");
    world.cluster.node.pass(Duration::from_secs(30));
    (world, view.totp_secret, shown.codes)
}

async fn left(world: &World, browser: &Browser) -> u32 {
    let factors: SecondFactors = world.by(browser, "GET", "/v1/mfa", None).await.read();
    assert_eq!((factors.totp, factors.recovery_of), (true, 10));
    factors.recovery_left
}

#[tokio::test]
async fn a_recovery_code_logs_in_once_wherever_it_is_typed() {
    let (world, secret, codes) = alice().await;
    assert_eq!(codes.len(), 10);
    assert_eq!(world.login("alice", PASSWORD, &codes[0]).await.status, 200);
    let event = world.events("user.login").pop().expect("audited");
    assert_eq!(event.data["method"], "password+recovery");
    assert_eq!(event.data["recovery_codes_left"], "9");
    // However it is typed, at whichever door.
    let again = codes[0].to_uppercase().replace('-', " ");
    world
        .login("alice", PASSWORD, &again)
        .await
        .refused(401, "unauthenticated");
    let refused = world.events("user.login.refused").pop().expect("audited");
    assert!(refused.message.contains("used before"), "{}", refused.message);
    let body = json!({"user": "alice", "password": PASSWORD, "code": codes[0]});
    let web = world.call(&nobody(), "POST", "/v1/web/login", Some(body)).await;
    web.refused(401, "unauthenticated");
    let body = json!({"user": "alice", "password": PASSWORD, "code": codes[1].replace('-', "")});
    let web = world.call(&nobody(), "POST", "/v1/web/login", Some(body)).await;
    assert_eq!(web.status, 200, "{}", web.text());
    let browser = world.browser("alice", &secret).await;
    assert_eq!(left(&world, &browser).await, 8);
    // The password is still asked for, and a wrong one uses nothing up.
    world
        .login("alice", "wrong", &codes[2])
        .await
        .refused(401, "unauthenticated");
    assert_eq!(left(&world, &browser).await, 8);
}

#[tokio::test]
async fn wrong_recovery_codes_lock_out_like_wrong_codes() {
    let (world, _, codes) = alice().await;
    for _ in 0..5 {
        world
            .login("alice", PASSWORD, "aaaaa-aaaaa")
            .await
            .refused(401, "unauthenticated");
    }
    world
        .login("alice", PASSWORD, &codes[0])
        .await
        .refused(401, "unauthenticated");
    assert_eq!(world.events("user.lockout").len(), 1);
}

#[tokio::test]
async fn new_codes_need_a_confirmation_and_make_the_older_void() {
    let (world, secret, codes) = alice().await;
    let browser = world.browser("alice", &secret).await;
    world.cluster.node.pass(Duration::from_secs(6 * 60));
    for path in ["/v1/web/recovery", "/v1/web/totp/begin"] {
        let late = world.by(&browser, "POST", path, None).await;
        late.refused(403, "confirm");
    }
    let body = json!({"password": PASSWORD, "code": world.code(&secret)});
    let sure = world.by(&browser, "POST", "/v1/web/confirm", Some(body)).await;
    assert_eq!(sure.status, 204, "{}", sure.text());
    let made: RecoveryCodes = world.by(&browser, "POST", "/v1/web/recovery", None).await.read();
    assert!(made.codes.iter().all(|code| !codes.contains(code)));
    assert_eq!(world.events("user.recovery").len(), 1);
    world
        .login("alice", PASSWORD, &codes[5])
        .await
        .refused(401, "unauthenticated");
    assert_eq!(world.login("alice", PASSWORD, &made.codes[5]).await.status, 200);
    assert_eq!(left(&world, &browser).await, 9);
    // A certificate changes no credentials, whoever holds it.
    let alice = world.user("alice");
    for path in ["/v1/web/recovery", "/v1/web/totp/begin"] {
        world
            .call(&alice, "POST", path, None)
            .await
            .refused(403, "refused");
    }
    let factors: SecondFactors = world.call(&alice, "GET", "/v1/mfa", None).await.read();
    assert_eq!(factors.recovery_left, 9);
}

#[tokio::test]
async fn a_recovery_code_confirms_and_is_used_up_by_it() {
    let (world, secret, codes) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let body = json!({"password": PASSWORD, "code": codes[3]});
    let sure = world
        .by(&browser, "POST", "/v1/web/confirm", Some(body.clone()))
        .await;
    assert_eq!(sure.status, 204, "{}", sure.text());
    let again = world.by(&browser, "POST", "/v1/web/confirm", Some(body)).await;
    again.refused(403, "refused");
    assert_eq!(left(&world, &browser).await, 9);
}

#[tokio::test]
async fn a_new_authenticator_proves_itself_before_the_older_goes() {
    let (world, secret, codes) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let begun: TotpChallenge = world
        .by(&browser, "POST", "/v1/web/totp/begin", None)
        .await
        .read();
    assert_ne!(begun.totp_secret, secret);
    let finish = |id: &str, code: String| json!({"id": id, "code": code});
    // A code of the old one proves nothing of the new one.
    let old = world.code(&secret);
    let wrong = world
        .by(
            &browser,
            "POST",
            "/v1/web/totp/finish",
            Some(finish(&begun.id, old)),
        )
        .await;
    wrong.refused(400, "invalid");
    let code = world.code(&begun.totp_secret);
    let other = world.browser("alice", &secret).await;
    // Another session of hers began nothing.
    let foreign = world
        .by(
            &other,
            "POST",
            "/v1/web/totp/finish",
            Some(finish(&begun.id, code)),
        )
        .await;
    foreign.refused(400, "invalid");
    for id in ["", "x", &"x".repeat(20_000)] {
        let no = world
            .by(
                &browser,
                "POST",
                "/v1/web/totp/finish",
                Some(finish(id, "000000".into())),
            )
            .await;
        no.refused(400, "invalid");
    }
    let code = world.code(&begun.totp_secret);
    let made: RecoveryCodes = world
        .by(
            &browser,
            "POST",
            "/v1/web/totp/finish",
            Some(finish(&begun.id, code)),
        )
        .await
        .read();
    assert_eq!(world.events("user.totp").len(), 1);
    world.cluster.node.pass(Duration::from_secs(30));
    world
        .login("alice", PASSWORD, &world.code(&secret))
        .await
        .refused(401, "unauthenticated");
    world
        .login("alice", PASSWORD, &codes[0])
        .await
        .refused(401, "unauthenticated");
    let new = world.code(&begun.totp_secret);
    assert_eq!(world.login("alice", PASSWORD, &new).await.status, 200);
    assert_eq!(world.login("alice", PASSWORD, &made.codes[0]).await.status, 200);
}

#[tokio::test]
async fn no_recovery_code_is_kept_anywhere() {
    let (world, secret, codes) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let made: RecoveryCodes = world.by(&browser, "POST", "/v1/web/recovery", None).await.read();
    assert_eq!(world.login("alice", PASSWORD, &made.codes[0]).await.status, 200);
    let kv = world.cluster.node.kv();
    let pairs = kv.scan(b"", None, usize::MAX, false).expect("the state");
    for code in codes.iter().chain(&made.codes) {
        for text in [code.clone(), code.replace('-', "")] {
            let held = pairs
                .iter()
                .any(|(_, bytes)| bytes.windows(text.len()).any(|piece| piece == text.as_bytes()));
            assert!(!held, "a recovery code is in the state");
        }
    }
    let auth = state::local_auth(kv.as_ref(), &Name::parse("alice").expect("a name"));
    let auth = auth.expect("the state").expect("alice");
    assert_eq!((auth.recovery_set, auth.recovery_left()), (2, 9));
    assert!(!format!("{made:?}").contains(&made.codes[0]));
}

#[tokio::test]
async fn a_passkey_that_is_none_is_refused_beside_a_password_too() {
    let (world, secret, _) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let answer = json!({"id": "x", "credential": {}});
    let body = json!({"user": "alice", "password": PASSWORD, "passkey": answer});
    let login = world.call(&nobody(), "POST", "/v1/web/login", Some(body)).await;
    login.refused(400, "invalid");
    for password in ["", PASSWORD] {
        let body = json!({"password": password, "passkey": answer});
        let sure = world.by(&browser, "POST", "/v1/web/confirm", Some(body)).await;
        sure.refused(400, "invalid");
    }
}
