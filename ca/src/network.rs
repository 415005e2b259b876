//! The networks of a `source-address` option.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// One address or network from which a certificate may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceNetwork {
    base: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an IP address.
    #[error("not an IP address or network")]
    Address,
    /// The prefix length is not a number that fits the address.
    #[error("the prefix length does not fit the address")]
    Prefix,
    /// `10.0.0.1/8` may have meant the host or the network: OpenSSH refuses it and so do we.
    #[error("the address has bits set behind its prefix")]
    HostBits,
    /// Nothing there.
    #[error("no network is named")]
    Empty,
}

impl SourceNetwork {
    /// The network of one address.
    pub fn single(address: IpAddr) -> Self {
        let base = address.to_canonical();
        Self {
            base,
            prefix: width(base),
        }
    }

    /// Whether `address` lies inside. An IPv4 address counts the same when written as IPv6 (`::ffff:192.0.2.1`), on
    /// either side.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.base) && masked(address, self.prefix) == bits(self.base)
    }

    /// Parses the value of a `source-address` option: networks separated by commas, at least one.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, NetworkError> {
        if text.is_empty() {
            return Err(NetworkError::Empty);
        }
        text.split(',').map(str::parse).collect()
    }
}

impl FromStr for SourceNetwork {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let Some(prefix) = prefix else {
            return Ok(Self::single(base));
        };
        if prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NetworkError::Prefix);
        }
        let prefix: u8 = prefix.parse().map_err(|_| NetworkError::Prefix)?;
        if prefix > width(base) {
            return Err(NetworkError::Prefix);
        }
        if masked(base, prefix) != bits(base) {
            return Err(NetworkError::HostBits);
        }
        // `::ffff:10.0.0.0/104` is 10.0.0.0/8.
        match (base, base.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) => match prefix.checked_sub(96) {
                Some(prefix) => Ok(Self { base: v4, prefix }),
                None => Err(NetworkError::Prefix),
            },
            _ => Ok(Self { base, prefix }),
        }
    }
}

impl fmt::Display for SourceNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address in the low bits of 128.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

fn masked(address: IpAddr, prefix: u8) -> u128 {
    let behind = u32::from(width(address) - prefix);
    bits(address)
        .checked_shr(behind)
        .and_then(|kept| kept.checked_shl(behind))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(network: &str, address: &str) -> bool {
        network
            .parse::<SourceNetwork>()
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_matched_by_prefix() {
        assert!(inside("192.0.2.0/24", "192.0.2.255"));
        assert!(!inside("192.0.2.0/24", "192.0.3.0"));
        assert!(inside("192.0.2.1", "192.0.2.1"));
        assert!(!inside("192.0.2.1", "192.0.2.2"));
        assert!(inside("0.0.0.0/0", "203.0.113.9"));
        assert!(!inside("0.0.0.0/0", "2001:db8::1"));
        assert!(inside("2001:db8::/32", "2001:db8:1::1"));
        assert!(inside("::/0", "2001:db8::1"));
        assert!(!inside("::/0", "192.0.2.1"));
    }

    #[test]
    fn v4_written_as_v6_is_v4_on_both_sides() {
        assert!(inside("192.0.2.0/24", "::ffff:192.0.2.7"));
        assert!(!inside("192.0.2.0/24", "::ffff:198.51.100.7"));
        assert!(inside("::ffff:192.0.2.0/120", "192.0.2.7"));
        assert!(inside("::ffff:192.0.2.7", "192.0.2.7"));
        assert!(!inside("::/0", "::ffff:192.0.2.7"));
    }

    #[test]
    fn malformed_networks_are_refused() {
        use NetworkError::*;
        for (text, why) in [
            ("", Address),
            ("host", Address),
            ("192.0.2.1/33", Prefix),
            ("192.0.2.1/", Prefix),
            ("192.0.2.1/+8", Prefix),
            ("192.0.2.1/8", HostBits),
            ("::/129", Prefix),
            (" 192.0.2.1", Address),
            ("::ffff:0.0.0.0/95", HostBits),
            ("192.0.2.1/24/24", Prefix),
            ("!192.0.2.1", Address),
        ] {
            assert_eq!(text.parse::<SourceNetwork>(), Err(why), "{text:?}");
        }
        assert_eq!(SourceNetwork::parse_list(""), Err(Empty));
        assert!(SourceNetwork::parse_list("192.0.2.1,").is_err());
        assert_eq!(SourceNetwork::parse_list("192.0.2.1,::1").unwrap().len(), 2);
    }

    #[test]
    fn what_is_printed_parses_to_the_same() {
        for text in ["192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0"] {
            assert_eq!(text.parse::<SourceNetwork>().unwrap().to_string(), text);
        }
    }
}
