//! Agents: a token makes one, its certificate renews it. Both end with a host certificate for its SSH server and an
//! X.509 identity for its tunnel, signed only after the entry that audits them has committed.

use crate::ask::{Ask, Fresh};
use crate::body::Json;
use crate::caller::Caller;
use crate::certs::{ClientKeys, addresses};
use crate::error::Failure;
use crate::invites::sha256_hex;
use crate::issued::BACKDATED_MS;
use palisade_ca as ca;
use palisade_core::access::Refusal;
use palisade_core::api::{HostJoinReply, HostJoinRequest, HostRenewRequest};
use palisade_core::command::{Actor, AgentTerms, Command};
use palisade_core::name::{ClusterId, Name};
use palisade_core::record::AuthorityType;
use palisade_core::state;
use sha2::{Digest, Sha256};

/// How long an agent's certificates live. It renews them after a third, so that a cluster that is away for two weeks
/// finds its agents again.
const AGENT_MS: u64 = 30 * 86_400_000;
/// A clock that differs by more cannot be right about certificates.
const SKEW_MAX_MS: u64 = 60_000;

/// `POST /v1/hosts/join`: the token is the credential.
pub(crate) async fn join(
    ask: Ask,
    Json(request): Json<HostJoinRequest>,
) -> Result<axum::Json<HostJoinReply>, Failure> {
    if !ask.app.tokens.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    let host = Name::parse(&request.name)?;
    let ours = state::cluster(ask.kv().as_ref())?.map(|cluster| cluster.id);
    let named = ClusterId::parse(&request.cluster_id).ok();
    let Some(token) = Name::parse(&request.token)
        .ok()
        .filter(|_| named.is_some() && named == ours)
    else {
        return Err(Failure::bad_token());
    };
    if request.secret.len() > 128 || request.version.len() > 64 {
        return Err(Failure::bad_token());
    }
    let skew = ask
        .now()
        .since_ms(request.now)
        .max(request.now.since_ms(ask.now()));
    if skew > SKEW_MAX_MS {
        return Err(Failure::refused(format!(
            "the host's clock differs by {} s from this node's: set both by NTP, then join again",
            skew / 1000
        )));
    }
    let keys = ClientKeys::parse(&request.ssh_public_key, &request.tls_public_key)?;
    let terms = terms(&ask, &keys);
    let command = Command::JoinHost {
        token,
        secret_sha256: sha256_hex(&request.secret),
        host: host.clone(),
        terms: terms.clone(),
    };
    let actor = ask.actor(&format!("host:{host}"));
    sign(&ask, &host, None, &keys, terms, actor, command).await
}

/// `POST /v1/hosts/renew`: for agents alone.
pub(crate) async fn renew(
    ask: Ask,
    Json(request): Json<HostRenewRequest>,
) -> Result<axum::Json<HostJoinReply>, Failure> {
    let Caller::Agent(agent) = ask.peer.caller.clone() else {
        let who = ask.who(Fresh::Decision).await?;
        return Err(ask
            .audited(who.name(), "renew an agent", Refusal::NotAnAgent)
            .await);
    };
    ask.fresh(Fresh::Decision).await?;
    let keys = ClientKeys::parse(&request.ssh_public_key, &request.tls_public_key)?;
    let terms = terms(&ask, &keys);
    let command = Command::RenewHost {
        host: agent.host.clone(),
        agent: agent.agent,
        terms: terms.clone(),
    };
    let actor = ask.actor(&format!("host:{}", agent.host));
    sign(&ask, &agent.host, Some(agent.agent), &keys, terms, actor, command).await
}

fn terms(ask: &Ask, keys: &ClientKeys) -> AgentTerms {
    let now = ask.now();
    AgentTerms {
        ssh_key: keys.fingerprint(),
        tls_key: data_encoding::HEXLOWER.encode(&Sha256::digest(keys.tls.der())),
        valid_after: now.minus_ms(BACKDATED_MS),
        valid_before: now.plus_ms(AGENT_MS),
    }
}

/// Commits, then signs. A join allocates the agent's id.
async fn sign(
    ask: &Ask,
    host: &Name,
    agent: Option<u64>,
    keys: &ClientKeys,
    terms: AgentTerms,
    actor: Actor,
    command: Command,
) -> Result<axum::Json<HostJoinReply>, Failure> {
    let kv = ask.kv();
    // Opened first: an entry must not be spent on an authority that does not open.
    let ssh = ask.app.authorities.signer(kv.as_ref(), AuthorityType::Host)?;
    let tls = ask.app.authorities.signer(kv.as_ref(), AuthorityType::Tls)?;
    let serial = ask.propose(actor, ask.new_id(), command).await?;
    let agent = agent.unwrap_or(serial);
    let window_secs = terms.valid_before.since_ms(terms.valid_after).div_ceil(1000) + 1;
    let failed = |e: &dyn std::fmt::Display| Failure::internal("sign", e);
    let ssh_certificate = ca::sign_host_cert(
        &ssh,
        &ca::HostCertRequest {
            public_key: keys.ssh.clone(),
            key_id: host.to_string(),
            host_names: ca::HostNames::new([host.as_str()]).map_err(|e| failed(&e))?,
            valid_after: terms.valid_after.secs(),
            valid_before: terms.valid_before.secs(),
            ttl_max_secs: window_secs,
            serial,
        },
    )
    .map_err(|e| failed(&e))?;
    let cluster =
        state::cluster(kv.as_ref())?.ok_or_else(|| Failure::unavailable("there is no cluster yet"))?;
    let identity = ca::AgentIdentity {
        cluster_id: cluster.id.to_string(),
        host: host.clone(),
        agent,
    };
    let tls_certificate = ca::sign_agent_cert(
        &tls,
        &ca::AgentCertRequest {
            public_key: keys.tls.clone(),
            identity,
            serial,
            window: ca::Window {
                not_before: terms.valid_after.secs(),
                not_after: terms.valid_before.secs(),
                ttl_max_secs: window_secs,
            },
        },
    )
    .map_err(|e| failed(&e))?;
    let public = |kind| ca::public_authority(kv.as_ref(), kind);
    let (web_addrs, _) = addresses(kv.as_ref())?;
    Ok(axum::Json(HostJoinReply {
        host: host.to_string(),
        agent,
        cluster: cluster.name.to_string(),
        cluster_id: cluster.id.to_string(),
        ssh_certificate,
        tls_certificate: tls_certificate.pem,
        tls_authorities: public(AuthorityType::Tls)?.certificate.into_iter().collect(),
        user_authorities: public(AuthorityType::User)?.ssh_public_key.into_iter().collect(),
        web_addrs,
        valid_after: terms.valid_after,
        valid_before: terms.valid_before,
    }))
}
