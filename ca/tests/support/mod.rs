//! What the behaviour tests share: a cluster's authorities, and requests that are fine until a test spoils them.
#![allow(unreachable_pub, dead_code, reason = "each test binary uses a part of it")]

use palisade_ca::ssh_key::{Certificate, PrivateKey, PublicKey};
use palisade_ca::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

pub const NOW: u64 = 1_800_000_000;
pub const CLUSTER: &str = "c0ffee";

pub struct Cluster {
    pub key: ClusterKey,
}

impl Cluster {
    pub fn new() -> Self {
        Self {
            key: ClusterKey::generate().unwrap(),
        }
    }

    pub fn authority(&self, kind: AuthorityType) -> (NewAuthority, Signer) {
        let new = create_authority(kind, "demo", CLUSTER, &self.key, NOW).unwrap();
        let signer = Signer::open(kind, CLUSTER, &new.sealed_private, &new.public, &self.key).unwrap();
        (new, signer)
    }
}

pub fn signer(kind: AuthorityType) -> Signer {
    Cluster::new().authority(kind).1
}

pub fn trusted(signer: &Signer) -> Vec<PublicKey> {
    parse_trusted_keys(signer.public().ssh_public_key.as_deref()).unwrap()
}

pub fn subject() -> SubjectKey {
    SubjectKey::from_public_key(generate_ssh_key().unwrap().public_key()).unwrap()
}

pub fn user_request() -> UserCertRequest {
    UserCertRequest {
        public_key: subject(),
        key_id: "alice".into(),
        principals: Principals::new(["alice", "deploy"]).unwrap(),
        valid_after: NOW - 60,
        valid_before: NOW + 3600,
        ttl_max_secs: 8 * 3600,
        serial: 7,
        extensions: BTreeSet::from([StandardExtension::Pty, StandardExtension::PortForwarding]),
        custom_extensions: BTreeMap::from([("palisade-roles@palisade".into(), "dev,ops".into())]),
        source_networks: Vec::new(),
    }
}

pub fn host_request() -> HostCertRequest {
    HostCertRequest {
        public_key: subject(),
        key_id: "web-1".into(),
        host_names: HostNames::new(["web-1", "web-1.example.com", "10.0.0.7"]).unwrap(),
        valid_after: NOW - 60,
        valid_before: NOW + 3600,
        ttl_max_secs: 8 * 3600,
        serial: 8,
    }
}

pub fn user_cert(signer: &Signer, request: &UserCertRequest) -> Certificate {
    Certificate::from_openssh(&sign_user_cert(signer, request).unwrap()).unwrap()
}

pub fn host_cert(signer: &Signer, request: &HostCertRequest) -> Certificate {
    Certificate::from_openssh(&sign_host_cert(signer, request).unwrap()).unwrap()
}

/// The same certificate as `make` would sign it with `key`, whatever the rules of issue say: what an attacker makes.
pub fn forged(key: &PrivateKey, make: impl FnOnce(&mut ssh_key::certificate::Builder)) -> Certificate {
    forged_between(key, NOW - 60, NOW + 3600, make)
}

pub fn forged_between(
    key: &PrivateKey,
    after: u64,
    before: u64,
    make: impl FnOnce(&mut ssh_key::certificate::Builder),
) -> Certificate {
    let subject = generate_ssh_key().unwrap();
    let mut builder =
        ssh_key::certificate::Builder::new([5; 32], subject.public_key().key_data().clone(), after, before)
            .unwrap();
    builder.serial(1).unwrap().key_id("mallory").unwrap();
    make(&mut builder);
    builder.sign(key).unwrap()
}

/// What `ssh-keygen -L` says of a certificate.
pub fn ssh_keygen_l(line: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("id-cert.pub");
    std::fs::write(&path, line).unwrap();
    let output = Command::new("ssh-keygen")
        .arg("-L")
        .arg("-f")
        .arg(&path)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A throw-away key pair made by ssh-keygen.
pub fn ssh_keygen(args: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let output = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-f"])
        .arg(&path)
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (folder, path)
}
