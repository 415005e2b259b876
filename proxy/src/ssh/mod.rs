//! The SSH data path of a node.
//!
//! ```text
//! ssh -J node, pal proxy ssh -> outer.rs (who are you; only direct-tcpip) -> inner.rs (ends the user's SSH under the
//! target's name) -> node.rs (decides) -> host.rs (dials with a permit) -> session.rs (records) over session::ssh::relay
//! ```

mod auth;
mod host;
mod inner;
mod limits;
mod link;
mod listener;
mod live;
mod node;
mod outer;
mod session;
mod sftp;

pub use listener::Proxy;
pub use live::Live;
pub use node::Config;
