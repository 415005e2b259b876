//! One node of the cluster's Raft group: the replicated log, who belongs to it, and the authenticated connections
//! between the nodes.
//!
//! The rest of the product sees [`RaftNode`]: propose an entry on any node, read linearizably, ask for the lease,
//! change membership, talk to peers. openraft and tonic stay in here.

mod carrier;
mod codec;
mod guard;
mod hop;
mod incoming;
pub mod inspect;
mod listen;
mod members;
mod network;
mod node;
mod past;
mod peers;
mod propose;
mod read;
mod runtime;
mod segments;
mod server;
mod shared;
mod store;
mod suspect;
mod tls;
mod types;
mod upkeep;
mod watchdog;
mod wire;

pub use carrier::{CarriedChannel, CarriedRequest, CarriedResponse, CarriedService, Carrier};
pub use hop::{Hop, HopHandler};
pub use members::MemberError;
pub use node::{BootstrapError, PeerStatus, RaftConfig, RaftNode, RaftStatus, Role, StartError, Timing};
pub use peers::{PeerError, Peers};
pub use propose::ProposeError;
pub use read::{LeaseLost, LeaseView, ReadError};
pub use runtime::{Keeper, spawn_kept};
pub use segments::{MAX_SEGMENT, NoSegments, SegmentBackend, SegmentFault};
pub use server::CallHandler;
pub use store::{Applied, AppliedAt, Apply, Fault, LogPosition, NOTIFY_BITS};
pub use tls::{PeerTls, Shown, TlsError, server_verifier};
pub use types::{MAX_ENTRY, MAX_FRAME, Member, Reply};

#[cfg(test)]
extern crate self as palisade_raft;
#[cfg(test)]
mod refusals;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod tests_common;
