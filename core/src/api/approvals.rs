//! Programs that are let in by somebody at a browser (after RFC 8628).

use super::{Certificates, Deserialize, Serialize, Timestamp};

/// How it stands with a program that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ApprovalState {
    /// Nobody has answered yet.
    Waiting,
    /// Somebody said no.
    Refused,
    /// Somebody said yes.
    Granted,
}

wire_types! {
    /// A program asks to be let in by its user's browser.
    #[derive(Debug)]
    pub struct ApprovalRequest {
        /// Its new SSH public key, one OpenSSH line.
        pub ssh_public_key: String,
        /// Its new TLS public key, PEM (SubjectPublicKeyInfo).
        pub tls_public_key: String,
        /// How long the certificates shall live, in seconds; 0 for as long as allowed. Longer than allowed is shortened.
        #[serde(default)]
        pub ttl_secs: u64,
        /// The program and its computer, for the person who decides: at most 100 characters.
        pub client: String,
        /// The one host that it wants to reach, if it runs on a computer that is not its user's own; empty for a login.
        #[serde(default)]
        pub host: String,
        /// The account there.
        #[serde(default)]
        pub login: String,
    }

    /// How the program goes on.
    pub struct ApprovalTicket {
        /// What the person compares with what their browser shows: two groups of four letters.
        pub code: String,
        /// What the program shows when it asks for the answer. For nobody's eyes.
        pub secret: String,
        /// Where the person answers, at each node.
        pub urls: Vec<String>,
        /// Until when.
        pub expires: Timestamp,
    }

    /// The program asks for its answer. A node that has none yet answers after some seconds.
    pub struct ApprovalTake {
        /// Of the ticket.
        pub secret: String,
        /// The keys that it asked with.
        pub ssh_public_key: String,
        /// The keys that it asked with.
        pub tls_public_key: String,
    }

    /// The answer.
    #[derive(Debug)]
    pub struct ApprovalReply {
        /// How it stands.
        pub state: ApprovalState,
        /// What was granted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub certificates: Option<Certificates>,
    }

    /// What a program asks, for the person who decides.
    #[derive(Debug)]
    pub struct ApprovalView {
        /// The code that the program shows.
        pub code: String,
        /// The program and its computer, by its own account.
        pub client: String,
        /// Where it asks from, as the cluster sees it.
        pub addr: String,
        /// The one host that it wants to reach; empty if it asks for a whole login.
        pub host: String,
        /// The account there.
        pub login: String,
        /// When it asked.
        pub created: Timestamp,
        /// Until when it can be answered.
        pub expires: Timestamp,
        /// How it stands.
        pub state: ApprovalState,
    }

    /// What the person decided.
    #[derive(Debug)]
    pub struct ApprovalAnswer {
        /// Yes, or no.
        pub approve: bool,
    }
}

secret_debug!(ApprovalTicket(code));

impl std::fmt::Debug for ApprovalTake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApprovalTake { .. }")
    }
}
