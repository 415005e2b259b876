//! `palisade agent`: the host side, composed. The agent itself is in its own room; here are its files, its first
//! contact and its renewal.

mod config;
mod identity;
mod labels;

pub use config::Config;
pub use identity::{AgentHome, IdentityFault};

use crate::clock::now;
use crate::home::Home;
use crate::supervisor;
use palisade_agent::{AllowedEnv, Link, LinkConfig, Server, ServerConfig, helper_beside_us};
use palisade_core::record::Labels;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether the certificates are due.
const RENEW_LOOK: Duration = Duration::from_secs(60);

/// Joins the cluster that the token names.
///
/// # Errors
/// Why not, and what to do.
pub async fn join(config: &Config, token: &str, addrs: &[String]) -> Result<AgentHome, IdentityFault> {
    let home = Home::open(&config.data_dir)?;
    if let Some(joined) = AgentHome::load(&home, &config.name)?
        && token.contains(joined.cluster_id())
        && !token.is_empty()
    {
        tracing::info!(host = %config.name, cluster = joined.cluster(), "joins anew");
    }
    AgentHome::join(&home, &config.name, token, addrs).await
}

/// Runs the agent until `stop`. Of a configuration that follows the first one, labels are taken over at once, and what else
/// is another waits for the next start ([`Config::waiting`]).
///
/// # Errors
/// It cannot start.
pub async fn run(configs: watch::Receiver<Config>, stop: CancellationToken) -> Result<(), IdentityFault> {
    let config = configs.borrow().clone();
    let other = |error: &dyn std::fmt::Display| IdentityFault::Other(error.to_string());
    let home = Home::open(&config.data_dir)?;
    let identity = match AgentHome::load(&home, &config.name)? {
        Some(identity) => identity,
        None => match &config.token {
            Some(token) => AgentHome::join(&home, &config.name, token, &config.nodes).await?,
            None => {
                return Err(IdentityFault::Other(
                    "this host is in no cluster yet: `palctl tokens add --host` on a node makes a token, `palisade agent join TOKEN ADDRESS` here uses it".into(),
                ));
            }
        },
    };
    tracing::info!(host = %config.name, cluster = identity.cluster(), agent.id = identity.agent(), "this agent starts");
    let mut known = identity.nodes().to_vec();
    known.extend(
        config
            .nodes
            .iter()
            .filter(|addr| !identity.nodes().contains(addr))
            .cloned(),
    );
    let nodes = watch::Sender::new(known);
    let tls = Arc::new(Mutex::new(identity.tls()?));
    let for_dialling = Arc::clone(&tls);
    let link = Link::new(LinkConfig {
        host: config.name.clone(),
        agent: identity.agent(),
        nodes: nodes.clone(),
        tls: Arc::new(move || Ok(for_dialling.lock().clone())),
        labels: labels::watch(configs, &stop),
        facts: facts(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        grace: config.grace,
        clock: now,
    })
    .map_err(|e| other(&e))?;
    let helper = helper_beside_us().map_err(|e: io::Error| other(&e))?;
    let mut server = ServerConfig::new(
        config.name.clone(),
        identity.ssh()?,
        identity.user_authorities()?,
        helper,
        config.data_dir.join("spool"),
    );
    server.spool_bytes_max = config.spool_bytes_max;
    server.grace = config.grace;
    if let Some(names) = &config.env {
        server.env = AllowedEnv::new(names.iter().map(String::as_str));
    }
    let server = Server::new(server, link.clone());
    tokio::spawn(keep_identity(
        identity,
        tls,
        server.clone(),
        nodes.subscribe(),
        stop.clone(),
    ));
    // The tunnels are the last to go: users read why their sessions end, and the ends are written, by them.
    let hang_up = CancellationToken::new();
    let serving = link.run(&server, hang_up.clone());
    let stopping = async {
        stop.cancelled().await;
        supervisor::stopping("ends the sessions and says so to their users");
        server
            .shutdown("the agent of this host is stopping: connect again when it is back")
            .await;
        hang_up.cancel();
    };
    let ended = CancellationToken::new();
    // Polled by the one task that also keeps the tunnels: where that hangs, nobody says that it lives.
    let alive = async {
        let watch = supervisor::watch(|| {
            let tunnels = link.up();
            async move {
                let _up = *tunnels.borrow();
                true
            }
        });
        tokio::select! {
            () = ended.cancelled() => {}
            () = async { watch.await; std::future::pending().await } => {}
        }
    };
    supervisor::ready("dials the nodes, and serves");
    let work = async {
        tokio::join!(serving, stopping);
        ended.cancel();
    };
    tokio::join!(work, alive);
    Ok(())
}

/// What a host says of itself beside its labels.
fn facts() -> Labels {
    let mut facts = Labels::new();
    facts.insert("os".into(), std::env::consts::OS.into());
    facts.insert("arch".into(), std::env::consts::ARCH.into());
    if let Ok(release) = std::fs::read_to_string("/etc/os-release") {
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        if let Some(name) = pretty {
            facts.insert(
                "release".into(),
                name.trim_matches('"').chars().take(100).collect(),
            );
        }
    }
    facts
}

/// Renews the certificates when they are due, and keeps the addresses of nodes for the next start.
async fn keep_identity(
    mut identity: AgentHome,
    tls: Arc<Mutex<rustls::ClientConfig>>,
    server: Arc<Server>,
    mut nodes: watch::Receiver<Vec<String>>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = nodes.changed() => {
                if changed.is_err() {
                    return;
                }
                let told = nodes.borrow_and_update().clone();
                if let Err(error) = identity.set_nodes(told) {
                    tracing::warn!(error = %error, "the addresses of nodes could not be kept");
                }
            }
            () = tokio::time::sleep(RENEW_LOOK) => {}
        }
        if identity.renew_at() > now() {
            continue;
        }
        let renewed = async {
            identity.renew().await?;
            *tls.lock() = identity.tls()?;
            server.set_identity(identity.ssh()?);
            server.set_user_authorities(identity.user_authorities()?);
            Ok::<_, IdentityFault>(())
        };
        match renewed.await {
            Ok(()) => tracing::info!("the agent's certificates were renewed"),
            Err(error) => {
                tracing::warn!(error = %error, "the agent's certificates could not be renewed; it is tried again")
            }
        }
    }
}
