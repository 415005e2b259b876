//! `host`: a machine that people log in to: a plain OpenSSH server, or one that runs an agent. Its labels, in the
//! metadata, decide which roles reach it.

use crate::record::RecordingSite;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How a host is reached: at its address, or through the tunnel that its agent holds. Exactly one of both is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostSpec {
    /// Where a plain OpenSSH server listens, `address:port` or `[v6]:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<HostAddr>,
    /// Its own public key in OpenSSH form, if it has no certificate of our host authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The agent that serves it. Written by the cluster when an agent joins, and by nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<HostAgent>,
    /// Where its sessions are recorded, if not as `session_recording_config` says. For a plain OpenSSH server it is
    /// `proxy` in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<RecordingSite>,
}

/// The fields as they are written, before it is known that they make sense together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    addr: Option<HostAddr>,
    public_key: Option<String>,
    agent: Option<HostAgent>,
    site: Option<RecordingSite>,
}

impl TryFrom<Written> for HostSpec {
    type Error = &'static str;
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written {
            addr,
            public_key,
            agent,
            site,
        } = written;
        if agent.is_none() && site == Some(RecordingSite::Node) {
            return Err("a plain OpenSSH server records nothing: leave `site` out, or write `proxy`");
        }
        match (&addr, &agent) {
            (None, None) => Err("missing field `addr`: where does the host's SSH server listen?"),
            (Some(_), Some(_)) => Err("a host has an address or an agent, not both"),
            _ => Ok(HostSpec {
                addr,
                public_key,
                agent,
                site,
            }),
        }
    }
}

/// The agent of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostAgent {
    /// The log index of the entry by which it joined: part of its certificates, so that an agent that joins anew
    /// under the name makes the older one's void.
    pub id: u64,
    /// When it joined.
    pub joined: Timestamp,
}

impl HostSpec {
    /// A plain OpenSSH server at an address.
    pub fn at(addr: HostAddr) -> Self {
        HostSpec {
            addr: Some(addr),
            public_key: None,
            agent: None,
            site: None,
        }
    }

    /// How people see where it is: its address, or that an agent serves it.
    pub fn shown_addr(&self) -> String {
        match (&self.addr, &self.agent) {
            (Some(addr), _) => addr.to_string(),
            (None, Some(_)) => "(agent)".into(),
            (None, None) => String::new(),
        }
    }
}

/// `host:port`, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostAddr {
    host: String,
    port: u16,
}

impl HostAddr {
    /// Reads `name:port`, `1.2.3.4:port` or `[::1]:port`.
    pub fn parse(text: &str) -> Result<Self, BadAddr> {
        let bad = || BadAddr(text.chars().take(80).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        let inner = match host.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .filter(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok())
                .ok_or_else(bad)?,
            None => host,
        };
        let plain = inner
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
        if port == 0 || inner.is_empty() || inner.len() > 253 || !plain || inner.starts_with('-') {
            return Err(bad());
        }
        if inner.contains(':') && !host.starts_with('[') {
            return Err(bad());
        }
        Ok(HostAddr {
            host: inner.to_ascii_lowercase(),
            port,
        })
    }

    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for HostAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl TryFrom<String> for HostAddr {
    type Error = BadAddr;
    fn try_from(text: String) -> Result<Self, BadAddr> {
        HostAddr::parse(&text)
    }
}

impl From<HostAddr> for String {
    fn from(addr: HostAddr) -> String {
        addr.to_string()
    }
}

/// A text that is not an address with a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address with a port: write it like 10.0.0.7:22, web1.example.com:22 or [::1]:22")]
pub struct BadAddr(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["127.0.0.1:22", "web1.example.com:2222", "[::1]:22"] {
            assert_eq!(HostAddr::parse(good).map(|a| a.to_string()), Ok(good.to_string()));
        }
        for bad in [
            "",
            "web1",
            "web1:0",
            "web1:99999",
            "::1:22",
            "[x]:22",
            "a b:22",
            "-o:22",
            "a\n:22",
            "web1:22/",
        ] {
            assert!(HostAddr::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
