//! What the machine says about itself, for what the configuration leaves out.

use nix::net::if_::InterfaceFlags;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs as _};

/// The machine.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Its host name, as the kernel knows it.
    pub host_name: String,
    /// By which others most likely reach it: its full name, or its address.
    pub reached_at: String,
}

impl Machine {
    /// Looks. Sends nothing.
    pub fn look() -> Self {
        let host_name = nix::unistd::gethostname()
            .ok()
            .and_then(|n| n.into_string().ok())
            .unwrap_or_default();
        let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
        let full = full_name(&host_name, &hosts).filter(|name| resolves(name));
        let reached_at = full
            .or_else(|| outward_address().map(|addr| addr.to_string()))
            .unwrap_or_else(|| host_name.clone());
        Machine {
            host_name,
            reached_at,
        }
    }
}

/// The host's full name: the host name itself if it has a dot, or what `/etc/hosts` says its short name stands for.
fn full_name(host_name: &str, hosts: &str) -> Option<String> {
    if host_name.contains('.') {
        return Some(host_name.to_ascii_lowercase());
    }
    let lines = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines
        .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>())
        .find(|names| names.contains(&host_name))
        .and_then(|names| names.into_iter().find(|name| name.contains('.')))
        .filter(|name| *name != "localhost.localdomain")
        .map(str::to_ascii_lowercase)
}

/// Whether the name leads anywhere. On Debian `/etc/hosts` gives the host's own name a loopback address; what the name leads
/// to on other machines is not known here, and it is believed.
fn resolves(name: &str) -> bool {
    (name, 0)
        .to_socket_addrs()
        .is_ok_and(|mut found| found.next().is_some())
}

/// The address by which the machine is most likely known: nobody is asked, and no way to anywhere is tried.
fn outward_address() -> Option<IpAddr> {
    let addresses: Vec<(String, IpAddr)> = nix::ifaddrs::getifaddrs()
        .ok()?
        .filter(|one| one.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|one| {
            let address = one.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            let ip = v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))?;
            Some((one.interface_name, ip))
        })
        .collect();
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    best(&addresses, default_interface(&routes).as_deref())
}

/// The interface of the default route, if there is one (`/proc/net/route`: name, destination, ...).
fn default_interface(routes: &str) -> Option<String> {
    let mut lines = routes.lines().skip(1).map(str::split_whitespace);
    lines.find_map(|mut words| {
        let (name, destination) = (words.next()?, words.next()?);
        (destination == "00000000").then(|| name.to_owned())
    })
}

/// Of the addresses that others can reach: one of the interface of the default route, IPv4 before IPv6.
fn best(addresses: &[(String, IpAddr)], outward: Option<&str>) -> Option<IpAddr> {
    let useful = |ip: &IpAddr| {
        let local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        !ip.is_loopback() && !ip.is_unspecified() && !local
    };
    let candidates = addresses.iter().filter(|(_, ip)| useful(ip));
    let rank = |(name, ip): &&(String, IpAddr)| (outward != Some(name.as_str()), ip.is_ipv6());
    candidates.min_by_key(rank).map(|(_, ip)| *ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_name_is_found_where_hosts_has_it() {
        let hosts =
            "127.0.0.1 localhost localhost.localdomain\n127.0.1.1\tn1.example.com n1 # us\n::1 localhost\n";
        for (host, full) in [
            ("n1", Some("n1.example.com")),
            ("N2.Example.com", Some("n2.example.com")),
            ("n3", None),
            ("localhost", None),
        ] {
            assert_eq!(full_name(host, hosts).as_deref(), full, "{host}");
        }
    }

    #[test]
    fn the_address_is_one_that_others_can_reach() {
        let of = |list: &[(&str, &str)], outward| {
            let parsed: Vec<_> = list
                .iter()
                .map(|(name, ip)| ((*name).to_owned(), ip.parse().expect("an address")))
                .collect();
            best(&parsed, outward).map(|ip| ip.to_string())
        };
        let two = [
            ("lo", "127.0.0.1"),
            ("eth0", "fe80::1"),
            ("eth0", "2001:db8::7"),
            ("eth1", "10.0.0.7"),
            ("eth0", "192.0.2.7"),
        ];
        for (outward, expected) in [
            (Some("eth0"), "192.0.2.7"),
            (None, "10.0.0.7"),
            (Some("eth1"), "10.0.0.7"),
        ] {
            assert_eq!(of(&two, outward).as_deref(), Some(expected), "{outward:?}");
        }
        assert_eq!(of(&two[..3], None).as_deref(), Some("2001:db8::7"));
        assert_eq!(of(&two[..2], None), None);
        let routes = "Iface\tDestination\tGateway\neth1\t0000000A\t0\neth0\t00000000\t0100000A\n";
        assert_eq!(default_interface(routes).as_deref(), Some("eth0"));
        assert_eq!(default_interface("Iface\tDestination\n"), None);
    }
}
