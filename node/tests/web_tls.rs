//! A certificate of the operator's own on the HTTPS port, beside the cluster's.

use palisade_testkit::{Cluster, program, retry, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const NAME: &str = "access.example.com";
const BOUND: Duration = Duration::from_secs(30);

/// A certificate that signed itself, for this name, by a tool that is not ours.
fn certificate(folder: &Path, word: &str, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (
        folder.join(format!("{word}.pem")),
        folder.join(format!("{word}.key")),
    );
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-days", "30", "-subj", "/CN=ours", "-addext"])
        .arg(format!("subjectAltName=DNS:{name}"))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    run(&mut openssl).ok();
    (certificate, key)
}

/// Whether somebody who believes this certificate alone reaches the node by this name.
fn reached(cluster: &Cluster, name: &str, believed: &Path) -> bool {
    let (host, port) = (cluster.nodes[0].ip, cluster.nodes[0].web_port);
    let mut curl = Command::new("curl");
    curl.args(["-sf", "-m", "5", "-o", "/dev/null", "--cacert"])
        .arg(believed)
        .args(["--resolve", &format!("{name}:{port}:{host}")])
        .arg(format!("https://{name}:{port}/livez"));
    run(&mut curl).succeeded()
}

/// Goal: people reach a node by a name and a certificate of their own, and whoever pinned the cluster's authority notices
/// nothing. A renewed certificate is taken over without a restart, a broken one is not.
#[test]
fn an_operators_own_certificate_serves_its_names_beside_the_clusters_own() {
    let cluster = Cluster::unformed(1);
    let folder = cluster.folder("tls");
    let (first, key) = certificate(&folder, "first", NAME);
    let web_tls = format!(
        "web_tls: {{certificate: {}, key: {}}}\n",
        first.display(),
        key.display()
    );
    cluster.write_config(0, &web_tls);
    cluster.spawn(0);
    cluster.palctl(0, &["cluster", "init", "--name", "test"]).ok();
    cluster.without_second_factor();

    assert!(reached(&cluster, NAME, &first), "{}", cluster.nodes[0].log());
    // Its names alone: others get the cluster's certificate, which nobody believes who knows only the operator's.
    assert!(!reached(&cluster, "other.example.com", &first));
    let alice = cluster.person_by_password("alice", "access");
    alice.login_by_password(&cluster.nodes[0].web_addr()).ok();
    alice.pal(&["ls"]).ok();
    let shown = cluster.status(0)["nodes"][0]["vitals"]["certificates"].to_string();
    assert!(shown.contains("web_tls"), "{shown}");

    // Renewed in place, as certbot does it.
    let (second, second_key) = certificate(&folder, "second", NAME);
    fs::copy(&second, &first).expect("ours");
    fs::copy(&second_key, &key).expect("ours");
    cluster.hang_up(0);
    retry("the renewed one to be shown", BOUND, || {
        reached(&cluster, NAME, &second)
            .then_some(())
            .ok_or_else(|| cluster.nodes[0].log())
    });
    fs::write(&first, "no certificate\n").expect("ours");
    cluster.hang_up(0);
    retry("the fault to be said", BOUND, || {
        let log = cluster.nodes[0].log();
        log.contains("it holds no certificate").then_some(()).ok_or(log)
    });
    assert!(reached(&cluster, NAME, &second), "the one that works stays");

    let check = |more: &str| {
        cluster.write_config(0, more);
        run(Command::new(program("palisade"))
            .args(["config", "check"])
            .arg(&cluster.nodes[0].config))
        .refused()
    };
    let said = check(&web_tls);
    assert!(
        said.contains("web_tls") && said.contains("it holds no certificate"),
        "{said}"
    );
    let said = check(&format!(
        "web_tls: {{certificate: {}, key: {}}}\n",
        second.display(),
        folder.join("none").display()
    ));
    assert!(said.contains("none"), "{said}");
    let (_, wrong) = certificate(&folder, "third", NAME);
    let said = check(&format!(
        "web_tls: {{certificate: {}, key: {}}}\n",
        second.display(),
        wrong.display()
    ));
    assert!(said.contains("is not the certificate of the key"), "{said}");
    let said = check(&format!("web_tls: {{certificate: {}}}\n", second.display()));
    assert!(said.contains("it needs web_tls.key"), "{said}");
}
