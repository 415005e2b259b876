//! What people and operators type: `pal` and `palctl`, over the HTTP API and the SSH proxy and nothing else.
//!
//! [`profile`] is what a login leaves on disk, [`http`] talks to whichever node answers, [`tls`] decides whether
//! that node is one of the cluster's, [`pal`] and [`palctl`] are the commands.

pub mod errors;
pub mod http;
pub mod live;
pub mod output;
pub mod pages;
pub mod pal;
pub mod palctl;
pub mod play;
pub mod profile;
pub mod race;
pub mod save;
pub mod ssh_config;
pub mod tls;
pub mod verify;
pub mod when;
