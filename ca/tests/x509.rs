//! X.509 certificates, with openssl as the judge, and pins as an attacker would try them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_ca::*;
use palisade_core::peer::PeerIdentity;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::process::Command;
use support::*;

fn key() -> SubjectSpki {
    SubjectSpki::from_der(&generate_tls_key().unwrap().spki_der).unwrap()
}

fn window() -> Window {
    Window {
        not_before: NOW - 60,
        not_after: NOW + 3600,
        ttl_max_secs: 24 * 3600,
    }
}

fn client_request() -> ClientCertRequest {
    ClientCertRequest {
        public_key: key(),
        user: "alice".into(),
        serial: 9,
        window: window(),
    }
}

fn server_request() -> ServerCertRequest {
    ServerCertRequest {
        public_key: key(),
        dns_names: vec!["node-1.example.com".into(), "localhost".into()],
        addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        serial: u64::MAX,
        window: window(),
    }
}

fn peer_request() -> PeerCertRequest {
    let identity = PeerIdentity {
        cluster_id: CLUSTER.into(),
        node_id: 3,
        incarnation: 1,
    };
    PeerCertRequest {
        public_key: key(),
        identity,
        serial: 11,
        window: window(),
    }
}

fn authority_der(signer: &Signer) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(signer.public().certificate_pem.as_ref().unwrap().as_bytes()).unwrap()
}

/// `openssl x509 -text`, and `openssl verify` for one purpose at our time.
fn openssl(signer: &Signer, cert: &IssuedCert, purpose: &str) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let (ca, leaf) = (folder.path().join("ca.pem"), folder.path().join("leaf.pem"));
    std::fs::write(&ca, signer.public().certificate_pem.as_ref().unwrap()).unwrap();
    std::fs::write(&leaf, &cert.pem).unwrap();
    let text = Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(&leaf)
        .output()
        .unwrap();
    let verified = Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-attime",
            &NOW.to_string(),
            "-purpose",
            purpose,
            "-CAfile",
        ])
        .arg(&ca)
        .arg(&leaf)
        .output()
        .unwrap();
    (String::from_utf8(text.stdout).unwrap(), verified.status.success())
}

#[test]
fn openssl_verifies_a_client_cert_for_clients_only() {
    let ca = signer(AuthorityType::Tls);
    let cert = sign_client_cert(&ca, &client_request()).unwrap();
    let (text, good) = openssl(&ca, &cert, "sslclient");
    assert!(good, "{text}");
    assert!(
        text.contains("Subject: CN = alice") && !text.contains("Subject Alternative Name"),
        "{text}"
    );
    assert!(!openssl(&ca, &cert, "sslserver").1);
    assert_eq!(client_cert_user(&cert.der).unwrap(), "alice");
}

#[test]
fn openssl_verifies_a_server_cert_for_servers_only() {
    let ca = signer(AuthorityType::Tls);
    let cert = sign_server_cert(&ca, &server_request()).unwrap();
    let (text, good) = openssl(&ca, &cert, "sslserver");
    assert!(good, "{text}");
    for name in [
        "DNS:node-1.example.com",
        "DNS:localhost",
        "IP Address:127.0.0.1",
        "IP Address:0:0:0:0:0:0:0:1",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    assert!(!openssl(&ca, &cert, "sslclient").1);
}

#[test]
fn peer_cert_carries_its_identity_and_serves_both_directions() {
    let ca = signer(AuthorityType::Peer);
    let request = peer_request();
    let cert = sign_peer_cert(&ca, &request).unwrap();
    assert!(openssl(&ca, &cert, "sslserver").1 && openssl(&ca, &cert, "sslclient").1);
    let (text, _) = openssl(&ca, &cert, "any");
    assert!(
        text.contains("URI:palisade://c0ffee/node/3/1, DNS:node-3.palisade.internal"),
        "{text}"
    );
}

#[test]
fn only_the_right_authority_signs() {
    for kind in AuthorityType::ALL {
        let ca = signer(kind);
        let wrong = |needed| X509Error::WrongAuthority { needed, found: kind };
        if kind != AuthorityType::Tls {
            assert_eq!(
                sign_client_cert(&ca, &client_request()).unwrap_err(),
                wrong(AuthorityType::Tls)
            );
            assert_eq!(
                sign_server_cert(&ca, &server_request()).unwrap_err(),
                wrong(AuthorityType::Tls)
            );
        }
        if kind != AuthorityType::Peer {
            assert_eq!(
                sign_peer_cert(&ca, &peer_request()).unwrap_err(),
                wrong(AuthorityType::Peer)
            );
        }
    }
}

#[test]
fn malformed_requests_are_refused() {
    let (tls, peer) = (signer(AuthorityType::Tls), signer(AuthorityType::Peer));
    let client = |change: fn(&mut ClientCertRequest)| {
        let mut request = client_request();
        change(&mut request);
        sign_client_cert(&tls, &request).unwrap_err()
    };
    assert!(matches!(
        client(|r| r.user = "alice,CN=root".into()),
        X509Error::User(_)
    ));
    assert!(matches!(
        client(|r| r.user = "alice\n".into()),
        X509Error::User(_)
    ));
    assert_eq!(client(|r| r.serial = 0), X509Error::NoSerial);
    let too_long = IssueError::TtlTooLong {
        asked: 3660,
        allowed: 5,
    };
    assert_eq!(client(|r| r.window.ttl_max_secs = 5), X509Error::Window(too_long));
    assert!(matches!(
        client(|r| r.window.not_after = r.window.not_before),
        X509Error::Window(IssueError::EmptyWindow { .. })
    ));
    assert_eq!(
        client(|r| r.window = Window {
            not_before: u64::MAX - 1,
            not_after: u64::MAX,
            ttl_max_secs: 1
        }),
        X509Error::Window(IssueError::Unbounded)
    );

    let server = |change: fn(&mut ServerCertRequest)| {
        let mut request = server_request();
        change(&mut request);
        sign_server_cert(&tls, &request).unwrap_err()
    };
    let names_none = |r: &mut ServerCertRequest| {
        r.dns_names.clear();
        r.addresses.clear();
    };
    assert_eq!(server(names_none), X509Error::Names);
    assert_eq!(server(|r| r.dns_names = vec!["a".into(); 63]), X509Error::Names);
    for bad in ["*.example.com", "10.0.0.1", "fe80::1", "a b", ""] {
        let mut request = server_request();
        request.dns_names = vec![bad.into()];
        assert!(
            matches!(sign_server_cert(&tls, &request), Err(X509Error::DnsName(_))),
            "{bad:?}"
        );
    }

    let peer = |change: fn(&mut PeerIdentity)| {
        let mut request = peer_request();
        change(&mut request.identity);
        sign_peer_cert(&peer, &request).unwrap_err()
    };
    assert_eq!(peer(|id| id.node_id = 0), X509Error::NodeId);
    assert_eq!(peer(|id| id.cluster_id = "other".into()), X509Error::OtherCluster);
    assert!(matches!(
        peer(|id| id.cluster_id = "a/b".into()),
        X509Error::ClusterId(_)
    ));
}

#[test]
fn keys_that_may_not_be_certified_are_refused() {
    let good = generate_tls_key().unwrap().spki_der;
    assert!(SubjectSpki::from_der(&good).is_ok());
    // A point that is not on the curve.
    let mut off_curve = good.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    assert_eq!(
        SubjectSpki::from_der(&off_curve).unwrap_err(),
        X509Error::MalformedKey
    );
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(
        SubjectSpki::from_der(&longer).unwrap_err(),
        X509Error::MalformedKey
    );
    assert_eq!(SubjectSpki::from_der(&[]).unwrap_err(), X509Error::MalformedKey);
    assert_eq!(
        SubjectSpki::from_der(&[0x30; 2000]).unwrap_err(),
        X509Error::MalformedKey
    );
    assert_eq!(
        SubjectSpki::from_pem("nonsense").unwrap_err(),
        X509Error::MalformedKey
    );
    let public = |args: &[&str]| {
        let private = Command::new("openssl")
            .arg("genpkey")
            .args(args)
            .output()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, private.stdout).unwrap();
        let output = Command::new("openssl")
            .args(["pkey", "-pubout", "-in"])
            .arg(&path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let p384 = public(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    assert_eq!(SubjectSpki::from_pem(&p384).unwrap_err(), X509Error::KeyAlgorithm);
    let rsa = public(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    assert_eq!(SubjectSpki::from_pem(&rsa).unwrap_err(), X509Error::KeyAlgorithm);
    assert!(SubjectSpki::from_pem(&public(&["-algorithm", "ED25519"])).is_ok());
}

#[test]
fn what_is_no_certificate_names_nobody() {
    let tls = signer(AuthorityType::Tls);
    let client = sign_client_cert(&tls, &client_request()).unwrap();
    for bad in [
        &[][..],
        &[0x30],
        &client.der[..100],
        &[client.der.as_ref(), &[0]].concat(),
    ] {
        assert_eq!(
            client_cert_user(bad).unwrap_err(),
            X509Error::MalformedCertificate
        );
        assert_eq!(
            pin_of_certificate(bad).unwrap_err(),
            X509Error::MalformedCertificate
        );
    }
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let nameless = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    assert_eq!(client_cert_user(nameless.der()).unwrap_err(), X509Error::NoUser);
}

#[test]
fn pinned_authority_is_returned_as_the_trust_root() {
    let ca = signer(AuthorityType::Tls);
    let server = sign_server_cert(&ca, &server_request()).unwrap();
    let chain = [server.der, authority_der(&ca)];
    let pin = &ca.public().pin;
    assert_eq!(check_pin(&chain, pin, NOW).unwrap(), authority_der(&ca));
    assert_eq!(
        check_pin(&chain, &pin.to_uppercase().replacen("SHA256", "sha256", 1), NOW).unwrap(),
        authority_der(&ca)
    );
}

#[test]
fn wrong_pins_and_impostors_are_refused() {
    let (ours, theirs) = (signer(AuthorityType::Tls), signer(AuthorityType::Tls));
    let pin = ours.public().pin.as_str();
    let impostor = sign_server_cert(&theirs, &server_request()).unwrap().der;
    let honest = sign_server_cert(&ours, &server_request()).unwrap().der;
    let check = |chain: &[CertificateDer<'_>], pin: &str| check_pin(chain, pin, NOW).unwrap_err();

    assert_eq!(
        check(&[impostor.clone(), authority_der(&theirs)], pin),
        PinError::OtherAuthority
    );
    // Everybody has the real authority's certificate: showing it proves nothing.
    assert_eq!(
        check(&[impostor.clone(), authority_der(&ours)], pin),
        PinError::NotSigned
    );
    assert_eq!(
        check(&[impostor, authority_der(&theirs), authority_der(&ours)], pin),
        PinError::NotSigned
    );
    // Nor does a self-made certificate in front, or the authority's own in the place of the server's.
    assert_eq!(check(&[authority_der(&ours)], pin), PinError::OtherAuthority);
    assert_eq!(
        check(&[authority_der(&ours), authority_der(&ours)], pin),
        PinError::NotSigned
    );
    // A user's certificate is no server's.
    let client = sign_client_cert(&ours, &client_request()).unwrap().der;
    assert_eq!(check(&[client, authority_der(&ours)], pin), PinError::NotSigned);
    assert_eq!(check(&[], pin), PinError::OtherAuthority);
    let chain = [honest, authority_der(&ours)];
    // A clock that is off is told from an impostor.
    for (at, why) in [(NOW + 7200, "has run out"), (NOW - 7200, "is not valid yet")] {
        assert_eq!(check_pin(&chain, pin, at).unwrap_err(), PinError::Clock(why));
    }
    for bad in [
        "",
        "sha256:",
        "md5:00",
        &pin[..70],
        &format!("{pin}0"),
        &pin.replacen("sha256:", "sha256:zz", 1),
    ] {
        assert_eq!(check(&chain, bad), PinError::Malformed, "{bad}");
    }
}
