//! What browsers say and hear beside the rest of the API.

use super::{Deserialize, Serialize, Timestamp};
use std::collections::BTreeMap;

wire_types! {
    /// How one may log in.
    #[derive(Debug)]
    pub struct WaysIn {
        /// The cluster's name.
        pub cluster: String,
        /// The program's version on the answering node.
        pub version: String,
        /// Whether a code is asked for beside the password.
        pub second_factor: bool,
        /// Whether passkeys are taken.
        pub passkeys: bool,
        /// Whether a passkey is enough without the password.
        pub passwordless: bool,
    }

    /// A login in a browser.
    pub struct BrowserLogin {
        /// The user's name.
        pub user: String,
        /// The password.
        pub password: String,
        /// The six digits, or a recovery code, if the cluster asks for them.
        #[serde(default)]
        pub code: String,
        /// A passkey's answer in the place of a code.
        #[serde(default)]
        pub passkey: Option<PasskeyLogin>,
    }

    /// Proves again who sits at a browser, before credentials are changed.
    pub struct Confirm {
        /// The password; not with a passkey that is enough by itself.
        #[serde(default)]
        pub password: String,
        /// The six digits, or a recovery code, if the cluster asks for them.
        #[serde(default)]
        pub code: String,
        /// A passkey's answer in the place of a code.
        #[serde(default)]
        pub passkey: Option<PasskeyLogin>,
    }

    /// A new password.
    pub struct NewPassword {
        /// It.
        pub password: String,
    }

    /// A browser's session, as its page sees it.
    pub struct BrowserSession {
        /// Its id; no secret.
        pub id: String,
        /// Who.
        pub user: String,
        /// The cluster's name.
        pub cluster: String,
        /// The program's version on the answering node.
        pub version: String,
        /// The answering node's name.
        pub node: String,
        /// The user's roles.
        pub roles: Vec<String>,
        /// The logins that their roles allow somewhere.
        pub logins: Vec<String>,
        /// Goes into the header `x-palisade-csrf` of every request that is not a GET. A page of another site cannot know it.
        pub csrf: String,
        /// What opens a terminal at another node, where the cookie is not: see the WebSocket `/v1/terminal`.
        pub resume: String,
        /// When it began.
        pub created: Timestamp,
        /// Its last moment.
        pub expires: Timestamp,
        /// Whether the cluster asks for a code beside the password.
        pub second_factor: bool,
        /// Whether the cluster takes passkeys.
        pub passkeys: bool,
        /// Whether a passkey is enough without the password.
        pub passwordless: bool,
        /// HTTPS addresses of all nodes, as `https://host:port`.
        pub web_addrs: Vec<String>,
        /// What this user may do: for each resource and verb an empty text, or why not. Conditions of rules may allow less.
        pub may: BTreeMap<String, BTreeMap<String, String>>,
    }

    /// One of a user's sessions in browsers.
    #[derive(Debug)]
    pub struct BrowserSessionRow {
        /// Its id.
        pub id: String,
        /// When it began.
        pub created: Timestamp,
        /// When it was last used, within five minutes.
        pub seen: Timestamp,
        /// Its last moment.
        pub expires: Timestamp,
        /// Where the login came from.
        pub addr: String,
        /// The browser, in a few words.
        pub agent: String,
        /// Whether it is the one that asks.
        pub current: bool,
    }

    /// A user's sessions in browsers, newest first.
    #[derive(Debug)]
    pub struct BrowserSessions {
        /// They.
        pub items: Vec<BrowserSessionRow>,
    }

    /// What a browser is to ask an authenticator for.
    pub struct PasskeyChallenge {
        /// Given back with the authenticator's answer, within five minutes.
        pub id: String,
        /// For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON` (Web Authentication,
        /// Level 3, 5.1.8 and 5.1.9).
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        pub options: serde_json::Value,
    }

    /// A new passkey.
    pub struct NewPasskey {
        /// Of the challenge.
        pub id: String,
        /// What the user calls it.
        pub name: String,
        /// The new credential, as its `toJSON` gives it.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        pub credential: serde_json::Value,
    }

    /// A login with a passkey.
    pub struct PasskeyLogin {
        /// Of the challenge.
        pub id: String,
        /// The assertion, as its `toJSON` gives it.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        pub credential: serde_json::Value,
    }

    /// A user's passkey.
    #[derive(Debug)]
    pub struct PasskeyRow {
        /// Its id.
        pub id: String,
        /// What the user calls it.
        pub name: String,
        /// Since when.
        pub created: Timestamp,
        /// When it last opened a session.
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub used: Option<Timestamp>,
    }

    /// A user's passkeys, oldest first.
    #[derive(Debug)]
    pub struct Passkeys {
        /// They.
        pub items: Vec<PasskeyRow>,
    }

    /// A record to be looked at.
    #[derive(Debug)]
    pub struct Lint {
        /// Its text, YAML or JSON.
        pub text: String,
    }

    /// What is wrong with a text, and where.
    #[derive(Debug)]
    pub struct LintFault {
        /// The line, from 1.
        pub line: u64,
        /// The column in characters, from 1.
        pub column: u64,
        /// What is wrong.
        pub message: String,
        /// The valid name that was probably meant; empty if none is near.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub hint: String,
    }

    /// What a record's text comes to. Nothing was changed.
    #[derive(Debug)]
    pub struct LintReply {
        /// The faults; none if the record could be written by somebody who may.
        pub faults: Vec<LintFault>,
        /// Its kind, if that can be read.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub kind: String,
        /// Its name, if that can be read.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub name: String,
    }

    /// A role to be explained.
    #[derive(Debug)]
    pub struct Explain {
        /// The role as it would be saved, YAML or JSON.
        pub text: String,
    }

    /// Who reaches what.
    #[derive(Debug)]
    pub struct Reaches {
        /// Who.
        pub user: String,
        /// Where.
        pub host: String,
        /// As which accounts.
        pub logins: Vec<String>,
    }

    /// Who can reach what with a role, and what would change if it were saved.
    #[derive(Debug)]
    pub struct RoleExplained {
        /// The role.
        pub role: String,
        /// Whether there is one of this name now.
        pub exists: bool,
        /// Who holds it.
        pub users: Vec<String>,
        /// What they will reach, by this and their other roles.
        pub reach: Vec<Reaches>,
        /// What they would reach that they do not reach now.
        pub gained: Vec<Reaches>,
        /// What they reach now and would not reach any more.
        pub lost: Vec<Reaches>,
        /// Pairs of user and host that were looked at.
        pub pairs: u64,
        /// Whether a list is longer than what is shown, or not every pair was looked at.
        pub cut: bool,
    }

    /// Whether the audit log is whole, by the answering node's own reckoning.
    #[derive(Debug)]
    pub struct AuditState {
        /// Events in the log.
        pub events: u64,
        /// Events that the newest signed head covers; 0 if none is signed yet.
        pub signed: u64,
        /// When that was signed.
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub head_time: Option<Timestamp>,
        /// Whether the events' hashes come to what was signed, and the signature is the audit authority's.
        pub verified: bool,
        /// The same in words.
        pub message: String,
        /// When it was reckoned.
        pub checked: Timestamp,
    }
}

// These carry secrets: they show the one field that says whose they are.
secret_debug!(BrowserLogin(user), BrowserSession(user), NewPasskey(name));

impl std::fmt::Debug for PasskeyChallenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasskeyChallenge { .. }")
    }
}

impl std::fmt::Debug for PasskeyLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasskeyLogin { .. }")
    }
}

impl std::fmt::Debug for Confirm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Confirm { .. }")
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword { .. }")
    }
}
