//! Clients that break the protocol, at every step up to the first channel and behind it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "support/raw.rs"]
mod raw;
mod support;

use palisade_ca::ssh_key::{Certificate, PrivateKey};
use palisade_core::event::EventKind;
use palisade_proxy::ssh::Config;
use palisade_session::ssh::client::Identity;
use raw::{
    CHANNEL_OPEN, CHANNEL_WINDOW_ADJUST, DISCONNECT, IGNORE, KEXINIT, PROTOCOL_ERROR, Packet, Proposal,
    RawClient, USERAUTH_FAILURE, USERAUTH_SUCCESS,
};
use std::sync::Arc;
use std::time::Duration;
use support::{EVERYTHING, World};

fn identity(world: &World, user: &str) -> Identity {
    let read = |name: String| std::fs::read_to_string(world.path(&name)).unwrap();
    Identity {
        key: Arc::new(PrivateKey::from_openssh(read(format!("id_{user}"))).unwrap()),
        certificate: Certificate::from_openssh(read(format!("id_{user}-cert.pub")).trim()).unwrap(),
    }
}

/// A node that gives up after four seconds on whoever does not authenticate.
async fn impatient() -> World {
    let config = Config {
        login_grace: Duration::from_secs(4),
        ..Config::default()
    };
    World::with(EVERYTHING, config, "").await
}

async fn serves(world: &World) {
    let out = world.ssh(&["web1", "echo in"]).output().await.unwrap();
    assert_eq!(out.stdout, b"in\n", "{}", String::from_utf8_lossy(&out.stderr));
}

fn channel_open() -> Packet {
    Packet::new(CHANNEL_OPEN)
        .string("direct-tcpip")
        .u32(1)
        .u32(1 << 20)
        .u32(1 << 15)
        .string("web1")
        .u32(22)
        .string("127.0.0.1")
        .u32(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_for_a_client_that_has_not_authenticated() {
    let world = impatient().await;
    let session = Packet::new(CHANNEL_OPEN)
        .string("session")
        .u32(1)
        .u32(1 << 20)
        .u32(1 << 15);
    let exec = Packet::new(98)
        .u32(0)
        .string("exec")
        .byte(1)
        .string("touch /tmp/never");
    let forward = Packet::new(80)
        .string("tcpip-forward")
        .byte(1)
        .string("0.0.0.0")
        .u32(0);
    let addr = world.addr;
    let tries = [
        ("a channel", channel_open()),
        ("a session", session),
        ("an exec", exec),
        ("a listener", forward),
        ("data", Packet::new(94).u32(0).string("x")),
        ("success, said by the client", Packet::new(USERAUTH_SUCCESS)),
        ("a message that there is not", Packet::new(200).string("x")),
        ("another service", Packet::new(5).string("ssh-connection")),
    ];
    for (what, packet) in tries {
        let early = RawClient::unserved(addr).await;
        for (when, mut client) in [("before", early), ("after", RawClient::ready(addr).await)] {
            let began = std::time::Instant::now();
            client.send(&packet.0).await;
            let said = client.last_words().await;
            let took = began.elapsed();
            assert_eq!(said, [DISCONNECT], "{what}, {when} the service was accepted");
            assert!(
                took < Duration::from_secs(2),
                "{what}, {when}: ended after {took:?}"
            );
        }
    }
    assert!(world.consensus.events_of(EventKind::SessionStart).is_empty());
    assert!(
        world.consensus.events_of(EventKind::CertIssue).is_empty(),
        "no host was dialled"
    );
    serves(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_counts_only_with_its_own_signature() {
    let world = impatient().await;
    world.put(&format!(
        "kind: user\nversion: v1\nmetadata: {{name: bob}}\nspec: {{roles: [], traits: {{logins: [{}]}}}}",
        world.login
    ));
    world.identity("bob", &[&world.login.clone()]).await;
    let (alice, bob) = (identity(&world, "alice"), identity(&world, "bob"));

    // Asked about, never signed.
    let mut client = RawClient::ready(world.addr).await;
    client.send(&client.auth("alice", &alice, None)).await;
    assert_eq!(client.receive().await.unwrap()[0], 60, "the certificate would do");
    client.send(&channel_open().0).await;
    assert_eq!(client.last_words().await, [DISCONNECT]);

    // Alice's certificate, signed with Bob's key.
    let mut client = RawClient::ready(world.addr).await;
    client.send(&client.auth("alice", &alice, Some(&bob))).await;
    let said = client.receive().await;
    assert!(said.is_none_or(|said| said[0] == USERAUTH_FAILURE));

    // Alice's is asked about, Bob's is signed: it is Bob who came in, and Bob may reach nothing.
    let mut client = RawClient::ready(world.addr).await;
    client.send(&client.auth("alice", &alice, None)).await;
    assert_eq!(client.receive().await.unwrap()[0], 60);
    client.send(&client.auth("alice", &bob, Some(&bob))).await;
    assert_eq!(client.receive().await.unwrap()[0], USERAUTH_SUCCESS);
    client.send(&channel_open().0).await;
    let answer = loop {
        let packet = client.receive().await.expect("an answer");
        if [91, 92].contains(&packet[0]) {
            break packet;
        }
    };
    assert_eq!(
        answer[0], 92,
        "the channel was opened with somebody else's rights"
    );
    let refused = world.consensus.events_of(EventKind::SessionRefused);
    assert!(refused.iter().any(|event| event.user == "bob"), "{refused:?}");
    assert!(refused.iter().all(|event| event.user != "alice"), "{refused:?}");

    // Passwords are not taken, and it is said what is.
    let mut client = RawClient::ready(world.addr).await;
    let password = Packet::new(50)
        .string("alice")
        .string("ssh-connection")
        .string("password")
        .byte(0)
        .string("x");
    client.send(&password.0).await;
    let said = client.receive().await.unwrap();
    assert_eq!(
        said[..14],
        Packet::new(USERAUTH_FAILURE).string("publickey").0[..14]
    );
    world.stop().await;
}

/// A key and a certificate for it by stock `ssh-keygen`, signed by the key in the file `ca`.
fn certified(world: &World, name: &str, ca: &str, options: &[&str]) -> Identity {
    let key = palisade_ca::generate_ssh_key().unwrap();
    let public = world.path(&format!("{name}.pub"));
    std::fs::write(&public, key.public_key().to_openssh().unwrap()).unwrap();
    let signed = std::process::Command::new("ssh-keygen")
        .arg("-q")
        .arg("-s")
        .arg(world.path(ca))
        .args(options)
        .arg(&public)
        .output()
        .unwrap();
    assert!(
        signed.status.success(),
        "{options:?}: {}",
        String::from_utf8_lossy(&signed.stderr)
    );
    let line = std::fs::read_to_string(world.path(&format!("{name}-cert.pub"))).unwrap();
    Identity {
        key: Arc::new(key),
        certificate: Certificate::from_openssh(line.trim()).unwrap(),
    }
}

/// A certificate that says it was signed by a certificate: no tool makes one, so it is put together here.
fn nested(outer: &Identity) -> Identity {
    let bytes = outer.certificate.to_bytes().unwrap();
    let authority = palisade_ca::ssh_key::PublicKey::from(outer.certificate.signature_key().clone());
    let key = authority.to_bytes().unwrap();
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    let head = &bytes[..at - 4];
    let spliced = [
        Packet(head.to_vec()).string(&bytes).0,
        bytes[at + key.len()..].to_vec(),
    ]
    .concat();
    Identity {
        key: Arc::clone(&outer.key),
        certificate: Certificate::from_bytes(&spliced).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_by_our_own_authority_that_do_not_fit_are_refused() {
    let world = World::new().await;
    support::write_key(&world.path("ca"), &world.cas.user_key);
    support::write_key(&world.path("other_ca"), &support::Cas::new().user_key);
    support::write_key(&world.path("no_ca"), &palisade_ca::generate_ssh_key().unwrap());
    let login = world.login.clone();
    let serial = (1u64 << 41).to_string();
    let make = |name: &str, ca: &str, more: &[&str]| {
        let mut options = vec!["-I", "alice", "-z", &serial];
        options.extend(more);
        certified(&world, name, ca, &options)
    };
    let named = ["-n", &*login, "-V", "-1m:+10m"];
    let with = |more: &[&'static str]| [&named[..], more].concat();
    let good = make("good", "ca", &named);

    let no_principals = make("nobody", "ca", &["-V", "-1m:+10m"]);
    let cases = [
        ("by another authority", make("stranger", "no_ca", &named)),
        ("of another cluster", make("other", "other_ca", &named)),
        ("nested", nested(&good)),
        ("a host's", make("host", "ca", &with(&["-h"]))),
        (
            "an unknown critical option",
            make("option", "ca", &with(&["-O", "critical:new@example.com=1"])),
        ),
        (
            "a forced command",
            make("forced", "ca", &with(&["-O", "force-command=true"])),
        ),
        (
            "a required verification",
            make("verify", "ca", &with(&["-O", "verify-required"])),
        ),
        (
            "from another address",
            make("pinned", "ca", &with(&["-O", "source-address=10.9.9.9/32"])),
        ),
        ("without principals", no_principals),
        ("expired", make("expired", "ca", &["-n", &login, "-V", "-2h:-1h"])),
        (
            "not yet valid",
            make("early", "ca", &["-n", &login, "-V", "+1h:+2h"]),
        ),
        (
            "valid for ever",
            make("ever", "ca", &["-n", &login, "-V", "always:forever"]),
        ),
        (
            "a name with a line end",
            make("line", "ca", &with(&["-I", "alice\nroot"])),
        ),
        (
            "a name that is none",
            make("name", "ca", &with(&["-I", "Alice Root"])),
        ),
    ];
    for (what, identity) in &cases {
        let mut client = RawClient::ready(world.addr).await;
        client.send(&client.auth("alice", identity, Some(identity))).await;
        let said = client.receive().await;
        assert!(
            said.as_ref().is_none_or(|said| said[0] == USERAUTH_FAILURE),
            "{what}: the node said {said:?}"
        );
    }
    let refused = support::until("the refusals are audited", || {
        let refused = world.consensus.events_of(EventKind::SessionRefused);
        (refused.len() >= 5).then_some(refused)
    })
    .await;
    assert!(
        refused
            .iter()
            .all(|event| !event.data["claimed_key_id"].contains('\n')),
        "{refused:?}"
    );
    assert!(
        world.consensus.events_of(EventKind::CertIssue).is_empty(),
        "a host was dialled"
    );

    // An RSA key of 1024 bits, through stock ssh: the certificate is right, the key is not.
    let weak = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f"])
        .arg(world.path("weak"))
        .status()
        .unwrap();
    assert!(weak.success());
    let mut sign = std::process::Command::new("ssh-keygen");
    sign.arg("-q")
        .arg("-s")
        .arg(world.path("ca"))
        .args(["-I", "alice", "-z", &serial])
        .args(named);
    assert!(sign.arg(world.path("weak.pub")).status().unwrap().success());
    let options = [
        format!("IdentityFile={}", world.path("weak").display()),
        format!("CertificateFile={}", world.path("weak-cert.pub").display()),
    ];
    let mut direct = tokio::process::Command::new("ssh");
    direct.args([
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "IdentityAgent=none",
    ]);
    direct.args([
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]);
    direct.args([
        "-o",
        &options[0],
        "-o",
        &options[1],
        "-p",
        &world.addr.port().to_string(),
    ]);
    let out = direct.args(["alice@127.0.0.1", "true"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("Permission denied"), "{said}");

    // The one that fits is taken: what was refused was refused for what was wrong with it.
    let mut client = RawClient::ready(world.addr).await;
    client.send(&client.auth("alice", &good, Some(&good))).await;
    assert_eq!(client.receive().await.unwrap()[0], USERAUTH_SUCCESS);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_exchange_that_could_be_tampered_with_is_refused() {
    let world = World::new().await;
    let weak = [
        Proposal {
            kex: "diffie-hellman-group1-sha1,diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1",
            ..Proposal::default()
        },
        Proposal {
            host_key: "ssh-rsa,ssh-dss",
            ..Proposal::default()
        },
        Proposal {
            cipher: "3des-cbc,aes128-cbc,arcfour",
            ..Proposal::default()
        },
        Proposal {
            cipher: "aes256-ctr",
            mac: "hmac-md5,hmac-sha1",
            ..Proposal::default()
        },
        Proposal {
            compression: "zlib,zlib@openssh.com",
            ..Proposal::default()
        },
    ];
    for proposal in weak {
        let mut client = RawClient::connect(world.addr, &proposal).await;
        let offered = String::from_utf8_lossy(&client.theirs).into_owned();
        for never in [
            "zlib",
            "cbc",
            "sha1",
            "md5",
            "arcfour",
            "ssh-dss",
            "group-exchange",
        ] {
            assert!(!offered.contains(never), "{never} is offered: {offered}");
        }
        client.send(&Packet::new(30).string([9; 32]).0).await;
        let said = client.last_words().await;
        assert!(
            said.iter().all(|kind| *kind == DISCONNECT),
            "{}: {said:?}",
            proposal.kex
        );
    }

    // A point of small order gives a secret that everybody knows.
    let mut client = RawClient::connect(world.addr, &Proposal::default()).await;
    assert!(
        client.exchange(Some(vec![0; 32])).await.is_none(),
        "the identity point was taken"
    );
    let mut client = RawClient::connect(world.addr, &Proposal::default()).await;
    assert!(
        client.exchange(Some(vec![9; 31])).await.is_none(),
        "a point of 31 bytes was taken"
    );

    // Under strict key exchange nothing but the exchange may be said before its end.
    let mut client = RawClient::connect(world.addr, &Proposal::default()).await;
    client.send(&Packet::new(IGNORE).string("x").0).await;
    assert!(
        client.exchange(None).await.is_none(),
        "a message was slipped into the key exchange"
    );

    // Compression beside none: none it is, or the packets below would not be understood.
    let both = Proposal {
        compression: "zlib,none",
        ..Proposal::default()
    };
    let mut client = RawClient::connect(world.addr, &both).await;
    client.exchange(None).await.expect("the key exchange");
    client.send(&Packet::new(5).string("ssh-userauth").0).await;
    assert!(client.receive().await.is_some());
    serves(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_lie_about_their_length_end_the_connection() {
    let world = World::new().await;
    for length in [u32::MAX, 1 << 31, 1 << 20, 0, 1, 17] {
        let mut client = RawClient::ready(world.addr).await;
        client.throw(&length.to_be_bytes()).await;
        client.throw(&[0; 512]).await;
        let said = client.last_words().await;
        assert!(said.iter().all(|kind| *kind == DISCONNECT), "{length}: {said:?}");
    }
    for (length, padding) in [(12u32, 255u8), (12, 12), (12, 0), (4, 4), (u32::MAX, 4)] {
        let mut client = RawClient::connect(world.addr, &Proposal::default()).await;
        client.throw(&length.to_be_bytes()).await;
        client.throw(&[padding]).await;
        client.throw(&[0; 64]).await;
        let said = client.last_words().await;
        assert!(
            said.iter().all(|kind| *kind == DISCONNECT),
            "{length} with {padding}: {said:?}"
        );
    }
    serves(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_overflows_ends_the_connection() {
    let world = World::new().await;
    let alice = identity(&world, "alice");
    let mut client = RawClient::authenticated(world.addr, "alice", &alice).await;
    client.send(&channel_open().0).await;
    let channel = loop {
        let packet = client.receive().await.expect("the channel is opened");
        if packet[0] == 91 {
            break u32::from_be_bytes(packet[5..9].try_into().unwrap());
        }
    };
    let adjust = |amount: u32| Packet::new(CHANNEL_WINDOW_ADJUST).u32(channel).u32(amount).0;
    // Up to 2^32 - 1 a window may grow (it began with 2^20), and what has been sent on it leaves room for more.
    client.send(&adjust(u32::MAX - (1 << 20))).await;
    client
        .send(&Packet::new(94).u32(channel).string("SSH-2.0-raw\r\n").0)
        .await;
    loop {
        let packet = client.receive().await.expect("the largest window is served");
        if packet[0] == 94 {
            break;
        }
    }
    client.send(&adjust(u32::MAX)).await;
    let reason = loop {
        let packet = client.receive().await.expect("it is said why");
        if packet[0] == DISCONNECT {
            break u32::from_be_bytes(packet[1..5].try_into().unwrap());
        }
    };
    assert_eq!(reason, PROTOCOL_ERROR);
    assert!(client.last_words().await.is_empty());
    serves(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_key_exchanges_ends_the_connection() {
    let world = World::new().await;
    let alice = identity(&world, "alice");
    let mut client = RawClient::authenticated(world.addr, "alice", &alice).await;
    let began = std::time::Instant::now();
    let mut served = 0;
    while served < 100 && client.exchange_again().await.is_some() {
        served += 1;
    }
    // Sixteen at once, and one for each second that it took.
    let most = 16 + began.elapsed().as_secs();
    assert!((16..=most).contains(&served), "{served} of at most {most}");
    assert!(client.last_words().await.is_empty());

    // Before authentication it is no different.
    let mut client = RawClient::ready(world.addr).await;
    let mut served = 0;
    while served < 100 && client.exchange_again().await.is_some() {
        served += 1;
    }
    assert!(served < 100, "a stranger may exchange keys for ever");

    // Keys that were used are changed as often as the client likes.
    let mut client = RawClient::authenticated(world.addr, "alice", &alice).await;
    let data = Packet::new(IGNORE).string(vec![0; 30_000]).0;
    for round in 0..50 {
        for _ in 0..5 {
            client.send(&data).await;
        }
        assert!(
            client.exchange_again().await.is_some(),
            "honest key exchange {round} was refused"
        );
    }
    serves(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_talks_and_never_authenticates_is_ended() {
    let world = impatient().await;
    let mut client = RawClient::ready(world.addr).await;
    let began = std::time::Instant::now();
    // Talking keeps nobody beyond the login grace.
    let ended = async {
        loop {
            client.send(&Packet::new(IGNORE).string("x").0).await;
            if tokio::time::timeout(Duration::from_millis(50), client.receive())
                .await
                .is_ok_and(|packet| packet.is_none_or(|packet| packet[0] != KEXINIT))
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .expect("the login grace is over");
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    serves(&world).await;
    world.stop().await;
}
