//! What a new cluster holds before anybody writes a record.

use palisade_core::record::{AnyRecord, parse_records};
use palisade_core::text::TextErrors;

/// The preset roles.
pub(crate) fn records() -> Result<Vec<AnyRecord>, TextErrors> {
    parse_records(include_str!("presets.yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_valid() {
        let names: Vec<String> = records()
            .expect("valid")
            .iter()
            .map(|r| r.metadata().name.to_string())
            .collect();
        assert_eq!(names, ["admin", "access", "auditor"]);
    }
}
