//! How a node comes to be in a cluster: it makes one, or it joins one with a token. Both end with a settled data
//! directory, written before anything takes part in a vote.

use crate::clock::now;
use crate::config::Config;
use crate::consensus::new_request_id;
use crate::home::{Home, HomeError, PeerFiles};
use crate::operations::{sign_peer, wrap_context};
use crate::presets;
use palisade_ca::{ClusterKey, JoinerKey, Signer, SubjectSpki, create_authority, generate_tls_key};
use palisade_core::api::{ApiError, JoinOrder, JoinReply, JoinRequest, path};
use palisade_core::command::{Actor, Command, Entry, Sealed};
use palisade_core::name::{ClusterId, Name};
use palisade_core::ports::OperationFailed;
use palisade_core::record::{AuthorityType, NodeSpec, Record};
use palisade_core::state::FIRST_NODE;
use palisade_storage::Identity;
use rand::Rng as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

fn failed(error: impl std::fmt::Display) -> OperationFailed {
    OperationFailed(error.to_string())
}

impl From<HomeError> for OperationFailed {
    fn from(error: HomeError) -> Self {
        failed(error)
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// What a node's record says about where it is.
fn addresses(config: &Config) -> [String; 3] {
    [config.cluster_listen, config.web_listen, config.ssh_listen]
        .map(|listen| config.advertised(listen.port()))
}

/// Makes a cluster: its key, its authorities, this node's certificate, and the first log entry, which is kept in
/// the data directory until it is committed.
pub(crate) fn make_cluster(
    config: &Config,
    home: &Home,
    cluster: &Name,
) -> Result<Identity, OperationFailed> {
    let cluster_id = ClusterId::parse(&uuid::Uuid::new_v4().to_string()).map_err(failed)?;
    let key = ClusterKey::generate().map_err(failed)?;
    let at = now();
    let mut made = Vec::new();
    let mut peer_signer = None;
    for kind in AuthorityType::ALL {
        let new =
            create_authority(kind, cluster.as_str(), cluster_id.as_str(), &key, at.secs()).map_err(failed)?;
        if kind == AuthorityType::Peer {
            let signer = Signer::open(kind, cluster_id.as_str(), &new.sealed_private, &new.public, &key);
            peer_signer = Some(signer.map_err(failed)?);
        }
        made.push((new.public.to_spec(at), Sealed(new.sealed_private)));
    }
    let signer = peer_signer.ok_or_else(|| failed("no peer authority was made"))?;
    let own = generate_tls_key().map_err(failed)?;
    let incarnation: u64 = rand::rng().random();
    let spki = SubjectSpki::from_der(&own.spki_der).map_err(failed)?;
    let (certificate, authority) = sign_peer(&signer, FIRST_NODE, incarnation, &spki, at)?;
    let [peer_addr, web_addr, ssh_addr] = addresses(config);
    let spec = NodeSpec {
        id: FIRST_NODE,
        incarnation: incarnation.to_string(),
        peer_addr,
        web_addr,
        ssh_addr,
        joined: at,
    };
    let command = Command::Init {
        cluster_name: cluster.clone(),
        cluster_id: cluster_id.to_string(),
        authorities: made,
        node: Box::new(Record::new(config.name.clone(), spec)),
        presets: presets::records().map_err(failed)?,
    };
    let actor = Actor {
        name: palisade_core::access::LOCAL_OPERATOR.into(),
        addr: String::new(),
    };
    let entry = Entry {
        id: new_request_id(),
        now: at,
        node: FIRST_NODE,
        actor,
        command,
    };
    write_key(home, &key)?;
    home.write("init.pending", &entry.to_bytes())?;
    home.write_peer(&PeerFiles {
        private_key: own.private_pem,
        certificate,
        authorities: authority,
    })?;
    settle(config, home, &cluster_id, FIRST_NODE, incarnation)
}

/// The last step: from here on the directory is this node's.
fn settle(
    config: &Config,
    home: &Home,
    cluster: &ClusterId,
    id: u64,
    incarnation: u64,
) -> Result<Identity, OperationFailed> {
    Identity::create(
        home.dir(),
        cluster.as_str(),
        id,
        config.name.as_str(),
        incarnation,
    )
    .map_err(failed)
}

/// A key file without an identity is what a try that failed left behind: nobody uses it.
fn write_key(home: &Home, key: &ClusterKey) -> Result<(), OperationFailed> {
    match std::fs::remove_file(home.cluster_key()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    key.write_file(home.cluster_key()).map_err(failed)
}

/// A join token, taken apart: `pj1.<cluster id>.<ca pin hex>.<name>.<secret>`.
pub(crate) struct Token {
    pub(crate) cluster_id: ClusterId,
    pub(crate) pin: String,
    pub(crate) name: String,
    pub(crate) secret: String,
}

impl Token {
    pub(crate) fn parse(text: &str) -> Result<Token, OperationFailed> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let malformed = || {
            failed(
                "this is not a join token: it looks like pj1.CLUSTER.PIN.NAME.SECRET, and `palctl tokens add` makes one",
            )
        };
        let ["pj1", cluster_id, pin, name, secret] = parts[..] else {
            return Err(malformed());
        };
        if pin.len() != 64 || !pin.bytes().all(|b| b.is_ascii_hexdigit()) || secret.is_empty() {
            return Err(malformed());
        }
        Ok(Token {
            cluster_id: ClusterId::parse(cluster_id).map_err(|_| malformed())?,
            pin: format!("sha256:{pin}"),
            name: name.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

/// Joins the cluster that a token names, through a member: asks it for an id and certificates, after checking that
/// it is of that cluster by the pin in the token.
pub(crate) async fn join_cluster(
    config: &Config,
    home: &Home,
    order: JoinOrder,
) -> Result<Identity, OperationFailed> {
    let token = Token::parse(&order.token)?;
    let own = generate_tls_key().map_err(failed)?;
    let wrap = JoinerKey::generate().map_err(failed)?;
    let incarnation: u64 = rand::rng().random();
    let [peer_addr, web_addr, ssh_addr] = addresses(config);
    let request = JoinRequest {
        token: token.name,
        secret: token.secret,
        cluster_id: token.cluster_id.to_string(),
        name: config.name.to_string(),
        peer_addr,
        web_addr,
        ssh_addr,
        incarnation: incarnation.to_string(),
        peer_public_key: pem("PUBLIC KEY", &own.spki_der),
        wrap_public_key: hex::encode(wrap.public_key()),
        now: now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let tls = crate::pinned::client_config(&token.pin).map_err(failed)?;
    // The member tries whether the others will be able to reach this node; the system takes the connection.
    let reachable = tokio::net::TcpListener::bind(config.cluster_listen).await;
    let _reachable = reachable.map_err(|e| {
        failed(format!(
            "cluster_listen cannot listen on {}: {e}",
            config.cluster_listen
        ))
    })?;
    let reply: JoinReply = ask_node(&order.addr, tls, path::JOIN, &request).await?;
    if reply.cluster_id != token.cluster_id.as_str() {
        return Err(failed("the member answered for another cluster than the token's"));
    }
    let wrapped = hex::decode(&reply.wrapped_cluster_key).map_err(failed)?;
    let context = wrap_context(token.cluster_id.as_str(), reply.node_id);
    let key = wrap.unwrap(&wrapped, &context).map_err(failed)?;
    write_key(home, &key)?;
    let files = PeerFiles {
        private_key: own.private_pem,
        certificate: reply.peer_certificate,
        authorities: reply.peer_authorities.concat(),
    };
    home.write_peer(&files)?;
    settle(config, home, &token.cluster_id, reply.node_id, incarnation)
}

/// Posts a request to a node that `tls` believes.
pub(crate) async fn ask_node<Q: Serialize, R: DeserializeOwned>(
    addr: &str,
    tls: rustls::ClientConfig,
    path: &str,
    request: &Q,
) -> Result<R, OperationFailed> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(20))
        .build()
        .map_err(failed)?;
    let url = format!("https://{}{}", addr.trim_start_matches("https://"), path);
    let sent = client.post(url).json(request).send().await;
    let response =
        sent.map_err(|e| failed(format!("the member at {addr} cannot be asked: {}", causes(&e))))?;
    if response.status().is_success() {
        return response
            .json()
            .await
            .map_err(|e| failed(format!("the member at {addr} answered oddly: {}", causes(&e))));
    }
    let status = response.status();
    let why = response
        .json::<ApiError>()
        .await
        .map_or_else(|_| status.to_string(), |error| error.message);
    Err(failed(format!("the member at {addr} refused: {why}")))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_are_read() {
        let good = format!(
            "pj1.0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a.{}.t1.s3cret",
            "ab".repeat(32)
        );
        let token = Token::parse(&good).expect("a token");
        assert_eq!((token.name.as_str(), token.secret.as_str()), ("t1", "s3cret"));
        for bad in [
            "",
            "pj1",
            "pj2.a.b.c.d",
            &good[..60],
            &good.replace("ab", "zz"),
            &format!("{good}.x"),
            "pj1.x.y.z.w",
        ] {
            assert!(Token::parse(bad).is_err(), "{bad} was read");
        }
    }
}
