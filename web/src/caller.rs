//! Who is at the other end of a connection, as the listener that accepted it found out.

use palisade_ca::AgentIdentity;
use palisade_core::name::Name;
use palisade_core::time::Timestamp;
use std::net::IpAddr;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody that is known: no credential was shown.
    Nobody,
    /// The holder of a client certificate that TLS has verified against the TLS authority.
    User(Certified),
    /// An agent, by a client certificate that TLS has verified. It may renew its certificates, and nothing else here.
    Agent(AgentIdentity),
    /// Whoever may open the node's own control socket.
    LocalOperator,
}

/// What a verified client certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The user.
    pub name: Name,
    /// Its serial: the log index of the entry that allowed it.
    pub serial: u64,
    /// Its first moment.
    pub not_before: Timestamp,
    /// Its last moment. A connection may outlive it, so that each request looks again.
    pub not_after: Timestamp,
}

/// One connection's other end: listeners put it into the extensions of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub caller: Caller,
    /// From where; none on the control socket.
    pub addr: Option<IpAddr>,
}

/// The port that the other end of a connection has: listeners put it into the extensions of each request that came over
/// a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FromPort(pub(crate) u16);

impl Peer {
    /// Somebody without a credential.
    pub fn nobody(addr: Option<IpAddr>) -> Self {
        Peer {
            caller: Caller::Nobody,
            addr,
        }
    }

    /// The address as events show it.
    pub(crate) fn shown_addr(&self) -> String {
        self.addr
            .map(|a| a.to_canonical().to_string())
            .unwrap_or_default()
    }
}
