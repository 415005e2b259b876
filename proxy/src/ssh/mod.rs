//! The SSH data path of a node.
//!
//! ```text
//! ssh -J node, pal proxy ssh -> outer.rs (who are you; only direct-tcpip) -> inner.rs (ends the user's SSH under the
//! target's name) -> node.rs (decides) -> host.rs (dials with a permit) -> session.rs (records) over session::ssh::relay
//! ```
//!
//! With `ssh -J` the inner connection runs in a channel of the outer one, and every byte is encrypted twice. `pal proxy
//! ssh` asks that the outer session ends once it has said who they are, and that the inner one goes on in its place.

mod auth;
mod host;
mod inner;
mod lanes;
mod limits;
mod link;
mod listener;
mod live;
pub(crate) mod node;
mod outer;
mod session;

pub use listener::Proxy;
pub use live::Live;
pub use node::Config;
