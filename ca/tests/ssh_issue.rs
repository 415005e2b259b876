//! Signing SSH certificates, with ssh-keygen as the judge.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_ca::ssh_key::Certificate;
use palisade_ca::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use support::*;

#[test]
fn ssh_keygen_reads_a_user_cert_as_it_was_meant() {
    let ca = signer(AuthorityType::User);
    let mut request = user_request();
    request.source_networks = SourceNetwork::parse_list("192.0.2.0/24,2001:db8::1").unwrap();
    let shown = ssh_keygen_l(&sign_user_cert(&ca, &request).unwrap());
    for expected in [
        "ssh-ed25519-cert-v01@openssh.com user certificate",
        "Signing CA: ED25519 SHA256:",
        "Key ID: \"alice\"",
        "Serial: 7",
        "Valid: from 2027-01-15T07:59:00 to 2027-01-15T09:00:00",
        "alice\n                deploy",
        "source-address 192.0.2.0/24,2001:db8::1/128",
        "permit-port-forwarding",
        "permit-pty",
        "palisade-roles@palisade UNKNOWN OPTION: 000000076465762c6f7073 (len 11)",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    assert!(!shown.contains("permit-agent-forwarding"), "{shown}");
}

#[test]
fn ssh_keygen_reads_a_host_cert_as_it_was_meant() {
    let ca = signer(AuthorityType::Host);
    let shown = ssh_keygen_l(&sign_host_cert(&ca, &host_request()).unwrap());
    for expected in [
        "host certificate",
        "Key ID: \"web-1\"",
        "web-1.example.com",
        "10.0.0.7",
        "Extensions: (none)",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
}

#[test]
fn only_the_right_authority_signs() {
    for kind in AuthorityType::ALL {
        let ca = signer(kind);
        let user = sign_user_cert(&ca, &user_request());
        let host = sign_host_cert(&ca, &host_request());
        let needed = |needed| IssueError::WrongAuthority { needed, found: kind };
        if kind == AuthorityType::User {
            assert!(user.is_ok());
        } else {
            assert_eq!(user.unwrap_err(), needed(AuthorityType::User));
        }
        if kind == AuthorityType::Host {
            assert!(host.is_ok());
        } else {
            assert_eq!(host.unwrap_err(), needed(AuthorityType::Host));
        }
    }
}

#[test]
fn windows_that_no_policy_allows_are_refused() {
    let ca = signer(AuthorityType::User);
    let with = |after, before| {
        let mut request = user_request();
        (request.valid_after, request.valid_before) = (after, before);
        sign_user_cert(&ca, &request)
    };
    assert_eq!(
        with(NOW, NOW).unwrap_err(),
        IssueError::EmptyWindow {
            after: NOW,
            before: NOW
        }
    );
    assert_eq!(
        with(NOW, NOW - 1).unwrap_err(),
        IssueError::EmptyWindow {
            after: NOW,
            before: NOW - 1
        }
    );
    let allowed = 8 * 3600;
    assert!(with(NOW, NOW + allowed).is_ok());
    let long = with(NOW, NOW + allowed + 1).unwrap_err();
    assert_eq!(
        long,
        IssueError::TtlTooLong {
            asked: allowed + 1,
            allowed
        }
    );
    assert_eq!(
        with(0, u64::MAX).unwrap_err(),
        IssueError::TtlTooLong {
            asked: u64::MAX,
            allowed
        }
    );
    assert_eq!(with(u64::MAX - 1, u64::MAX).unwrap_err(), IssueError::Unbounded);
}

#[test]
fn text_that_could_reach_a_log_or_a_parser_is_refused() {
    let ca = signer(AuthorityType::User);
    for bad in ["", "a\nb", "a\rb", "a\"b", "a\x1b[2J", "a\0", "a,b"] {
        let mut request = user_request();
        request.key_id = bad.into();
        assert!(
            matches!(sign_user_cert(&ca, &request), Err(IssueError::KeyId(_))),
            "{bad:?}"
        );
        let mut request = host_request();
        request.key_id = bad.into();
        let host_ca = signer(AuthorityType::Host);
        assert!(
            matches!(sign_host_cert(&host_ca, &request), Err(IssueError::KeyId(_))),
            "{bad:?}"
        );
    }
    for bad in ["a\nb", "a\"b", "a'b", "a\u{202e}b"] {
        let mut request = user_request();
        request.custom_extensions.insert("x@palisade".into(), bad.into());
        let refused = sign_user_cert(&ca, &request).unwrap_err();
        assert!(
            matches!(refused, IssueError::ExtensionValue { ref name, .. } if name == "x@palisade"),
            "{bad:?}"
        );
    }
    for bad in ["permit-pty", "force-command", "a b@c", "x@\n"] {
        let mut request = user_request();
        request.custom_extensions.insert(bad.into(), String::new());
        assert!(
            matches!(sign_user_cert(&ca, &request), Err(IssueError::ExtensionName(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn a_missing_serial_and_floods_are_refused() {
    let ca = signer(AuthorityType::User);
    let mut request = user_request();
    request.serial = 0;
    assert_eq!(sign_user_cert(&ca, &request).unwrap_err(), IssueError::NoSerial);
    let mut request = user_request();
    request.custom_extensions = (0..33)
        .map(|n| (format!("x{n}@palisade"), String::new()))
        .collect();
    assert_eq!(sign_user_cert(&ca, &request).unwrap_err(), IssueError::TooMany);
    let mut request = user_request();
    request.source_networks = vec![SourceNetwork::single([192, 0, 2, 1].into()); 65];
    assert_eq!(sign_user_cert(&ca, &request).unwrap_err(), IssueError::TooMany);
}

#[test]
fn two_certs_for_one_request_differ_in_their_nonce() {
    let (ca, request) = (signer(AuthorityType::User), user_request());
    assert_ne!(user_cert(&ca, &request).nonce(), user_cert(&ca, &request).nonce());
}

#[test]
fn keys_that_may_not_be_certified_are_refused() {
    let ca = signer(AuthorityType::User);
    let cert = sign_user_cert(&ca, &user_request()).unwrap();
    assert_eq!(
        SubjectKey::parse(&cert).unwrap_err(),
        SubjectKeyError::Certificate
    );
    // The same certificate under the name of a plain key.
    let disguised = cert.replacen("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", 1);
    assert_eq!(
        SubjectKey::parse(&disguised).unwrap_err(),
        SubjectKeyError::Certificate
    );

    let public = |args: &[&str]| {
        let (_folder, path) = ssh_keygen(args);
        std::fs::read_to_string(path.with_extension("pub")).unwrap()
    };
    let refused = |line: &str| SubjectKey::parse(line).unwrap_err();
    assert_eq!(
        refused(&public(&["-t", "rsa", "-b", "2048"])),
        SubjectKeyError::RsaTooShort { bits: 2048 }
    );
    assert_eq!(refused(&public(&["-t", "dsa"])), SubjectKeyError::Dsa);
    for good in [
        &["-t", "rsa", "-b", "3072"][..],
        &["-t", "ed25519"],
        &["-t", "ecdsa"],
        &["-t", "ecdsa", "-b", "521"],
    ] {
        assert!(SubjectKey::parse(&public(good)).is_ok(), "{good:?}");
    }
    let key = subject().public_key().to_openssh().unwrap();
    for bad in [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        &format!("{key} me\nssh-rsa x"),
        &format!("command=\"x\" {key}"),
    ] {
        assert!(SubjectKey::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(refused(&"a".repeat(20_000)), SubjectKeyError::TooLong);
    assert_eq!(
        refused("x@example.com AAAADXhAZXhhbXBsZS5jb20AAAADYWJj"),
        SubjectKeyError::Algorithm
    );
}

#[test]
fn rsa_keys_with_nonsense_numbers_are_refused() {
    use palisade_ca::ssh_key::public::{KeyData, RsaPublicKey};
    use palisade_ca::ssh_key::{Mpint, PublicKey};
    let key = |e: &[u8], n: &[u8]| {
        let rsa = RsaPublicKey::new(Mpint::from_positive_bytes(e), Mpint::from_positive_bytes(n)).unwrap();
        SubjectKey::from_public_key(&PublicKey::from(KeyData::Rsa(rsa)))
    };
    let odd = [0x81; 384];
    let mut even = odd;
    even[383] = 0x80;
    assert!(key(&[1, 0, 1], &odd).is_ok());
    for (e, n) in [
        (&[1][..], &odd[..]),
        (&[4], &odd),
        (&[1, 0, 1], &even),
        (&[3; 9], &odd),
        (&[1, 0, 1], &[0x81; 4096]),
    ] {
        assert_eq!(key(e, n).unwrap_err(), SubjectKeyError::RsaUnsound);
    }
    // 3065 bits: the library calls this 3072.
    let mut short = odd;
    short[0] = 1;
    assert_eq!(
        key(&[1, 0, 1], &short).unwrap_err(),
        SubjectKeyError::RsaTooShort { bits: 3065 }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_signed_parses_and_checks_to_the_same(
        names in prop::collection::btree_set("[A-Za-z0-9._@][A-Za-z0-9._@-]{0,63}", 1..8),
        key_id in "[A-Za-z0-9 .@#()-]{1,100}",
        serial in 1u64..,
        ttl in 1u64..8 * 3600,
        extensions in prop::collection::vec(0usize..5, 0..5),
        value in "[A-Za-z0-9,:=. -]{0,200}",
        networks in prop::collection::vec(any::<[u8; 4]>(), 0..4),
    ) {
        let ca = signer(AuthorityType::User);
        let request = UserCertRequest {
            key_id: key_id.clone(),
            principals: Principals::new(names.iter().cloned()).unwrap(),
            valid_after: NOW,
            valid_before: NOW + ttl,
            serial,
            extensions: extensions.iter().map(|n| StandardExtension::ALL[*n]).collect(),
            custom_extensions: [("x@palisade".to_owned(), value.clone())].into(),
            source_networks: networks.iter().map(|n| SourceNetwork::single((*n).into())).collect(),
            ..user_request()
        };
        let line = sign_user_cert(&ca, &request).unwrap();
        let cert = Certificate::from_openssh(&line).unwrap();
        let checked = check_user_cert(&cert, &trusted(&ca), NOW).unwrap();
        prop_assert_eq!(checked.key_id, key_id);
        prop_assert_eq!(checked.serial, serial);
        prop_assert_eq!(checked.principals.iter().cloned().collect::<BTreeSet<_>>(), names);
        prop_assert_eq!(checked.valid_before, NOW + ttl);
        prop_assert_eq!(&checked.extensions["x@palisade"], &value);
        prop_assert_eq!(checked.extensions.len(), request.extensions.len() + 1);
        prop_assert_eq!(checked.source_networks, request.source_networks);
        prop_assert_eq!(cert.to_openssh().unwrap(), line);
    }

    #[test]
    fn hostile_lines_and_bytes_do_not_panic(line in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = SubjectKey::parse(&line);
        let _ = SubjectKey::parse(&format!("ssh-ed25519 {line}"));
        let mut cert = b"\0\0\0\x20ssh-ed25519-cert-v01@openssh.com".to_vec();
        cert.extend_from_slice(&bytes);
        if let Ok(cert) = Certificate::from_bytes(&cert) {
            let _ = check_user_cert(&cert, &[], NOW);
        }
    }
}
