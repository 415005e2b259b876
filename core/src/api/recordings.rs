//! Recordings over the API: which are listed, what is found in them, and links that show one to somebody without a login.

use super::RecordingView;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

wire_types! {
    /// Which recordings are listed; every field that is not empty narrows it.
    #[derive(Debug, Default)]
    #[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
    pub struct RecordingFilter {
        /// Of this user.
        #[serde(default)]
        pub user: String,
        /// On this host.
        #[serde(default)]
        pub host: String,
        /// As this account.
        #[serde(default)]
        pub login: String,
        /// Begun not before (RFC 3339).
        #[serde(default)]
        #[cfg_attr(feature = "openapi", param(format = DateTime))]
        pub since: String,
        /// Begun before (RFC 3339).
        #[serde(default)]
        #[cfg_attr(feature = "openapi", param(format = DateTime))]
        pub until: String,
        /// Words, each of which is a part of the id, the user, the host, the login, `login@host` or the command, in any case.
        #[serde(default)]
        pub q: String,
        /// From the page before.
        #[serde(default)]
        pub after: String,
        /// At most so many, 1 to 1000; 0 for 100.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", param(maximum = 1000))]
        pub limit: usize,
    }

    /// What is looked for in recordings; every field but `q` narrows where.
    #[derive(Debug, Default)]
    #[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
    pub struct RecordingSearch {
        /// The text, within one line, in any case. It is written into the audit log.
        #[serde(default)]
        pub q: String,
        /// Of this user.
        #[serde(default)]
        pub user: String,
        /// On this host.
        #[serde(default)]
        pub host: String,
        /// As this account.
        #[serde(default)]
        pub login: String,
        /// Begun not before (RFC 3339).
        #[serde(default)]
        #[cfg_attr(feature = "openapi", param(format = DateTime))]
        pub since: String,
        /// Begun before (RFC 3339).
        #[serde(default)]
        #[cfg_attr(feature = "openapi", param(format = DateTime))]
        pub until: String,
        /// From the answer before.
        #[serde(default)]
        pub after: String,
    }

    /// A place in a recording where the text was shown.
    #[derive(Debug)]
    pub struct RecordingHit {
        /// The session.
        pub session: String,
        /// Whose.
        pub user: String,
        /// As which account.
        pub login: String,
        /// Where.
        pub host: String,
        /// When the session began.
        pub started: Timestamp,
        /// When the text's first character was shown, in milliseconds since then.
        pub at_ms: u64,
        /// What stands before it in its line, clipped.
        pub before: String,
        /// The text as it was shown.
        pub found: String,
        /// What stands behind it in its line, clipped.
        pub rest: String,
    }

    /// A recording that was not searched whole.
    #[derive(Debug)]
    pub struct RecordingGap {
        /// The session.
        pub session: String,
        /// Why, in a sentence for people.
        pub why: String,
    }

    /// What a part of a search found, newest recording first.
    #[derive(Debug)]
    pub struct RecordingHits {
        /// The places.
        pub items: Vec<RecordingHit>,
        /// Recordings that hold more places than are given of each.
        pub more_in: Vec<String>,
        /// Recordings that could not be searched whole.
        pub gaps: Vec<RecordingGap>,
        /// How many recordings this part came through.
        pub searched: u32,
        /// When the last of them began: how far back it came. Absent where there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reached: Option<Timestamp>,
        /// Give it back as `after` to go on; empty when everything was searched.
        #[serde(default)]
        pub next: String,
    }

    /// Asks for a link to a recording.
    #[derive(Debug)]
    pub struct NewShare {
        /// When it runs out (RFC 3339); at most 30 days from now.
        pub expires: String,
        /// For whom or what for, a line that the audit log and whoever opens it read.
        #[serde(default)]
        pub note: String,
    }

    /// A link to a recording: shown once.
    pub struct ShareLink {
        /// Its id, to revoke it by.
        pub id: String,
        /// The link. What stands behind its `#` is the secret, which browsers send to nobody.
        pub url: String,
        /// When it runs out.
        pub expires: Timestamp,
    }

    /// A link that was made.
    #[derive(Debug)]
    pub struct ShareRow {
        /// Its id.
        pub id: String,
        /// Who made it; it lives by their rights.
        pub maker: String,
        /// What it was made for.
        pub note: String,
        /// When it was made.
        pub created: Timestamp,
        /// When it runs out.
        pub expires: Timestamp,
        /// How often it was opened.
        pub opened: u64,
        /// When that was last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub last_opened: Option<Timestamp>,
        /// Why it opens nothing, though its time is not over; empty while it does.
        #[serde(default)]
        pub void: String,
    }

    /// The links to a recording, newest first.
    #[derive(Debug)]
    pub struct Shares {
        /// They.
        pub items: Vec<ShareRow>,
    }

    /// Opens a link: its secret, in the body, where no log of addresses sees it.
    pub struct OpenShare {
        /// What stands behind the link's `#`.
        pub token: String,
    }

    /// What a link shows beside the recording itself.
    #[derive(Debug)]
    pub struct SharedView {
        /// The cluster's name.
        pub cluster: String,
        /// The row, with what rules mask in its command.
        pub recording: RecordingView,
        /// Who made the link.
        pub maker: String,
        /// What for.
        pub note: String,
        /// When it runs out.
        pub expires: Timestamp,
    }

    /// What one rule masked in a copy.
    #[derive(Debug)]
    pub struct MaskedRule {
        /// The rule's name in `session_recording_config`.
        pub name: String,
        /// How many matches.
        pub count: u64,
    }
}

// These carry secrets.
secret_debug!(ShareLink(id));

impl std::fmt::Debug for OpenShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenShare { .. }")
    }
}
