//! `lock`: a refusal that overrules every role and ends what is open, at once.

use crate::name::{Login, Name};
use serde::{Deserialize, Serialize};

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LockSpec {
    /// What is locked; all the fields given must match.
    pub target: LockTarget,
    /// What the locked out person reads.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What a lock is on. At least one field is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LockTarget {
    /// This user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Name>,
    /// Every holder of this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Name>,
    /// This account on any host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// This host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Name>,
}

impl LockTarget {
    /// A lock on nothing would lock everything or nothing, depending on the reader: it is refused.
    pub fn is_empty(&self) -> bool {
        self.user.is_none() && self.role.is_none() && self.login.is_none() && self.host.is_none()
    }

    /// One line for people.
    pub fn shown(&self) -> String {
        let mut parts = Vec::new();
        let mut add = |what: &str, name: Option<&str>| parts.extend(name.map(|n| format!("{what} {n}")));
        add("user", self.user.as_ref().map(Name::as_str));
        add("role", self.role.as_ref().map(Name::as_str));
        add("login", self.login.as_ref().map(Login::as_str));
        add("host", self.host.as_ref().map(Name::as_str));
        parts.join(" and ")
    }
}
