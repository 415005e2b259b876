//! Moments as people type them.

use crate::profile::now;
use palisade_core::time::{Timestamp, Ttl};

/// Reads `2026-11-22T10:00:00Z`, `2026-11-22` for its first moment (UTC), or `2h` for two hours ago.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = Ttl::parse(text) {
        return Ok(now().minus_ms(ago.ms()));
    }
    let whole = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    Timestamp::parse(&whole).map_err(|e| format!("{e}, or 2h for two hours ago"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        assert_eq!(
            moment("2026-11-22"),
            Timestamp::parse("2026-11-22T00:00:00Z").map_err(|e| e.to_string())
        );
        assert!(moment("2h").is_ok_and(|t| now().since_ms(t) >= 7_200_000));
        assert!(moment("yesterday").is_err());
    }
}
