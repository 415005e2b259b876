//! stub
use serde::{Deserialize, Serialize};
/// x
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicate(String);
/// x
pub struct Context<'a> {
    pub user_name: &'a str,
    pub user_roles: &'a [crate::name::Name],
    pub user_traits: &'a std::collections::BTreeMap<String, Vec<String>>,
    pub resource_kind: &'a str,
    pub resource_name: &'a str,
    pub resource_labels: &'a crate::record::Labels,
}
impl Predicate {
    /// x
    pub fn evaluate(&self, _c: &Context<'_>) -> bool {
        true
    }
}
