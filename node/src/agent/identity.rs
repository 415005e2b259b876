//! What an agent keeps in its data directory: its keys, its certificates, whom it believes. `agent.json` is written
//! last: without it the directory is nobody's, and a join that failed in the middle is simply made again.

use crate::bootstrap::{Token, ask_node, pem};
use crate::clock::now;
use crate::home::{Home, HomeError};
use palisade_agent::HostIdentity;
use palisade_ca::{generate_ssh_key, generate_tls_key};
use palisade_core::api::{HostJoinReply, HostJoinRequest, HostRenewRequest, path};
use palisade_core::name::Name;
use palisade_core::time::Timestamp;
use palisade_session::ssh::keys::PublicKey;
use palisade_session::ssh::keys::ssh_key::{Certificate, LineEnding, PrivateKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use std::fs;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The version of `agent.json`.
const VERSION: u32 = 1;
const SSH_KEY: &str = "host.key";
const TLS_KEY: &str = "tls.key";
const ABOUT: &str = "agent.json";

/// Something about an agent's identity went wrong; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    /// A file.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

fn other(error: impl std::fmt::Display) -> IdentityFault {
    IdentityFault::Other(error.to_string())
}

/// What a node said when it let the agent in, or renewed it; and the TLS key that it is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    version: u32,
    reply: HostJoinReplyKept,
}

/// [`HostJoinReply`], as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostJoinReplyKept {
    host: String,
    agent: u64,
    cluster: String,
    cluster_id: String,
    ssh_certificate: String,
    tls_certificate: String,
    tls_authorities: Vec<String>,
    user_authorities: Vec<String>,
    web_addrs: Vec<String>,
    valid_after: Timestamp,
    valid_before: Timestamp,
}

impl From<HostJoinReply> for HostJoinReplyKept {
    fn from(reply: HostJoinReply) -> Self {
        HostJoinReplyKept {
            host: reply.host,
            agent: reply.agent,
            cluster: reply.cluster,
            cluster_id: reply.cluster_id,
            ssh_certificate: reply.ssh_certificate,
            tls_certificate: reply.tls_certificate,
            tls_authorities: reply.tls_authorities,
            user_authorities: reply.user_authorities,
            web_addrs: reply.web_addrs,
            valid_after: reply.valid_after,
            valid_before: reply.valid_before,
        }
    }
}

/// An agent that has joined.
pub struct AgentHome {
    home: Home,
    about: HostJoinReplyKept,
    ssh_key: PrivateKey,
    tls_key: Zeroizing<String>,
}

impl AgentHome {
    /// Reads the directory; `None` if no agent has joined from it yet.
    pub fn load(home: &Home, name: &Name) -> Result<Option<AgentHome>, IdentityFault> {
        let path = home.dir().join(ABOUT);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(other(format!("{}: {e}", path.display()))),
        };
        let damaged = |why: &dyn std::fmt::Display| {
            other(format!(
                "{} is damaged: {why}. Empty the directory and join anew with a token for this host",
                path.display()
            ))
        };
        let about: About = serde_json::from_str(&text).map_err(|e| damaged(&e))?;
        if about.version != VERSION {
            return Err(damaged(&format!("version {} is not known", about.version)));
        }
        if about.reply.host != name.as_str() {
            return Err(other(format!(
                "{} belongs to host {}, and this agent's name is {name}: correct `name` or `data_dir`",
                home.dir().display(),
                about.reply.host
            )));
        }
        let read = |name: &str| {
            fs::read_to_string(home.dir().join(name))
                .map(Zeroizing::new)
                .map_err(|e| other(format!("{}: {e}", home.dir().join(name).display())))
        };
        let ssh_key = PrivateKey::from_openssh(read(SSH_KEY)?.as_str()).map_err(|e| damaged(&e))?;
        Ok(Some(AgentHome {
            home: home.clone(),
            ssh_key,
            tls_key: read(TLS_KEY)?,
            about: about.reply,
        }))
    }

    /// Joins by a token, at the first of the addresses that answers.
    pub async fn join(
        home: &Home,
        name: &Name,
        token: &str,
        addrs: &[String],
    ) -> Result<AgentHome, IdentityFault> {
        let token = Token::parse(token).map_err(other)?;
        let ssh_key = generate_ssh_key().map_err(other)?;
        let tls = generate_tls_key().map_err(other)?;
        let request = HostJoinRequest {
            token: token.name.clone(),
            secret: token.secret.clone(),
            cluster_id: token.cluster_id.to_string(),
            name: name.to_string(),
            ssh_public_key: ssh_key.public_key().to_openssh().map_err(other)?,
            tls_public_key: pem("PUBLIC KEY", &tls.spki_der),
            now: now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let tls_config = crate::pinned::client_config(&token.pin).map_err(other)?;
        let mut why = other("no address of a node was given");
        for addr in addrs {
            let asked =
                ask_node::<_, HostJoinReply>(addr, tls_config.clone(), path::HOST_JOIN, &request).await;
            match asked {
                Ok(reply) if reply.cluster_id != token.cluster_id.as_str() => {
                    return Err(other("the node answered for another cluster than the token's"));
                }
                Ok(reply) => {
                    let key = ssh_key.to_openssh(LineEnding::LF).map_err(other)?;
                    home.write(SSH_KEY, key.as_bytes())?;
                    home.write(TLS_KEY, tls.private_pem.as_bytes())?;
                    let made = AgentHome {
                        home: home.clone(),
                        about: reply.into(),
                        ssh_key,
                        tls_key: tls.private_pem,
                    };
                    made.save()?;
                    return Ok(made);
                }
                // A refusal is the cluster's, not the node's: the next one would say the same.
                Err(refused) if refused.0.contains("refused") => return Err(other(refused)),
                Err(failed) => why = other(failed),
            }
        }
        Err(why)
    }

    fn save(&self) -> Result<(), IdentityFault> {
        let about = About {
            version: VERSION,
            reply: self.about.clone(),
        };
        let text = serde_json::to_vec_pretty(&about).map_err(other)?;
        Ok(self.home.write(ABOUT, &text)?)
    }

    /// New certificates for the same keys.
    pub async fn renew(&mut self) -> Result<(), IdentityFault> {
        let tls = PrivateKeyDer::from_pem_slice(self.tls_key.as_bytes()).map_err(other)?;
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&tls).map_err(other)?;
        let public = signing
            .public_key()
            .ok_or_else(|| other("the TLS key has no public half"))?;
        let request = HostRenewRequest {
            ssh_public_key: self.ssh_key.public_key().to_openssh().map_err(other)?,
            tls_public_key: pem("PUBLIC KEY", &public),
        };
        let config = self.tls()?;
        let mut why = other("no node is known");
        for addr in self.about.web_addrs.clone() {
            let asked = ask_node::<_, HostJoinReply>(&addr, config.clone(), path::HOST_RENEW, &request).await;
            match asked {
                Ok(reply) => {
                    self.about = reply.into();
                    return self.save();
                }
                Err(failed) => why = other(failed),
            }
        }
        Err(why)
    }

    /// When to renew: after a third of the certificates' life.
    pub fn renew_at(&self) -> Timestamp {
        let (from, to) = (self.about.valid_after, self.about.valid_before);
        from.plus_ms(to.since_ms(from) / 3)
    }

    /// Nodes that the agent knows of.
    pub fn nodes(&self) -> &[String] {
        &self.about.web_addrs
    }

    /// Keeps the addresses that nodes tell of.
    pub fn set_nodes(&mut self, addrs: Vec<String>) -> Result<(), IdentityFault> {
        if addrs.is_empty() || addrs == self.about.web_addrs {
            return Ok(());
        }
        self.about.web_addrs = addrs;
        self.save()
    }

    /// The agent's id.
    pub fn agent(&self) -> u64 {
        self.about.agent
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.about.cluster_id
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.about.cluster
    }

    /// How the agent proves itself to nodes, and which nodes it believes.
    pub fn tls(&self) -> Result<ClientConfig, IdentityFault> {
        let mut roots = RootCertStore::empty();
        for pem in &self.about.tls_authorities {
            for authority in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(authority.map_err(other)?).map_err(other)?;
            }
        }
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(self.about.tls_certificate.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(self.tls_key.as_bytes()).map_err(other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(other)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.map_err(other)?, key)
            .map_err(other)?;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    /// The host's SSH identity.
    pub fn ssh(&self) -> Result<HostIdentity, IdentityFault> {
        let certificate = Certificate::from_openssh(self.about.ssh_certificate.trim()).map_err(other)?;
        Ok(HostIdentity {
            key: self.ssh_key.clone(),
            certificate,
        })
    }

    /// Whose certificates are accepted.
    pub fn user_authorities(&self) -> Result<Vec<PublicKey>, IdentityFault> {
        let keys = self
            .about
            .user_authorities
            .iter()
            .map(|line| PublicKey::from_openssh(line));
        keys.collect::<Result<_, _>>().map_err(other)
    }
}
