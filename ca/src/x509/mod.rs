//! X.509: the TLS and peer authorities, what they sign, and pins.

mod agent;
mod authority;
mod issue;
mod peer;
mod pin;

pub use agent::{AgentCertRequest, AgentIdentity, sign_agent_cert};
pub(crate) use authority::self_signed_authority;
pub use issue::{
    ClientCertRequest, IssuedCert, ServerCertRequest, SubjectSpki, Window, X509Error, client_cert_user,
    not_after, sign_client_cert, sign_server_cert,
};
pub use peer::{PeerCertRequest, sign_peer_cert};
pub use pin::{PinError, check_pin, pin_of_certificate, pin_of_spki};
