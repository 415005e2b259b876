//! The programs as people run them.

mod stub;

use palisade_client::pal::Pal;
use palisade_client::palctl::Palctl;
use palisade_core::api::{Certificates, LoginRequest};
use palisade_core::time::Timestamp;
use serde_json::json;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, PublicKey};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use stub::{Asked, Authority, Stub, error};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

async fn run(program: &str, home: &Path, args: &[&str], input: &str) -> Ran {
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PAL_HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PALISADE_SOCKET", home.join("no.sock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("input");
    drop(stdin);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), child.wait_with_output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = ended.expect("it ends in time").expect("it ends");
    Ran {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

async fn pal(home: &Path, args: &[&str], input: &str) -> Ran {
    run(env!("CARGO_BIN_EXE_pal"), home, args, input).await
}

fn ca_key() -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[3; 32]))
}

fn issue(request: &LoginRequest, addr: &str, authority: &str, user: &str) -> String {
    let key = PublicKey::from_openssh(&request.ssh_public_key).expect("a key");
    let mut builder = Builder::new(vec![1; 16], key.key_data().clone(), 0, 4_000_000_000).expect("a builder");
    builder.cert_type(CertType::User).expect("type");
    builder.key_id(&request.user).expect("id");
    builder.valid_principal("root").expect("principal");
    let certificate = builder
        .sign(&ca_key())
        .expect("a certificate")
        .to_openssh()
        .expect("a line");
    let answer = Certificates {
        user: user.into(),
        cluster: "demo".into(),
        ssh_certificate: certificate,
        // Not a pair with the key, but well-formed: the stub asks for no client certificate.
        tls_certificate: authority.into(),
        tls_authorities: vec![authority.into()],
        host_authorities: vec![ca_key().public_key().to_openssh().expect("a line")],
        web_addrs: vec![addr.into()],
        ssh_addrs: vec!["127.0.0.1:3023".into()],
        logins: vec!["root".into()],
        roles: vec!["access".into()],
        valid_before: Timestamp::from_secs(4_000_000_000),
    };
    serde_json::to_string(&answer).expect("json")
}

/// A node that lets alice in with one password and code.
async fn node(ca: &Authority, answered_user: &'static str) -> Stub {
    let pem = ca.pem.clone();
    Stub::start(ca, move |asked: &Asked| {
        let answer = match asked.path.as_str() {
            "/v1/ping" => r#"{"cluster":"demo","version":"0","ca_pin":"","web_addrs":[],"ssh_addrs":[],"second_factor":true}"#.into(),
            "/v1/login" => {
                let request: LoginRequest = serde_json::from_str(&asked.body).expect("a login");
                if (request.password.as_str(), request.code.as_str()) != ("correct horse", "123456") {
                    return Some((401, error("unauthenticated")));
                }
                issue(&request, "127.0.0.1:3080", &pem, answered_user)
            }
            _ => return Some((404, error("not_found"))),
        };
        Some((200, answer))
    })
    .await
}

#[tokio::test]
async fn a_headless_connection_is_to_one_host_as_one_account_and_keeps_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    for (target, said) in [
        ("env=prod", "--headless is for one host"),
        ("root@env=prod,role=db", "--headless is for one host"),
        ("web1", "which account is wanted"),
        ("root@", "is no target"),
        ("root@web1:x", "is no target"),
    ] {
        let words = ["--proxy", "127.0.0.1:1", "ssh", "--headless", target, "true"];
        let ran = pal(home.path(), &words, "").await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{target}: {}", ran.err);
        assert!(ran.err.contains(said), "{target}: {}", ran.err);
    }
    let left = std::fs::read_dir(home.path()).expect("a folder").count();
    assert_eq!(left, 0);
}

#[test]
fn the_command_lines_are_well_formed() {
    Pal::definition().debug_assert();
    Palctl::definition().debug_assert();
}

#[tokio::test]
async fn login_leaves_keys_that_nobody_else_may_read() {
    let ca = Authority::new();
    let node = node(&ca, "alice").await;
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path().join("pal");
    let pin = ca.pin.to_string();
    let login = [
        "login",
        "--proxy",
        &node.addr,
        "--user",
        "alice",
        "--ca-pin",
        &pin,
        "--password-stdin",
        "--code",
        "123456",
    ];
    let ran = pal(&home, &login, "correct horse\n").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("alice") && ran.out.contains("demo") && ran.out.contains("root"),
        "{}",
        ran.out
    );
    let dir = home.join("127.0.0.1");
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .map(|m| m.permissions().mode() & 0o777)
            .expect("it is there")
    };
    assert_eq!((mode(&home), mode(&dir)), (0o700, 0o700));
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .expect("a profile")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    let wanted = [
        "alice",
        "alice-cert.pub",
        "alice-tls.key",
        "alice-tls.pem",
        "ca.pem",
        "known_hosts",
        "profile.json",
    ];
    assert_eq!(names, wanted, "no temporary file stays");
    for name in &names {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    let known = std::fs::read_to_string(dir.join("known_hosts")).expect("known hosts");
    assert!(known.starts_with("@cert-authority * ssh-ed25519 "), "{known}");
    let listed = Command::new("ssh-keygen")
        .arg("-L")
        .arg("-f")
        .arg(dir.join("alice-cert.pub"))
        .output()
        .await
        .expect("ssh-keygen");
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains("Key ID: \"alice\""),
        "{listed:?}"
    );

    let status = pal(&home, &["status", "--format", "json"], "").await;
    let shown: serde_json::Value = serde_json::from_str(&status.out).expect("json");
    assert_eq!(
        (status.code, shown["active"]["user"].as_str()),
        (0, Some("alice"))
    );

    let out = pal(&home, &["logout"], "").await;
    assert_eq!(out.code, 0, "{}", out.err);
    assert!(!dir.exists() && !home.join("current").exists());
    let status = pal(&home, &["status"], "").await;
    assert_eq!(status.code, 1);
    assert!(
        status.err.contains("not logged in") && status.err.contains("pal login"),
        "{}",
        status.err
    );
}

#[tokio::test]
async fn a_wrong_pin_or_password_saves_nothing() {
    let (ca, other) = (Authority::new(), Authority::new());
    let node = node(&ca, "alice").await;
    let home = tempfile::tempdir().expect("a directory");
    let (good, bad) = (ca.pin.to_string(), other.pin.to_string());
    let args = |pin: &str| -> Vec<String> {
        [
            "login",
            "--proxy",
            &node.addr,
            "--user",
            "alice",
            "--ca-pin",
            pin,
            "--password-stdin",
            "--code",
            "123456",
        ]
        .map(String::from)
        .to_vec()
    };
    for (pin, password, says) in [
        (&bad, "correct horse\n", "pin"),
        (&good, "wrong\n", "check name, password and code"),
        (&good, "", "no password"),
    ] {
        let args = args(pin);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = pal(home.path(), &args, password).await;
        assert!(
            ran.code != 0 && ran.err.contains(says),
            "{}: {}",
            ran.code,
            ran.err
        );
        assert!(!ran.err.contains("correct horse"), "the password was shown");
        assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 0);
    }
    let asked = node.seen();
    assert_eq!(
        asked.len(),
        1,
        "a password went to a server with another pin: {asked:?}"
    );
}

#[tokio::test]
async fn a_hostile_node_cannot_choose_where_files_go() {
    let ca = Authority::new();
    let node = node(&ca, "../../evil").await;
    let home = tempfile::tempdir().expect("a directory");
    let pin = ca.pin.to_string();
    let login = [
        "login",
        "--proxy",
        &node.addr,
        "--user",
        "alice",
        "--ca-pin",
        &pin,
        "--password-stdin",
        "--code",
        "123456",
    ];
    let ran = pal(home.path(), &login, "correct horse\n").await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 0);
}

#[tokio::test]
async fn wrong_use_is_told_apart_from_failure() {
    let home = tempfile::tempdir().expect("a directory");
    let palctl = env!("CARGO_BIN_EXE_palctl");
    for args in [
        &["lsx"][..],
        &["ssh"],
        &["play", "--speed", "0", "x"],
        &["login"],
        &["login", "--ca-pin", "nonsense"],
        &["proxy", "ssh"],
    ] {
        let ran = pal(home.path(), args, "").await;
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(!ran.err.is_empty());
    }
    for args in [
        &["get", "nothing"][..],
        &["rm", "role/x"],
        &["lock"],
        &["cluster", "join", "x", "y"],
        &["users", "add", "x"],
        &["create"],
    ] {
        let ran = run(palctl, home.path(), args, "").await;
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
    }
    let ran = run(palctl, home.path(), &["status"], "").await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.lines().count() >= 2 && ran.err.contains("no.sock"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn completion_and_man_pages_come_from_the_definitions() {
    let home = tempfile::tempdir().expect("a directory");
    for program in [env!("CARGO_BIN_EXE_pal"), env!("CARGO_BIN_EXE_palctl")] {
        for shell in ["bash", "zsh", "fish"] {
            let ran = run(program, home.path(), &["completion", shell], "").await;
            assert!(ran.code == 0 && ran.out.contains("status"), "{}", ran.err);
        }
        let page = run(program, home.path(), &["man"], "").await;
        assert!(page.code == 0 && page.out.contains(".TH"), "{}", page.err);
        let dir = home.path().join("man");
        std::fs::create_dir_all(&dir).expect("a directory");
        let pages = run(
            program,
            home.path(),
            &["man", "--dir", dir.to_str().expect("text")],
            "",
        )
        .await;
        assert_eq!(pages.code, 0, "{}", pages.err);
        assert!(std::fs::read_dir(&dir).expect("pages").count() > 5);
    }
}

#[tokio::test]
async fn a_cast_is_printed_without_what_acts_on_the_viewer() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("x.cast");
    let cast = "{\"version\": 2, \"width\": 80, \"height\": 24, \"timestamp\": 1700000000}\n[0.1, \"o\", \"hello \\u001b]52;c;eA==\\u0007world\\r\\n\"]\n";
    std::fs::write(&file, cast).expect("a file");
    let file = file.to_str().expect("text");
    let ran = pal(home.path(), &["play", file], "").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "hello world\r\n"),
        "{}",
        ran.err
    );
    let ran = pal(home.path(), &["play", "--search", "WORLD", file], "").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "0:00:00  2023-11-14T22:13:20Z  hello world\n"),
        "{}",
        ran.err
    );
    let ran = pal(home.path(), &["play", "--search", "mars", file], "").await;
    assert_eq!(ran.code, 1);
}

/// A node's control socket that keeps one role and answers the rest as a node would.
fn control(home: &Path) -> String {
    let socket = home.join("control.sock");
    stub::on_socket(&socket, |asked: &Asked| {
        let role = r#"{"kind":"role","version":"v1","metadata":{"name":"ops","revision":7},"spec":{"options":{},"allow":{"logins":["root"]},"deny":{}}}"#;
        let answer = match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/v1/records/role") => format!(r#"{{"items":[{role}],"next":"ops"}}"#),
            ("GET", "/v1/records/role?after=ops") => r#"{"items":[],"next":""}"#.into(),
            ("GET", "/v1/records/role/ops") => role.into(),
            ("POST", "/v1/records/role") if asked.body.contains("\"ops\"") => return Some((409, error("conflict"))),
            ("POST", "/v1/records/role" | "/v1/records/user") => String::new(),
            ("PUT", "/v1/records/role/ops") if asked.body.contains("\"revision\":7") => String::new(),
            ("PUT", _) => return Some((409, error("conflict"))),
            ("DELETE", "/v1/records/role/ops") => String::new(),
            ("POST", "/v1/users/bob/invites") => {
                r#"{"user":"bob","token":"t0k","url":"https://n1:3080/v1/invites/t0k","ca_pin":"sha256:00","expires":"2026-11-22T10:00:00Z"}"#.into()
            }
            _ => return Some((404, error("not_found"))),
        };
        Some((200, answer))
    });
    socket.to_str().expect("text").to_owned()
}

const ROLE: &str = "kind: role\nversion: v1\nmetadata:\n  name: NAME\nspec:\n  allow:\n    logins: [root]\n";

#[tokio::test]
async fn records_are_made_shown_changed_and_removed() {
    let home = tempfile::tempdir().expect("a directory");
    let socket = control(home.path());
    let palctl = |args: &'static [&'static str], input: String| {
        let (socket, home) = (socket.clone(), home.path().to_owned());
        async move {
            let args: Vec<&str> = ["--socket", &socket]
                .into_iter()
                .chain(args.iter().copied())
                .collect();
            run(env!("CARGO_BIN_EXE_palctl"), &home, &args, &input).await
        }
    };
    let shown = palctl(&["get", "roles"], String::new()).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(
        shown.out.contains("name: ops") && shown.out.contains("revision: 7"),
        "{}",
        shown.out
    );
    let again = palctl(&["create", "--force", "-f", "-"], shown.out.clone()).await;
    assert_eq!(
        (again.code, again.out.as_str()),
        (0, "role/ops was changed.\n"),
        "{}",
        again.err
    );
    let listed = palctl(&["get", "role", "--format", "json"], String::new()).await;
    assert!(listed.out.starts_with('[') && serde_json::from_str::<serde_json::Value>(&listed.out).is_ok());
    let made = palctl(&["create", "-f", "-"], ROLE.replace("NAME", "new")).await;
    assert_eq!(
        (made.code, made.out.as_str()),
        (0, "role/new was created.\n"),
        "{}",
        made.err
    );
    let exists = palctl(&["create", "-f", "-"], ROLE.replace("NAME", "ops")).await;
    assert!(
        exists.code == 1 && exists.err.contains("--force"),
        "{}",
        exists.err
    );
    let removed = palctl(&["rm", "role/ops", "--yes"], String::new()).await;
    assert_eq!(removed.code, 0, "{}", removed.err);
    let asked = palctl(&["rm", "role/ops"], String::new()).await;
    assert!(asked.code == 2 && asked.err.contains("--yes"), "{}", asked.err);
    let missing = palctl(&["get", "role/none"], String::new()).await;
    assert!(
        missing.code == 1 && missing.err.lines().count() == 2,
        "{}",
        missing.err
    );
    let added = palctl(
        &[
            "users",
            "add",
            "bob",
            "--roles",
            "access",
            "--logins",
            "root,deploy",
        ],
        String::new(),
    )
    .await;
    assert!(
        added.code == 0
            && added.out.contains("https://n1:3080/v1/invites/t0k")
            && added.out.contains("sha256:00"),
        "{}",
        added.err
    );
}

#[tokio::test]
async fn a_fault_in_the_last_document_creates_none() {
    let home = tempfile::tempdir().expect("a directory");
    let socket = control(home.path());
    let text = format!(
        "{}---\n{}",
        ROLE.replace("NAME", "a"),
        ROLE.replace("NAME", "b").replace("logins", "logns")
    );
    let ran = run(
        env!("CARGO_BIN_EXE_palctl"),
        home.path(),
        &["--socket", &socket, "create", "-f", "-"],
        &text,
    )
    .await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(
        ran.err.contains("logns") && ran.err.contains("logins") && ran.err.contains("line"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn an_edit_that_lost_a_race_keeps_the_text() {
    let home = tempfile::tempdir().expect("a directory");
    let socket = control(home.path());
    let edit = |script: &'static str| {
        let (socket, home) = (socket.clone(), home.path().to_owned());
        async move {
            let editor = home.join("editor");
            std::fs::write(&editor, format!("#!/bin/sh\nsed -i '{script}' \"$1\"\n")).expect("a script");
            std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).expect("a mode");
            let args = ["--socket", &socket, "edit", "role/ops"];
            let child = Command::new(env!("CARGO_BIN_EXE_palctl"))
                .args(args)
                .env("EDITOR", &editor)
                .env_remove("VISUAL")
                .env("TMPDIR", &home)
                .output()
                .await
                .expect("it runs");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (child.status.code(), text(&child.stdout), text(&child.stderr))
        }
    };
    let drafts = || {
        std::fs::read_dir(home.path())
            .expect("a directory")
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().ends_with(".yaml"))
            .count()
    };
    let (code, out, err) = edit("s/root/deploy/").await;
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "role/ops was changed.\n"),
        "{err}"
    );
    let (code, out, _) = edit("s/nothing/x/").await;
    assert_eq!((code, out.as_str()), (Some(0), "Nothing was changed.\n"));
    assert_eq!(drafts(), 0, "nothing is left behind");
    let (code, _, err) = edit("s/revision: 7/revision: 6/").await;
    assert!(code == Some(1) && err.contains("kept in"), "{err}");
    let (code, _, err) = edit("s/logins/logns/").await;
    assert!(
        code == Some(1) && err.contains("kept in") && err.contains("logins"),
        "{err}"
    );
    assert_eq!(drafts(), 2);
}

/// What a hostile agent or node says of the people in a session is shown, and not obeyed by the terminal.
#[tokio::test]
async fn terminal_escapes_in_the_list_of_who_is_in_a_session_are_inert() {
    let home = tempfile::tempdir().expect("a directory");
    let socket = home.path().join("hostile");
    stub::on_socket(&socket, |asked: &Asked| {
        let session = json!({
            "session": "0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a",
            "user": "alice", "login": "root\u{1b}[2J", "host": "web1\r\nforged", "client_addr": "\u{9b}31m10.0.0.1",
            "node": 1, "kind": "inter\u{7}active", "started": "2026-01-01T00:00:00Z",
            "participants": [
                {"user": "alice", "mode": "owner"},
                {"user": "\u{1b}]0;owned\u{7}bob\u{202e}", "mode": "observer\nmallory (owner)"},
            ],
        });
        Some(match asked.path.as_str() {
            "/v1/sessions" => (200, json!({"items": [session]}).to_string()),
            _ => (404, error("not_found")),
        })
    });
    let socket = socket.to_str().expect("text").to_owned();
    for format in ["text", "json", "yaml"] {
        let args = ["--socket", &socket, "sessions", "ls", "--format", format];
        let ran = run(env!("CARGO_BIN_EXE_palctl"), home.path(), &args, "").await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        let hidden = |c: char| c != '\n' && palisade_core::shown::is_hidden(c);
        assert!(!ran.out.chars().any(hidden), "{:?}", ran.out);
        assert!(
            ran.out.contains("alice") && ran.out.contains("bob"),
            "{}",
            ran.out
        );
        if format == "text" {
            assert_eq!(
                ran.out.lines().count(),
                3,
                "one line for one session: {}",
                ran.out
            );
            assert!(ran.out.contains("alice (owner), "), "{}", ran.out);
        }
    }
}
