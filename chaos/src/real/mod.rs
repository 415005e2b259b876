//! Clusters of the shipped binary, with faults that the kernel makes.
//!
//! [`net`] lays the network, [`world`] is the cluster in it, [`faults`] are what happens to it, [`clients`] use it all the
//! while, [`check`] says afterwards whether it kept its promises, and [`run`] is one run of all of them.

mod afterwards;
pub mod check;
pub mod clients;
pub mod faults;
pub mod history;
pub mod net;
pub mod report;
pub mod rng;
mod run;
pub mod shim;
pub mod world;

pub use run::{Options, run};
