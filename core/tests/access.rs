//! Who may do what, as a table: deny wins, nothing is allowed by default, and options merge by the written table.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use palisade_core::access::{
    Ability, Ask, Credential, Refusal, RuleAsk, View, check_grant, decide, decide_rule,
};
use palisade_core::name::{Login, Name};
use palisade_core::record::{
    AnyRecord, AuthPreferenceSpec, Grant, HostAgent, HostSpec, LockSpec, Record, RecordingConfigSpec,
    RecordingMode, RoleSpec, Spec, UserSpec, Verb, parse_records,
};
use palisade_core::time::{Timestamp, Ttl};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn one<S: Spec>(yaml: &str) -> Record<S> {
    let mut all: Vec<AnyRecord> = parse_records(yaml).unwrap();
    S::from_any(all.remove(0)).unwrap()
}

fn role(name: &str, spec: &str) -> Record<RoleSpec> {
    one(&format!("kind: role\nmetadata: {{name: {name}}}\nspec:\n{spec}"))
}

fn host(labels: &str) -> Record<HostSpec> {
    one(&format!(
        "kind: host\nmetadata: {{name: web1, labels: {labels}}}\nspec: {{addr: '10.0.0.1:22'}}\n"
    ))
}

fn view(roles: Vec<Record<RoleSpec>>) -> View {
    let mut user: Record<UserSpec> = one(
        "kind: user\nmetadata: {name: alice}\nspec:\n  traits: {logins: [alice, root], team: ['a,root', '*']}\n",
    );
    user.spec.roles = roles.iter().map(|r| r.metadata.name.clone()).collect();
    View {
        user,
        roles,
        locks: Vec::new(),
        recording: RecordingConfigSpec::default(),
        auth: AuthPreferenceSpec::default(),
        certs_void_until: 40,
    }
}

fn credential(logins: &[&str]) -> Credential {
    Credential {
        principals: logins.iter().map(|l| Login::parse(l).unwrap()).collect(),
        serial: 41,
        valid_before: NOW.plus_ms(3_600_000),
        source_address: None,
    }
}

fn asks(view: &View, login: &str, host: &Record<HostSpec>, ability: Ability) -> Result<(), Refusal> {
    let credential = credential(&[login]);
    let login = Login::parse(login).unwrap();
    let ask = Ask {
        credential: &credential,
        client: None,
        login: &login,
        host,
        ability,
    };
    decide(&ask, view, NOW).map(|permit| assert_eq!(permit.login(), &login))
}

const OPEN: &str = "  allow: {logins: ['{{internal.logins}}'], host_labels: {env: prod}}\n";

#[test]
fn nothing_is_allowed_by_default() {
    let hosts = host("{env: prod}");
    for roles in [
        vec![],
        vec![role("r", "  allow: {logins: [alice]}\n")],
        vec![role("r", "  allow: {host_labels: {'*': '*'}}\n")],
    ] {
        assert!(matches!(
            asks(&view(roles), "alice", &hosts, Ability::Connect),
            Err(Refusal::NotAllowed { .. })
        ));
    }
    assert_eq!(
        asks(&view(vec![role("r", OPEN)]), "alice", &hosts, Ability::Connect),
        Ok(())
    );
    assert!(
        asks(
            &view(vec![role("r", OPEN)]),
            "alice",
            &host("{env: dev}"),
            Ability::Connect
        )
        .is_err()
    );
}

#[test]
fn deny_wins_over_every_allow() {
    let prod = host("{env: prod}");
    let denies = [
        ("  deny: {logins: [root]}\n", "root", false),
        ("  deny: {logins: [root]}\n", "alice", true),
        ("  deny: {host_labels: {env: prod}}\n", "alice", false),
        ("  deny: {host_labels: {env: dev}}\n", "alice", true),
        (
            "  deny: {logins: [root], host_labels: {env: dev}}\n",
            "root",
            true,
        ),
        (
            "  deny: {logins: [root], host_labels: {env: prod}}\n",
            "root",
            false,
        ),
        ("  deny: {}\n", "root", true),
    ];
    for (deny, login, allowed) in denies {
        let view = view(vec![role("open", OPEN), role("closed", deny)]);
        assert_eq!(
            asks(&view, login, &prod, Ability::Connect).is_ok(),
            allowed,
            "{deny} for {login}"
        );
    }
}

#[test]
fn a_trait_never_widens_what_a_template_grants() {
    let view = view(vec![role(
        "r",
        "  allow: {logins: ['{{external.team}}'], host_labels: {'*': '*'}}\n",
    )]);
    assert!(view.principals(NOW).is_empty(), "{:?}", view.principals(NOW));
    assert!(asks(&view, "root", &host("{}"), Ability::Connect).is_err());
}

/// What an ability hangs on, beside a role that allows the login.
enum Hangs {
    OnNothing,
    OnOption(&'static str),
    OnOptionAndAgent(&'static str),
    Never,
}

/// The matrix fails to compile when an ability has no row.
#[test]
fn every_ability_has_its_row() {
    const OPTIONS: [&str; 4] = ["port_forwarding", "forward_agent", "x11_forwarding", "file_copy"];
    let plain = host("{env: prod}");
    let mut served = plain.clone();
    served.spec.addr = None;
    served.spec.agent = Some(HostAgent {
        id: 9,
        joined: Timestamp::ZERO,
    });
    for ability in Ability::ALL {
        let row = match ability {
            Ability::Connect | Ability::Shell | Ability::Exec => Hangs::OnNothing,
            Ability::Sftp => Hangs::OnOption("file_copy"),
            Ability::LocalForward | Ability::RemoteForward | Ability::StreamLocal => {
                Hangs::OnOption("port_forwarding")
            }
            Ability::AgentForward => Hangs::OnOption("forward_agent"),
            Ability::X11 => Hangs::OnOptionAndAgent("x11_forwarding"),
            Ability::Subsystem => Hangs::Never,
        };
        // One option differs from all others, either way.
        for odd in OPTIONS {
            for value in [false, true] {
                let options: Vec<_> = OPTIONS
                    .iter()
                    .map(|name| format!("{name}: {}", if *name == odd { value } else { !value }))
                    .collect();
                let spec = format!("{OPEN}  options: {{{}}}\n", options.join(", "));
                let view = view(vec![role("r", &spec)]);
                let on = |name: &str| if name == odd { value } else { !value };
                for host in [&plain, &served] {
                    let want = match row {
                        Hangs::OnNothing => true,
                        Hangs::OnOption(name) => on(name),
                        Hangs::OnOptionAndAgent(name) => on(name) && host.spec.agent.is_some(),
                        Hangs::Never => false,
                    };
                    let got = asks(&view, "alice", host, ability);
                    assert_eq!(
                        got.is_ok(),
                        want,
                        "{ability:?} with {options:?} on {}: {got:?}",
                        host.spec.shown_addr()
                    );
                }
            }
        }
        assert!(
            asks(&view(vec![]), "alice", &plain, ability).is_err(),
            "{ability:?} without a role"
        );
    }
}

#[test]
fn an_option_that_no_role_names_forwards_nothing_and_lets_files_be_copied() {
    let options = view(vec![role("a", OPEN)]).options(NOW);
    assert!(!options.x11_forwarding && !options.port_forwarding && !options.forward_agent);
    assert!(options.file_copy);
}

#[test]
fn options_merge_by_the_table() {
    let spec = |options: &str| format!("{OPEN}  options: {{{options}}}\n");
    let merged = view(vec![
        role("a", &spec("max_session_ttl: 8h, client_idle_timeout: 0s, port_forwarding: true, max_sessions: 9")),
        role("b", &spec("max_session_ttl: 1h, client_idle_timeout: 5m, port_forwarding: true, max_sessions: 3, pin_source_ip: true")),
        role("c", &spec("record_session: strict, disconnect_expired_cert: true, forward_agent: true")),
    ])
    .options(NOW);
    assert_eq!(merged.max_session_ttl, Ttl::hours(1));
    assert_eq!(merged.client_idle_timeout, Some(Ttl::secs(300)));
    assert_eq!(merged.max_sessions, Some(3));
    assert_eq!(merged.record_session, RecordingMode::Strict);
    assert!(
        merged.disconnect_expired_cert
            && merged.pin_source_ip
            && merged.port_forwarding
            && merged.forward_agent
    );
    let refused = view(vec![
        role("a", &spec("port_forwarding: true")),
        role("b", &spec("port_forwarding: false")),
    ]);
    assert!(!refused.options(NOW).port_forwarding);
    let silent = view(vec![role("a", OPEN)]).options(NOW);
    assert!(!silent.port_forwarding && !silent.forward_agent && silent.max_sessions.is_none());
    assert_eq!(
        silent.max_session_ttl,
        AuthPreferenceSpec::default().default_session_ttl
    );
}

#[test]
fn a_lock_overrules_every_role() {
    let lock = |target: &str| -> Record<LockSpec> {
        one(&format!(
            "kind: lock\nmetadata: {{name: l}}\nspec: {{target: {target}, message: on leave}}\n"
        ))
    };
    let prod = host("{env: prod}");
    for (target, locked) in [
        ("{user: alice}", true),
        ("{user: bob}", false),
        ("{role: r}", true),
        ("{login: alice}", true),
        ("{login: root}", false),
        ("{host: web1}", true),
        ("{user: alice, host: web2}", false),
    ] {
        let mut view = view(vec![role("r", OPEN)]);
        view.locks = vec![lock(target)];
        let got = asks(&view, "alice", &prod, Ability::Connect);
        assert_eq!(
            got == Err(Refusal::Locked("on leave".into())),
            locked,
            "{target}: {got:?}"
        );
        view.locks[0].metadata.expires = Some(NOW);
        assert_eq!(
            asks(&view, "alice", &prod, Ability::Connect),
            Ok(()),
            "an expired lock on {target}"
        );
    }
}

#[test]
fn a_certificate_binds_login_time_and_address() {
    let view = view(vec![role("r", OPEN)]);
    let (prod, root) = (host("{env: prod}"), Login::parse("root").unwrap());
    let mut held = credential(&["alice"]);
    let ask = |c: &Credential, client: &str, login: &Login| {
        let client = Some(client.parse().unwrap());
        decide(
            &Ask {
                credential: c,
                client,
                login,
                host: &prod,
                ability: Ability::Connect,
            },
            &view,
            NOW,
        )
        .map(drop)
    };
    assert_eq!(
        ask(&held, "10.0.0.9", &root),
        Err(Refusal::NotAPrincipal(root.clone()))
    );
    let alice = Login::parse("alice").unwrap();
    held.source_address = Some("10.0.0.9".parse().unwrap());
    assert_eq!(ask(&held, "::ffff:10.0.0.9", &alice), Ok(()));
    assert!(matches!(
        ask(&held, "10.0.0.8", &alice),
        Err(Refusal::OtherAddress(_))
    ));
    held.serial = view.certs_void_until;
    assert_eq!(ask(&held, "10.0.0.9", &alice), Err(Refusal::CertVoid));
    held.serial += 1;
    held.valid_before = NOW;
    assert_eq!(ask(&held, "10.0.0.9", &alice), Err(Refusal::CertExpired));
}

fn rule(roles: Vec<Record<RoleSpec>>, verb: Verb, resource: Grant) -> bool {
    decide_rule(
        &RuleAsk {
            verb,
            resource,
            record: None,
        },
        &view(roles),
        NOW,
    )
    .is_ok()
}

#[test]
fn rules_allow_only_what_they_name() {
    let reader = || {
        role(
            "r",
            "  allow: {rules: [{resources: [user, role], verbs: [read, list]}]}\n",
        )
    };
    assert!(rule(vec![reader()], Verb::Read, Grant::User));
    assert!(!rule(vec![reader()], Verb::Update, Grant::User));
    assert!(!rule(vec![reader()], Verb::Read, Grant::Event));
    let denied = role("d", "  deny: {rules: [{resources: ['*'], verbs: [read]}]}\n");
    assert!(!rule(vec![reader(), denied.clone()], Verb::Read, Grant::User));
    assert!(rule(vec![reader(), denied], Verb::List, Grant::User));
    assert!(!rule(vec![], Verb::List, Grant::Host));
}

#[test]
fn a_condition_is_asked_for_the_record() {
    let own = role(
        "r",
        "  allow: {rules: [{resources: [recording], verbs: [read], where: 'equals(resource.labels[\"user\"], user.name)'}]}\n",
    );
    let view = view(vec![own]);
    let asks = |user: &str| {
        let labels = [("user".to_owned(), user.to_owned())].into();
        decide_rule(
            &RuleAsk {
                verb: Verb::Read,
                resource: Grant::Recording,
                record: Some(("x", &labels)),
            },
            &view,
            NOW,
        )
        .is_ok()
    };
    assert!(asks("alice"));
    assert!(!asks("bob"));
    let bare = RuleAsk {
        verb: Verb::Read,
        resource: Grant::Recording,
        record: None,
    };
    assert!(decide_rule(&bare, &view, NOW).is_err());
}

#[test]
fn nobody_grants_what_they_do_not_hold() {
    let editor = role(
        "editor",
        "  allow: {rules: [{resources: [role, user], verbs: ['*']}]}\n",
    );
    let granted = |spec: &str| role("new", spec).spec;
    let view_of = |r: &Record<RoleSpec>| view(vec![r.clone()]);
    let everything = granted("  allow: {rules: [{resources: ['*'], verbs: ['*']}]}\n");
    assert!(check_grant(&everything, &view_of(&editor), NOW).is_err());
    assert!(check_grant(&granted("  allow: {logins: [root]}\n"), &view_of(&editor), NOW).is_err());
    assert!(
        check_grant(
            &granted("  allow: {rules: [{resources: [user], verbs: [read]}]}\n"),
            &view_of(&editor),
            NOW
        )
        .is_ok()
    );
    let admin = role("admin", "  allow: {rules: [{resources: ['*'], verbs: ['*']}]}\n");
    assert!(check_grant(&everything, &view_of(&admin), NOW).is_ok());
    assert!(Name::parse("Admin").is_err(), "one spelling of a role's name");
}
