//! The pure core of Palisade: what our words mean and what is allowed.
//!
//! Nothing in here does I/O, reads a clock, draws a random number or runs async code. Time and random
//! bytes come in as values; changes to the replicated state go out as values ([`kv::Change`]).
//!
//! Read in this order: [`access`] (who may do what), [`state`] (how a log entry changes the state),
//! [`command`] (what a log entry can say), [`record`] (what is kept), [`event`] (what is audited),
//! [`ports`] (what the rooms above need from a node).

pub mod access;
pub mod api;
pub mod audit_log;
pub mod command;
pub mod event;
pub mod find;
pub mod hosts;
pub mod kv;
pub mod merkle;
pub mod mutant;
pub mod name;
#[cfg(feature = "openapi")]
mod openapi;
pub mod page;
pub mod pass;
pub mod pattern;
pub mod peer;
pub mod ports;
pub mod predicate;
pub mod record;
pub mod search;
pub mod shown;
pub mod state;
pub mod terminal;
pub mod text;
pub mod time;
pub mod tunnel;
pub mod wire;
