//! stub
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
/// x
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template(String);
impl Template {
    /// x
    pub fn expand(&self, _t: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        vec![]
    }
}
impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
/// x
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelSelector(BTreeMap<String, String>);
impl LabelSelector {
    /// x
    pub fn is_empty(&self) -> bool {
        true
    }
    /// x
    pub fn matches(&self, _l: &BTreeMap<String, String>) -> bool {
        true
    }
}
