//! Sessions of browsers: what the cookie gives, what it does not, and how it ends.

use crate::support::{Answer, PASSWORD, World, nobody, operator};
use axum::body::Body;
use axum::http::Request;
use palisade_core::api::{BrowserSession, BrowserSessions, LintReply, RoleExplained};
use palisade_core::name::Name;
use palisade_core::ports::Consensus;
use palisade_core::state;
use palisade_web::testing::MemoryCluster;
use serde_json::{Value, json};
use std::time::Duration;

/// A browser that logged in.
pub(crate) struct Browser {
    pub(crate) cookie: String,
    pub(crate) page: BrowserSession,
}

impl World {
    pub(crate) async fn browse(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            None => Body::empty(),
            Some(json) => {
                request = request.header("content-type", "application/json");
                Body::from(json.to_string())
            }
        };
        self.send(&nobody(), request.body(body).expect("a request")).await
    }

    pub(crate) async fn by(
        &self,
        browser: &Browser,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let headers = [
            ("cookie", browser.cookie.as_str()),
            ("x-palisade-csrf", browser.page.csrf.as_str()),
        ];
        self.browse(method, path, &headers, body).await
    }

    async fn try_web(&self, user: &str, password: &str, code: &str) -> Answer {
        let body = json!({"user": user, "password": password, "code": code});
        let agent = [(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0",
        )];
        self.browse("POST", "/v1/web/login", &agent, Some(body)).await
    }

    pub(crate) async fn browser(&self, user: &str, secret: &str) -> Browser {
        let answer = self.try_web(user, PASSWORD, &self.code(secret)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        // The next login needs another code.
        self.cluster.node.pass(Duration::from_secs(30));
        let cookie = answer.headers["set-cookie"].to_str().expect("text").to_owned();
        for attribute in [
            "__Host-palisade=",
            "; Secure",
            "; HttpOnly",
            "; SameSite=Strict",
            "; Path=/",
        ] {
            assert!(cookie.contains(attribute), "{attribute} is not in {cookie}");
        }
        assert!(!cookie.to_lowercase().contains("domain"));
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        Browser {
            cookie,
            page: answer.read(),
        }
    }
}

async fn alice() -> (World, String) {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let secret = world.enrol("alice").await;
    (world, secret)
}

#[tokio::test]
async fn a_browser_logs_in_acts_and_logs_out() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    assert_eq!(
        (browser.page.user.as_str(), browser.page.cluster.as_str()),
        ("alice", "demo")
    );
    assert_eq!(browser.page.may["user"]["create"], "");
    let again: BrowserSession = world.by(&browser, "GET", "/v1/web/session", None).await.read();
    assert_eq!(
        (&again.id, &again.csrf, &again.resume),
        (&browser.page.id, &browser.page.csrf, &browser.page.resume)
    );
    let lock = json!({"kind": "lock", "metadata": {"name": "l"}, "spec": {"target": {"login": "nobody"}}});
    let made = world.by(&browser, "POST", "/v1/records/lock", Some(lock)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let event = world.events("record.create").pop().expect("audited");
    assert_eq!((event.user.as_str(), event.addr.as_str()), ("alice", "192.0.2.7"));
    let login = world.events("user.login").pop().expect("audited");
    assert_eq!(login.data["method"], "password+totp");
    let list: BrowserSessions = world.by(&browser, "GET", "/v1/web/sessions", None).await.read();
    assert_eq!(list.items.len(), 1);
    assert!(list.items[0].current);
    assert_eq!(list.items[0].agent, "Firefox on Linux");
    let out = world.by(&browser, "POST", "/v1/web/logout", None).await;
    assert_eq!(out.status, 204);
    assert!(
        out.headers["set-cookie"]
            .to_str()
            .is_ok_and(|cookie| cookie.contains("Max-Age=0"))
    );
    world
        .by(&browser, "GET", "/v1/web/session", None)
        .await
        .refused(401, "unauthenticated");
    assert_eq!(world.events("user.logout").len(), 1);
}

#[tokio::test]
async fn without_the_pages_own_header_nothing_changes() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let other = world.browser("alice", &secret).await;
    let lock = json!({"kind": "lock", "metadata": {"name": "l"}, "spec": {"target": {"login": "nobody"}}});
    let cookie = ("cookie", browser.cookie.as_str());
    for headers in [
        vec![cookie],
        vec![cookie, ("x-palisade-csrf", "")],
        vec![cookie, ("x-palisade-csrf", other.page.csrf.as_str())],
    ] {
        for (method, path, body) in [
            ("POST", "/v1/records/lock", Some(lock.clone())),
            ("DELETE", "/v1/records/role/access", None),
            ("POST", "/v1/web/logout", None),
            (
                "PUT",
                "/v1/web/password",
                Some(json!({"password": "another password"})),
            ),
        ] {
            let answer = world.browse(method, path, &headers, body).await;
            answer.refused(403, "refused");
        }
    }
    // Reading needs none, and a request of another site is refused whatever it carries.
    assert_eq!(
        world.browse("GET", "/v1/whoami", &[cookie], None).await.status,
        200
    );
    let foreign = [cookie, ("sec-fetch-site", "cross-site")];
    world
        .browse("GET", "/v1/whoami", &foreign, None)
        .await
        .refused(403, "refused");
}

#[tokio::test]
async fn only_the_whole_cookie_opens_a_session() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let (id, rest) = browser.cookie.split_once('.').expect("two parts");
    let resume = browser.page.resume.clone();
    let (_, page) = resume.split_once('.').expect("two parts");
    for cookie in [
        format!("{id}."),
        format!("{id}.{}", &rest[1..]),
        format!("{id}.{page}"),
        format!("__Host-palisade={}.{rest}", "0".repeat(32)),
        format!("__Host-palisade=../auth/alice.{rest}"),
        browser.cookie.replace("__Host-", ""),
    ] {
        let answer = world
            .browse("GET", "/v1/whoami", &[("cookie", &cookie)], None)
            .await;
        answer.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_session_ends_by_time_by_idleness_by_a_lock_and_by_a_reset() {
    let (world, secret) = alice().await;
    let minutes = |n: u64| Duration::from_secs(n * 60);
    let whoami = async |browser: &Browser| world.by(browser, "GET", "/v1/whoami", None).await;
    // Used now and then, it lives as long as it may; unused for an hour, it does not.
    let used = world.browser("alice", &secret).await;
    for _ in 0..6 {
        world.cluster.node.pass(minutes(50));
        assert_eq!(whoami(&used).await.status, 200);
        tokio::task::yield_now().await;
    }
    world.cluster.node.pass(minutes(61));
    whoami(&used).await.refused(401, "unauthenticated");
    // However much it is used, its time comes.
    let long = world.browser("alice", &secret).await;
    while world.now() < long.page.expires {
        assert_eq!(whoami(&long).await.status, 200);
        tokio::task::yield_now().await;
        world.cluster.node.pass(minutes(30));
    }
    whoami(&long).await.refused(401, "unauthenticated");
    // A lock.
    let locked = world.browser("alice", &secret).await;
    world
        .cluster
        .node
        .write("kind: lock\nmetadata: {name: l}\nspec: {target: {user: alice}, message: gone}\n");
    whoami(&locked).await.refused(403, "locked");
    let delete = world
        .call(&operator(), "DELETE", "/v1/records/lock/l", None)
        .await;
    assert_eq!(delete.status, 204);
    // A reset.
    let before = world.browser("alice", &secret).await;
    assert_eq!(whoami(&before).await.status, 200);
    let secret = world.enrol("alice").await;
    whoami(&before).await.refused(401, "unauthenticated");
    // Removing the user.
    let last = world.browser("alice", &secret).await;
    let delete = world
        .call(&operator(), "DELETE", "/v1/records/user/alice", None)
        .await;
    assert_eq!(delete.status, 204);
    world.add_user("alice", "admin", "root");
    whoami(&last).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn every_login_makes_a_new_session_and_the_oldest_go() {
    let (world, secret) = alice().await;
    let first = world.browser("alice", &secret).await;
    let mut last = world.browser("alice", &secret).await;
    assert_ne!(
        first.cookie, last.cookie,
        "a login keeps no session that was there before"
    );
    for _ in 2..state::BROWSER_SESSIONS_MAX + 3 {
        last = world.browser("alice", &secret).await;
    }
    let list: BrowserSessions = world.by(&last, "GET", "/v1/web/sessions", None).await.read();
    assert_eq!(list.items.len(), state::BROWSER_SESSIONS_MAX);
    assert_eq!(list.items[0].id, last.page.id);
    world
        .by(&first, "GET", "/v1/whoami", None)
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn one_ends_only_ones_own_sessions() {
    let (world, secret) = alice().await;
    world.add_user("bob", "admin", "root");
    let bobs = world.enrol("bob").await;
    let (here, there) = (
        world.browser("alice", &secret).await,
        world.browser("alice", &secret).await,
    );
    let bob = world.browser("bob", &bobs).await;
    let path = |browser: &Browser| format!("/v1/web/sessions/{}", browser.page.id);
    world
        .by(&bob, "DELETE", &path(&there), None)
        .await
        .refused(404, "not_found");
    assert_eq!(world.by(&here, "DELETE", &path(&there), None).await.status, 204);
    world
        .by(&there, "GET", "/v1/whoami", None)
        .await
        .refused(401, "unauthenticated");
    assert_eq!(world.by(&here, "GET", "/v1/whoami", None).await.status, 200);
    world
        .by(&here, "DELETE", &path(&there), None)
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_password_is_changed_only_by_who_has_just_shown_that_they_know_it() {
    let (world, secret) = alice().await;
    let (here, there) = (
        world.browser("alice", &secret).await,
        world.browser("alice", &secret).await,
    );
    let (certificates, peer) = world.logged_in("alice", &secret).await;
    assert!(!certificates.ssh_certificate.is_empty());
    world.cluster.node.pass(Duration::from_secs(600));
    let new = json!({"password": "a new and longer password"});
    world
        .by(&here, "PUT", "/v1/web/password", Some(new.clone()))
        .await
        .refused(403, "confirm");
    let wrong = json!({"password": "not it", "code": world.code(&secret)});
    world
        .by(&here, "POST", "/v1/web/confirm", Some(wrong))
        .await
        .refused(403, "refused");
    world
        .by(&here, "PUT", "/v1/web/password", Some(new.clone()))
        .await
        .refused(403, "confirm");
    let right = json!({"password": PASSWORD, "code": world.code(&secret)});
    let confirmed = world
        .by(&here, "POST", "/v1/web/confirm", Some(right.clone()))
        .await;
    assert_eq!(confirmed.status, 204, "{}", confirmed.text());
    // A code works once, here as well.
    world
        .by(&here, "POST", "/v1/web/confirm", Some(right))
        .await
        .refused(403, "refused");
    let short = json!({"password": "short"});
    world
        .by(&here, "PUT", "/v1/web/password", Some(short))
        .await
        .refused(400, "invalid");
    // Confirmed in one browser is not confirmed in another.
    world.cluster.node.pass(Duration::from_secs(1));
    let set = world
        .by(&here, "PUT", "/v1/web/password", Some(new.clone()))
        .await;
    assert_eq!(set.status, 204, "{}", set.text());
    assert_eq!(world.by(&here, "GET", "/v1/whoami", None).await.status, 200);
    world
        .by(&there, "GET", "/v1/whoami", None)
        .await
        .refused(401, "unauthenticated");
    world
        .call(&peer, "GET", "/v1/whoami", None)
        .await
        .refused(401, "unauthenticated");
    world.cluster.node.pass(Duration::from_secs(30));
    world
        .try_web("alice", PASSWORD, &world.code(&secret))
        .await
        .refused(401, "unauthenticated");
    let code = world.code(&secret);
    assert_eq!(
        world
            .try_web("alice", "a new and longer password", &code)
            .await
            .status,
        200
    );
    assert_eq!(world.events("user.password").len(), 1);
    let all = format!("{:?}", world.cluster.node.events());
    assert!(!all.contains("longer password"), "a password is in the audit log");
}

#[tokio::test]
async fn wrong_logins_answer_alike_count_and_lock_out() {
    let (world, secret) = alice().await;
    let answers = [
        world.try_web("alice", "wrong", &world.code(&secret)).await,
        world.try_web("alice", PASSWORD, "000000").await,
        world.try_web("nobody", PASSWORD, "000000").await,
        world.try_web("../alice", PASSWORD, "").await,
    ];
    for answer in &answers {
        answer.refused(401, "unauthenticated");
        assert_eq!(answer.text(), answers[0].text());
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    for _ in 0..8 {
        world
            .try_web("alice", "wrong", "000000")
            .await
            .refused(401, "unauthenticated");
    }
    world
        .try_web("alice", PASSWORD, &world.code(&secret))
        .await
        .refused(401, "unauthenticated");
    assert_eq!(world.events("user.lockout").len(), 1);
}

#[tokio::test]
async fn a_session_gives_no_certificates_and_is_known_at_every_node() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let keys = crate::support::keys();
    let body = json!({"ssh_public_key": keys.ssh, "tls_public_key": keys.tls});
    world
        .by(&browser, "POST", "/v1/certs", Some(body))
        .await
        .refused(403, "refused");
    let other = World {
        router: palisade_web::router(world.cluster.api()),
        cluster: MemoryCluster::new(),
    };
    assert_eq!(other.by(&browser, "GET", "/v1/whoami", None).await.status, 200);
}

#[tokio::test]
async fn nothing_that_opens_a_session_is_kept() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let (_, secret) = browser.cookie.split_once('.').expect("two parts");
    let all = world
        .cluster
        .node
        .kv()
        .scan(b"", None, usize::MAX, false)
        .expect("the state");
    for (key, value) in all {
        let text = String::from_utf8_lossy(&value).into_owned() + &String::from_utf8_lossy(&key);
        assert!(
            !text.contains(secret) && !text.contains(&browser.page.csrf),
            "{key:?} holds a secret"
        );
    }
    assert!(!format!("{:?}", browser.page).contains(&browser.page.csrf));
    let sessions = state::browser_sessions(
        world.cluster.node.kv().as_ref(),
        &Name::parse("alice").expect("a name"),
    );
    assert_eq!(sessions.expect("readable").len(), 1);
}

#[tokio::test]
async fn a_texts_faults_are_named_with_their_place_and_the_nearest_right_name() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let lint = async |text: &str| -> LintReply {
        world
            .by(&browser, "POST", "/v1/lint", Some(json!({"text": text})))
            .await
            .read()
    };
    let good = lint("kind: role\nmetadata: {name: r}\nspec: {allow: {logins: [dev]}}\n").await;
    assert!(good.faults.is_empty(), "{good:?}");
    assert_eq!((good.kind.as_str(), good.name.as_str()), ("role", "r"));
    let unknown = lint("kind: role\nmetadata: {name: r}\nspec:\n  allow:\n    login: [dev]\n").await;
    let fault = &unknown.faults[0];
    assert_eq!(
        (fault.line, fault.column, fault.hint.as_str()),
        (5, 5, "logins"),
        "{fault:?}"
    );
    let missing = lint("kind: user\nmetadata: {name: u}\nspec:\n  roles: [admn]\n").await;
    let fault = &missing.faults[0];
    assert_eq!((fault.line, fault.hint.as_str()), (4, "admin"), "{fault:?}");
    let over = lint("kind: role\nmetadata:\n  name: r\n  expires: 2001-01-01T00:00:00Z\nspec: {}\n").await;
    assert_eq!(over.faults[0].line, 4, "{over:?}");
    let two =
        lint("kind: role\nmetadata: {name: a}\nspec: {}\n---\nkind: role\nmetadata: {name: b}\nspec: {}\n")
            .await;
    assert_eq!(two.faults[0].line, 5, "{two:?}");
    // All at once, in the order of the text, each with its place.
    let several = lint(
        "kind: role\nmetadata: {name: r}\nspec:\n  optoins: {}\n  allow:\n    host_labels: {env: '^($'}\n    rules:\n      - {resources: [role], verbs: [reed]}\n",
    )
    .await;
    let found: Vec<_> = several
        .faults
        .iter()
        .map(|fault| (fault.line, fault.column, fault.hint.as_str()))
        .collect();
    assert_eq!(
        found,
        [(4, 3, "options"), (6, 24, ""), (8, 37, "read")],
        "{several:?}"
    );
    let both = lint("kind: user\nmetadata:\n  name: u\n  expires: 2001-01-01T00:00:00Z\nspec:\n  roles: [admin, admn, rader]\n").await;
    let found: Vec<_> = both
        .faults
        .iter()
        .map(|fault| (fault.line, fault.column))
        .collect();
    assert_eq!(found, [(4, 12), (6, 18), (6, 24)], "{both:?}");
    for text in ["", "kind: nothing", ": : :", "[1, 2", "a: &a [*a]"] {
        assert!(!lint(text).await.faults.is_empty(), "{text:?}");
    }
    let roles: Value = world
        .call(&operator(), "GET", "/v1/records/role", None)
        .await
        .json();
    assert!(!roles.to_string().contains("\"r\""), "nothing was written");
}

#[tokio::test]
async fn a_role_is_explained_before_it_is_saved() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    world.cluster.node.write(
        "kind: role\nmetadata: {name: dev}\nspec: {allow: {logins: [dev], host_labels: {env: test}}}\n---\n\
         kind: user\nmetadata: {name: bob}\nspec: {roles: [dev]}\n---\n\
         kind: host\nmetadata: {name: t1, labels: {env: test}}\nspec: {addr: '10.0.0.1:22'}\n---\n\
         kind: host\nmetadata: {name: p1, labels: {env: prod}}\nspec: {addr: '10.0.0.2:22'}\n",
    );
    let text =
        "kind: role\nmetadata: {name: dev}\nspec: {allow: {logins: [dev], host_labels: {env: prod}}}\n";
    let explained: RoleExplained = world
        .by(&browser, "POST", "/v1/roles/explain", Some(json!({"text": text})))
        .await
        .read();
    assert!(explained.exists && !explained.cut);
    assert_eq!(
        (explained.users.as_slice(), explained.pairs),
        (&["bob".to_owned()][..], 2)
    );
    let names = |list: &[palisade_core::api::Reaches]| -> Vec<String> {
        list.iter()
            .map(|r| format!("{}@{} {}", r.user, r.host, r.logins.join(",")))
            .collect()
    };
    assert_eq!(names(&explained.gained), ["bob@p1 dev"]);
    assert_eq!(names(&explained.lost), ["bob@t1 dev"]);
    assert_eq!(names(&explained.reach), ["bob@p1 dev"]);
    let not_a_role = json!({"text": "kind: lock\nmetadata: {name: l}\nspec: {target: {user: a}}\n"});
    world
        .by(&browser, "POST", "/v1/roles/explain", Some(not_a_role))
        .await
        .refused(400, "invalid");
}

#[tokio::test]
async fn the_audit_log_says_whether_it_is_whole_and_is_given_out_as_asked() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let state: palisade_core::api::AuditState =
        world.by(&browser, "GET", "/v1/audit/state", None).await.read();
    assert!(
        !state.verified && state.signed == 0 && state.events > 0,
        "{state:?}"
    );
    let lines = world
        .by(&browser, "GET", "/v1/audit/download?event=user.login", None)
        .await;
    assert_eq!(lines.status, 200);
    let first: Value = serde_json::from_str(lines.text().lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["event"]["event"], "user.login");
    let csv = world
        .by(
            &browser,
            "GET",
            "/v1/audit/download?format=csv&event=user.login",
            None,
        )
        .await
        .text();
    assert!(
        csv.starts_with("seq,code,event,") && csv.contains("PL100I,user.login,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 2, "{csv}");
    world
        .by(&browser, "GET", "/v1/audit/download?format=pdf", None)
        .await
        .refused(400, "invalid");
}

#[tokio::test]
async fn a_passkey_needs_a_confirmation_a_name_and_a_challenge_of_ours() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    let headers = |host: &'static str| {
        [
            ("cookie", browser.cookie.clone()),
            ("x-palisade-csrf", browser.page.csrf.clone()),
            ("host", host.to_owned()),
        ]
    };
    let begin = async |host: &'static str| {
        let headers = headers(host);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        world
            .browse("POST", "/v1/web/passkeys/begin", &headers, None)
            .await
    };
    // A login is a confirmation, for its first minutes.
    let begun = begin("n1.example:3080").await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let challenge = begun.json();
    assert_eq!(challenge["options"]["rp"]["id"], "n1.example");
    assert_eq!(
        challenge["options"]["authenticatorSelection"]["userVerification"],
        "required"
    );
    assert_eq!(
        challenge["options"]["authenticatorSelection"]["residentKey"],
        "required"
    );
    for host in ["192.0.2.1:3080", "", "[::1]:3080"] {
        begin(host).await.refused(400, "invalid");
    }
    world.cluster.node.pass(Duration::from_secs(301));
    begin("n1.example:3080").await.refused(403, "confirm");
    // Neither what is no challenge, nor one of a login, nor one that is too old is taken.
    let login = world
        .browse(
            "POST",
            "/v1/web/passkeys/login/begin",
            &[("host", "n1.example")],
            None,
        )
        .await
        .json();
    assert!(
        login["options"]["allowCredentials"]
            .as_array()
            .is_none_or(Vec::is_empty)
    );
    for id in [
        json!("x"),
        json!(""),
        login["id"].clone(),
        challenge["id"].clone(),
    ] {
        let body = json!({"id": id, "name": "key", "credential": {}});
        world
            .by(&browser, "POST", "/v1/web/passkeys/finish", Some(body))
            .await
            .refused(400, "invalid");
    }
    let body = json!({"id": challenge["id"], "credential": {}});
    world
        .browse("POST", "/v1/web/passkeys/login/finish", &[], Some(body))
        .await
        .refused(400, "invalid");
    // With a domain of the cluster's, every name below it has the same passkeys, and no other name has any.
    world.cluster.node.write(
        "kind: cluster_auth_preference\nmetadata: {name: cluster-auth-preference}\nspec: {rp_id: example.com}\n",
    );
    for (host, rp_id) in [
        ("n1.example.com:3080", Some("example.com")),
        ("n1.example.org", None),
        ("example.com.evil.org", None),
    ] {
        let begun = world
            .browse("POST", "/v1/web/passkeys/login/begin", &[("host", host)], None)
            .await;
        match rp_id {
            Some(rp_id) => assert_eq!(begun.json()["options"]["rpId"], rp_id, "{host}"),
            None => begun.refused(400, "invalid"),
        }
    }
    // Where the cluster takes none, there are none.
    world.cluster.node.write(
        "kind: cluster_auth_preference\nmetadata: {name: cluster-auth-preference}\nspec: {passkeys: false}\n",
    );
    world
        .browse(
            "POST",
            "/v1/web/passkeys/login/begin",
            &[("host", "n1.example")],
            None,
        )
        .await
        .refused(403, "refused");
    let other = json!({"items": []});
    assert_eq!(
        world.by(&browser, "GET", "/v1/web/passkeys", None).await.json(),
        other
    );
}

#[tokio::test]
async fn a_session_that_roles_pin_to_an_address_works_from_there_alone() {
    let (world, secret) = alice().await;
    let browser = world.browser("alice", &secret).await;
    world.cluster.node.write(
        "kind: role\nmetadata: {name: pinned}\nspec: {options: {pin_source_ip: true}}\n---\n\
         kind: user\nmetadata: {name: alice}\nspec: {roles: [admin, pinned], traits: {logins: [root]}}\n",
    );
    let from = async |addr: &str| {
        let peer = palisade_web::Peer::nobody(Some(addr.parse().expect("an address")));
        let request = Request::builder()
            .uri("/v1/whoami")
            .header("cookie", &browser.cookie)
            .body(Body::empty());
        world.send(&peer, request.expect("a request")).await
    };
    assert_eq!(from("192.0.2.7").await.status, 200);
    assert_eq!(from("::ffff:192.0.2.7").await.status, 200);
    from("192.0.2.8").await.refused(401, "unauthenticated");
    from("2001:db8::7").await.refused(401, "unauthenticated");
}
