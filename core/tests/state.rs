//! What log entries do: each has its effect once, refusals change nothing but the audit log, and every replica of
//! one log holds the same bytes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use palisade_core::command::{
    Actor, AgentTerms, ApprovalWanted, CertPurpose, CertTerms, Command, Entry, Expect, InvitePurpose,
    LoginProof, NewApproval, NewBrowserSession, RecoveryUse, RefusedCommand, Reply, Sealed,
};
use palisade_core::event::EventKind;
use palisade_core::kv::{Kv, MemoryKv};
use palisade_core::merkle;
use palisade_core::name::{Login, Name, RequestId, SessionId};
use palisade_core::record::{
    AuthorityType, CertAuthoritySpec, Completeness, HostAddr, HostSpec, HostToken, Kind, Labels, NodeSpec,
    Record, RecordingMode, RecordingSpec, SessionKind, TokenSpec, parse_records,
};
use palisade_core::state::{self, Fault, Outcome, apply};
use palisade_core::time::Timestamp;
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn uuid(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

fn entry(n: u64, now: Timestamp, command: Command) -> Entry {
    let actor = Actor {
        name: "tester".into(),
        addr: "127.0.0.1".into(),
    };
    Entry {
        id: RequestId::parse(&uuid(n)).unwrap(),
        now,
        node: 1,
        actor,
        command,
    }
}

/// A log and the state it made.
struct Log {
    kv: MemoryKv,
    next: u64,
    now: Timestamp,
}

impl Log {
    fn empty() -> Self {
        Log {
            kv: MemoryKv::default(),
            next: 2,
            now: START,
        }
    }

    fn new() -> Self {
        let mut log = Log::empty();
        log.done(init());
        log
    }

    fn entry(&mut self, entry: &Entry) -> Reply {
        let applied = apply(&self.kv, self.next, &entry.to_bytes()).unwrap();
        self.kv.commit(applied.changes);
        self.next += 1;
        applied.reply
    }

    fn say(&mut self, command: Command) -> Result<u64, RefusedCommand> {
        let entry = entry(self.next, self.now, command);
        self.entry(&entry).done()
    }

    fn done(&mut self, command: Command) -> u64 {
        self.say(command).unwrap()
    }

    fn put(&mut self, yaml: &str, expect: Expect) -> Result<u64, RefusedCommand> {
        let record = Box::new(parse_records(yaml).unwrap().remove(0));
        self.say(Command::PutRecord { record, expect })
    }

    fn events(&self, kind: EventKind) -> usize {
        let all = state::audit_bytes(&self.kv, 0, usize::MAX).unwrap();
        all.iter()
            .filter(|(seq, _)| state::audit_event(&self.kv, *seq).unwrap().unwrap().event == kind)
            .count()
    }
}

fn init() -> Command {
    let authority = |kind| {
        let public = CertAuthoritySpec {
            authority: kind,
            ssh_public_key: None,
            certificate: None,
            pin: "sha256:00".into(),
            created: START,
        };
        (public, Sealed(vec![1, 2, 3]))
    };
    Command::Init {
        cluster_name: name("demo"),
        cluster_id: uuid(1),
        authorities: AuthorityType::ALL.into_iter().map(authority).collect(),
        node: Box::new(Record::new(name("a"), node_spec())),
        presets: parse_records(
            "kind: role\nmetadata: {name: access}\nspec: {allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}}\n",
        )
        .unwrap(),
    }
}

fn node_spec() -> NodeSpec {
    let addr = || "127.0.0.1:1".to_owned();
    NodeSpec {
        id: 0,
        incarnation: "1".into(),
        peer_addr: addr(),
        web_addr: addr(),
        ssh_addr: addr(),
        joined: START,
    }
}

const ALICE: &str =
    "kind: user\nmetadata: {name: alice}\nspec: {roles: [access], traits: {logins: [alice]}}\n";

fn terms(now: Timestamp, purpose: CertPurpose) -> CertTerms {
    CertTerms {
        purpose,
        subject: name("alice"),
        principals: vec![Login::parse("alice").unwrap()],
        valid_after: now,
        valid_before: now.plus_ms(3_600_000),
        key_fingerprint: "SHA256:x".into(),
        source_address: None,
        renews: None,
    }
}

fn with_credentials() -> Log {
    let mut log = Log::new();
    log.put(ALICE, Expect::Absent).unwrap();
    log.done(invite("t1", log.now));
    log.done(Command::AcceptInvite {
        token_sha256: "t1".into(),
        password_hash: "$argon2id$".into(),
        totp_step: 100,
    });
    log
}

fn invite(token: &str, now: Timestamp) -> Command {
    Command::CreateInvite {
        user: name("alice"),
        purpose: InvitePurpose::Invite,
        token_sha256: token.into(),
        totp: Sealed(vec![9]),
        expires: now.plus_ms(60_000),
    }
}

fn login(log: &Log, step: u64) -> Command {
    Command::Login {
        user: name("alice"),
        totp_step: Some(step),
        recovery: None,
        generation: 1,
        terms: terms(log.now, CertPurpose::Login),
    }
}

const SESSION: &str = "00112233445566778899aabbccddeeff";

/// Alice logs in with a browser, which confirms her for a while.
fn sits(step: u64) -> Command {
    Command::BrowserLogin {
        user: name("alice"),
        proof: LoginProof::Password {
            totp_step: Some(step),
        },
        generation: 1,
        session: NewBrowserSession {
            id: SESSION.into(),
            secret_sha256: "00".into(),
            page_sha256: "11".into(),
            expires: START.plus_ms(3_600_000),
            agent: "Firefox".into(),
        },
    }
}

fn asks(code: &str) -> Command {
    Command::AskApproval {
        approval: NewApproval {
            code: code.into(),
            secret_sha256: "00".into(),
            wanted: ApprovalWanted::Login,
            ssh_key: "SHA256:x".into(),
            tls_key_sha256: "00".into(),
            ttl_secs: 0,
            client: "pal".into(),
            expires: START.plus_ms(state::APPROVAL_MS),
        },
    }
}

fn answers(code: &str, yes: bool) -> Command {
    Command::AnswerApproval {
        user: name("alice"),
        session: SESSION.into(),
        code: code.into(),
        terms: yes.then(|| terms(START, CertPurpose::Login)),
    }
}

#[test]
fn a_program_is_let_in_once_for_its_own_key_and_by_whoever_sits_there() {
    let mut log = with_credentials();
    log.done(sits(101));
    log.done(asks("BCDFGHJK"));
    // Nobody else's session, no other key, no other user.
    let other = |change: fn(&mut CertTerms)| {
        let mut terms = terms(START, CertPurpose::Login);
        change(&mut terms);
        Command::AnswerApproval {
            user: name("alice"),
            session: SESSION.into(),
            code: "BCDFGHJK".into(),
            terms: Some(terms),
        }
    };
    for wrong in [
        other(|terms| terms.key_fingerprint = "SHA256:y".into()),
        other(|terms| terms.subject = name("bob")),
        other(|terms| terms.purpose = CertPurpose::Renew),
        other(|terms| terms.principals = vec![Login::parse("root").unwrap()]),
        other(|terms| terms.valid_before = START.plus_ms(1000 * 3_600_000)),
        Command::AnswerApproval {
            user: name("bob"),
            session: SESSION.into(),
            code: "BCDFGHJK".into(),
            terms: None,
        },
        answers("BCDFGHJL", true),
    ] {
        assert!(log.say(wrong.clone()).is_err(), "{wrong:?}");
    }
    assert_eq!(log.events(EventKind::CertIssue), 0);
    let serial = log.done(answers("BCDFGHJK", true));
    let kept = state::approval(&log.kv, "BCDFGHJK").unwrap().unwrap();
    assert!(matches!(kept.outcome, Some(Outcome::Granted { serial: at, .. }) if at == serial));
    assert!(log.say(answers("BCDFGHJK", true)).is_err());
    assert!(log.say(answers("BCDFGHJK", false)).is_err());
    assert_eq!(
        (
            log.events(EventKind::CertIssue),
            log.events(EventKind::ApprovalGrant)
        ),
        (1, 1)
    );
    // Six minutes later whoever sits there has to prove again who they are, but may say no at once.
    log.done(asks("BCDFGHJL"));
    log.now = log.now.plus_ms(state::CONFIRMED_MS + 1);
    assert_eq!(
        log.say(answers("BCDFGHJL", true)),
        Err(RefusedCommand::NotConfirmed)
    );
    log.done(answers("BCDFGHJL", false));
    // What waited is forgotten with its time.
    log.now = START.plus_ms(state::APPROVAL_MS);
    assert!(
        log.say(asks("BCDFGHJM")).is_err(),
        "its time is over before it begins"
    );
    assert_eq!(state::approval(&log.kv, "BCDFGHJK").unwrap(), None);
}

#[test]
fn a_recovery_code_counts_once_and_only_of_the_set_in_force() {
    let by = |set, index| Command::Login {
        user: name("alice"),
        totp_step: None,
        recovery: Some(RecoveryUse { set, index }),
        generation: 1,
        terms: terms(START, CertPurpose::Login),
    };
    let mut log = with_credentials();
    log.done(by(1, 0));
    for wrong in [
        by(1, 0),
        by(0, 1),
        by(2, 1),
        by(1, state::RECOVERY_CODES),
        by(1, 40),
    ] {
        assert_eq!(log.say(wrong.clone()), Err(RefusedCommand::BadLogin), "{wrong:?}");
        // A login that succeeds takes the failures back: nobody is locked out here.
        log.done(by(1, next_unused(&log)));
    }
}

fn next_unused(log: &Log) -> u32 {
    let auth = state::local_auth(&log.kv, &name("alice")).unwrap().unwrap();
    auth.recovery_used.trailing_ones()
}

#[test]
fn a_retried_request_has_one_effect_and_one_answer() {
    let mut log = Log::new();
    let record = Box::new(parse_records(ALICE).unwrap().remove(0));
    let once = entry(
        77,
        log.now,
        Command::PutRecord {
            record,
            expect: Expect::Absent,
        },
    );
    let first = log.entry(&once);
    let before = log.kv.clone();
    assert_eq!(log.entry(&once), first);
    assert_eq!(log.kv, before, "a retry changed something");
    assert_eq!(log.events(EventKind::RecordCreate), 1);
}

#[test]
fn a_change_with_an_old_revision_is_refused_and_audited() {
    let mut log = Log::new();
    let revision = log.put(ALICE, Expect::Absent).unwrap();
    log.put(ALICE, Expect::Revision(revision)).unwrap();
    let refused = log.put(ALICE, Expect::Revision(revision));
    assert!(
        matches!(refused, Err(RefusedCommand::Conflict { .. })),
        "{refused:?}"
    );
    assert!(matches!(
        log.put(ALICE, Expect::Absent),
        Err(RefusedCommand::Exists { .. })
    ));
    assert_eq!(log.events(EventKind::RecordRefused), 2);
}

#[test]
fn records_that_would_dangle_are_refused() {
    let mut log = Log::new();
    let ghost = ALICE.replace("access", "ghost");
    assert!(matches!(
        log.put(&ghost, Expect::Any),
        Err(RefusedCommand::Invalid(_))
    ));
    log.put(ALICE, Expect::Any).unwrap();
    let delete = |kind, name: &str| Command::DeleteRecord {
        kind,
        name: Name::parse(name).unwrap(),
        expect: Expect::Any,
    };
    assert!(
        matches!(
            log.say(delete(Kind::Role, "access")),
            Err(RefusedCommand::Invalid(_))
        ),
        "a role that is held"
    );
    assert!(matches!(
        log.say(delete(Kind::User, "bob")),
        Err(RefusedCommand::NotFound { .. })
    ));
    log.done(delete(Kind::User, "alice"));
    log.done(delete(Kind::Role, "access"));
    let nothing = "kind: lock\nmetadata: {name: l}\nspec: {target: {}}\n";
    assert!(log.put(nothing, Expect::Any).is_err(), "a lock on nothing");
}

#[test]
fn a_code_works_once_and_a_reset_voids_what_was_checked_before() {
    let mut log = with_credentials();
    assert_eq!(
        log.say(login(&log, 100)),
        Err(RefusedCommand::BadLogin),
        "the code that accepted the invite"
    );
    log.done(login(&log, 101));
    assert_eq!(log.say(login(&log, 101)), Err(RefusedCommand::BadLogin));
    assert_eq!(log.say(login(&log, 99)), Err(RefusedCommand::BadLogin));
    log.done(login(&log, 102));
    log.done(invite("t2", log.now));
    log.done(Command::AcceptInvite {
        token_sha256: "t2".into(),
        password_hash: "$new".into(),
        totp_step: 103,
    });
    assert_eq!(
        log.say(login(&log, 104)),
        Err(RefusedCommand::BadLogin),
        "generation 1 is over"
    );
    assert_eq!(log.events(EventKind::CertIssue), 2);
}

#[test]
fn a_reset_and_a_new_user_of_the_name_void_the_certificates_that_are_out() {
    let mut log = with_credentials();
    let void_until = |log: &Log| state::certs_void_until(&log.kv, &name("alice")).unwrap();
    let renew = |serial, now| {
        let mut terms = terms(now, CertPurpose::Renew);
        terms.renews = Some(serial);
        Command::IssueCert { terms }
    };
    let first = log.done(login(&log, 101));
    assert!(void_until(&log) < first);
    let second = log.done(renew(first, log.now));
    // Making a reset voids nothing: the old password works until the reset is used.
    log.done(invite("t2", log.now));
    assert!(void_until(&log) < first);
    let reset = log.done(Command::AcceptInvite {
        token_sha256: "t2".into(),
        password_hash: "$argon2id$new".into(),
        totp_step: 102,
    });
    assert_eq!(void_until(&log), reset);
    // A renewal that was on its way is void as well.
    let late = log.say(renew(second, log.now)).unwrap_err();
    assert!(matches!(late, RefusedCommand::Invalid(_)), "{late:?}");
    // Changing the record voids nothing, making it anew does.
    log.put(ALICE, Expect::Present).unwrap();
    assert_eq!(void_until(&log), reset);
    log.done(Command::DeleteRecord {
        kind: Kind::User,
        name: name("alice"),
        expect: Expect::Present,
    });
    let anew = log.put(ALICE, Expect::Absent).unwrap();
    assert_eq!(void_until(&log), anew);
}

#[test]
fn invites_are_single_use_expire_and_replace_one_another() {
    let mut log = Log::new();
    log.put(ALICE, Expect::Any).unwrap();
    log.done(invite("old", log.now));
    log.done(invite("new", log.now));
    let accept = |token: &str| Command::AcceptInvite {
        token_sha256: token.into(),
        password_hash: "$argon2id$".into(),
        totp_step: 1,
    };
    assert_eq!(
        log.say(accept("old")),
        Err(RefusedCommand::BadToken),
        "voided by the newer one"
    );
    assert_eq!(log.say(accept("guess")), Err(RefusedCommand::BadToken));
    log.done(accept("new"));
    assert_eq!(log.say(accept("new")), Err(RefusedCommand::BadToken), "used");
    log.done(invite("late", log.now));
    log.now = log.now.plus_ms(60_000);
    assert_eq!(log.say(accept("late")), Err(RefusedCommand::BadToken), "expired");
    assert_eq!(log.events(EventKind::InviteRefused), 4);
}

#[test]
fn failures_lock_a_user_out_for_a_while() {
    let mut log = with_credentials();
    for _ in 0..5 {
        log.done(Command::LoginFailed {
            user: "alice".into(),
            reason: "the password is wrong".into(),
        });
    }
    assert!(matches!(
        log.say(login(&log, 200)),
        Err(RefusedCommand::LockedOut { .. })
    ));
    assert_eq!(log.events(EventKind::LoginLockout), 1);
    log.now = log.now.plus_ms(300_000);
    log.done(login(&log, 201));
    // Nobody of that name: audited, and nothing else.
    log.done(Command::LoginFailed {
        user: "nobody\u{1b}[2J".into(),
        reason: "x".into(),
    });
    assert_eq!(log.events(EventKind::LoginRefused), 5 + 1 + 1);
}

#[test]
fn a_certificate_never_exceeds_what_holds_at_its_place_in_the_log() {
    let mut log = with_credentials();
    let issue = |log: &Log, change: fn(&mut CertTerms)| {
        let mut terms = terms(log.now, CertPurpose::Renew);
        change(&mut terms);
        Command::IssueCert { terms }
    };
    log.done(issue(&log, |_| {}));
    assert!(
        log.say(issue(&log, |t| t.principals.push(Login::parse("root").unwrap())))
            .is_err()
    );
    assert!(log.say(issue(&log, |t| t.principals.clear())).is_err());
    assert!(
        log.say(issue(&log, |t| t.valid_before = t.valid_before.plus_ms(u64::MAX)))
            .is_err()
    );
    assert!(log.say(issue(&log, |t| t.valid_before = t.valid_after)).is_err());
    assert!(log.say(issue(&log, |t| t.subject = name("bob"))).is_err());
    log.put(
        "kind: lock\nmetadata: {name: l}\nspec: {target: {user: alice}}\n",
        Expect::Any,
    )
    .unwrap();
    assert!(matches!(
        log.say(issue(&log, |_| {})),
        Err(RefusedCommand::Locked(_))
    ));
    assert!(log.say(login(&log, 300)).is_err());
    assert_eq!(log.events(EventKind::CertRefused), 6);
}

#[test]
fn somebody_without_a_login_gets_a_certificate_that_opens_no_host() {
    let mut log = with_credentials();
    log.put(&ALICE.replace("[alice]", "[]"), Expect::Any).unwrap();
    let mut nowhere = terms(log.now, CertPurpose::Renew);
    assert!(
        log.say(Command::IssueCert {
            terms: nowhere.clone()
        })
        .is_err(),
        "alice is not a login any more"
    );
    nowhere.principals = vec![Login::parse(palisade_core::access::NO_LOGIN).unwrap()];
    log.done(Command::IssueCert { terms: nowhere });
}

#[test]
fn a_join_token_admits_one_node_whose_id_is_never_used_again() {
    let mut log = Log::new();
    let mut token = Record::new(
        name("t"),
        TokenSpec {
            host: None,
            secret_sha256: "good".into(),
        },
    );
    token.metadata.expires = Some(log.now.plus_ms(1000));
    log.done(Command::PutRecord {
        record: Box::new(token.clone().into()),
        expect: Expect::Absent,
    });
    let join = |secret: &str, node: &str| Command::JoinNode {
        token: name("t"),
        secret_sha256: secret.into(),
        node: Box::new(Record::new(name(node), node_spec())),
    };
    assert_eq!(log.say(join("bad", "b")), Err(RefusedCommand::BadToken));
    assert!(
        matches!(log.say(join("good", "a")), Err(RefusedCommand::Exists { .. })),
        "a name in use"
    );
    let id = log.done(join("good", "b"));
    assert_eq!(log.say(join("good", "c")), Err(RefusedCommand::BadToken), "used");
    log.done(Command::RemoveNode { id });
    assert!(state::tombstones(&log.kv).unwrap().contains(&id));
    log.done(Command::PutRecord {
        record: Box::new(token.into()),
        expect: Expect::Absent,
    });
    log.now = log.now.plus_ms(1000);
    assert_eq!(
        log.say(join("good", "b")),
        Err(RefusedCommand::BadToken),
        "expired"
    );
}

fn session(n: u64, now: Timestamp) -> Record<RecordingSpec> {
    let id = uuid(1000 + n);
    let spec = RecordingSpec {
        at_agent: false,
        session: SessionId::parse(&id).unwrap(),
        session_kind: SessionKind::Interactive,
        user: name("alice"),
        login: Login::parse("alice").unwrap(),
        host: name("web1"),
        node: 1,
        client_addr: String::new(),
        command: String::new(),
        mode: RecordingMode::Strict,
        started: now,
        ended: None,
        completeness: Completeness::Live,
        chunks: 0,
        output_bytes: 0,
        last_chunk: String::new(),
        sealed_key: String::new(),
    };
    Record::new(name(&id), spec)
}

#[test]
fn sessions_are_counted_and_end_once() {
    let mut log = Log::new();
    log.put(ALICE, Expect::Any).unwrap();
    let start = |n, log: &Log| Command::StartSession {
        recording: Box::new(session(n, log.now)),
        events: Vec::new(),
        max_sessions: Some(2),
    };
    log.done(start(1, &log));
    log.done(start(2, &log));
    assert_eq!(
        log.say(start(3, &log)),
        Err(RefusedCommand::TooManySessions { now: 2, most: 2 })
    );
    let end = |n: u64, completeness| Command::EndSession {
        session: SessionId::parse(&uuid(1000 + n)).unwrap(),
        completeness,
        chunks: 4,
        output_bytes: 9,
        last_chunk: "ab".into(),
        events: Vec::new(),
    };
    log.done(end(1, Completeness::Complete));
    log.done(end(1, Completeness::Interrupted("late news".into())));
    let row = state::record::<RecordingSpec>(&log.kv, &name(&uuid(1001)))
        .unwrap()
        .unwrap();
    assert_eq!(
        row.spec.completeness,
        Completeness::Complete,
        "what is complete stays so"
    );
    log.done(start(3, &log));
    assert_eq!(
        state::open_sessions(&log.kv, Some(&name("alice"))).unwrap().len(),
        2
    );
}

#[test]
fn an_entry_of_an_unknown_version_stops_the_node_and_is_never_skipped() {
    let log = Log::new();
    let mut bytes = entry(5, START, init()).to_bytes();
    bytes[0] = 9;
    assert!(matches!(
        apply(&log.kv, 9, &bytes),
        Err(Fault::Entry { index: 9, .. })
    ));
    assert!(apply(&log.kv, 9, &[]).is_err());
    assert!(apply(&log.kv, 9, &[1, 0xc1]).is_err());
}

#[test]
fn an_entry_too_large_for_the_store_is_refused_by_every_node_alike() {
    let mut log = Log::new();
    let yaml = format!(
        "kind: user\nmetadata: {{name: alice, description: {}}}\nspec: {{}}\n",
        "x".repeat(50_000)
    );
    assert!(matches!(
        log.put(&yaml, Expect::Any),
        Err(RefusedCommand::Invalid(_))
    ));
    let largest = log.kv.0.values().map(Vec::len).max().unwrap();
    assert!(largest < 60 * 1024, "a value of {largest} bytes");
}

#[test]
fn damaged_state_is_a_fault_and_not_an_absence() {
    let mut log = Log::new();
    log.put(ALICE, Expect::Any).unwrap();
    log.kv
        .0
        .insert(state::record_key(Kind::User, "alice"), vec![1, 0xc1]);
    let record = Box::new(parse_records(ALICE).unwrap().remove(0));
    let bytes = entry(
        99,
        START,
        Command::PutRecord {
            record,
            expect: Expect::Any,
        },
    )
    .to_bytes();
    assert!(matches!(apply(&log.kv, 50, &bytes), Err(Fault::State(_))));
}

#[test]
fn the_cluster_is_initialised_once() {
    let mut log = Log::new();
    assert!(log.say(init()).is_err());
    assert_eq!(log.events(EventKind::ClusterInit), 1);
}

#[test]
fn heads_cover_only_what_there_is_and_only_grow() {
    let mut log = Log::new();
    let head = |size| Command::SignHead {
        size,
        root: "00".into(),
        time: START,
        signature: "00".into(),
    };
    assert!(log.say(head(1000)).is_err());
    log.done(head(1));
    assert!(log.say(head(1)).is_err());
}

fn any_command() -> impl Strategy<Value = (u64, u64, Command)> {
    let users = prop_oneof![Just("alice"), Just("bob")];
    let command = prop_oneof![
        users.clone().prop_map(|u| {
            let yaml = format!("kind: user\nmetadata: {{name: {u}}}\nspec: {{roles: [access], traits: {{logins: [alice]}}}}\n");
            Command::PutRecord { record: Box::new(parse_records(&yaml).unwrap().remove(0)), expect: Expect::Any }
        }),
        users.prop_map(|u| Command::DeleteRecord { kind: Kind::User, name: name(u), expect: Expect::Any }),
        (0..4u8).prop_map(|n| invite(&format!("t{n}"), START)),
        (0..4u8, 0..9u64).prop_map(|(n, totp_step)| Command::AcceptInvite {
            token_sha256: format!("t{n}"),
            password_hash: "$".into(),
            totp_step
        }),
        (0..20u64, 0..3u64).prop_map(|(step, generation)| Command::Login {
            user: name("alice"),
            totp_step: Some(step),
            recovery: None,
            generation,
            terms: terms(START, CertPurpose::Login)
        }),
        Just(Command::LoginFailed { user: "alice".into(), reason: "wrong".into() }),
        (0..6u64).prop_map(|n| Command::StartSession {
            recording: Box::new(session(n, START)),
            events: Vec::new(),
            max_sessions: Some(3)
        }),
        (0..6u64).prop_map(|n| Command::EndSession {
            session: SessionId::parse(&uuid(1000 + n)).unwrap(),
            completeness: Completeness::Complete,
            chunks: 1,
            output_bytes: 1,
            last_chunk: String::new(),
            events: Vec::new()
        }),
        (1..40u64).prop_map(|size| Command::SignHead { size, root: "00".into(), time: START, signature: "00".into() }),
        (2..9u64).prop_map(|id| Command::RemoveNode { id }),
        (101..120u64).prop_map(sits),
        (0..4u32).prop_map(|set| Command::NewRecovery { user: name("alice"), session: SESSION.into(), set }),
        (0..4u32, 0..12u32).prop_map(|(set, index)| Command::Login {
            user: name("alice"),
            totp_step: None,
            recovery: Some(RecoveryUse { set, index }),
            generation: 1,
            terms: terms(START, CertPurpose::Login)
        }),
        (1..20u64).prop_map(|step| Command::SetTotp {
            user: name("alice"),
            session: SESSION.into(),
            totp: Sealed(vec![1]),
            totp_step: step,
            generation: 1
        }),
        (0..3u8).prop_map(|n| asks(&format!("BCDFGHJ{n}"))),
        (0..3u8, any::<bool>()).prop_map(|(n, yes)| answers(&format!("BCDFGHJ{n}"), yes)),
    ];
    // Few request ids, so that some are retries; times that jump, so that replies are forgotten.
    (10..200u64, 0..3_000_000u64, command)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two replicas, one of them restored from a snapshot in the middle, end byte for byte the same; the frontier is
    /// that of the stored events; no event is lost by a refusal.
    #[test]
    fn replicas_of_one_log_are_identical(commands in prop::collection::vec(any_command(), 1..60), cut in 0..60usize) {
        let mut one = Log::new();
        let mut other = Log::new();
        for (i, (id, late, command)) in commands.iter().enumerate() {
            let entry = entry(*id, START.plus_ms(*late), command.clone());
            let first = one.entry(&entry);
            if i == cut {
                let pairs = one_below(&other.kv);
                other.kv = MemoryKv(pairs.into_iter().collect());
            }
            prop_assert_eq!(first, other.entry(&entry));
        }
        prop_assert_eq!(&one.kv, &other.kv);
        let frontier = state::audit_frontier(&one.kv).unwrap();
        let events = state::audit_bytes(&one.kv, 0, usize::MAX).unwrap();
        prop_assert_eq!(events.len() as u64, frontier.size());
        prop_assert_eq!(merkle::root_of(events.iter().map(|(_, bytes)| merkle::leaf_hash(bytes))), frontier.root());
    }
}

/// Everything, as an ordered export of a snapshot sees it.
fn one_below(kv: &MemoryKv) -> Vec<(Vec<u8>, Vec<u8>)> {
    kv.scan(b"", None, usize::MAX, false).unwrap()
}

/// The first stored forms stay readable for good.
#[test]
fn entries_and_events_of_the_first_version_are_read() {
    let kept = include_str!("data/entry_v1.hex");
    let bytes = hex::decode(kept.trim()).unwrap();
    let read = Entry::from_bytes(&bytes).unwrap();
    assert_eq!(
        read,
        entry(
            7,
            START,
            Command::LoginFailed {
                user: "alice".into(),
                reason: "wrong".into()
            }
        )
    );
    assert_eq!(
        read.to_bytes(),
        bytes,
        "the written form changed: raise ENTRY_VERSION and read both"
    );
}

fn host_token(log: &mut Log, secret: &str, host: HostToken) {
    let spec = TokenSpec {
        host: Some(host),
        secret_sha256: secret.into(),
    };
    log.done(Command::PutRecord {
        record: Box::new(Record::new(name("h"), spec).into()),
        expect: Expect::Any,
    });
}

fn join_host(log: &Log, secret: &str, host: &str) -> Command {
    Command::JoinHost {
        token: name("h"),
        secret_sha256: secret.into(),
        host: name(host),
        terms: agent_terms(log.now),
    }
}

fn agent_terms(now: Timestamp) -> AgentTerms {
    AgentTerms {
        ssh_key: "SHA256:x".into(),
        tls_key: "00".into(),
        valid_after: now,
        valid_before: now.plus_ms(1000),
    }
}

fn agent_of(log: &Log, host: &str) -> Option<u64> {
    let host = state::record::<HostSpec>(&log.kv, &name(host)).unwrap()?;
    host.spec.agent.map(|agent| agent.id)
}

#[test]
fn a_host_token_admits_one_agent_as_what_it_says_and_no_node() {
    let mut log = Log::new();
    let labels: Labels = [("env".to_owned(), "prod".to_owned())].into();
    let for_web1 = HostToken {
        name: Some(name("web1")),
        labels: labels.clone(),
    };
    host_token(&mut log, "s", for_web1.clone());
    for (secret, host) in [("wrong", "web1"), ("s", "web2")] {
        let refused = log.say(join_host(&log, secret, host));
        assert_eq!(refused, Err(RefusedCommand::BadToken), "{secret} {host}");
    }
    let as_node = Command::JoinNode {
        token: name("h"),
        secret_sha256: "s".into(),
        node: Box::new(Record::new(name("n9"), node_spec())),
    };
    assert_eq!(log.say(as_node), Err(RefusedCommand::BadToken));
    let first = log.done(join_host(&log, "s", "web1"));
    assert_eq!(agent_of(&log, "web1"), Some(first));
    assert_eq!(
        log.say(join_host(&log, "s", "web1")),
        Err(RefusedCommand::BadToken),
        "used"
    );
    let kept = state::record::<HostSpec>(&log.kv, &name("web1"))
        .unwrap()
        .unwrap();
    assert_eq!(kept.metadata.labels, labels);

    // A token that names no host takes nobody's place; one that names it does, and voids the older certificates.
    host_token(&mut log, "any", HostToken::default());
    assert!(matches!(
        log.say(join_host(&log, "any", "web1")),
        Err(RefusedCommand::Exists { .. })
    ));
    host_token(&mut log, "again", for_web1);
    let second = log.done(join_host(&log, "again", "web1"));
    let renew = |agent| Command::RenewHost {
        host: name("web1"),
        agent,
        terms: agent_terms(START),
    };
    assert!(matches!(
        log.say(renew(first)),
        Err(RefusedCommand::NotFound { .. })
    ));
    log.done(renew(second));
    assert_eq!(log.events(EventKind::HostJoin), 2);
    assert_eq!(log.events(EventKind::AgentRefused), 1);
}

#[test]
fn nobody_makes_a_host_an_agents_or_takes_its_agent_away_by_writing_its_record() {
    let mut log = Log::new();
    host_token(&mut log, "s", HostToken::default());
    log.done(join_host(&log, "s", "web1"));
    let mut record = state::record::<HostSpec>(&log.kv, &name("web1"))
        .unwrap()
        .unwrap();
    let put = |record: &Record<HostSpec>| Command::PutRecord {
        record: Box::new(record.clone().into()),
        expect: Expect::Any,
    };
    // Labels are the operator's.
    record.metadata.labels.insert("env".into(), "dev".into());
    log.done(put(&record));
    if let Some(agent) = &mut record.spec.agent {
        agent.id += 1;
    }
    assert!(matches!(log.say(put(&record)), Err(RefusedCommand::Invalid(_))));
    record.spec = HostSpec::at(HostAddr::parse("10.0.0.7:22").unwrap());
    assert!(matches!(log.say(put(&record)), Err(RefusedCommand::Invalid(_))));
    let both = "kind: host\nmetadata: {name: x}\nspec: {addr: '10.0.0.7:22', agent: {id: 4, joined: '2026-01-01T00:00:00Z'}}\n";
    assert!(palisade_core::record::parse_records(both).is_err());
}
