//! The life of an authority: made, sealed, opened, and what it never gives away.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_ca::*;
use support::*;

#[test]
fn every_authority_opens_where_it_was_made() {
    let cluster = Cluster::new();
    for kind in AuthorityType::ALL {
        let (new, signer) = cluster.authority(kind);
        assert_eq!(signer.kind(), kind);
        assert_eq!(signer.public(), &new.public);
        assert!(
            new.public.pin.starts_with("sha256:") && new.public.pin.len() == 71,
            "{}",
            new.public.pin
        );
        let x509 = matches!(kind, AuthorityType::Tls | AuthorityType::Peer);
        assert_eq!(new.public.certificate_pem.is_some(), x509);
        assert_eq!(new.public.ssh_public_key.is_some(), !x509);
    }
}

#[test]
fn no_two_authorities_share_a_key() {
    let cluster = Cluster::new();
    let pins: std::collections::BTreeSet<_> = AuthorityType::ALL
        .iter()
        .chain(&AuthorityType::ALL)
        .map(|kind| cluster.authority(*kind).0.public.pin)
        .collect();
    assert_eq!(pins.len(), 10);
}

#[test]
fn sealed_keys_swapped_between_objects_do_not_open() {
    let cluster = Cluster::new();
    let (user, _) = cluster.authority(AuthorityType::User);
    let (host, _) = cluster.authority(AuthorityType::Host);
    let (user2, _) = cluster.authority(AuthorityType::User);
    let refused = |kind, cluster_id: &str, sealed: &[u8], public: &AuthorityPublic| {
        Signer::open(kind, cluster_id, sealed, public, &cluster.key).unwrap_err()
    };
    let damaged = |kind| OpenError::Seal {
        kind,
        source: SealError::Refused,
    };
    use AuthorityType::{Host, User};
    assert_eq!(
        refused(User, CLUSTER, &host.sealed_private, &user.public),
        damaged(User),
        "another kind"
    );
    assert_eq!(
        refused(User, CLUSTER, &user2.sealed_private, &user.public),
        damaged(User),
        "another of its kind"
    );
    assert_eq!(
        refused(User, "other", &user.sealed_private, &user.public),
        damaged(User),
        "another cluster id"
    );
    assert_eq!(
        refused(Host, CLUSTER, &user.sealed_private, &user.public),
        OpenError::OtherKind {
            asked: Host,
            found: User
        }
    );
    let mut relabelled = user.public.clone();
    relabelled.kind = Host;
    assert_eq!(
        refused(Host, CLUSTER, &user.sealed_private, &relabelled),
        damaged(Host),
        "relabelled record"
    );
}

#[test]
fn another_cluster_key_does_not_open() {
    let (one, two) = (Cluster::new(), Cluster::new());
    let (new, _) = one.authority(AuthorityType::User);
    let refused = Signer::open(
        AuthorityType::User,
        CLUSTER,
        &new.sealed_private,
        &new.public,
        &two.key,
    )
    .unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::Seal {
                source: SealError::OtherKey { .. },
                ..
            }
        ),
        "{refused:?}"
    );
}

#[test]
fn public_half_of_another_authority_is_refused() {
    let cluster = Cluster::new();
    for kind in AuthorityType::ALL {
        let (one, _) = cluster.authority(kind);
        let (two, _) = cluster.authority(kind);
        // The pin is kept, so that the key opens; the public half is another's.
        let swapped = AuthorityPublic {
            pin: one.public.pin.clone(),
            ..two.public.clone()
        };
        let refused = Signer::open(kind, CLUSTER, &one.sealed_private, &swapped, &cluster.key).unwrap_err();
        assert_eq!(refused, OpenError::Mismatch(kind));
        let missing = AuthorityPublic {
            ssh_public_key: None,
            certificate_pem: None,
            ..one.public.clone()
        };
        let refused = Signer::open(kind, CLUSTER, &one.sealed_private, &missing, &cluster.key).unwrap_err();
        assert_eq!(refused, OpenError::Mismatch(kind));
    }
}

#[test]
fn sealed_bytes_that_are_no_key_are_refused() {
    let cluster = Cluster::new();
    for kind in AuthorityType::ALL {
        let (new, _) = cluster.authority(kind);
        let path = format!("cert_authority/{kind}/{}", new.public.pin);
        let sealed = cluster
            .key
            .seal(SealContext::new(CLUSTER, &path, 1).as_str(), b"not a key")
            .unwrap();
        let refused = Signer::open(kind, CLUSTER, &sealed, &new.public, &cluster.key).unwrap_err();
        assert_eq!(refused, OpenError::Malformed(kind));
    }
}

#[test]
fn names_and_times_that_no_certificate_can_hold_are_refused() {
    let key = ClusterKey::generate().unwrap();
    let make =
        |name: &str, id: &str, now| create_authority(AuthorityType::Tls, name, id, &key, now).unwrap_err();
    for bad in ["", "a b", "a\nb", "a/b", "a,b"] {
        assert!(
            matches!(make(bad, CLUSTER, NOW), AuthorityError::ClusterName(_)),
            "{bad:?}"
        );
        assert!(
            matches!(make("demo", bad, NOW), AuthorityError::ClusterId(_)),
            "{bad:?}"
        );
    }
    assert_eq!(make("demo", CLUSTER, u64::MAX), AuthorityError::Time);
    assert_eq!(make("demo", CLUSTER, 300_000_000_000), AuthorityError::Time);
}

/// A private key may be in no output: the key's own bytes are looked for in everything that prints.
#[test]
fn debug_output_and_errors_carry_no_key_bytes() {
    let cluster = Cluster::new();
    for kind in AuthorityType::ALL {
        let (new, signer) = cluster.authority(kind);
        let path = format!("cert_authority/{kind}/{}", new.public.pin);
        let private = cluster
            .key
            .open(SealContext::new(CLUSTER, &path, 1).as_str(), &new.sealed_private)
            .unwrap();
        // Ed25519: version 1 PKCS#8 ends with the seed. P-256: the scalar follows this fixed prefix.
        let secret = if private.len() < 60 {
            &private[private.len() - 32..]
        } else {
            &private[36..68]
        };
        let shown = format!(
            "{signer:?} {signer:#?} {:?} {new:?} {:?}",
            cluster.key,
            signer.public()
        );
        let hex: String = secret.iter().map(|b| format!("{b:02x}")).collect();
        let list = format!("{secret:?}");
        assert!(
            !shown.contains(&hex) && !shown.contains(list.trim_matches(['[', ']'])),
            "{kind}"
        );
        assert!(
            !new.sealed_private
                .windows(8)
                .any(|window| secret.windows(8).any(|s| s == window)),
            "{kind}"
        );
    }
}

#[test]
fn audit_heads_verify_and_every_change_is_refused() {
    let cluster = Cluster::new();
    let (new, signer) = cluster.authority(AuthorityType::Audit);
    let head = sign_head(&signer, 42, [9; 32], NOW * 1000).unwrap();
    verify_head(&new.public, CLUSTER, &head).unwrap();
    let refused = |head: &SignedHead| verify_head(&new.public, CLUSTER, head).unwrap_err();
    assert_eq!(
        refused(&SignedHead {
            tree_size: 41,
            ..head.clone()
        }),
        HeadError::Signature
    );
    assert_eq!(
        refused(&SignedHead {
            root: [8; 32],
            ..head.clone()
        }),
        HeadError::Signature
    );
    assert_eq!(
        refused(&SignedHead {
            time_ms: 1,
            ..head.clone()
        }),
        HeadError::Signature
    );
    assert_eq!(
        refused(&SignedHead {
            signature: [0; 64],
            ..head.clone()
        }),
        HeadError::Signature
    );
    assert_eq!(
        verify_head(&new.public, "other", &head).unwrap_err(),
        HeadError::Signature
    );
    let (other, _) = cluster.authority(AuthorityType::Audit);
    assert_eq!(
        verify_head(&other.public, CLUSTER, &head).unwrap_err(),
        HeadError::Signature
    );
    let (user, user_signer) = cluster.authority(AuthorityType::User);
    let wrong = HeadError::WrongAuthority(AuthorityType::User);
    assert_eq!(sign_head(&user_signer, 1, [0; 32], 1).unwrap_err(), wrong);
    assert_eq!(verify_head(&user.public, CLUSTER, &head).unwrap_err(), wrong);
    let unreadable = AuthorityPublic {
        ssh_public_key: Some("x".into()),
        ..new.public.clone()
    };
    assert_eq!(
        verify_head(&unreadable, CLUSTER, &head).unwrap_err(),
        HeadError::PublicKey
    );
}

/// The stored form of release 0.1, kept for good: a later release must still open it.
#[test]
fn authorities_of_format_1_still_open() {
    let key = fixture_key();
    let stored = include_str!("data/authorities_v1.txt");
    let mut kinds = Vec::new();
    for line in stored.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let [kind, pin, ssh, pem, sealed] = fields[..] else {
            panic!("{line}")
        };
        let kind = AuthorityType::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .unwrap();
        let public = AuthorityPublic {
            kind,
            ssh_public_key: (!ssh.is_empty()).then(|| ssh.to_owned()),
            certificate_pem: (!pem.is_empty()).then(|| pem.replace('_', "\n")),
            pin: pin.to_owned(),
        };
        let sealed: Vec<u8> = (0..sealed.len() / 2)
            .map(|n| u8::from_str_radix(&sealed[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        Signer::open(kind, CLUSTER, &sealed, &public, &key).unwrap();
        kinds.push(kind);
    }
    assert_eq!(kinds, AuthorityType::ALL);
}

fn fixture_key() -> ClusterKey {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.key");
    std::fs::write(&path, [42; 32]).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    ClusterKey::from_file(&path).unwrap()
}

#[test]
#[ignore = "prints the fixture, for a new format version"]
fn print_fixture() {
    let cluster = Cluster { key: fixture_key() };
    for kind in AuthorityType::ALL {
        let (new, _) = cluster.authority(kind);
        let sealed: String = new
            .sealed_private
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let ssh = new.public.ssh_public_key.unwrap_or_default();
        let pem = new.public.certificate_pem.unwrap_or_default().replace('\n', "_");
        println!("fixture {kind}|{}|{ssh}|{pem}|{sealed}", new.public.pin);
    }
}
