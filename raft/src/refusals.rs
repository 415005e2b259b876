//! Hostile callers of the node-to-node port.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::tests_common::{Authority, CLUSTER, Cluster, incarnation, soon};
use crate::tls::PeerTls;
use crate::wire::{self, peer::peer_client::PeerClient};

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}

fn config(tls: Option<PeerTls>, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone));
    let mut config = match tls {
        Some(tls) => builder
            .with_client_auth_cert(tls.cert_chain, tls.key.clone_key())
            .expect("certificate"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn client_with(cluster: &Cluster, config: Arc<ClientConfig>) -> PeerClient<Channel> {
    let addr = cluster.addrs[&1];
    let connector = tower::service_fn(move |_: Uri| {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        async move {
            let tcp = TcpStream::connect(addr).await?;
            let name = ServerName::try_from("x").expect("name");
            connector.connect(name, tcp).await.map(TokioIo::new)
        }
    });
    let channel = Endpoint::from_static("http://x").connect_with_connector_lazy(connector);
    PeerClient::new(channel).max_encoding_message_size(64 * 1024 * 1024)
}

fn client(cluster: &Cluster, tls: Option<PeerTls>) -> PeerClient<Channel> {
    client_with(cluster, config(tls, &[&rustls::version::TLS13]))
}

fn vote_request(from: u64, term: u64) -> wire::VoteRequest {
    wire::VoteRequest {
        from,
        to: 1,
        vote: Some(wire::WireVote {
            term,
            node: from,
            committed: false,
        }),
        last: Some(wire::WireLogId {
            term,
            node: from,
            index: 1_000_000,
        }),
        transfer: true,
        pre: false,
    }
}

async fn refused(mut client: PeerClient<Channel>, what: &str) {
    let ask = client.vote(vote_request(2, 50));
    let answer = tokio::time::timeout(Duration::from_secs(5), ask)
        .await
        .expect("refused at once");
    let status = answer.err().unwrap_or_else(|| panic!("{what} got an answer"));
    // Not one gRPC answer was formed: the connection itself was refused.
    assert!(
        matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
        ),
        "{what}: {status:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_is_no_node_of_this_cluster_is_refused_before_any_message() {
    let cluster = Cluster::of(1).await;
    let term = cluster.nodes[&1].node.status().term;
    let ours = &cluster.authority;
    refused(client(&cluster, None), "no certificate").await;
    refused(
        client(&cluster, Some(Authority::new().tls(CLUSTER, 2, incarnation(2)))),
        "another authority",
    )
    .await;
    refused(
        client(&cluster, Some(ours.tls("other-cluster", 2, incarnation(2)))),
        "another cluster",
    )
    .await;
    refused(
        client(
            &cluster,
            Some(ours.tls_for_uri("palisade://test-cluster/user/alice/x")),
        ),
        "a user",
    )
    .await;
    refused(
        client(&cluster, Some(ours.tls_for_uri("https://node/2"))),
        "no node name",
    )
    .await;
    refused(
        client(&cluster, Some(ours.tls(CLUSTER, 1, incarnation(1)))),
        "our own id",
    )
    .await;
    cluster.tombstones.lock().push(2);
    let mut removed = client(&cluster, Some(ours.tls(CLUSTER, 2, incarnation(2))));
    denied(
        removed.vote(vote_request(2, 50)).await.map(drop),
        "a removed node, which is told so",
    );
    let old = config(
        Some(ours.tls(CLUSTER, 3, incarnation(3))),
        &[&rustls::version::TLS12],
    );
    refused(client_with(&cluster, old), "TLS 1.2").await;
    assert_eq!(cluster.nodes[&1].node.status().term, term, "nothing reached Raft");
}

#[track_caller]
fn denied(result: Result<(), tonic::Status>, what: &str) {
    match result {
        Err(status) => assert_eq!(status.code(), Code::PermissionDenied, "{what}: {status:?}"),
        Ok(()) => panic!("{what} was accepted"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cannot_speak_for_another() {
    let cluster = Cluster::of(3).await;
    let term = cluster.nodes[&1].node.status().term;
    let tls = cluster.authority.tls(CLUSTER, 2, incarnation(2));
    let mut two = client(&cluster, Some(tls));
    let vote = two.vote(vote_request(3, 50)).await.map(drop);
    denied(vote, "a vote in another's name");
    let mut request = vote_request(2, 50);
    request.to = 3;
    denied(two.vote(request).await.map(drop), "a message for another node");
    let mut request = vote_request(2, 50);
    request.vote = Some(wire::WireVote {
        term: 50,
        node: 3,
        committed: false,
    });
    denied(two.vote(request).await.map(drop), "a vote for another candidate");
    denied(two.vote(vote_request(2, 1 << 63)).await.map(drop), "a huge term");

    let append = |node: u64, committed: bool| wire::AppendRequest {
        from: 2,
        to: 1,
        vote: Some(wire::WireVote {
            term: 50,
            node,
            committed,
        }),
        ..Default::default()
    };
    denied(
        two.heartbeat(append(3, true)).await.map(drop),
        "an append of another leader",
    );
    denied(
        two.heartbeat(append(2, false)).await.map(drop),
        "an append of no leader",
    );
    let stream = two
        .append(futures::stream::iter([append(3, true)]))
        .await
        .expect("opens");
    denied(
        stream.into_inner().message().await.map(drop),
        "a streamed append of another leader",
    );
    let chunk = wire::SnapshotChunk {
        from: 2,
        to: 1,
        vote: Some(wire::WireVote {
            term: 50,
            node: 3,
            committed: true,
        }),
        ..Default::default()
    };
    denied(
        two.snapshot(futures::stream::iter([chunk])).await.map(drop),
        "a snapshot of another leader",
    );

    let again = cluster.authority.tls(CLUSTER, 2, 999);
    refused(client(&cluster, Some(again)), "another incarnation").await;
    cluster.tombstones.lock().push(2);
    denied(
        two.vote(vote_request(2, 50)).await.map(drop),
        "a node removed while connected",
    );
    cluster.tombstones.lock().clear();
    assert_eq!(cluster.nodes[&1].node.status().term, term, "nothing reached Raft");
    cluster.put(1, "r", "k", b"v").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_oversized_messages_are_refused() {
    let cluster = Cluster::of(1).await;
    let before = cluster.nodes[&1].node.status();
    let mut two = client(&cluster, Some(cluster.authority.tls(CLUSTER, 2, incarnation(2))));
    let vote = Some(wire::WireVote {
        term: 50,
        node: 2,
        committed: true,
    });
    let entry = |index, kind, body: Vec<u8>| wire::WireEntry {
        term: 50,
        node: 2,
        index,
        kind,
        body: Bytes::from(body),
    };
    let append = |entries| wire::AppendRequest {
        from: 2,
        to: 1,
        vote: vote.clone(),
        entries,
        ..Default::default()
    };

    let nine_mib = append(vec![entry(0, 1, vec![0; 9 * 1024 * 1024])]);
    assert_eq!(
        two.heartbeat(nine_mib).await.err().map(|s| s.code()),
        Some(Code::OutOfRange)
    );
    let two_mib = append(vec![entry(0, 1, vec![0; 2 * 1024 * 1024])]);
    assert_eq!(
        two.heartbeat(two_mib).await.err().map(|s| s.code()),
        Some(Code::InvalidArgument)
    );
    for bad in [
        append(vec![entry(0, 77, vec![])]),
        append(vec![entry(0, 2, vec![1, 2, 3])]),
        append(vec![entry(5, 0, vec![])]),
        append(vec![entry(0, 0, vec![]), entry(2, 0, vec![])]),
        append(vec![entry(0, 0, vec![]), entry(0, 0, vec![])]),
        wire::AppendRequest {
            vote: None,
            ..append(vec![])
        },
    ] {
        assert_eq!(
            two.heartbeat(bad).await.err().map(|s| s.code()),
            Some(Code::InvalidArgument)
        );
    }
    let after = cluster.nodes[&1].node.status();
    assert_eq!(
        (before.term, before.last_log),
        (after.term, after.last_log),
        "nothing reached Raft"
    );
    cluster.put(1, "r", "k", b"v").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_whole_is_refused_and_the_state_stays() {
    let cluster = Cluster::of(1).await;
    cluster.put(1, "r", "k", b"v").await;
    let before = cluster.nodes[&1].node.status();
    let mut two = client(&cluster, Some(cluster.authority.tls(CLUSTER, 2, incarnation(2))));
    let meta = crate::types::SnapshotMeta {
        last_log_id: Some(crate::codec::log_id(50, 2, 900)),
        ..Default::default()
    };
    let meta = Bytes::from(crate::codec::encode_snapshot_meta(&meta).expect("encodes"));
    let chunk = wire::SnapshotChunk {
        from: 2,
        to: 1,
        ..Default::default()
    };
    let head = wire::SnapshotChunk {
        vote: Some(wire::WireVote {
            term: 50,
            node: 2,
            committed: true,
        }),
        meta,
        ..chunk.clone()
    };
    let data = |offset| wire::SnapshotChunk {
        offset,
        data: Bytes::from_static(b"12345"),
        ..chunk.clone()
    };
    let end = |offset| wire::SnapshotChunk {
        offset,
        end: true,
        sha256: Bytes::from(vec![0; 32]),
        ..chunk.clone()
    };
    let garbled = wire::SnapshotChunk {
        meta: Bytes::from_static(b"\x07junk"),
        ..head.clone()
    };
    for (what, chunks) in [
        ("empty", vec![]),
        ("no end", vec![head.clone(), data(0)]),
        ("a hole", vec![head.clone(), data(5), end(10)]),
        ("a piece twice", vec![head.clone(), data(0), data(0), end(5)]),
        ("a wrong hash", vec![head.clone(), data(0), end(5)]),
        (
            "more behind the end",
            vec![head.clone(), data(0), end(5), data(5)],
        ),
        ("a garbled meta", vec![garbled, data(0), end(5)]),
    ] {
        let status = two.snapshot(futures::stream::iter(chunks)).await.err();
        assert_eq!(
            status.as_ref().map(tonic::Status::code),
            Some(Code::DataLoss),
            "{what}: {status:?}"
        );
    }
    let after = cluster.nodes[&1].node.status();
    assert_eq!((before.term, before.applied), (after.term, after.applied));
    assert_eq!(cluster.nodes[&1].count(), 1);
    cluster.nodes[&1]
        .node
        .read_barrier(soon(5))
        .await
        .expect("still leads");
}

/// The pieces of a snapshot with a right hash over whatever it holds.
fn sent(bytes: &[u8], announced: &crate::types::SnapshotMeta) -> Vec<wire::SnapshotChunk> {
    use sha2::Digest as _;
    let chunk = wire::SnapshotChunk {
        from: 2,
        to: 1,
        ..Default::default()
    };
    let head = wire::SnapshotChunk {
        vote: Some(wire::WireVote {
            term: 50,
            node: 2,
            committed: true,
        }),
        meta: Bytes::from(crate::codec::encode_snapshot_meta(announced).expect("encodes")),
        ..chunk.clone()
    };
    let mut all = vec![head];
    for (n, piece) in bytes.chunks(1024).enumerate() {
        all.push(wire::SnapshotChunk {
            offset: n as u64 * 1024,
            data: Bytes::copy_from_slice(piece),
            ..chunk.clone()
        });
    }
    all.push(wire::SnapshotChunk {
        offset: bytes.len() as u64,
        end: true,
        sha256: Bytes::copy_from_slice(&sha2::Sha256::digest(bytes)),
        ..chunk
    });
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_content_is_wrong_is_refused_though_its_transfer_is_right() {
    let cluster = Cluster::of(1).await;
    cluster.put(1, "r", "k", b"v").await;
    let before = cluster.nodes[&1].node.status();
    let mut two = client(&cluster, Some(cluster.authority.tls(CLUSTER, 2, incarnation(2))));
    let announced = crate::types::SnapshotMeta {
        last_log_id: Some(crate::codec::log_id(50, 2, 900)),
        ..Default::default()
    };
    // A whole snapshot of a store like this one, and what a bad disk or a bad sender makes of it.
    let folder = tempfile::tempdir().expect("a folder");
    let store = palisade_storage::StateStore::open(folder.path(), Default::default()).expect("opens");
    let marker = crate::codec::encode_log_id(&crate::codec::log_id(50, 2, 900));
    let change = palisade_core::kv::Change::Put {
        key: b"k/k".to_vec(),
        value: b"sent".to_vec(),
    };
    store.apply(vec![change], marker, None).expect("applies");
    let membership = crate::codec::encode_stored_membership(&announced.last_membership).expect("encodes");
    let built = store.build_snapshot(membership).expect("builds");
    let good = std::fs::read(&built.path).expect("is there");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let other = crate::types::SnapshotMeta {
        last_log_id: Some(crate::codec::log_id(50, 2, 901)),
        ..Default::default()
    };
    for (what, bytes, meta) in [
        ("empty", &[][..], &announced),
        ("no snapshot", b"junk", &announced),
        ("a flipped bit", &flipped, &announced),
        ("its end cut off", &good[..good.len() - 40], &announced),
        ("another than announced", &good, &other),
    ] {
        let status = two.snapshot(futures::stream::iter(sent(bytes, meta))).await.err();
        assert_eq!(
            status.as_ref().map(tonic::Status::code),
            Some(Code::DataLoss),
            "{what}: {status:?}"
        );
    }
    let after = cluster.nodes[&1].node.status();
    assert_eq!((before.term, before.applied), (after.term, after.applied));
    cluster.put(1, "r2", "k2", b"v").await;
    assert_eq!(cluster.nodes[&1].count(), 2);
    // The whole one is taken: the refusals above were for what was wrong, and nothing else.
    two.snapshot(futures::stream::iter(sent(&good, &announced)))
        .await
        .expect("a whole snapshot is installed");
    assert_eq!(cluster.nodes[&1].value("k").as_deref(), Some(&b"sent"[..]));
}
