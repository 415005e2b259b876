//! Searches among many hosts: by name, label and expression, as `pal ls` asks for them and `pal ls` itself.

use crate::load::Seen;
use crate::report::{Aim, Figure, keep};
use crate::writes::{Api, call, runtime, write_labelled};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::client::conn::http1::SendRequest;
use palisade_testkit::{Cluster, Person, run};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Searches, as a query of the API and as words of `pal ls`; each finds at most a page.
fn searches(hosts: u64) -> [(&'static str, String, Vec<String>); 4] {
    // Names of this kind have numbers of which four is one less than a divisor.
    let name = format!("-{}", hosts / 8 * 4 + 3);
    let expression = r#"equals(resource.labels["rack"], "r17") && has_prefix(resource.name, "db")"#;
    [
        ("name", format!("search=many{name}"), vec![format!("many{name}")]),
        (
            "labels",
            "search=env%3Dprod%20rack%3Dr17".into(),
            vec!["env=prod,rack=r17".into()],
        ),
        (
            "expression",
            format!("query={}", encoded(expression)),
            vec!["--query".into(), expression.into()],
        ),
        ("nothing", "search=nowhere".into(), vec!["nowhere".into()]),
    ]
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// A user's connection to the API, as `pal` makes it.
struct User(SendRequest<Full<Bytes>>);

impl User {
    async fn connect(alice: &Person, port: u16) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for ca in CertificateDer::pem_file_iter(alice.saved("ca.pem"))? {
            roots.add(ca?)?;
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(alice.saved("-tls.pem"))?.collect();
        let key = PrivateKeyDer::from_pem_file(alice.saved("-tls.key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain?, key)?;
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1")?;
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(User(sender))
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<serde_json::Value> {
        let bytes = call(&mut self.0, Method::GET, path, Bytes::new()).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Loads that many host records into three nodes and searches them.
pub(crate) fn measure(hosts: u64, times: usize) -> anyhow::Result<()> {
    println!(
        "\n== search among {hosts} hosts, three nodes, {times} searches of each kind (aim: under 100 ms)"
    );
    let cluster = Cluster::start(3);
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let began = Instant::now();
    write_labelled(&cluster, hosts)?;
    cluster.wait_converged();
    println!("{:>18}  {:.0} s", "written in", began.elapsed().as_secs_f64());
    let (changing, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (changing, over) = (&changing, &over);
    std::thread::scope(|scope| {
        let socket = cluster.nodes[0].socket();
        scope.spawn(move || {
            let changes = async {
                let mut api = Api::connect(&socket).await?;
                for n in 0.. {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    if changing.load(Ordering::SeqCst) {
                        api.host(&format!("new-{n}"), "rack", "r17").await?;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                anyhow::Ok(())
            };
            if let Ok(runtime) = runtime() {
                let _ = runtime.block_on(changes);
            }
        });
        let done = all(&cluster, &alice, hosts, times, changing);
        over.store(true, Ordering::SeqCst);
        done
    })
}

fn all(
    cluster: &Cluster,
    alice: &Person,
    hosts: u64,
    times: usize,
    changing: &AtomicBool,
) -> anyhow::Result<()> {
    let port = cluster.nodes[0].web_port;
    runtime()?.block_on(async {
        let mut user = User::connect(alice, port).await?;
        let began = Instant::now();
        user.get("/v1/hosts?limit=1").await?;
        println!("{:>18}  {:>7.2} ms", "first of a node", ms(began.elapsed()));
        for changes in [false, true] {
            changing.store(changes, Ordering::SeqCst);
            for (what, query, _) in searches(hosts) {
                let mut took = Vec::new();
                let mut found = 0;
                for _ in 0..times {
                    let began = Instant::now();
                    let page = user.get(&format!("/v1/hosts?limit=1000&{query}")).await?;
                    took.push(began.elapsed());
                    found = page["items"].as_array().context("items")?.len();
                }
                ensure!((found == 0) == (what == "nothing"), "{found} found by {what}");
                let seen = Seen::of(took, Duration::from_secs(1));
                let with = if changes { ", 20 changes a second" } else { "" };
                let p99 = Figure::new("ms", seen.percentile(99)).aim(Aim::AtMost(100.0));
                keep(format!("search among {hosts} hosts by {what}{with}, p99"), p99);
                println!(
                    "{what:>18}  p50 {:>7.2} ms  p99 {:>7.2} ms, {found} found{}",
                    seen.percentile(50),
                    seen.percentile(99),
                    with
                );
            }
        }
        changing.store(false, Ordering::SeqCst);
        anyhow::Ok(())
    })?;
    for (what, _, words) in searches(hosts) {
        let mut line = vec!["ls"];
        line.extend(words.iter().map(String::as_str));
        let mut took = Vec::new();
        for _ in 0..times.min(20) {
            let began = Instant::now();
            let out = alice.pal_command(&line).output()?;
            took.push(began.elapsed());
            ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
        let seen = Seen::of(took, Duration::from_secs(1));
        println!(
            "{:>18}  p50 {:>7.2} ms  p99 {:>7.2} ms",
            format!("pal ls, {what}"),
            seen.percentile(50),
            seen.percentile(99)
        );
    }
    let ran = run(&mut alice.pal_command(&["ls", "--format", "json"]));
    let listed = ran.clone().json().as_array().map_or(0, Vec::len);
    ensure!(listed as u64 >= hosts, "{listed} of {hosts} listed");
    println!("{:>18}  {:>7.0} ms, {listed} hosts", "pal ls, all", ms(ran.took));
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
