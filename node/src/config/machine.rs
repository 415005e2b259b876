//! What the machine says about itself, for what the configuration leaves out.

use std::fs;
use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};

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

/// The address that the machine would send from. No packet is sent: a UDP socket is only told where to.
fn outward_address() -> Option<IpAddr> {
    // Reserved for documentation: nobody is there.
    for (from, to) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let told = UdpSocket::bind(from).and_then(|socket| {
            socket.connect(to)?;
            socket.local_addr()
        });
        if let Ok(addr) = told
            && !addr.ip().is_unspecified()
            && !addr.ip().is_loopback()
        {
            return Some(addr.ip());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::full_name;

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
}
