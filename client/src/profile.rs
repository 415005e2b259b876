//! What a login leaves on disk: `~/.pal/<proxy>/` with keys, certificates, authorities and addresses.
//!
//! Every file is written whole or not at all, and nobody else may read it.

use crate::errors::Failure;
use crate::tls::{ClientCertificate, Trust};
use palisade_core::api::Certificates;
use palisade_core::name::{Login, Name};
use palisade_core::record::HostAddr;
use palisade_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use ssh_key::{Certificate, PrivateKey, PublicKey};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// The port that is meant when an address has none.
pub const DEFAULT_WEB_PORT: u16 = 3080;

/// The clock, as a value.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How the server proved itself at the login, which later contacts repeat beside the saved authorities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirstContact {
    /// By the pin of the cluster's own authority.
    #[default]
    Pin,
    /// By an authority that the operating system trusts.
    System,
    /// By an authority from a file, which is kept in the profile.
    File,
}

/// The part of a profile that is not keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The format's version.
    pub version: u32,
    /// The profile's name: the host of the first address.
    pub proxy: String,
    /// The cluster.
    pub cluster: String,
    /// The user.
    pub user: String,
    /// HTTPS addresses of all nodes.
    pub web_addrs: Vec<String>,
    /// SSH addresses of all nodes.
    pub ssh_addrs: Vec<String>,
    /// Logins in the certificate.
    pub logins: Vec<String>,
    /// Roles of the user.
    pub roles: Vec<String>,
    /// When the certificate runs out.
    pub valid_before: Timestamp,
    /// How the server proved itself.
    pub first_contact: FirstContact,
}

/// A saved login.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its directory.
    pub dir: PathBuf,
    /// What it says.
    pub meta: Meta,
}

/// New keys, made here, that have not left this process.
pub struct NewKeys {
    ssh: PrivateKey,
    tls: rcgen::KeyPair,
}

impl std::fmt::Debug for NewKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewKeys { .. }")
    }
}

impl NewKeys {
    /// Makes them: Ed25519 for SSH, P-256 for TLS.
    pub fn make() -> Result<Self, Failure> {
        let failed = || Failure::new("cannot make new keys", "check that the system has random numbers");
        let mut seed = Zeroizing::new([0u8; 32]);
        aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| failed())?;
        let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
        let tls = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|_| failed())?;
        Ok(NewKeys {
            ssh: PrivateKey::from(pair),
            tls,
        })
    }

    /// The SSH public key, one OpenSSH line.
    pub fn ssh_public(&self) -> String {
        self.ssh.public_key().to_openssh().unwrap_or_default()
    }

    /// The TLS public key in PEM.
    pub fn tls_public(&self) -> String {
        self.tls.public_key_pem()
    }
}

/// Where profiles live: `PAL_HOME`, or `~/.pal`.
pub fn home() -> Result<PathBuf, Failure> {
    if let Some(dir) = std::env::var_os("PAL_HOME").filter(|d| !d.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    std::env::var_os("HOME")
        .filter(|d| !d.is_empty())
        .map(|home| PathBuf::from(home).join(".pal"))
        .ok_or_else(|| {
            Failure::new(
                "neither PAL_HOME nor HOME is set",
                "set PAL_HOME to where profiles shall live",
            )
        })
}

/// The address of a node's API as a person types it: with or without `https://` and port.
pub fn web_addr(text: &str) -> Result<HostAddr, Failure> {
    let bare = text.trim().trim_start_matches("https://").trim_end_matches('/');
    HostAddr::parse(bare)
        .or_else(|_| HostAddr::parse(&format!("{bare}:{DEFAULT_WEB_PORT}")))
        .map_err(|e| {
            Failure::usage(
                e.to_string(),
                "give --proxy an address like node1.example.com:3080",
            )
        })
}

impl Profile {
    /// The profile with this name, or the current one.
    pub fn load(home: &Path, proxy: Option<&str>) -> Result<Self, Failure> {
        let name = match proxy {
            Some(text) => web_addr(text.split(',').next().unwrap_or(text))?
                .host()
                .to_owned(),
            None => fs::read_to_string(home.join("current"))
                .map_err(|_| {
                    Failure::new(
                        "you are not logged in",
                        "run `pal login --proxy ADDRESS --user NAME`",
                    )
                })?
                .trim()
                .to_owned(),
        };
        // The pointer is a file of ours, but a path must not come out of a file unchecked.
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Failure::new(
                "the current profile's name is damaged",
                "run `pal login --proxy ADDRESS`",
            ));
        }
        let dir = home.join(&name);
        let text = fs::read(dir.join("profile.json")).map_err(|_| {
            Failure::new(
                format!("you are not logged in to {name}"),
                format!("run `pal login --proxy {name}`"),
            )
        })?;
        let meta: Meta = serde_json::from_slice(&text).map_err(|e| {
            Failure::new(
                format!("the profile in {} is damaged: {e}", dir.display()),
                "run `pal login` again",
            )
        })?;
        if meta.version != 1 {
            return Err(Failure::new(
                format!(
                    "the profile in {} was written by another version of pal",
                    dir.display()
                ),
                "run `pal login` again",
            ));
        }
        Ok(Profile { dir, meta })
    }

    /// All saved profiles, by name.
    pub fn all(home: &Path) -> Vec<Profile> {
        let entries = fs::read_dir(home).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        names
            .iter()
            .filter_map(|name| Profile::load(home, Some(name)).ok())
            .collect()
    }

    /// Checks what a node answered to a login and saves it with the keys; it becomes the current profile.
    pub fn save(
        home: &Path,
        proxy: &HostAddr,
        first_contact: FirstContact,
        extra_roots: Option<&str>,
        keys: &NewKeys,
        issued: &Certificates,
    ) -> Result<Self, Failure> {
        let checked = Checked::new(keys, issued)?;
        let dir = home.join(proxy.host());
        make_dir(home)?;
        make_dir(&dir)?;
        let meta = Meta {
            version: 1,
            proxy: proxy.host().to_owned(),
            cluster: checked.cluster,
            user: checked.user,
            web_addrs: checked.web_addrs,
            ssh_addrs: checked.ssh_addrs,
            logins: issued.logins.clone(),
            roles: issued.roles.clone(),
            valid_before: issued.valid_before,
            first_contact,
        };
        let profile = Profile { dir, meta };
        let key = keys
            .ssh
            .to_openssh(ssh_key::LineEnding::LF)
            .map_err(|_| unusable("a key that cannot be written"))?;
        // The old certificate does not fit the new key: without it, an interrupted save is a logged-out profile.
        remove(&profile.dir.join("profile.json"))?;
        write(&profile.ssh_key(), key.as_bytes())?;
        write(
            &profile.ssh_certificate(),
            format!("{}\n", checked.ssh_certificate).as_bytes(),
        )?;
        write(
            &profile.tls_key(),
            Zeroizing::new(keys.tls.serialize_pem()).as_bytes(),
        )?;
        write(&profile.tls_certificate(), issued.tls_certificate.as_bytes())?;
        write(
            &profile.authorities(),
            issued.tls_authorities.join("\n").as_bytes(),
        )?;
        match extra_roots {
            Some(pem) => write(&profile.extra_roots(), pem.as_bytes())?,
            None => remove(&profile.extra_roots())?,
        }
        let known: String = checked
            .host_authorities
            .iter()
            .map(|ca| format!("@cert-authority * {ca}\n"))
            .collect();
        write(&profile.known_hosts(), known.as_bytes())?;
        let text = serde_json::to_vec_pretty(&profile.meta).map_err(|_| unusable("what cannot be saved"))?;
        write(&profile.dir.join("profile.json"), &text)?;
        write(
            &home.join("current"),
            format!("{}\n", profile.meta.proxy).as_bytes(),
        )?;
        Ok(profile)
    }

    /// Removes keys, certificates and the rest of the profile.
    pub fn remove(&self, home: &Path) -> Result<(), Failure> {
        for path in [
            self.dir.join("profile.json"),
            self.ssh_key(),
            self.ssh_certificate(),
            self.tls_key(),
            self.tls_certificate(),
            self.authorities(),
            self.extra_roots(),
            self.known_hosts(),
            self.dir.join("ssh_config"),
        ] {
            remove(&path)?;
        }
        // Left in place if somebody keeps files of their own there.
        let _ = fs::remove_dir(&self.dir);
        let current = home.join("current");
        if fs::read_to_string(&current).is_ok_and(|name| name.trim() == self.meta.proxy) {
            remove(&current)?;
        }
        Ok(())
    }

    fn stem(&self) -> String {
        // User names are safe in paths (they are checked), but not all of them are free here.
        match self.meta.user.as_str() {
            name @ ("known_hosts" | "profile.json" | "ssh_config" | "ca.pem" | "trusted.pem") => {
                format!("_{name}")
            }
            name => name.to_owned(),
        }
    }

    /// The SSH private key.
    pub fn ssh_key(&self) -> PathBuf {
        self.dir.join(self.stem())
    }
    /// The SSH certificate.
    pub fn ssh_certificate(&self) -> PathBuf {
        self.dir.join(format!("{}-cert.pub", self.stem()))
    }
    /// The TLS key.
    pub fn tls_key(&self) -> PathBuf {
        self.dir.join(format!("{}-tls.key", self.stem()))
    }
    /// The TLS certificate.
    pub fn tls_certificate(&self) -> PathBuf {
        self.dir.join(format!("{}-tls.pem", self.stem()))
    }
    /// The cluster's TLS authorities.
    pub fn authorities(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }
    /// The operator's authority, from `--ca-file`.
    pub fn extra_roots(&self) -> PathBuf {
        self.dir.join("trusted.pem")
    }
    /// `@cert-authority` lines for ssh.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    /// Whether the certificate has run out.
    pub fn expired(&self) -> bool {
        self.meta.valid_before <= now()
    }

    /// Fails with advice if the certificate has run out.
    pub fn check_valid(&self) -> Result<(), Failure> {
        if self.expired() {
            return Err(Failure::new(
                format!(
                    "your certificate for {} ran out at {}",
                    self.meta.cluster, self.meta.valid_before
                ),
                "run `pal login`",
            ));
        }
        Ok(())
    }

    /// The servers this profile believes.
    pub fn trust(&self) -> Result<Trust, Failure> {
        let read = |path: PathBuf| {
            let pem = fs::read(&path).map_err(|e| Failure::file(&path, "read", &e))?;
            Trust::pem(&pem).map_err(|e| {
                Failure::new(
                    format!("{} cannot be used: {e}", path.display()),
                    "run `pal login` again",
                )
            })
        };
        let own = read(self.authorities())?;
        Ok(match self.meta.first_contact {
            FirstContact::Pin => own,
            FirstContact::System => own.and(Trust::system()?),
            FirstContact::File => own.and(read(self.extra_roots())?),
        })
    }

    /// The client certificate for the API.
    pub fn client_certificate(&self) -> Result<ClientCertificate, Failure> {
        let read = |path: PathBuf| fs::read_to_string(&path).map_err(|e| Failure::file(&path, "read", &e));
        Ok(ClientCertificate {
            certificate: read(self.tls_certificate())?,
            key: read(self.tls_key())?,
        })
    }
}

/// What a node answered, after everything that will end in a path or a configuration file was checked.
struct Checked {
    user: String,
    cluster: String,
    ssh_certificate: String,
    host_authorities: Vec<String>,
    web_addrs: Vec<String>,
    ssh_addrs: Vec<String>,
}

fn unusable(what: &str) -> Failure {
    Failure::new(
        format!("the node answered with {what}"),
        "check that the address is that of a Palisade node of the same version",
    )
}

impl Checked {
    fn new(keys: &NewKeys, issued: &Certificates) -> Result<Self, Failure> {
        let name = |text: &str| {
            Name::parse(text)
                .map(String::from)
                .map_err(|e| unusable(&e.to_string()))
        };
        let addrs = |list: &[String]| -> Result<Vec<String>, Failure> {
            let parsed = list.iter().map(|a| HostAddr::parse(a).map(|a| a.to_string()));
            parsed
                .collect::<Result<_, _>>()
                .map_err(|e| unusable(&e.to_string()))
        };
        let cert = Certificate::from_openssh(&issued.ssh_certificate)
            .map_err(|_| unusable("an SSH certificate that cannot be read"))?;
        if cert.public_key() != keys.ssh.public_key().key_data() {
            return Err(unusable("a certificate for another key"));
        }
        for login in &issued.logins {
            Login::parse(login).map_err(|e| unusable(&e.to_string()))?;
        }
        let authority = |line: &String| {
            let key = PublicKey::from_openssh(line).ok()?;
            PublicKey::new(key.key_data().clone(), "").to_openssh().ok()
        };
        let host_authorities: Option<Vec<String>> = issued.host_authorities.iter().map(authority).collect();
        Trust::pem(issued.tls_authorities.join("\n").as_bytes())
            .map_err(|_| unusable("TLS authorities that cannot be read"))?;
        Ok(Checked {
            user: name(&issued.user)?,
            cluster: name(&issued.cluster)?,
            ssh_certificate: cert
                .to_openssh()
                .map_err(|_| unusable("a certificate that cannot be written"))?,
            host_authorities: host_authorities
                .ok_or_else(|| unusable("host authorities that cannot be read"))?,
            web_addrs: addrs(&issued.web_addrs)?,
            ssh_addrs: addrs(&issued.ssh_addrs)?,
        })
    }
}

/// Makes a directory that only its owner may look into.
pub fn make_dir(dir: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| Failure::file(dir, "make", &e))
}

/// Writes a file that only its owner may read: whole, or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_mode(path, bytes, 0o600)
}

/// As [`write`], with the mode given.
pub fn write_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let dir = path
        .parent()
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = dir.join(format!(".{name}.{}.tmp", uuid::Uuid::new_v4()));
    let written = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp, path)
    })();
    written.map_err(|e| {
        let _ = fs::remove_file(&temp);
        Failure::file(path, "write", &e)
    })
}

/// A new file that only its owner may read, in place of what was there.
pub fn private_file(path: &Path) -> std::io::Result<fs::File> {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(e);
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Failure::file(path, "remove", &e)),
        _ => Ok(()),
    }
}
