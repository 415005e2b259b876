//! The HTTP API of a real node, asked by a program that makes requests of the API's document and of nothing else: those that
//! the document allows, and those that it does not. Whatever is asked, no answer is a fault of the server, and each is one
//! that the document has: its status, its type, its body.
//!
//! What it asks is the same each time. To ask for more: `FUZZ_EXAMPLES=1000 cargo test --test api_fuzz`; and with words of
//! one's own: `FUZZ_MORE='--include-operation-id create_record --report vcr'`.

use palisade_testkit::{Background, Cluster, Ran, python_program};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Both runs together stay under this on a busy machine.
const BOUND: Duration = Duration::from_secs(300);

/// What is held of every answer.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Operations that are not asked, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("remove_node", "it may take out the only node there is"),
    ("replace_node", "so may this"),
];

/// Somebody who may do everything with records and reaches no host: nothing that is made up is dialled.
const ALL_RIGHTS: &str = "kind: role
metadata: {name: all-rights}
spec: {allow: {logins: [nobody], rules: [{resources: ['*'], verbs: ['*']}]}}
";

/// Runs the program over a document.
fn fuzz(
    folder: &Path,
    document: &str,
    base: &str,
    phases: &str,
    examples: usize,
    more: &[&str],
) -> Option<Ran> {
    let program = python_program("schemathesis")?;
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .args(["run", document, "--url", base])
        .args(["--checks", CHECKS])
        .args(["--phases", phases])
        .args(["--max-examples", &examples.to_string()])
        .args([
            "--generation-deterministic",
            "--no-shrink",
            "--continue-on-failure",
            "--no-color",
        ])
        .args([
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
            "--request-timeout",
            "30",
        ])
        .args(more)
        .args(std::env::var("FUZZ_MORE").unwrap_or_default().split_whitespace());
    let mut run = Background::start(&mut command);
    run.close_input();
    Some(run.finish(BOUND))
}

fn examples(usual: usize) -> usize {
    let asked = std::env::var("FUZZ_EXAMPLES").ok();
    asked.map_or(usual, |text| text.parse().expect("FUZZ_EXAMPLES is a number"))
}

fn held(who: &str, ran: Option<Ran>) {
    let Some(ran) = ran else {
        println!("not run: there is no schemathesis here; `make test` installs it");
        return;
    };
    println!("{who}, {:.0} s:\n{}", ran.took.as_secs_f64(), ran.text());
    assert!(ran.succeeded(), "{who}:\n{}\n{}", ran.text(), ran.complaint());
}

/// Goal: neither somebody with every right nor somebody without any gets an answer that is not in the document.
#[test]
fn no_request_of_the_document_gets_an_answer_that_it_does_not_have() {
    let cluster = Cluster::start(1);
    cluster.create(ALL_RIGHTS);
    let alice = cluster.person("alice", "all-rights");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let folder = cluster.folder("fuzz");
    let base = format!("https://{}", cluster.nodes[0].web_addr());
    let document = folder.join("openapi.json");
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/openapi.json"),
        &document,
    )
    .expect("the document is in the tree");
    let document = document.to_str().expect("a plain path").to_owned();
    let text = |path: std::path::PathBuf| path.to_str().expect("a plain path").to_owned();
    let (ca, certificate, key) = (
        text(alice.saved("ca.pem")),
        text(alice.saved("-tls.pem")),
        text(alice.saved("-tls.key")),
    );
    let mut words = vec!["--tls-verify", &ca];
    let left_out: Vec<[&str; 2]> = LEFT_OUT
        .iter()
        .map(|(operation, _)| ["--exclude-operation-id", *operation])
        .collect();
    words.extend(left_out.iter().flatten());
    // Nearly all that nobody is told is that they are nobody: a few of each are enough.
    held(
        "nobody",
        fuzz(&folder, &document, &base, "fuzzing", examples(10), &words),
    );
    words.extend(["--request-cert", &certificate, "--request-cert-key", &key]);
    held(
        "every right",
        fuzz(
            &folder,
            &document,
            &base,
            "coverage,fuzzing",
            examples(15),
            &words,
        ),
    );
    // It lives, and nothing that was asked took its login away.
    let who = alice.pal(&["status"]).ok();
    assert!(who.contains("alice"), "{who}");
    for (operation, _) in LEFT_OUT {
        let known = std::fs::read_to_string(&document).expect("readable");
        assert!(
            known.contains(&format!("\"operationId\": \"{operation}\"")),
            "{operation} is left out, and there is no such operation"
        );
    }
}

/// Answers a few paths, each wrong in its own way but for the first.
fn tiny_server() -> (u16, Value) {
    const WRONG: &[(&str, &str, &str, &str)] = &[
        ("/good", "200 OK", "application/json", r#"{"ok":true}"#),
        (
            "/fails",
            "500 Internal Server Error",
            "application/json",
            r#"{"ok":true}"#,
        ),
        (
            "/status",
            "418 I'm a teapot",
            "application/json",
            r#"{"ok":true}"#,
        ),
        ("/schema", "200 OK", "application/json", r#"{"ok":"yes"}"#),
        ("/type", "200 OK", "text/html", r#"{"ok":true}"#),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut asked = [0; 4096];
            let size = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..size]).into_owned();
            let mut words = asked.split([' ', '?']);
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let found = WRONG.iter().find(|(known, ..)| *known == path && method == "GET");
            let (_, status, kind, body) =
                found.unwrap_or(&("", "405 Method Not Allowed", "application/json", r#"{"ok":true}"#));
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let schema = json!({"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}});
    let good = json!({"description": "Good", "content": {"application/json": {"schema": schema}}});
    let paths: serde_json::Map<String, Value> = WRONG
        .iter()
        .map(|(path, ..)| {
            // What is a fault of the server is one also where the document speaks of it.
            let responses = match *path {
                "/fails" => json!({"200": good, "500": good}),
                _ => json!({"200": good}),
            };
            (
                (*path).to_owned(),
                json!({"get": {"operationId": &path[1..], "responses": responses}}),
            )
        })
        .collect();
    let document = json!({"openapi": "3.1.0", "info": {"title": "tiny", "version": "1"}, "paths": paths});
    (port, document)
}

/// Goal: the test above can fail, at each thing that it holds.
#[test]
fn a_server_that_answers_wrongly_is_found_out() {
    let (port, document) = tiny_server();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.json");
    std::fs::write(&path, document.to_string()).expect("writable");
    let path = path.to_str().expect("a plain path");
    let base = format!("http://127.0.0.1:{port}");
    let Some(ran) = fuzz(folder.path(), path, &base, "coverage,fuzzing", 5, &[]) else {
        println!("not run: there is no schemathesis here; `make test` installs it");
        return;
    };
    let said = ran.text();
    assert!(!ran.succeeded(), "{said}");
    for (path, fault) in [
        ("/fails", "Server error"),
        ("/status", "Undocumented status code"),
        ("/schema", "Response violates schema"),
        ("/type", "Undocumented Content-Type"),
    ] {
        let about = said.split(&format!(" GET {path} _")).nth(1);
        let about = about.unwrap_or_else(|| panic!("nothing is said of {path}:\n{said}"));
        let about = about.split("Reproduce with").next().unwrap_or_default();
        assert!(about.contains(fault), "{path}: {about}");
    }
    assert!(!said.contains(" GET /good _"), "{said}");
}
