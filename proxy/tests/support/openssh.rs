//! A real sshd, run by the user who runs the tests, with certificates of the test's authorities.

use super::{Cas, now_secs, write_key};
use palisade_ca::{HostCertRequest, HostNames, SubjectKey};
use palisade_testkit::free_port;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

pub struct Sshd {
    pub port: u16,
    child: Child,
}

/// The account that runs the tests: the only one an unprivileged sshd can log in to.
pub fn me() -> String {
    let out = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

impl Sshd {
    pub async fn start(dir: &Path, cas: &Cas, more: &str) -> Self {
        // Needed by every sshd; harmless when it is there or when we may not make it.
        let _ = std::fs::create_dir_all("/run/sshd");
        let key = palisade_ca::generate_ssh_key().unwrap();
        let host_key = dir.join("host_key");
        write_key(&host_key, &key);
        std::fs::write(dir.join("host_key.pub"), key.public_key().to_openssh().unwrap()).unwrap();
        let request = HostCertRequest {
            public_key: SubjectKey::parse(&key.public_key().to_openssh().unwrap()).unwrap(),
            key_id: "web1".into(),
            host_names: HostNames::new(["web1"]).unwrap(),
            valid_after: now_secs() - 60,
            valid_before: now_secs() + 3600,
            ttl_max_secs: 1 << 30,
            serial: 1,
        };
        let certificate = palisade_ca::sign_host_cert(&cas.host, &request).unwrap();
        std::fs::write(dir.join("host_key-cert.pub"), certificate).unwrap();
        std::fs::write(dir.join("user_ca.pub"), Cas::line(&cas.user)).unwrap();
        for _ in 0..5 {
            let port = free_port();
            let d = dir.display();
            let without_certificate = more.contains("#no-host-certificate");
            let host_certificate = if without_certificate {
                String::new()
            } else {
                format!("HostCertificate {d}/host_key-cert.pub\n")
            };
            let config = format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {d}/host_key\n{host_certificate}TrustedUserCAKeys {d}/user_ca.pub\n\
                 AuthorizedKeysFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
                 UsePAM no\nStrictModes no\nPidFile none\nSubsystem sftp internal-sftp\nAcceptEnv LANG PAL_*\n\
                 MaxSessions 64\nMaxStartups 200\nAllowTcpForwarding yes\nAllowAgentForwarding yes\nPrintMotd no\n{more}\n"
            );
            let path = dir.join("sshd_config");
            std::fs::write(&path, config).unwrap();
            let log = std::fs::File::create(dir.join("sshd.log")).unwrap();
            let mut child = Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f"])
                .arg(&path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            for _ in 0..500 {
                if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                    return Sshd { port, child };
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        panic!(
            "sshd does not start: {}",
            std::fs::read_to_string(dir.join("sshd.log")).unwrap_or_default()
        );
    }

    pub async fn stop(&mut self) {
        let _ = self.child.kill().await;
    }
}
