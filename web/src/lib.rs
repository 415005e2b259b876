//! The HTTP API of a node: login, invites, certificates, records, sessions, recordings, the audit log, the cluster.
//!
//! Read in this order: `routes` (what there is), `ask` (who asks, and the one decision), then a handler such as
//! `records`. Listeners are in `serve`. This room sees neither Raft nor the disk, only the ports in [`Api`].
//!
//! Invariants: nothing touches a record without a permit of [`palisade_core::access`]; no certificate is signed
//! before the entry that audits it has committed; no secret is in a log, an error or a request id.

#![deny(clippy::wildcard_enum_match_arm)]

mod agents;
mod api;
mod approvals;
mod ask;
mod audit;
mod audit_state;
mod body;
mod browser;
mod bundle;
mod caller;
mod certs;
mod challenge;
mod cluster;
mod document;
mod error;
mod explain;
mod guard;
mod health;
mod hosts;
mod invites;
mod issued;
mod limits;
mod lint;
mod login;
mod mfa;
mod passkeys;
mod passwords;
mod recordings;
mod records;
mod recovery;
mod routes;
mod serve;
mod sessions;
mod shares;
mod spent;
mod terminal;
#[cfg(feature = "testing")]
pub mod testing;
mod totp;
mod ui;

pub use api::{Api, Config};
pub use caller::{Caller, Certified, Peer};
pub use limits::Rate;
pub use routes::{HEALTHZ, LIVEZ, METRICS, READYZ, openapi, router};
pub use serve::{
    ControlError, Door, Front, GUEST_PROTOCOLS, Guest, TlsError, bind_control, serve_control, serve_tls,
    tls_config,
};
