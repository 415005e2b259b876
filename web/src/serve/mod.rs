//! The listeners: TLS for everybody, a socket file for the operator of the node itself. They find out who calls and
//! bound what a connection may cost; what is answered is the router's business.

mod connection;
mod control;
mod front;
mod idle;
mod tls;

pub use control::{ControlError, bind_control, serve_control};
pub use front::{Door, Front, GUEST_PROTOCOLS, Guest};
pub use tls::{TlsError, serve_tls, tls_config};
