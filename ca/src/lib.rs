//! Who vouches for whom: SSH and X.509 certificates out of a request, a key and a time.
//!
//! This room signs and checks. It knows no network, it has no clock (time is always an argument), and the only
//! file it touches is the cluster key. Private keys enter sealed, live in types that neither print nor clone, and
//! never leave: no function here returns one except the two that make a fresh key for the caller's own use.
//!
//! Start with [`create_authority`] (an authority is born sealed), [`Signer::open`] (one is put to work),
//! [`sign_user_cert`] and [`check_user_cert`] (what it is for).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")
)]

mod audit;
mod authority;
mod cluster_key;
mod handover;
mod hex;
mod keygen;
mod network;
mod opened;
mod seal;
mod signer;
mod ssh;
mod text;
mod x509;

pub use audit::{HeadError, SignedHead, sign_head, verify_head};
pub use authority::{AuthorityError, AuthorityPublic, NewAuthority, create_authority};
pub use cluster_key::{ClusterKey, ClusterKeyError};
pub use handover::{HandoverError, JoinerKey};
pub use keygen::{KeygenError, TlsKey, generate_ssh_key, generate_tls_key};
pub use network::{NetworkError, SourceNetwork};
pub use opened::{Authorities, AuthorityFault, public_authority};
pub use palisade_core::record::AuthorityType;
pub use seal::{Seal, SealContext, SealError};
pub use signer::{OpenError, Signer};
pub use ssh::{
    CertRefusal, CheckedHostCert, CheckedUserCert, HostCertRequest, HostNames, IssueError, Principals,
    StandardExtension, SubjectKey, SubjectKeyError, UserCertRequest, check_host_cert, check_user_cert,
    parse_trusted_keys, sign_host_cert, sign_user_cert,
};
/// The SSH key library, so that other rooms use the same version.
pub use ssh_key;
pub use text::TextError;
pub use x509::{
    AgentCertRequest, AgentIdentity, ClientCertRequest, IssuedCert, PeerCertRequest, PinError,
    ServerCertRequest, SubjectSpki, Window, X509Error, check_pin, client_cert_user, not_after,
    pin_of_certificate, pin_of_spki, sign_agent_cert, sign_client_cert, sign_peer_cert, sign_server_cert,
};
