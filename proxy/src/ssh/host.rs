//! Dialling a host: only with a permit, as the permit's login, and only if the host proves who it is.

use crate::ports::Authorities;
use crate::ssh::node::{Node, Who};
use crate::tunnels::HopStream;
use palisade_core::access::Permit;
use palisade_core::event::{Event, EventKind};
use palisade_core::record::{HostAddr, HostSpec, Record};
use palisade_core::time::Timestamp;
use palisade_core::tunnel::ToAgent;
use palisade_session::ssh::client::{self, CheckHostKey, ConnectError, Connection, HostKey, Incoming};
use palisade_session::ssh::keys::PublicKey;
use palisade_session::ssh::keys::ssh_key::HashAlg;
use std::sync::Arc;
use std::time::Duration;

/// Accepts the host that a record describes, by a certificate of our host authority or by the pinned key.
struct HostCheck {
    authorities: Arc<dyn Authorities>,
    names: Vec<String>,
    pinned: Option<PublicKey>,
    now: Timestamp,
}

impl CheckHostKey for HostCheck {
    fn check(&self, key: &HostKey) -> Result<(), String> {
        if let Some(pinned) = &self.pinned
            && key.public_key().key_data() == pinned.key_data()
        {
            return Ok(());
        }
        match (key.certificate(), &self.pinned) {
            (Some(certificate), _) => self
                .authorities
                .check_host(certificate, &self.names, self.now)
                .map_err(|e| e.to_string()),
            (None, Some(_)) => Err("its key is not the one pinned in the host record".into()),
            (None, None) => Err(
                "it shows no certificate of this cluster's host authority, and the host record pins no key"
                    .into(),
            ),
        }
    }
}

/// Dials the permit's host and logs in as the permit's login.
pub(crate) async fn dial<I: Incoming>(
    node: &Node,
    who: &Who,
    permit: &Permit,
    incoming: I,
) -> Result<Connection<I>, ConnectError> {
    let host: &Record<HostSpec> = permit.host();
    let shown = host.metadata.name.as_str();
    let refused = |reason: String| ConnectError::Refused(reason);
    let addr = host.spec.addr.as_ref();
    let now = node.consensus.now();
    let pinned = match &host.spec.public_key {
        Some(line) => Some(
            PublicKey::from_openssh(line)
                .map_err(|_| refused(format!("the key pinned for {shown} is malformed")))?,
        ),
        None => None,
    };
    let check = Arc::new(HostCheck {
        authorities: Arc::clone(&node.authorities),
        names: [Some(shown), addr.map(HostAddr::host)]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect(),
        pinned,
        now,
    });
    let identity = node
        .authorities
        .dial_identity(permit, now)
        .map_err(|e| refused(e.to_string()))?;
    let within = node.config.host_timeout;
    // The certificate leaves this node only after its event is committed; the host is greeted meanwhile.
    let event = Event::new(EventKind::CertIssue)
        .user(permit.user().as_str())
        .addr(who.peer.to_string())
        .login(permit.login().as_str())
        .host(shown)
        .with("purpose", "dial")
        .with("serial", identity.certificate.serial())
        .with("key", identity.key.public_key().fingerprint(HashAlg::Sha256));
    let audited = async { node.audit(who, event).await.map_err(|e| refused(e.to_string())) };
    let connect = async {
        let greet = async {
            match addr {
                Some(addr) => {
                    let stream = tcp(addr.host(), addr.port(), shown, within).await?;
                    client::handshake(stream, shown, check, incoming).await
                }
                None => {
                    let stream = to_agent(node, who, host).await.map_err(refused)?;
                    client::handshake(stream, shown, check, incoming).await
                }
            }
        };
        let ((), mut connection) = tokio::try_join!(audited, greet)?;
        connection.login(permit.login().as_str(), &identity).await?;
        Ok(connection)
    };
    tokio::time::timeout(within, connect)
        .await
        .map_err(|_| ConnectError::Timeout {
            addr: shown.to_owned(),
            after: within,
        })?
}

/// A way to the host's agent, for a connection that this node makes and records.
async fn to_agent(node: &Node, who: &Who, host: &Record<HostSpec>) -> Result<Box<dyn HopStream>, String> {
    let tunnels = node.tunnels().ok_or("this node has no tunnels")?;
    let connection = uuid::Uuid::new_v4().simple().to_string();
    let pass = tunnels.pass(who, host, &connection).map_err(|e| e.to_string())?;
    let connect = ToAgent::Connect {
        pass: Box::new(pass.recorded_at_the_node()),
        plain: true,
    };
    let opened = tunnels.open(&host.metadata.name, &connect).await;
    opened.map_err(|e| e.to_string())
}

async fn tcp(
    host: &str,
    port: u16,
    shown: &str,
    within: Duration,
) -> Result<tokio::net::TcpStream, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable {
        addr: shown.to_owned(),
        source,
    };
    let mut last = None;
    for addr in tokio::net::lookup_host((host, port)).await.map_err(unreachable)? {
        match client::dial(addr, within).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| unreachable(std::io::Error::other("its name has no address"))))
}
