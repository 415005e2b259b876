//! The cluster itself: what it is, who joins and leaves, who leads; and its authorities.

use crate::ask::{Ask, Fresh};
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::certs::{addresses, tls_pin};
use crate::error::Failure;
use crate::invites::{random_secret, sha256_hex, ttl_ms};
use crate::issued::BACKDATED_MS;
use axum::http::StatusCode;
use palisade_ca as ca;
use palisade_core::api::{
    AuthorityView, ClusterStatus, HostCertificate, InitReply, InitRequest, JoinOrder, JoinReply, JoinRequest,
    JoinToken, NewToken, Ping, Replacement, SignHost, SupportBundle, Transfer,
};
use palisade_core::command::{CertPurpose, CertTerms, Command, Expect};
use palisade_core::name::{ClusterId, Login, Name};
use palisade_core::record::{AuthorityType, Grant, Record, SecondFactor, TokenSpec, Verb};
use palisade_core::state;
use std::net::SocketAddr;

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const TOKEN_TTL_SECS: u64 = 1800;
const TOKEN_TTL_MAX_SECS: u64 = 7 * 86_400;
const HOST_TTL_SECS: u64 = 365 * 86_400;
const HOST_TTL_MAX_SECS: u64 = 5 * 365 * 86_400;
const HOST_NAMES_MAX: usize = 64;

/// `GET /v1/ping`.
pub(crate) async fn ping(ask: Ask) -> Result<axum::Json<Ping>, Failure> {
    let kv = ask.kv();
    let (web_addrs, ssh_addrs) = addresses(kv.as_ref())?;
    Ok(axum::Json(Ping {
        cluster: state::cluster(kv.as_ref())?
            .map(|c| c.name.to_string())
            .unwrap_or_default(),
        version: VERSION.to_owned(),
        ca_pin: tls_pin(kv.as_ref())?,
        web_addrs,
        ssh_addrs,
        second_factor: state::auth_preference(kv.as_ref())?.second_factor == SecondFactor::Totp,
    }))
}

/// `GET /v1/cluster/status`: at the control socket also without a quorum.
pub(crate) async fn status(ask: Ask) -> Result<axum::Json<ClusterStatus>, Failure> {
    if ask.peer.caller != Caller::LocalOperator {
        let who = ask.who(Fresh::Decision).await?;
        ask.permit(&who, Verb::Read, Grant::Node, None).await?;
    }
    Ok(axum::Json(ask.app.api.operations.status().await))
}

/// `GET /v1/cluster/support`: at the control socket alone, also without a quorum.
pub(crate) async fn support(ask: Ask) -> Result<axum::Json<SupportBundle>, Failure> {
    if ask.peer.caller != Caller::LocalOperator {
        ask.who(Fresh::Decision).await?;
        return Err(only_local());
    }
    Ok(axum::Json(ask.app.api.operations.support().await))
}

/// `POST /v1/cluster/transfer`.
pub(crate) async fn transfer(ask: Ask, Json(request): Json<Transfer>) -> Result<StatusCode, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    ask.permit(&who, Verb::Update, Grant::Node, None).await?;
    let to = match request.to.as_str() {
        "" => None,
        name => Some(Name::parse(name)?),
    };
    ask.app.api.operations.transfer(to.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/cluster/nodes/{name}`.
pub(crate) async fn remove(ask: Ask, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let permit = ask.permit(&who, Verb::Delete, Grant::Node, None).await?;
    let actor = ask.actor(permit.actor());
    ask.app.api.operations.remove(actor, &Name::parse(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/cluster/replace`.
pub(crate) async fn replace(ask: Ask, Json(request): Json<Replacement>) -> Result<StatusCode, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let permit = ask.permit(&who, Verb::Delete, Grant::Node, None).await?;
    let actor = ask.actor(permit.actor());
    ask.app.api.operations.replace(actor, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/tokens`: a join token, shown once.
pub(crate) async fn token(ask: Ask, Json(request): Json<NewToken>) -> Result<axum::Json<JoinToken>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let permit = ask.permit(&who, Verb::Create, Grant::Token, None).await?;
    let kv = ask.kv();
    let cluster =
        state::cluster(kv.as_ref())?.ok_or_else(|| Failure::unavailable("this node is in no cluster yet"))?;
    let expires = ask
        .now()
        .plus_ms(ttl_ms(request.ttl_secs, TOKEN_TTL_SECS, TOKEN_TTL_MAX_SECS)?);
    // A repeated request makes the same record again with a new secret: the first secret is void, there is one token.
    let id = ask.id_for(permit.actor(), &[b"token"]);
    // What an agent brings into the cluster is a host, with labels: whoever allows it must be allowed to make one.
    if let Some(host) = &request.host {
        let named = host.name.as_ref().map_or("", Name::as_str);
        ask.permit(&who, Verb::Create, Grant::Host, Some((named, &host.labels)))
            .await?;
    }
    let name = Name::parse(&format!("join-{}", &id.as_str()[..13]))?;
    let secret = random_secret();
    let mut record = Record::new(
        name.clone(),
        TokenSpec {
            secret_sha256: sha256_hex(&secret),
            host: request.host,
        },
    );
    record.metadata.expires = Some(expires);
    let command = Command::PutRecord {
        record: Box::new(record.into()),
        expect: Expect::Any,
    };
    ask.propose(ask.actor(permit.actor()), ask.new_id(), command)
        .await?;
    let ca_pin = tls_pin(kv.as_ref())?;
    let (web_addrs, _) = addresses(kv.as_ref())?;
    let pin = ca_pin.strip_prefix("sha256:").unwrap_or(&ca_pin);
    Ok(axum::Json(JoinToken {
        token: format!("pj1.{}.{pin}.{name}.{}", cluster.id, *secret),
        ca_pin,
        name: name.to_string(),
        expires,
        web_addrs,
    }))
}

/// `POST /v1/join`: the token is the credential.
pub(crate) async fn join(
    ask: Ask,
    Json(request): Json<JoinRequest>,
) -> Result<axum::Json<JoinReply>, Failure> {
    if !ask.app.tokens.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    Name::parse(&request.name)?;
    let ours = state::cluster(ask.kv().as_ref())?.map(|cluster| cluster.id);
    let named = ClusterId::parse(&request.cluster_id).ok();
    if Name::parse(&request.token).is_err() || request.secret.len() > 128 || named.is_none() || named != ours
    {
        return Err(Failure::bad_token());
    }
    for (field, addr) in [
        ("peer_addr", &request.peer_addr),
        ("web_addr", &request.web_addr),
        ("ssh_addr", &request.ssh_addr),
    ] {
        palisade_core::record::HostAddr::parse(addr)
            .map_err(|e| Failure::invalid(format!("{field}: {e}")))?;
    }
    let texts = [
        &request.incarnation,
        &request.peer_public_key,
        &request.wrap_public_key,
        &request.version,
    ];
    if texts.iter().any(|text| text.len() > 4096) {
        return Err(Failure::too_large("a field of the request is longer than 4 KiB"));
    }
    let addr = ask
        .peer
        .addr
        .map(|a| SocketAddr::new(a.to_canonical(), 0).ip().to_string());
    let reply = ask
        .app
        .api
        .operations
        .admit(request, addr.unwrap_or_default())
        .await;
    // The text is the operation's own: it was written for the one who asked.
    reply.map(axum::Json).map_err(|why| Failure::refused(why.0))
}

/// `POST /v1/cluster/init`: served by the control socket itself, and refused everywhere else.
pub(crate) async fn init_elsewhere(
    ask: Ask,
    Json(_): Json<InitRequest>,
) -> Result<axum::Json<InitReply>, Failure> {
    ask.who(Fresh::Decision).await?;
    Err(only_local())
}

/// `POST /v1/cluster/join`: served by the control socket itself, and refused everywhere else.
pub(crate) async fn order_elsewhere(
    ask: Ask,
    Json(_): Json<JoinOrder>,
) -> Result<axum::Json<ClusterStatus>, Failure> {
    ask.who(Fresh::Decision).await?;
    Err(only_local())
}

fn only_local() -> Failure {
    Failure::refused("this is for the node's own control socket alone")
}

/// `GET /v1/authorities/{type}`.
pub(crate) async fn authority(
    ask: Ask,
    Path(word): Path<String>,
) -> Result<axum::Json<AuthorityView>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    ask.permit(&who, Verb::Read, Grant::CertAuthority, None).await?;
    let wanted = AuthorityType::ALL.into_iter().find(|kind| kind.as_str() == word);
    let Some(wanted) = wanted else {
        return Err(Failure::not_found(
            "there is no such authority: it is one of user, host, tls, peer, audit",
        ));
    };
    let spec = palisade_ca::public_authority(ask.kv().as_ref(), wanted)?;
    Ok(axum::Json(AuthorityView {
        authority: wanted.as_str().to_owned(),
        public: spec.ssh_public_key.or(spec.certificate).unwrap_or_default(),
        pin: spec.pin,
    }))
}

/// `POST /v1/authorities/host/sign`: a certificate for the host key of an OpenSSH server.
pub(crate) async fn sign_host(
    ask: Ask,
    Json(request): Json<SignHost>,
) -> Result<axum::Json<HostCertificate>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let permit = ask.permit(&who, Verb::Create, Grant::CertAuthority, None).await?;
    if request.public_key.len() > 8192 {
        return Err(Failure::too_large("public_key: longer than 8 KiB"));
    }
    let key = ca::SubjectKey::parse(&request.public_key)
        .map_err(|e| Failure::invalid(format!("public_key: {e}")))?;
    if request.names.len() > HOST_NAMES_MAX {
        return Err(Failure::invalid(format!("names: at most {HOST_NAMES_MAX}")));
    }
    let host_names = ca::HostNames::new(request.names.iter().map(String::as_str))
        .map_err(|e| Failure::invalid(format!("names: {e}")))?;
    let principals: Result<Vec<Login>, _> = host_names
        .as_slice()
        .iter()
        .map(|name| Login::parse(name))
        .collect();
    let ttl = ttl_ms(request.ttl_secs, HOST_TTL_SECS, HOST_TTL_MAX_SECS)?;
    let subject = host_names
        .as_slice()
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let now = ask.now();
    let terms = CertTerms {
        purpose: CertPurpose::Host,
        subject: Name::parse(subject)?,
        principals: principals?,
        valid_after: now.minus_ms(BACKDATED_MS),
        valid_before: now.plus_ms(ttl),
        key_fingerprint: key.fingerprint().to_string(),
        source_address: None,
        renews: None,
    };
    let kv = ask.kv();
    let signer = ask.app.authorities.signer(kv.as_ref(), AuthorityType::Host)?;
    // A host certificate may be issued twice without harm, so that a repetition is a new one: never two certificates
    // with one serial.
    let command = Command::IssueCert { terms: terms.clone() };
    let serial = ask
        .propose(ask.actor(permit.actor()), ask.new_id(), command)
        .await?;
    let certificate = ca::sign_host_cert(
        &signer,
        &ca::HostCertRequest {
            public_key: key,
            key_id: subject.to_owned(),
            host_names: host_names.clone(),
            valid_after: terms.valid_after.secs(),
            valid_before: terms.valid_before.secs(),
            ttl_max_secs: terms.valid_before.since_ms(terms.valid_after).div_ceil(1000) + 1,
            serial,
        },
    )
    .map_err(|e| Failure::internal("sign", &e))?;
    let user_authorities = palisade_ca::public_authority(kv.as_ref(), AuthorityType::User)?.ssh_public_key;
    Ok(axum::Json(HostCertificate {
        certificate,
        user_authorities: user_authorities.into_iter().collect(),
    }))
}
