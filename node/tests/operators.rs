//! What operators look at: metrics and the alert rules shipped for them, the support bundle, the live view, the
//! configuration and its reload. One node is enough for all of it.

use palisade_testkit::{Cluster, program, retry, run, run_with_input};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

fn monitoring(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging/monitoring")
        .join(file)
}

fn promtool(words: &[&str], input: &str) -> String {
    run_with_input(Command::new("promtool").args(words), input.as_bytes()).ok()
}

/// Every name of a metric in a text, without what a histogram adds to it.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c))
        .filter(|w| (w.starts_with("palisade_") || w.starts_with("process_")) && w.len() > 10)
        .map(|w| w.trim_end_matches("_bucket").to_owned())
        .collect()
}

/// Goal: what is shipped for Prometheus and Grafana fits what a node gives. Method: promtool reads the metrics of a real
/// node and the rules, and proves the rules on made-up series; every metric that a rule or a panel names is there.
#[test]
fn alerts_and_dashboard_name_only_what_a_node_gives() {
    let cluster = Cluster::start(1);
    cluster
        .palctl(0, &["hosts", "add", "web1", "--addr", "127.0.0.1:22"])
        .ok();
    let answered = cluster.metrics(0);
    let text = answered.split("\r\n\r\n").nth(1).expect("a body");
    promtool(&["check", "metrics"], text);
    let rules = monitoring("alerts.yaml");
    promtool(&["check", "rules", &rules.display().to_string()], "");
    promtool(
        &[
            "test",
            "rules",
            &monitoring("alerts.test.yaml").display().to_string(),
        ],
        "",
    );

    let there: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|rest| rest.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert!(there.len() > 50, "{there:?}");
    for file in ["alerts.yaml", "grafana.json"] {
        let shipped = fs::read_to_string(monitoring(file)).expect("it is in the tree");
        let named = names(&shipped);
        assert!(named.len() > 15, "{file}: {named:?}");
        let missing: Vec<_> = named.difference(&there).collect();
        assert!(missing.is_empty(), "{file} names what no node gives: {missing:?}");
    }
    let dashboard = fs::read_to_string(monitoring("grafana.json")).expect("it is in the tree");
    let _: Value = serde_json::from_str(&dashboard).expect("JSON");

    // The kinds are what their names say, and what happened was counted.
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a kind");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
    }
    let value = |series: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.and_then(|rest| rest.trim().parse().ok())
            .unwrap_or_else(|| panic!("{series} is not in\n{text}"))
    };
    assert!(value("palisade_commit_seconds_count") >= 2.0);
    assert!(value("palisade_log_sync_seconds_count") >= 2.0);
    assert!(value("palisade_ready_to_write ") > 0.5);
    assert!(value("palisade_failure_tolerance ") < 0.5);
    assert!(value("process_resident_memory_bytes ") > 1e6);
    let requests =
        "palisade_http_requests_total{method=\"POST\",route=\"/v1/records/{kind}\",status=\"2xx\"}";
    assert!(value(requests) >= 1.0);
}

/// Every text of a folder, however deep.
fn texts(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("it is ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(texts(&path));
        } else {
            let bytes = fs::read(&path).expect("it is ours");
            all.push((path, bytes));
        }
    }
    all
}

fn base64_of(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bytes");
    fs::write(&file, bytes).expect("it is ours");
    run(Command::new("base64").arg("-w0").arg(&file))
        .ok()
        .trim()
        .to_owned()
}

/// Goal: nothing secret leaves with a support bundle. Method: secrets of every kind are used on a node that logs all it
/// can; the bundle is unpacked and searched for each, as it is, in hex and in base64.
#[test]
fn a_support_bundle_holds_what_helps_and_no_secret() {
    let cluster = Cluster::unformed(1);
    cluster.write_config(0, "log_level: debug\n");
    cluster.spawn(0);
    cluster.palctl(0, &["cluster", "init", "--name", "test"]).ok();
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let invite = cluster
        .palctl(
            0,
            &[
                "users", "add", "bob", "--roles", "access", "--logins", "bob", "--format", "json",
            ],
        )
        .json();
    let invite = invite["url"].as_str().expect("an address").to_owned();
    let invite = invite.rsplit('/').next().expect("a token").to_owned();
    let token = cluster.join_token(0);
    let token_secret = token.rsplit('.').next().expect("a secret").to_owned();
    let data = &cluster.nodes[0].data;
    let cluster_key = fs::read(data.join("cluster.key")).expect("it is there");
    let peer = fs::read_to_string(data.join("peer.pem")).expect("it is there");
    let peer_key = peer.lines().nth(1).expect("a line of the key").to_owned();

    let out = cluster.root().join("bundle.tar.gz");
    let shown = out.display().to_string();
    let said = cluster.palctl(0, &["doctor", "--out", &shown]).ok();
    assert!(said.contains("status.json") && said.contains(&shown), "{said}");
    // It is never written over something.
    cluster.palctl(0, &["doctor", "--out", &shown]).refused();
    let unpacked = cluster.folder("unpacked");
    run(Command::new("tar").arg("-xzf").arg(&out).arg("-C").arg(&unpacked)).ok();
    let files = texts(&unpacked);
    let find = |name: &str| {
        let found = files.iter().find(|(path, _)| path.ends_with(name));
        String::from_utf8_lossy(&found.unwrap_or_else(|| panic!("no {name}")).1).into_owned()
    };
    let status: Value = serde_json::from_str(&find("status.json")).expect("JSON");
    assert_eq!(status["cluster"], "test");
    for (name, words) in [
        ("metrics.txt", "palisade_raft_term"),
        ("config.txt", "web_listen: 127.0.0.1:"),
        ("raft.txt", "committed"),
        ("storage.txt", "audit events"),
        ("machine.txt", "disk of"),
        ("log.txt", "this node serves"),
    ] {
        assert!(find(name).contains(words), "{name} does not hold {words:?}");
    }
    // The search finds what is there: else it would prove nothing.
    assert!(find("log.txt").contains("route=/v1/login") || find("log.txt").contains("/v1/login"));

    let mut secrets: Vec<(&str, Vec<u8>)> = vec![
        ("the invite's token", invite.into_bytes()),
        ("the join token", token.into_bytes()),
        ("the join token's secret", token_secret.into_bytes()),
        ("the cluster key's file", cluster_key.clone()),
        ("the peer key", peer_key.into_bytes()),
    ];
    for (what, secret) in alice.secrets() {
        secrets.push((what, secret.into_bytes()));
    }
    let text = String::from_utf8_lossy(&cluster_key);
    let words = text.split_whitespace().filter(|w| w.len() >= 16);
    secrets.extend(words.map(|w| ("the cluster key", w.as_bytes().to_vec())));
    for (what, secret) in &secrets {
        assert!(secret.len() >= 8, "{what} is too short to be looked for");
        let hex: String = secret.iter().map(|b| format!("{b:02x}")).collect();
        let base64 = base64_of(secret);
        let forms = [
            secret.clone(),
            hex.into_bytes(),
            base64.trim_end_matches('=').into(),
        ];
        for (path, bytes) in &files {
            for form in &forms {
                let there = bytes.windows(form.len()).any(|window| window == form.as_slice());
                assert!(!there, "{what} is in {}", path.display());
            }
        }
    }

    // A node that does not run is looked at from outside.
    cluster.stop(0);
    let out = cluster.root().join("stopped.tar.gz").display().to_string();
    let config = cluster.nodes[0].config.display().to_string();
    cluster
        .palctl(0, &["doctor", "--out", &out, "--config", &config])
        .ok();
    let listed = run(Command::new("tar").args(["-xzOf", &out])).ok();
    assert!(
        listed.contains("does not answer") && listed.contains("no damage found"),
        "{listed}"
    );
}

/// Goal: a file can be made, looked at and changed under a running node; what is wrong with one is said all at once.
#[test]
fn a_configuration_is_made_shown_checked_and_reloaded() {
    let cluster = Cluster::unformed(1);
    let node = &cluster.nodes[0];
    let palisade = |words: &[&str]| run(Command::new(program("palisade")).args(words));
    let made = cluster.root().join("made.yaml").display().to_string();
    palisade(&[
        "configure",
        "--out",
        &made,
        "--name",
        "n9",
        "--data-dir",
        "/srv/palisade",
    ])
    .ok();
    let said = palisade(&["configure", "--out", &made]).refused();
    assert!(said.contains("--yes"), "{said}");
    palisade(&["config", "check", &made]).ok();
    let shown = palisade(&["config", "show", &made]).ok();
    assert!(
        shown.contains("/srv/palisade") && shown.contains("default"),
        "{shown}"
    );

    // Five faults, all five with their places, and nothing starts.
    let good = fs::read_to_string(&node.config).expect("it was written");
    let bad = "name: A B\nweb_listen: nowhere\nweb_lisen: x\nlog: loud\nraft:\n  heartbeat_ms: soon\n";
    fs::write(&node.config, bad).expect("it is ours");
    let file = node.config.display().to_string();
    let said = palisade(&["config", "check", &file]).refused();
    for words in [
        "5 faults",
        "line 1, column 7: name",
        "line 2, column 13: web_listen",
        "line 3, column 1: unknown key \"web_lisen\": did you mean \"web_listen\"?",
        "line 4, column 6: log",
        "line 6, column 17: raft.heartbeat_ms",
    ] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    let said = cluster.spawn_refused(0);
    assert!(said.contains("5 faults"), "{said}");
    fs::write(&node.config, &good).expect("it is ours");
    cluster.spawn(0);
    cluster.palctl(0, &["cluster", "init", "--name", "test"]).ok();

    // A reload takes over what it can and names the rest.
    let hangup = |words: &str| {
        let before = node.log().len();
        let pid = node.pid().expect("it runs").to_string();
        run(Command::new("kill").args(["-HUP", &pid])).ok();
        retry("the reload", BOUND, || {
            let log = node.log();
            match log[before..].contains(words) {
                true => Ok(log[before..].to_owned()),
                false => Err(log),
            }
        })
    };
    hangup("has not changed");
    fs::write(
        &node.config,
        format!("{good}log: json\nraft: {{audit_recent: 99}}\n"),
    )
    .expect("it is ours");
    let said = hangup("takes effect at the next start");
    assert!(
        said.contains("\"key\":\"log\""),
        "it was not taken over at once: {said}"
    );
    assert!(said.contains("raft.audit_recent"), "{said}");
    fs::write(&node.config, bad).expect("it is ours");
    let said = hangup("stays as it was");
    assert!(said.contains("unknown key"), "{said}");
    assert!(node.is_running());

    // The live view, one frame of it.
    let frame = cluster.palctl(0, &["top", "--once", "--format", "json"]).json();
    assert_eq!(frame["nodes"][0]["node"], "n1");
    assert!(
        frame["nodes"][0]["memory_bytes"]
            .as_u64()
            .is_some_and(|b| b > 1 << 20),
        "{frame}"
    );
    assert!(frame["nodes"][0]["writes_per_second"].is_number(), "{frame}");
}

/// What a collector was sent: paths and bodies.
type Sent = std::sync::Arc<std::sync::Mutex<Vec<(String, Vec<u8>)>>>;

/// A collector that keeps what it is sent.
fn collector() -> (u16, Sent) {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let kept = Sent::default();
    let keep = kept.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let keep = keep.clone();
            std::thread::spawn(move || {
                let mut from = BufReader::new(stream.try_clone().expect("a stream can be shared"));
                let mut to = stream;
                loop {
                    let (mut path, mut length) = (String::new(), 0);
                    loop {
                        let mut line = String::new();
                        if from.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        if path.is_empty() {
                            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                        }
                        if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                            length = n.trim().parse().expect("a length");
                        }
                        if line == "\r\n" {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    if from.read_exact(&mut body).is_err() {
                        return;
                    }
                    keep.lock().expect("nobody panics").push((path, body));
                    if to
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    (port, kept)
}

/// Goal: telemetry goes where the configuration says, in the published form, with no secret; and nowhere otherwise. Method: a
/// stand-in for a collector decodes what arrives with the published messages; it is configured by a reload.
#[test]
fn telemetry_is_exported_where_it_is_configured_and_nowhere_else() {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
    use prost::Message as _;
    let (port, kept) = collector();
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    cluster.without_second_factor();
    let alice = cluster.person_by_password("alice", "access");
    assert!(kept.lock().expect("nobody panics").is_empty());

    cluster.write_config(
        0,
        &format!("otlp: {{endpoint: 'http://127.0.0.1:{port}', every_s: 1}}\n"),
    );
    let pid = node.pid().expect("it runs").to_string();
    run(Command::new("kill").args(["-HUP", &pid])).ok();
    retry("the reload", BOUND, || {
        node.log()
            .contains("otlp.endpoint")
            .then_some(())
            .ok_or_else(|| node.log())
    });
    alice.login_by_password(&node.web_addr()).ok();
    let is = |attributes: &[KeyValue], key: &str, wanted: &str| {
        let found = attributes.iter().find(|pair| pair.key == key);
        let value = found.and_then(|pair| pair.value.clone()).and_then(|v| v.value);
        assert_eq!(value, Some(Any::StringValue(wanted.to_owned())), "{key}");
    };
    retry("the span of the login", BOUND, || {
        let kept = kept.lock().expect("nobody panics").clone();
        let mut names = Vec::new();
        for (_, body) in kept.iter().filter(|(path, _)| path == "/v1/traces") {
            let sent = ExportTraceServiceRequest::decode(body.as_slice()).expect("as published");
            for of in sent.resource_spans {
                let resource = of.resource.expect("a resource");
                is(&resource.attributes, "service.name", "palisade");
                is(&resource.attributes, "palisade.node.id", "1");
                let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                names.extend(spans.map(|span| {
                    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
                    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
                    span.name
                }));
            }
        }
        let both = ["POST /v1/login", "commit login"];
        match both.iter().all(|name| names.iter().any(|n| n == name)) {
            true => Ok(()),
            false => Err(format!("{names:?}")),
        }
    });
    let sent = retry("the metrics", BOUND, || {
        let kept = kept.lock().expect("nobody panics").clone();
        let body = kept.into_iter().rev().find(|(path, _)| path == "/v1/metrics");
        body.map(|(_, body)| body).ok_or_else(String::new)
    });
    let sent = ExportMetricsServiceRequest::decode(sent.as_slice()).expect("as published");
    let of = &sent.resource_metrics[0];
    is(
        &of.resource.as_ref().expect("a resource").attributes,
        "service.name",
        "palisade",
    );
    let names: Vec<_> = of.scope_metrics[0]
        .metrics
        .iter()
        .map(|m| m.name.as_str())
        .collect();
    for name in [
        "palisade_ready_to_write",
        "palisade_logins_total",
        "palisade_log_sync_seconds",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for (path, body) in kept.lock().expect("nobody panics").iter() {
        for (what, secret) in alice.secrets() {
            let there = body
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!there, "{what} was sent to {path}");
        }
        assert!(
            !String::from_utf8_lossy(body).contains("alice"),
            "a name was sent to {path}"
        );
    }

    // Taken out of the file, it ends.
    cluster.write_config(0, "");
    let before = node.log().len();
    run(Command::new("kill").args(["-HUP", &pid])).ok();
    retry("the reload", BOUND, || {
        node.log()[before..]
            .contains("taken over")
            .then_some(())
            .ok_or_else(|| node.log())
    });
    let logins = || {
        let kept = kept.lock().expect("nobody panics");
        let word = b"commit login";
        kept.iter()
            .filter(|(_, body)| body.windows(word.len()).any(|w| w == word))
            .count()
    };
    let before = logins();
    alice.login_by_password(&node.web_addr()).ok();
    // Two periods: that nothing comes can only be waited for.
    std::thread::sleep(Duration::from_millis(2_200));
    assert_eq!(logins(), before, "it is still sent");
}
