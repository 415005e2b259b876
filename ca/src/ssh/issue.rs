//! Signing SSH certificates. The caller has decided; this refuses what no decision could justify.

use super::names::{HostNames, Principals, StandardExtension};
use super::subject::SubjectKey;
use crate::network::SourceNetwork;
use crate::signer::{Signer, SshSigner};
use crate::text::{self, TextError};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use palisade_core::record::AuthorityType;
use ssh_key::certificate::{Builder, CertType};
use std::collections::{BTreeMap, BTreeSet};

const NONCE_BYTES: usize = 32;
const CUSTOM_EXTENSIONS_MAX: usize = 32;
const SOURCE_NETWORKS_MAX: usize = 64;

/// A user certificate to be signed. Times are in seconds since 1970.
#[derive(Debug, Clone)]
pub struct UserCertRequest {
    /// The key to certify.
    pub public_key: SubjectKey,
    /// What logs of hosts show.
    pub key_id: String,
    /// The logins it opens.
    pub principals: Principals,
    /// First second of validity.
    pub valid_after: u64,
    /// First second after validity.
    pub valid_before: u64,
    /// Longest window the policy allows, backdating included.
    pub ttl_max_secs: u64,
    /// Unique in the cluster.
    pub serial: u64,
    /// What the holder may ask of a host.
    pub extensions: BTreeSet<StandardExtension>,
    /// Extensions of our own, `name@domain` to value.
    pub custom_extensions: BTreeMap<String, String>,
    /// Where it may be used from; empty is everywhere.
    pub source_networks: Vec<SourceNetwork>,
}

/// A host certificate to be signed. Times are in seconds since 1970.
#[derive(Debug, Clone)]
pub struct HostCertRequest {
    /// The host's key.
    pub public_key: SubjectKey,
    /// What logs of clients show.
    pub key_id: String,
    /// The names it speaks for.
    pub host_names: HostNames,
    /// First second of validity.
    pub valid_after: u64,
    /// First second after validity.
    pub valid_before: u64,
    /// Longest window the policy allows, backdating included.
    pub ttl_max_secs: u64,
    /// Unique in the cluster.
    pub serial: u64,
}

/// Why a certificate is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// Signing with the wrong authority would make the wrong promise.
    #[error("a {needed} certificate cannot be signed by the {found} authority")]
    WrongAuthority {
        /// The authority that signs this kind.
        needed: AuthorityType,
        /// The one that was given.
        found: AuthorityType,
    },
    /// It would be valid at no time.
    #[error("the certificate would never be valid: it begins at {after} and ends at {before}")]
    EmptyWindow {
        /// First second of validity.
        after: u64,
        /// First second after validity.
        before: u64,
    },
    /// Longer than the policy allows. "For ever" is always longer.
    #[error("a lifetime of {asked} s was asked for, at most {allowed} s are allowed")]
    TtlTooLong {
        /// Seconds asked for.
        asked: u64,
        /// Seconds allowed.
        allowed: u64,
    },
    /// Past what clocks can say.
    #[error("the certificate would end past what clocks can say")]
    Unbounded,
    /// Without a serial it cannot be audited nor revoked.
    #[error("the serial is zero")]
    NoSerial,
    /// The key id holds what must not reach a log.
    #[error("the key id {0}")]
    KeyId(#[source] TextError),
    /// The name of an extension is malformed.
    #[error("the name of an extension {0}")]
    ExtensionName(#[source] TextError),
    /// The value of an extension holds what must not reach a log.
    #[error("the value of extension {name} {source}")]
    ExtensionValue {
        /// Name of the extension.
        name: String,
        /// The cause.
        #[source]
        source: TextError,
    },
    /// More extensions or networks than a certificate can reasonably carry.
    #[error("too many extensions or source networks")]
    TooMany,
    /// The library refused or failed.
    #[error("the certificate library failed")]
    Library,
}

/// Signs a user certificate and returns its OpenSSH line.
pub fn sign_user_cert(signer: &Signer, request: &UserCertRequest) -> Result<String, IssueError> {
    if request.custom_extensions.len() > CUSTOM_EXTENSIONS_MAX
        || request.source_networks.len() > SOURCE_NETWORKS_MAX
    {
        return Err(IssueError::TooMany);
    }
    let common = Common {
        kind: AuthorityType::User,
        cert_type: CertType::User,
        public_key: &request.public_key,
        key_id: &request.key_id,
        names: request.principals.as_slice(),
        valid_after: request.valid_after,
        valid_before: request.valid_before,
        ttl_max_secs: request.ttl_max_secs,
        serial: request.serial,
    };
    let mut builder = common.builder(signer)?;
    for extension in &request.extensions {
        builder
            .extension(extension.as_str(), "")
            .map_err(|_| IssueError::Library)?;
    }
    for (name, value) in &request.custom_extensions {
        text::extension_name(name).map_err(IssueError::ExtensionName)?;
        text::extension_value(value).map_err(|source| IssueError::ExtensionValue {
            name: name.clone(),
            source,
        })?;
        builder.extension(name, value).map_err(|_| IssueError::Library)?;
    }
    if !request.source_networks.is_empty() {
        let networks: Vec<String> = request.source_networks.iter().map(ToString::to_string).collect();
        builder
            .critical_option("source-address", networks.join(","))
            .map_err(|_| IssueError::Library)?;
    }
    finish(signer, builder)
}

/// Signs a host certificate and returns its OpenSSH line.
pub fn sign_host_cert(signer: &Signer, request: &HostCertRequest) -> Result<String, IssueError> {
    let common = Common {
        kind: AuthorityType::Host,
        cert_type: CertType::Host,
        public_key: &request.public_key,
        key_id: &request.key_id,
        names: request.host_names.as_slice(),
        valid_after: request.valid_after,
        valid_before: request.valid_before,
        ttl_max_secs: request.ttl_max_secs,
        serial: request.serial,
    };
    let builder = common.builder(signer)?;
    finish(signer, builder)
}

struct Common<'a> {
    kind: AuthorityType,
    cert_type: CertType,
    public_key: &'a SubjectKey,
    key_id: &'a str,
    names: &'a [String],
    valid_after: u64,
    valid_before: u64,
    ttl_max_secs: u64,
    serial: u64,
}

impl Common<'_> {
    fn builder(&self, signer: &Signer) -> Result<Builder, IssueError> {
        if signer.kind() != self.kind {
            return Err(IssueError::WrongAuthority {
                needed: self.kind,
                found: signer.kind(),
            });
        }
        check_window(self.valid_after, self.valid_before, self.ttl_max_secs)?;
        if self.serial == 0 {
            return Err(IssueError::NoSerial);
        }
        text::key_id(self.key_id).map_err(IssueError::KeyId)?;
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| IssueError::Library)?;
        let mut builder = Builder::new(
            nonce,
            self.public_key.public_key().key_data().clone(),
            self.valid_after,
            self.valid_before,
        )
        .map_err(|_| IssueError::Library)?;
        builder
            .serial(self.serial)
            .and_then(|b| b.cert_type(self.cert_type))
            .and_then(|b| b.key_id(self.key_id))
            .map_err(|_| IssueError::Library)?;
        for name in self.names {
            builder.valid_principal(name).map_err(|_| IssueError::Library)?;
        }
        Ok(builder)
    }
}

/// The rule for every window, SSH and X.509 alike.
pub(crate) fn check_window(after: u64, before: u64, ttl_max_secs: u64) -> Result<(), IssueError> {
    if before <= after {
        return Err(IssueError::EmptyWindow { after, before });
    }
    let asked = before - after;
    if asked > ttl_max_secs {
        return Err(IssueError::TtlTooLong {
            asked,
            allowed: ttl_max_secs,
        });
    }
    // 31 December 9999: the last second that every format we write can say.
    if before > 253_402_300_799 {
        return Err(IssueError::Unbounded);
    }
    Ok(())
}

fn finish(signer: &Signer, builder: Builder) -> Result<String, IssueError> {
    let key = signer.ed25519().ok_or(IssueError::Library)?;
    let certificate = builder.sign(&SshSigner(key)).map_err(|_| IssueError::Library)?;
    certificate.to_openssh().map_err(|_| IssueError::Library)
}
