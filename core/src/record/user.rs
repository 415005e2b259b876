//! `user`: who somebody is. What proves it (password, second factor) is kept apart, sealed, and never shown.

use crate::name::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A person (or a robot).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserSpec {
    /// The roles this user holds.
    #[serde(default)]
    pub roles: Vec<Name>,
    /// Traits: values that role templates use. `logins` holds what `{{internal.logins}}` expands to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traits: BTreeMap<String, Vec<String>>,
}
