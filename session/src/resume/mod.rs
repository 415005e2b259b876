//! A byte stream that outlives the links it runs over.
//!
//! ```text
//!   client                        node A (dies)                        agent
//!   +--------------+   link 1   +------------------+   link 1   +--------------+
//!   | ResumeStream |------------| carries bytes    |------------| ResumeStream |---> SSH server
//!   |  replay      |            +------------------+            |  replay      |
//!   |  buffer      |   link 2   +------------------+   link 2   |  buffer      |
//!   |              |============| node B           |============|              |
//!   +--------------+            +------------------+            +--------------+
//!      id, secret, how much was received: known to the two ends alone
//! ```
//!
//! Both ends keep what they wrote until the other end's reader has it. When a link dies or falls silent, the client
//! dials another one and proves with a token that it is the one that began; each end says how much it has received, and sending
//! goes on from there. So the reader gets every byte once and in order, whatever happened to the links.
//!
//! * [`ResumeStream`] is either end: `AsyncRead + AsyncWrite`, with half-close.
//! * [`connect`] makes the client's end out of a [`Dial`]ler.
//! * [`Acceptor`] makes the agent's ends out of the links that come in.
//!
//! The stream is not encrypted: SSH inside it is, end to end. The token keeps strangers and nodes from
//! resuming; a node that carries a link can cut it, and cannot do more than that to what is inside.
//!
//! A connection ends for good when both directions have ended, when one end resets it, or when it had no link for the
//! stated grace. Frames are described in `frame.rs`, the rules in `machine.rs`.

mod accept;
mod batch;
mod carrier;
mod client;
mod error;
mod frame;
mod machine;
mod pulse;
mod queue;
mod stream;
mod token;

pub use accept::{Accepted, Acceptor, Refused};
pub use client::{Dial, DialError, connect};
pub use error::Error;
pub use frame::{FrameError, MAX_DATA, Refusal, VERSION};
pub use stream::ResumeStream;
pub use token::Id;

use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// What carries the frames of a connection for a while: an ordered byte stream that may die.
pub trait Link: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Link for T {}

/// What happens to a connection, for whoever shows or logs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its link died, or was dropped for this reason. It waits for another.
    Lost(Error),
    /// It goes on over another link.
    Resumed,
    /// It is over.
    Ended,
}

/// Told of every [`Event`]. It is called in the driver of the connection and must not wait.
pub type Observer = Arc<dyn Fn(Id, Event) + Send + Sync>;

/// The least that either end keeps for the other's data, in bytes. A client may send this much behind its
/// first greeting, before it knows the agent's window.
pub const MIN_WINDOW: usize = 64 << 10;

/// How a resumable stream behaves. The defaults are for people's sessions over any network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Bytes kept in each direction at each end: written and not yet read by the other end, received and not yet read
    /// here. When full, writing waits. On a path with a round trip of R, no more than `buffer / R` flows.
    pub buffer: usize,
    /// An acknowledgement is sent after this many bytes were read, …
    pub ack_bytes: u64,
    /// … or after this long.
    pub ack_delay: Duration,
    /// While something is unacknowledged, and once after data came, a link that is silent for this long is asked for a
    /// sign of life, …
    pub ping_busy: Duration,
    /// … and otherwise after this long.
    pub ping_idle: Duration,
    /// A link that did not answer so many questions, `ping_busy` apart, is dead.
    pub missed: u32,
    /// A greeting takes no longer than this.
    pub greeting: Duration,
    /// A connection without a link ends after this long.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            buffer: 2 << 20,
            ack_bytes: 64 << 10,
            ack_delay: Duration::from_millis(50),
            // Death is noticed after 4 of these: 1.6 s.
            ping_busy: Duration::from_millis(400),
            ping_idle: Duration::from_secs(5),
            missed: 3,
            greeting: Duration::from_secs(5),
            grace: Duration::from_secs(60),
        }
    }
}
