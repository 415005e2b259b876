//! Who may take part in another's session, and who has to, as tables.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use palisade_core::access::{
    Ability, Ask, Credential, JoinAsk, Moderation, Refusal, View, check_grant, decide, decide_join,
};
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::pass::{Claims, Pass};
use palisade_core::record::{
    HostSpec, JoinMode, LockSpec, OnLeave, Record, RecordingSite, RoleSpec, Spec, UserSpec, parse_records,
};
use palisade_core::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const SESSION: &str = "0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a";

fn one<S: Spec>(yaml: &str) -> Record<S> {
    S::from_any(parse_records(yaml).unwrap().remove(0)).unwrap()
}

fn role(name: &str, spec: &str) -> Record<RoleSpec> {
    one(&format!("kind: role\nmetadata: {{name: {name}}}\nspec: {spec}\n"))
}

fn view(name: &str, roles: &[Record<RoleSpec>]) -> View {
    let mut user: Record<UserSpec> = one(&format!(
        "kind: user\nmetadata: {{name: {name}}}\nspec: {{traits: {{logins: [dev]}}}}"
    ));
    user.spec.roles = roles.iter().map(|r| r.metadata.name.clone()).collect();
    View {
        user,
        roles: roles.to_vec(),
        locks: Vec::new(),
        recording: Default::default(),
        auth: Default::default(),
        certs_void_until: 40,
    }
}

fn credential() -> Credential {
    Credential {
        principals: Vec::new(),
        serial: 41,
        valid_before: NOW.plus_ms(3_600_000),
        source_address: None,
    }
}

/// bob asks to join alice's session, which runs as dev on web1.
struct World {
    bob: View,
    alice: View,
    credential: Credential,
    again: bool,
}

impl World {
    fn new(bob: &[&str], alice: &[&str]) -> World {
        let roles = |prefix: &str, specs: &[&str]| -> Vec<_> {
            let named = specs.iter().enumerate();
            named
                .map(|(n, spec)| match spec.split_once(" = ") {
                    Some((name, spec)) => role(name, spec),
                    None => role(&format!("{prefix}{n}"), spec),
                })
                .collect()
        };
        World {
            bob: view("bob", &roles("b", bob)),
            alice: view("alice", &roles("a", alice)),
            credential: credential(),
            again: false,
        }
    }

    fn ask_as(&self, joiner: &View, mode: JoinMode) -> Result<(), Refusal> {
        let (session, login, host) = (
            SessionId::parse(SESSION).unwrap(),
            Login::parse("dev").unwrap(),
            Name::parse("web1").unwrap(),
        );
        let ask = JoinAsk {
            credential: &self.credential,
            client: Some("10.0.0.1".parse().unwrap()),
            session: &session,
            owner: &self.alice,
            login: &login,
            host: &host,
            mode,
            again: self.again,
        };
        decide_join(&ask, joiner, NOW).map(|permit| {
            assert_eq!(
                (permit.user(), permit.session(), permit.mode()),
                (&joiner.user.metadata.name, &session, mode)
            );
        })
    }

    fn may(&self, mode: JoinMode) -> Result<(), Refusal> {
        self.ask_as(&self.bob, mode)
    }

    /// The modes that bob is allowed.
    fn modes(&self) -> Vec<&'static str> {
        let all = JoinMode::ALL.into_iter().filter(|mode| self.may(*mode).is_ok());
        all.map(JoinMode::as_str).collect()
    }
}

const OPEN: &str = "prod-db = {allow: {logins: [dev], host_labels: {'*': '*'}}}";

#[test]
fn nobody_joins_by_default_and_deny_wins() {
    // What bob's roles say, and what they come to, of a session of somebody with the roles prod-db and dev.
    let table: &[(&[&str], &[&str])] = &[
        (&[], &[]),
        // Access to the same host is none to others' sessions, nor are rules on records.
        (
            &["{allow: {logins: [dev], host_labels: {'*': '*'}, rules: [{resources: ['*'], verbs: ['*']}]}}"],
            &[],
        ),
        (
            &["{allow: {join_sessions: [{roles: [prod-db], modes: [observer]}]}}"],
            &["observer"],
        ),
        (
            &["{allow: {join_sessions: [{roles: ['prod-*'], modes: [observer, peer]}]}}"],
            &["observer", "peer"],
        ),
        (
            &["{allow: {join_sessions: [{roles: ['^(dev|ops)$'], modes: [moderator]}]}}"],
            &["moderator"],
        ),
        (
            &["{allow: {join_sessions: [{roles: ['*'], modes: [observer, moderator, peer]}]}}"],
            &["observer", "moderator", "peer"],
        ),
        (
            &["{allow: {join_sessions: [{roles: [prod], modes: [observer]}, {roles: [db], modes: [peer]}]}}"],
            &[],
        ),
        // Two roles of one user add up, and either can deny.
        (
            &[
                "{allow: {join_sessions: [{roles: ['*'], modes: [observer, peer]}]}}",
                "{allow: {join_sessions: [{roles: ['*'], modes: [moderator]}]}, deny: {join_sessions: [{roles: ['prod-*'], modes: [peer]}]}}",
            ],
            &["observer", "moderator"],
        ),
        (
            &[
                "{allow: {join_sessions: [{roles: ['*'], modes: [observer, moderator, peer]}]}}",
                "{deny: {join_sessions: [{roles: [dev], modes: [observer, moderator, peer]}]}}",
            ],
            &[],
        ),
        (
            &[
                "{allow: {join_sessions: [{roles: ['*'], modes: [observer]}]}}",
                "{deny: {join_sessions: [{roles: [other], modes: [observer]}]}}",
            ],
            &["observer"],
        ),
    ];
    for (bob, want) in table {
        let world = World::new(bob, &[OPEN, "dev = {}"]);
        assert_eq!(world.modes(), *want, "{bob:?}");
    }
}

#[test]
fn an_owners_role_that_is_gone_allows_nothing_and_still_denies() {
    let mut world = World::new(
        &["{allow: {join_sessions: [{roles: ['*'], modes: [observer]}]}}"],
        &[OPEN],
    );
    assert_eq!(world.modes(), ["observer"]);
    world.alice.roles.clear();
    assert!(world.modes().is_empty(), "no role of hers exists");
    let mut world = World::new(
        &[
            "{allow: {join_sessions: [{roles: ['*'], modes: [observer]}]}}",
            "{deny: {join_sessions: [{roles: [secret], modes: [observer]}]}}",
        ],
        &[OPEN],
    );
    world.alice.user.spec.roles.push(Name::parse("secret").unwrap());
    assert!(
        world.modes().is_empty(),
        "she carries the name of a role that is gone"
    );
}

#[test]
fn locks_expiry_addresses_and_old_certificates_refuse() {
    let open = "{allow: {join_sessions: [{roles: ['*'], modes: [observer, moderator]}]}}";
    let world = || World::new(&[open], &[OPEN]);
    for (target, refused) in [
        ("user: bob", true),
        ("role: b0", true),
        ("host: web1", true),
        ("login: dev", true),
        ("user: alice", false),
        ("host: web2", false),
        ("login: root", false),
    ] {
        let mut world = world();
        let lock: Record<LockSpec> = one(&format!(
            "kind: lock\nmetadata: {{name: l}}\nspec: {{target: {{{target}}}, message: gone}}"
        ));
        world.bob.locks.push(lock);
        let got = world.may(JoinMode::Observer);
        assert_eq!(
            matches!(got, Err(Refusal::Locked(_))),
            refused,
            "{target}: {got:?}"
        );
    }
    let mut expired = world();
    expired.credential.valid_before = NOW;
    assert_eq!(expired.may(JoinMode::Observer), Err(Refusal::CertExpired));
    // Whoever is in it already stays, unless their role says otherwise.
    expired.again = true;
    assert_eq!(expired.may(JoinMode::Observer), Ok(()));
    expired.bob.roles[0].spec.options.disconnect_expired_cert = Some(true);
    assert_eq!(expired.may(JoinMode::Observer), Err(Refusal::CertExpired));
    let mut void = world();
    void.credential.serial = 40;
    assert_eq!(void.may(JoinMode::Observer), Err(Refusal::CertVoid));
    let mut elsewhere = world();
    elsewhere.credential.source_address = Some("10.0.0.2".parse().unwrap());
    assert!(matches!(
        elsewhere.may(JoinMode::Observer),
        Err(Refusal::OtherAddress(_))
    ));
    let mut gone = world();
    gone.bob.user.metadata.expires = Some(NOW);
    assert!(matches!(gone.may(JoinMode::Observer), Err(Refusal::NoUser(_))));
    let mut lapsed = world();
    lapsed.bob.roles[0].metadata.expires = Some(NOW);
    assert!(lapsed.modes().is_empty());
    // Who may not, and a session that does not exist, read the same.
    let text = world().may(JoinMode::Peer).unwrap_err().to_string();
    assert!(
        text.contains("no live session") && text.contains("peer"),
        "{text}"
    );
}

#[test]
fn nobody_moderates_their_own_session() {
    let open = "ops = {allow: {join_sessions: [{roles: ['*'], modes: [observer, moderator, peer]}]}}";
    let world = World::new(&[], &[open]);
    assert_eq!(
        world.ask_as(&world.alice, JoinMode::Moderator),
        Err(Refusal::OwnSession)
    );
    assert_eq!(world.ask_as(&world.alice, JoinMode::Observer), Ok(()));
}

#[test]
fn rights_to_join_are_granted_by_those_who_hold_them() {
    let granted = |spec: &str| role("new", spec).spec;
    let observer = granted("{allow: {join_sessions: [{roles: [dev], modes: [observer]}]}}");
    let peer = granted("{allow: {join_sessions: [{roles: [dev], modes: [observer, peer]}]}}");
    let all = granted("{allow: {join_sessions: [{roles: ['*'], modes: [observer]}]}}");
    let taken = granted("{deny: {join_sessions: [{roles: ['*'], modes: [peer]}]}}");
    let needs = granted("{allow: {require_session_join: [{modes: [moderator]}]}}");
    let holders = [
        ("{}", [false, false, false, true, true]),
        (
            "{allow: {join_sessions: [{roles: [dev], modes: [observer]}]}}",
            [true, false, false, true, true],
        ),
        (
            "{allow: {join_sessions: [{roles: [dev], modes: [observer]}, {roles: ['*'], modes: [peer]}]}}",
            [true, true, false, true, true],
        ),
        (
            "{allow: {join_sessions: [{roles: ['*'], modes: [observer]}]}}",
            [true, false, true, true, true],
        ),
        ("{allow: {rules: [{resources: ['*'], verbs: ['*']}]}}", [true; 5]),
    ];
    for (own, want) in holders {
        let view = view("editor", &[role("own", own)]);
        for (spec, want) in [&observer, &peer, &all, &taken, &needs].into_iter().zip(want) {
            let got = check_grant(spec, &view, NOW);
            assert_eq!(got.is_ok(), want, "{own} grants {spec:?}: {got:?}");
        }
    }
}

fn needs(roles: &[&str]) -> Moderation {
    let roles: Vec<_> = roles.iter().map(|spec| role("r", spec).spec).collect();
    Moderation::of(roles.iter())
}

#[test]
fn who_is_needed_is_merged_by_the_table() {
    use JoinMode::{Moderator, Observer, Peer};
    let one = "{allow: {require_session_join: [{modes: [moderator]}]}}";
    let paused = "{allow: {require_session_join: [{modes: [moderator], on_leave: pause}]}}";
    let two = "{allow: {require_session_join: [{modes: [observer, peer], count: 2, on_leave: pause}]}}";
    let either = "{allow: {require_session_join: [{modes: [moderator], on_leave: pause}, {modes: [peer], count: 2, on_leave: pause}]}}";
    let (end, pause) = (Err(OnLeave::Terminate), Err(OnLeave::Pause));
    type Row<'a> = (&'a [&'a str], &'a [JoinMode], Result<(), OnLeave>);
    let table: &[Row<'_>] = &[
        (&["{}"], &[], Ok(())),
        (&[one], &[], end),
        (&[one], &[Observer, Peer], end),
        (&[one], &[Moderator], Ok(())),
        (&[paused], &[], pause),
        (&[two], &[Observer], pause),
        (&[two], &[Observer, Peer], Ok(())),
        (&[either], &[Peer], pause),
        (&[either], &[Peer, Peer], Ok(())),
        (&[either], &[Moderator], Ok(())),
        // Each role has its say; of what is missing the harder one counts.
        (&[one, two], &[Moderator], pause),
        (&[one, two], &[Observer, Peer], end),
        (&[one, two], &[], end),
        (&[one, two], &[Moderator, Observer, Peer], Ok(())),
        (&[one, paused], &[], end),
    ];
    for (roles, here, want) in table {
        assert_eq!(needs(roles).judge(here), *want, "{roles:?} with {here:?}");
    }
    assert_eq!(needs(&[either]).to_string(), "1 moderator or 2 peer");
    assert_eq!(needs(&[one, two]).to_string(), "1 moderator and 2 observer/peer");
    assert!(needs(&["{}"]).is_empty());
}

#[test]
fn where_others_are_needed_only_a_shell_at_an_agent_is_left() {
    let options = "options: {port_forwarding: true, forward_agent: true, x11_forwarding: true}";
    let spec = format!(
        "{{{options}, allow: {{logins: [dev], host_labels: {{'*': '*'}}, require_session_join: [{{modes: [moderator]}}]}}}}"
    );
    let view = view("alice", &[role("moderated", &spec)]);
    let plain: Record<HostSpec> = one("kind: host\nmetadata: {name: web1}\nspec: {addr: '10.0.0.1:22'}\n");
    let served: Record<HostSpec> =
        one("kind: host\nmetadata: {name: web1}\nspec: {agent: {id: 9, joined: '2026-01-01T00:00:00Z'}}\n");
    let mut credential = credential();
    credential.principals = vec![Login::parse("dev").unwrap()];
    let login = Login::parse("dev").unwrap();
    // An agent whose sessions a node records: nobody can join those.
    let mut elsewhere = served.clone();
    elsewhere.spec.site = Some(RecordingSite::Proxy);
    for (host, agent) in [(&plain, false), (&served, true), (&elsewhere, false)] {
        for ability in Ability::ALL {
            let ask = Ask {
                credential: &credential,
                client: None,
                login: &login,
                host,
                ability,
            };
            let left = agent && matches!(ability, Ability::Connect | Ability::Shell);
            let got = decide(&ask, &view, NOW);
            assert_eq!(got.is_ok(), left, "{ability:?}: {got:?}");
            if let Err(why) = got
                && ability != Ability::Subsystem
                && (host.spec.agent.is_some() || ability != Ability::X11)
            {
                assert!(why.to_string().contains("1 moderator"), "{why}");
            }
        }
    }
    let claims = Claims {
        connection: "c".into(),
        host: served.metadata.name.clone(),
        agent: 9,
        user: view.user.metadata.name.clone(),
        credential,
        extensions: vec!["permit-port-forwarding".into(), "permit-agent-forwarding".into()],
        client_addr: "10.0.0.1:1".into(),
        issued: NOW,
        join: None,
    };
    let pass = Pass::decide(claims, &served, &view, NOW, <[u8]>::to_vec).unwrap();
    let allowed = pass.login("dev").unwrap();
    assert_eq!(allowed.abilities, [Ability::Connect, Ability::Shell]);
    assert_eq!(allowed.require_session_join.judge(&[]), Err(OnLeave::Terminate));
}

#[test]
fn a_pass_to_join_holds_no_login_and_never_becomes_one() {
    let world = World::new(
        &[
            "{allow: {logins: [dev], host_labels: {'*': '*'}, join_sessions: [{roles: ['*'], modes: [observer]}]}}",
        ],
        &[OPEN],
    );
    let (session, login, web1) = (
        SessionId::parse(SESSION).unwrap(),
        Login::parse("dev").unwrap(),
        Name::parse("web1").unwrap(),
    );
    let ask = JoinAsk {
        credential: &world.credential,
        client: None,
        session: &session,
        owner: &world.alice,
        login: &login,
        host: &web1,
        mode: JoinMode::Observer,
        again: false,
    };
    let permit = decide_join(&ask, &world.bob, NOW).unwrap();
    let claims = Claims {
        connection: "c".into(),
        host: web1.clone(),
        agent: 9,
        // Whatever is said here, the permit's user is who joins.
        user: Name::parse("mallory").unwrap(),
        credential: Credential {
            principals: vec![login.clone()],
            ..world.credential.clone()
        },
        extensions: Vec::new(),
        client_addr: "10.0.0.1:1".into(),
        issued: NOW,
        join: None,
    };
    let pass = Pass::to_join(claims, &permit, <[u8]>::to_vec);
    assert!(pass.logins().is_empty() && pass.login("dev").is_none());
    let join = pass.join().unwrap();
    assert_eq!(
        (&join.joining.session, join.joining.mode, join.ends),
        (&session, JoinMode::Observer, None)
    );
    assert_eq!(pass.claims().user.as_str(), "bob");
    let sealed = Claims::from_bytes(pass.proof()).unwrap();
    assert_eq!(sealed, *pass.claims());
    // The same claims are no way to a login, though bob has one there.
    let host: Record<HostSpec> =
        one("kind: host\nmetadata: {name: web1}\nspec: {agent: {id: 9, joined: '2026-01-01T00:00:00Z'}}\n");
    let login = Pass::decide_again(sealed, &host, &world.bob, NOW, <[u8]>::to_vec);
    assert!(matches!(login, Err(Refusal::NotJoinable { .. })), "{login:?}");
}
