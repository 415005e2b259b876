//! A stock OpenSSH server on loopback: the host of the tests.

use crate::cluster::Cluster;
use crate::ports::free_port;
use crate::run::run;
use crate::wait::retry;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running `sshd`, stopped by its process id when dropped.
#[derive(Debug)]
pub struct Sshd {
    /// Its port on loopback.
    pub port: u16,
    /// Its files.
    pub folder: PathBuf,
    child: Child,
}

impl Sshd {
    /// Starts one that trusts the cluster's user authority and shows a host certificate for `name`, and enters it
    /// as the host record `name` with the label `env: test`.
    pub fn start(cluster: &Cluster, name: &str) -> Self {
        Sshd::start_at(cluster, name, Ipv4Addr::LOCALHOST)
    }

    /// The same at another address, for nodes that have a network of their own.
    pub fn start_at(cluster: &Cluster, name: &str, ip: Ipv4Addr) -> Self {
        let (folder, key, more) = Sshd::signed(cluster, name);
        let sshd = Sshd::listening(&folder, &key, &more, ip);
        let addr = format!("{ip}:{}", sshd.port);
        let on = cluster.any_running();
        cluster
            .palctl(
                on,
                &["hosts", "add", name, "--addr", &addr, "--labels", "env=test"],
            )
            .ok();
        sshd
    }

    /// The same, without a host record.
    pub fn start_apart(cluster: &Cluster, name: &str) -> Self {
        let (folder, key, more) = Sshd::signed(cluster, name);
        Sshd::start_with(&folder, &key, &more)
    }

    /// A folder, a host key in it, and the lines that `palctl auth sign` prints for it.
    fn signed(cluster: &Cluster, name: &str) -> (PathBuf, PathBuf, String) {
        let folder = cluster.folder(&format!("sshd-{name}"));
        let key = folder.join("host_key");
        keygen(&key);
        let on = cluster.any_running();
        let public = format!("{}.pub", key.display());
        // It prints the two lines that sshd needs.
        let more = cluster
            .palctl(on, &["auth", "sign", "--host", name, "--key", &public])
            .ok();
        (folder, key, more)
    }

    /// One with any configuration besides its key.
    pub fn start_with(folder: &Path, key: &Path, more: &str) -> Self {
        Sshd::listening(folder, key, more, Ipv4Addr::LOCALHOST)
    }

    fn listening(folder: &Path, key: &Path, more: &str, ip: Ipv4Addr) -> Self {
        let port = free_port();
        let config = folder.join("sshd_config");
        let text = format!(
            "Port {port}\nListenAddress {ip}\nHostKey {}\nPidFile none\nAuthorizedKeysFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\nUsePAM {}\n\
             PermitRootLogin prohibit-password\nMaxStartups 500\nMaxSessions 500\n\
             AllowAgentForwarding yes\nAllowTcpForwarding yes\nAcceptEnv LANG LC_*\n\
             Subsystem sftp internal-sftp\nLogLevel VERBOSE\n{more}",
            key.display(),
            if account_is_locked() { "yes" } else { "no" },
        );
        fs::write(&config, text).expect("the temporary folder is writable");
        let log = folder.join("sshd.log");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "/usr/sbin/sshd", "-D", "-e", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("the temporary folder is writable"))
            .spawn()
            .expect("setpriv (util-linux) is there");
        let sshd = Sshd {
            port,
            folder: folder.to_owned(),
            child,
        };
        retry("sshd to listen", Duration::from_secs(20), || {
            TcpStream::connect((ip, port))
                .map(drop)
                .map_err(|e| format!("{e}: {}", sshd.log()))
        });
        sshd
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("sshd.log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- log of sshd\n{}", self.log());
        }
    }
}

/// Makes an Ed25519 key pair.
pub(crate) fn keygen(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
    run(&mut command).ok();
}

/// Without PAM, sshd refuses an account whose password is locked with `!`, certificate or not.
fn account_is_locked() -> bool {
    let shadow = fs::read_to_string("/etc/shadow").unwrap_or_default();
    let me = crate::me();
    shadow.lines().any(|line| line.starts_with(&format!("{me}:!")))
}
