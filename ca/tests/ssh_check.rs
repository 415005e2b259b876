//! The check of SSH certificates, by what an attacker would present.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_ca::ssh_key::certificate::CertType;
use palisade_ca::ssh_key::public::KeyData;
use palisade_ca::ssh_key::{Certificate, PublicKey};
use palisade_ca::*;
use support::*;

fn refusal(certificate: &Certificate, trusted: &[PublicKey]) -> CertRefusal {
    check_user_cert(certificate, trusted, NOW).unwrap_err()
}

#[test]
fn good_user_cert_is_accepted_with_all_it_says() {
    let ca = signer(AuthorityType::User);
    let mut request = user_request();
    request.source_networks = SourceNetwork::parse_list("192.0.2.0/24").unwrap();
    let checked = check_user_cert(&user_cert(&ca, &request), &trusted(&ca), NOW).unwrap();
    assert_eq!(checked.key_id, "alice");
    assert_eq!(checked.serial, 7);
    assert_eq!(checked.principals, ["alice", "deploy"]);
    assert_eq!(
        (checked.valid_after, checked.valid_before),
        (NOW - 60, NOW + 3600)
    );
    assert_eq!(checked.extensions["palisade-roles@palisade"], "dev,ops");
    assert!(checked.permits(StandardExtension::Pty) && !checked.permits(StandardExtension::AgentForwarding));
    assert_eq!(&checked.public_key, request.public_key.public_key().key_data());
    assert!(checked.allows_source("::ffff:192.0.2.9".parse().unwrap()));
    assert!(!checked.allows_source("198.51.100.1".parse().unwrap()));
}

#[test]
fn good_host_cert_is_accepted_for_its_own_names_only() {
    let ca = signer(AuthorityType::Host);
    let cert = host_cert(&ca, &host_request());
    for name in ["web-1", "WEB-1.example.com", "10.0.0.7"] {
        assert_eq!(
            check_host_cert(&cert, &trusted(&ca), name, NOW).unwrap().serial,
            8,
            "{name}"
        );
    }
    for name in ["web-2", "", "web-1.example.com.evil", "*"] {
        let refused = check_host_cert(&cert, &trusted(&ca), name, NOW).unwrap_err();
        assert_eq!(refused, CertRefusal::OtherHost, "{name}");
    }
}

#[test]
fn host_cert_as_user_cert_and_the_reverse_are_refused() {
    let (user, host) = (signer(AuthorityType::User), signer(AuthorityType::Host));
    let both = [trusted(&user), trusted(&host)].concat();
    assert_eq!(
        refusal(&host_cert(&host, &host_request()), &both),
        CertRefusal::HostCertAsUser
    );
    let refused = check_host_cert(&user_cert(&user, &user_request()), &both, "alice", NOW).unwrap_err();
    assert_eq!(refused, CertRefusal::UserCertAsHost);
}

/// A certificate whose signing key is itself a certificate: made by hand, no library signs such a thing.
#[test]
fn nested_cert_as_authority_is_refused() {
    let ca = signer(AuthorityType::User);
    let inner = user_cert(&ca, &user_request());
    let outer = user_cert(&ca, &user_request());
    // ...| string signature key | string signature
    let bytes = outer.to_bytes().unwrap();
    let key = PublicKey::from(outer.signature_key().clone()).to_bytes().unwrap();
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    let nested = inner.to_bytes().unwrap();
    let spliced = [
        &bytes[..at - 4],
        &u32::try_from(nested.len()).unwrap().to_be_bytes()[..],
        &nested,
        &bytes[at + key.len()..],
    ]
    .concat();
    let cert = Certificate::from_bytes(&spliced).unwrap();
    assert!(
        matches!(cert.signature_key(), KeyData::Certificate(_)),
        "the attack is what it claims to be"
    );
    assert_eq!(refusal(&cert, &trusted(&ca)), CertRefusal::NestedAuthority);
    // Not even for someone who got a certificate into the list of trusted keys.
    let trusted = [PublicKey::from(KeyData::Certificate(Box::new(inner)))];
    assert_eq!(refusal(&cert, &trusted), CertRefusal::NestedAuthority);
}

#[test]
fn cert_of_another_cluster_is_refused() {
    let (ours, theirs) = (signer(AuthorityType::User), signer(AuthorityType::User));
    let cert = user_cert(&theirs, &user_request());
    assert_eq!(refusal(&cert, &trusted(&ours)), CertRefusal::UnknownAuthority);
    assert_eq!(refusal(&cert, &[]), CertRefusal::UnknownAuthority);
}

#[test]
fn expired_and_not_yet_valid_certs_are_refused_to_the_second() {
    let ca = signer(AuthorityType::User);
    let (cert, keys) = (user_cert(&ca, &user_request()), trusted(&ca));
    assert!(check_user_cert(&cert, &keys, NOW - 60).is_ok());
    assert!(check_user_cert(&cert, &keys, NOW + 3599).is_ok());
    let early = check_user_cert(&cert, &keys, NOW - 61).unwrap_err();
    assert_eq!(
        early,
        CertRefusal::NotYetValid {
            valid_after: NOW - 60
        }
    );
    let late = check_user_cert(&cert, &keys, NOW + 3600).unwrap_err();
    assert_eq!(
        late,
        CertRefusal::Expired {
            valid_before: NOW + 3600
        }
    );
}

#[test]
fn validity_without_a_bound_is_refused() {
    let key = generate_ssh_key().unwrap();
    let keys = [key.public_key().clone()];
    for before in [u64::MAX, u64::MAX - 1, i64::MAX as u64 + 1] {
        let cert = forged_between(&key, NOW - 60, before, |b| {
            b.valid_principal("alice").unwrap();
        });
        assert_eq!(refusal(&cert, &keys), CertRefusal::Unbounded, "{before}");
    }
}

#[test]
fn empty_window_is_refused() {
    // No library signs an empty window, so the bytes of a good certificate are changed: the window is judged before
    // the signature.
    let key = generate_ssh_key().unwrap();
    let cert = forged(&key, |b| {
        b.valid_principal("alice").unwrap();
    });
    let mut bytes = cert.to_bytes().unwrap();
    let before = (NOW + 3600).to_be_bytes();
    let at = bytes.windows(8).position(|window| window == before).unwrap();
    bytes[at..at + 8].copy_from_slice(&(NOW - 60).to_be_bytes());
    let cert = Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(
        refusal(&cert, &[key.public_key().clone()]),
        CertRefusal::EmptyWindow
    );
}

#[test]
fn unknown_critical_options_are_refused() {
    let key = generate_ssh_key().unwrap();
    let keys = [key.public_key().clone()];
    for name in ["force-command", "verify-required", "x@example.com"] {
        let cert = forged(&key, |b| {
            b.valid_principal("alice")
                .unwrap()
                .critical_option(name, "x")
                .unwrap();
        });
        assert_eq!(
            refusal(&cert, &keys),
            CertRefusal::UnknownCriticalOption,
            "{name}"
        );
    }
    let host = forged(&key, |b| {
        b.cert_type(CertType::Host)
            .unwrap()
            .valid_principal("web")
            .unwrap();
        b.critical_option("source-address", "192.0.2.1").unwrap();
    });
    let refused = check_host_cert(&host, &keys, "web", NOW).unwrap_err();
    assert_eq!(refused, CertRefusal::UnknownCriticalOption);
}

#[test]
fn malformed_source_address_is_refused_rather_than_ignored() {
    let key = generate_ssh_key().unwrap();
    for value in ["", "everywhere", "10.0.0.1/8", "192.0.2.1,", "192.0.2.1 "] {
        let cert = forged(&key, |b| {
            b.valid_principal("alice")
                .unwrap()
                .critical_option("source-address", value)
                .unwrap();
        });
        assert_eq!(
            refusal(&cert, &[key.public_key().clone()]),
            CertRefusal::MalformedSourceAddress,
            "{value:?}"
        );
    }
}

#[test]
fn empty_and_malformed_principals_are_refused() {
    let key = generate_ssh_key().unwrap();
    let keys = [key.public_key().clone()];
    let golden = forged(&key, |b| {
        b.all_principals_valid().unwrap();
    });
    assert_eq!(refusal(&golden, &keys), CertRefusal::NoPrincipals);
    for name in ["alice,root", "alice\n", "*", "", "-oX", "\u{430}lice"] {
        let cert = forged(&key, |b| {
            b.valid_principal(name).unwrap();
        });
        assert_eq!(refusal(&cert, &keys), CertRefusal::MalformedPrincipal, "{name:?}");
        let host = forged(&key, |b| {
            b.cert_type(CertType::Host)
                .unwrap()
                .valid_principal(name)
                .unwrap();
        });
        let refused = check_host_cert(&host, &keys, name, NOW).unwrap_err();
        assert_eq!(refused, CertRefusal::MalformedPrincipal, "{name:?}");
    }
    let golden_host = forged(&key, |b| {
        b.cert_type(CertType::Host)
            .unwrap()
            .all_principals_valid()
            .unwrap();
    });
    assert_eq!(
        check_host_cert(&golden_host, &keys, "web", NOW).unwrap_err(),
        CertRefusal::NoPrincipals
    );
}

#[test]
fn key_id_with_log_injection_is_refused() {
    let key = generate_ssh_key().unwrap();
    let mut builder = ssh_key::certificate::Builder::new(
        [5; 32],
        generate_ssh_key().unwrap().public_key().key_data().clone(),
        NOW - 60,
        NOW + 60,
    )
    .unwrap();
    builder
        .key_id("alice\nroot logged in")
        .unwrap()
        .valid_principal("alice")
        .unwrap();
    let cert = builder.sign(&key).unwrap();
    assert_eq!(
        refusal(&cert, &[key.public_key().clone()]),
        CertRefusal::MalformedKeyId
    );
}

#[test]
fn weak_keys_are_refused_on_either_side_of_a_cert() {
    // Made by ssh-keygen, so that the certificates are real ones.
    let (_folder, weak) = ssh_keygen(&["-t", "rsa", "-b", "1024"]);
    let (_folder2, strong) = ssh_keygen(&["-t", "ed25519"]);
    let sign = |ca: &std::path::Path, subject: &std::path::Path| {
        let subject = subject.with_extension("pub");
        let status = std::process::Command::new("ssh-keygen")
            .args(["-q", "-s"])
            .arg(ca)
            .args(["-I", "x", "-n", "alice", "-V", "always:20991231"])
            .arg(&subject)
            .status()
            .unwrap();
        assert!(status.success());
        let line = std::fs::read_to_string(subject.with_file_name("key-cert.pub")).unwrap();
        Certificate::from_openssh(&line).unwrap()
    };
    let keys = |path: &std::path::Path| {
        [PublicKey::from_openssh(&std::fs::read_to_string(path.with_extension("pub")).unwrap()).unwrap()]
    };
    let short = SubjectKeyError::RsaTooShort { bits: 1024 };
    let by_weak = sign(&weak, &strong);
    assert_eq!(refusal(&by_weak, &keys(&weak)), CertRefusal::AuthorityKey(short));
    let of_weak = sign(&strong, &weak);
    assert_eq!(refusal(&of_weak, &keys(&strong)), CertRefusal::Key(short));
}

#[test]
fn sha1_signature_is_refused_and_sha512_of_the_same_authority_is_not() {
    let (_folder, ca) = ssh_keygen(&["-t", "rsa", "-b", "3072"]);
    let (_folder2, subject) = ssh_keygen(&["-t", "ed25519"]);
    let keys =
        [PublicKey::from_openssh(&std::fs::read_to_string(ca.with_extension("pub")).unwrap()).unwrap()];
    let sign = |algorithm: &str| {
        let output = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", algorithm, "-s"])
            .arg(&ca)
            .args(["-I", "x", "-n", "alice", "-V", "always:20991231"])
            .arg(subject.with_extension("pub"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Certificate::from_openssh(&std::fs::read_to_string(subject.with_file_name("key-cert.pub")).unwrap())
            .unwrap()
    };
    assert!(check_user_cert(&sign("rsa-sha2-512"), &keys, NOW).is_ok());
    assert_eq!(refusal(&sign("ssh-rsa"), &keys), CertRefusal::SignatureAlgorithm);
}

#[test]
fn every_changed_bit_of_a_cert_is_refused() {
    let ca = signer(AuthorityType::User);
    let keys = trusted(&ca);
    let bytes = user_cert(&ca, &user_request()).to_bytes().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(cert) = Certificate::from_bytes(&bad) {
            assert!(check_user_cert(&cert, &keys, NOW).is_err(), "bit {bit}");
        }
    }
}
