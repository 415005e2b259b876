//! The host side of Palisade: an SSH server that serves whom a node let through, as the user they are on this host,
//! and records what they do.
//!
//! ```text
//! tunnel -> Server::serve(stream, pass) -> Handler: certificate, pass
//!                                            |- session channel -> Room: program, recording, who is there
//!                                            '- forwards, sockets, X11
//! palisade-spawn: becomes the user; is their shell, their command, their SFTP server, their sockets
//! ```
//!
//! What an agent knows of its cluster is the [`Pass`](palisade_core::pass::Pass) of each connection and what crosses the
//! [`Uplink`]. It holds no roles.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")
)]

pub mod account;
pub mod accounting;
mod agent_socket;
mod as_user;
mod channel;
mod config;
mod connection;
mod env;
mod forward;
mod gate;
mod handler;
mod link;
mod program;
mod room;
mod screen;
mod seat;
mod server;
mod spool;
mod start;
mod terminal;
mod uplink;
mod x11;

pub use config::{HostIdentity, ServerConfig, helper_beside_us};
pub use env::AllowedEnv;
pub use link::{Link, LinkConfig};
pub use seat::{Mode, Participant};
pub use server::{LiveRow, Server};
pub use uplink::{Declined, Uplink};
