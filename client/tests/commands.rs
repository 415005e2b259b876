//! The programs as people run them.

mod stub;

use palisade_client::pal::Pal;
use palisade_client::palctl::Palctl;
use palisade_core::api::{Certificates, LoginRequest};
use palisade_core::time::Timestamp;
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
    let Output { status, stdout, stderr } = ended.expect("it ends in time").expect("it ends");
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
    let certificate = builder.sign(&ca_key()).expect("a certificate").to_openssh().expect("a line");
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
    let login = ["login", "--proxy", &node.addr, "--user", "alice", "--ca-pin", &pin, "--password-stdin", "--code", "123456"];
    let ran = pal(&home, &login, "correct horse\n").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("alice") && ran.out.contains("demo") && ran.out.contains("root"), "{}", ran.out);
    let dir = home.join("127.0.0.1");
    let mode = |path: &Path| std::fs::metadata(path).map(|m| m.permissions().mode() & 0o777).expect("it is there");
    assert_eq!((mode(&home), mode(&dir)), (0o700, 0o700));
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .expect("a profile")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    let wanted = ["alice", "alice-cert.pub", "alice-tls.key", "alice-tls.pem", "ca.pem", "known_hosts", "profile.json"];
    assert_eq!(names, wanted, "no temporary file stays");
    for name in &names {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    let known = std::fs::read_to_string(dir.join("known_hosts")).expect("known hosts");
    assert!(known.starts_with("@cert-authority * ssh-ed25519 "), "{known}");
    let listed = Command::new("ssh-keygen").arg("-L").arg("-f").arg(dir.join("alice-cert.pub")).output().await.expect("ssh-keygen");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("Key ID: \"alice\""), "{listed:?}");

    let status = pal(&home, &["status", "--format", "json"], "").await;
    let shown: serde_json::Value = serde_json::from_str(&status.out).expect("json");
    assert_eq!((status.code, shown["active"]["user"].as_str()), (0, Some("alice")));

    let out = pal(&home, &["logout"], "").await;
    assert_eq!(out.code, 0, "{}", out.err);
    assert!(!dir.exists() && !home.join("current").exists());
    let status = pal(&home, &["status"], "").await;
    assert_eq!(status.code, 1);
    assert!(status.err.contains("not logged in") && status.err.contains("pal login"), "{}", status.err);
}

#[tokio::test]
async fn a_wrong_pin_or_password_saves_nothing() {
    let (ca, other) = (Authority::new(), Authority::new());
    let node = node(&ca, "alice").await;
    let home = tempfile::tempdir().expect("a directory");
    let (good, bad) = (ca.pin.to_string(), other.pin.to_string());
    let args = |pin: &str| -> Vec<String> {
        ["login", "--proxy", &node.addr, "--user", "alice", "--ca-pin", pin, "--password-stdin", "--code", "123456"].map(String::from).to_vec()
    };
    for (pin, password, says) in [(&bad, "correct horse\n", "pin"), (&good, "wrong\n", "check name, password and code"), (&good, "", "no password")] {
        let args = args(pin);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = pal(home.path(), &args, password).await;
        assert!(ran.code != 0 && ran.err.contains(says), "{}: {}", ran.code, ran.err);
        assert!(!ran.err.contains("correct horse"), "the password was shown");
        assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 0);
    }
    let asked = node.seen();
    assert_eq!(asked.len(), 1, "a password went to a server with another pin: {asked:?}");
}

#[tokio::test]
async fn a_hostile_node_cannot_choose_where_files_go() {
    let ca = Authority::new();
    let node = node(&ca, "../../evil").await;
    let home = tempfile::tempdir().expect("a directory");
    let pin = ca.pin.to_string();
    let login = ["login", "--proxy", &node.addr, "--user", "alice", "--ca-pin", &pin, "--password-stdin", "--code", "123456"];
    let ran = pal(home.path(), &login, "correct horse\n").await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 0);
}

#[tokio::test]
async fn wrong_use_is_told_apart_from_failure() {
    let home = tempfile::tempdir().expect("a directory");
    let palctl = env!("CARGO_BIN_EXE_palctl");
    for args in [&["lsx"][..], &["ssh"], &["play", "--speed", "0", "x"], &["login"], &["login", "--ca-pin", "nonsense"], &["proxy", "ssh"]] {
        let ran = pal(home.path(), args, "").await;
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(!ran.err.is_empty());
    }
    for args in [&["get", "nothing"][..], &["rm", "role/x"], &["lock"], &["cluster", "join", "x", "y"], &["users", "add", "x"], &["create"]] {
        let ran = run(palctl, home.path(), args, "").await;
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
    }
    let ran = run(palctl, home.path(), &["status"], "").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.lines().count() >= 2 && ran.err.contains("no.sock"), "{}", ran.err);
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
        let pages = run(program, home.path(), &["man", "--dir", dir.to_str().expect("text")], "").await;
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
    assert_eq!((ran.code, ran.out.as_str()), (0, "hello world\r\n"), "{}", ran.err);
    let ran = pal(home.path(), &["play", "--search", "WORLD", file], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "0:00:00  2023-11-14T22:13:20Z  hello world\n"), "{}", ran.err);
    let ran = pal(home.path(), &["play", "--search", "mars", file], "").await;
    assert_eq!(ran.code, 1);
}
