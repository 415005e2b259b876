//! `palctl auth export | sign`.

use super::Link;
use super::hosts::public_key;
use crate::errors::{Failure, print};
use crate::http::fill;
use crate::profile;
use palisade_core::api::{AuthorityView, HostCertificate, SignHost, path};
use palisade_core::time::Ttl;
use ssh_key::{Certificate, PublicKey};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Authority {
    /// For sshd's TrustedUserCAKeys
    User,
    /// For @cert-authority in known_hosts
    Host,
    /// For clients of the API
    Tls,
    /// For `palctl audit verify`
    Audit,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum AuthCommand {
    /// Print the public half of an authority
    Export {
        /// Which
        #[arg(long = "type", value_enum)]
        authority: Authority,
        /// Print the pin instead
        #[arg(long)]
        pin: bool,
    },
    /// Sign the host key of an OpenSSH server, and print sshd's two lines
    Sign(SignArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct SignArgs {
    /// Names that people use for it, with commas; the first is its name in `palctl hosts ls`
    #[arg(long, value_delimiter = ',', required = true, value_name = "NAMES")]
    host: Vec<String>,
    /// Its host public key
    #[arg(
        long,
        value_name = "FILE.pub",
        default_value = "/etc/ssh/ssh_host_ed25519_key.pub"
    )]
    key: PathBuf,
    /// Directory to write into [default: beside the key]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How long the certificate shall live [default: a year]
    #[arg(long, value_parser = Ttl::parse)]
    ttl: Option<Ttl>,
}

pub(super) async fn run(link: &Link, command: AuthCommand) -> Result<(), Failure> {
    match command {
        AuthCommand::Export { authority, pin } => {
            let word = match authority {
                Authority::User => "user",
                Authority::Host => "host",
                Authority::Tls => "tls",
                Authority::Audit => "audit",
            };
            let view: AuthorityView = link.nodes()?.get(&fill(path::AUTHORITY, &[word]), &[]).await?;
            let text = if pin { view.pin } else { view.public };
            print(&format!("{}\n", text.trim_end()))
        }
        AuthCommand::Sign(args) => sign(link, &args).await,
    }
}

async fn sign(link: &Link, args: &SignArgs) -> Result<(), Failure> {
    let key = public_key(&args.key)?;
    let ask = SignHost {
        names: args.host.iter().map(|n| n.trim().to_owned()).collect(),
        public_key: key.clone(),
        ttl_secs: args.ttl.map_or(0, Ttl::ms).div_ceil(1000),
    };
    let signed: HostCertificate = link.nodes()?.post(path::SIGN_HOST, &ask).await?;
    let unusable = || {
        Failure::new(
            "the node answered with what is no host certificate",
            "check its version",
        )
    };
    let cert = Certificate::from_openssh(&signed.certificate).map_err(|_| unusable())?;
    let own = PublicKey::from_openssh(&key).map_err(|_| unusable())?;
    if cert.public_key() != own.key_data() || !cert.cert_type().is_host() {
        return Err(unusable());
    }
    let (cert_path, ca_path) = out_paths(&args.key, args.out.as_deref());
    // sshd reads them as root, people may look: neither holds a secret.
    let line = cert.to_openssh().map_err(|_| unusable())?;
    profile::write_mode(&cert_path, format!("{}\n", line.trim()).as_bytes(), 0o644)?;
    let mut authorities = String::new();
    for line in &signed.user_authorities {
        let key = PublicKey::from_openssh(line).map_err(|_| unusable())?;
        authorities += &format!(
            "{} palisade-user-ca\n",
            PublicKey::new(key.key_data().clone(), "")
                .to_openssh()
                .map_err(|_| unusable())?
                .trim()
        );
    }
    profile::write_mode(&ca_path, authorities.as_bytes(), 0o644)?;
    let full = |path: &Path| {
        std::path::absolute(path)
            .unwrap_or_else(|_| path.to_path_buf())
            .display()
            .to_string()
    };
    // The two lines alone go to standard output, so that they can be appended to sshd's configuration.
    eprintln!(
        "Put these two lines into /etc/ssh/sshd_config of {} and reload sshd:",
        args.host.join(", ")
    );
    print(&format!(
        "TrustedUserCAKeys {}\nHostCertificate {}\n",
        full(&ca_path),
        full(&cert_path)
    ))
}

fn out_paths(key: &Path, out: Option<&Path>) -> (PathBuf, PathBuf) {
    let beside = key
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let dir = out.unwrap_or(beside);
    let name = key.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".pub").unwrap_or(&name);
    (
        dir.join(format!("{stem}-cert.pub")),
        dir.join("palisade_user_ca.pub"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_where_sshd_looks() {
        let (cert, ca) = out_paths(Path::new("/etc/ssh/ssh_host_ed25519_key.pub"), None);
        assert_eq!(cert, Path::new("/etc/ssh/ssh_host_ed25519_key-cert.pub"));
        assert_eq!(ca, Path::new("/etc/ssh/palisade_user_ca.pub"));
        let (cert, _) = out_paths(Path::new("k.pub"), Some(Path::new("/tmp/x")));
        assert_eq!(cert, Path::new("/tmp/x/k-cert.pub"));
    }
}
