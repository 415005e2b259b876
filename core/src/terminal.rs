//! What a browser and a node say to each other over a terminal's WebSocket. Text frames are these values as JSON; binary
//! frames are what is typed, and what the terminal shows.
//!
//! ```text
//! browser --Open--> node          within ten seconds; it is the credential as well
//! browser <-Opened- node          or Failed, and nothing more
//! browser <-bytes-> node          the browser acks what it has shown; Resize, Ping -> Pong
//! browser <-Closed- node          and nothing more
//! ```

use crate::record::JoinMode;
use serde::{Deserialize, Serialize};

/// Output that may be on its way to a browser that has not acked it.
pub const UNACKED_MAX: usize = 512 << 10;

/// Of what it has shown, a browser acks so much at a time.
pub const ACK_EVERY: usize = 64 << 10;

/// The largest frame that is taken from a browser: what is pasted is sent in pieces.
pub const FRAME_MAX: usize = 128 << 10;

/// Typed bytes that may wait for a program that does not read them.
pub const TYPED_MAX: usize = 1 << 20;

/// A terminal that a browser asks for: its first frame.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Open {
    /// The session's `csrf`: at the node that has the session's cookie.
    #[serde(default)]
    pub csrf: String,
    /// The session's `resume`: at another node.
    #[serde(default)]
    pub resume: String,
    /// The host: a record's name, or `address:port`.
    #[serde(default)]
    pub host: String,
    /// The account there.
    #[serde(default)]
    pub login: String,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// A live session: without a `mode` one of one's own to take up again, with one another's to join. `host` and `login`
    /// are its own then.
    #[serde(default)]
    pub session: String,
    /// As what another's session is joined.
    #[serde(default)]
    pub mode: Option<JoinMode>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("host", &self.host)
            .field("login", &self.login)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// What a browser says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Asks {
    /// The first frame, and no other.
    Open(Open),
    /// The terminal has another size.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// So many more bytes of output are on the screen.
    Ack(u64),
    /// Answered by a `pong` with the same number.
    Ping(u64),
    /// Ends the session. A socket that closes without this leaves it for a while, to be taken up again.
    Close {},
}

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Says {
    /// It is open; output follows.
    Opened {
        /// The session: by this it is taken up again.
        session: String,
        /// The host.
        host: String,
        /// The account there; empty for a session that was joined.
        login: String,
        /// The node that serves it, by its name.
        node: String,
        /// It is a session that was taken up again: what was on its screen follows.
        again: bool,
    },
    /// A line about the terminal, not from it.
    Notice(String),
    /// It is over.
    Closed {
        /// What its program returned; absent where it did not end by itself.
        #[cfg_attr(feature = "openapi", schema(required = true))]
        status: Option<u32>,
        /// Why it ended, where it did not end by itself.
        reason: String,
    },
    /// It was not opened, or the browser broke a rule.
    Failed {
        /// The word for programs, as in every error of the API: an [`crate::api::ErrorCode`].
        #[cfg_attr(feature = "openapi", schema(value_type = crate::api::ErrorCode))]
        code: String,
        /// What failed, for people.
        message: String,
    },
    /// The answer to a `ping`.
    Pong(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_browsers_write_and_read_them() {
        let read = |text: &str| serde_json::from_str::<Asks>(text);
        assert_eq!(read(r#"{"ping":7}"#).ok(), Some(Asks::Ping(7)));
        assert_eq!(read(r#"{"ack":65536}"#).ok(), Some(Asks::Ack(65536)));
        assert_eq!(read(r#"{"close":{}}"#).ok(), Some(Asks::Close {}));
        assert_eq!(
            read(r#"{"resize":{"cols":80,"rows":24}}"#).ok(),
            Some(Asks::Resize { cols: 80, rows: 24 })
        );
        let opened =
            r#"{"open":{"csrf":"c","host":"web1","login":"alice","cols":120,"rows":30,"session":""}}"#;
        let Ok(Asks::Open(open)) = read(opened) else {
            panic!("{:?}", read(opened));
        };
        assert_eq!((open.host.as_str(), open.cols), ("web1", 120));
        assert!(!format!("{open:?}").contains("csrf"), "{open:?}");
        for bad in [
            r#"{"open":{"cols":1}}"#,
            r#"{"open":{"cols":1,"rows":1,"x":1}}"#,
            r#"{"resize":{"cols":-1,"rows":1}}"#,
            r#"{"close":{},"ping":1}"#,
            r#"{"close":{"x":1}}"#,
            "[]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let said = serde_json::to_string(&Says::Closed {
            status: None,
            reason: "locked".into(),
        });
        assert_eq!(
            said.ok().as_deref(),
            Some(r#"{"closed":{"status":null,"reason":"locked"}}"#)
        );
    }
}
