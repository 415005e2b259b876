//! Expressions whose matches are masked in what leaves the cluster.

use super::{MAX_PATTERN_BYTES, PatternError, regexp};
use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::ops::Range;

/// A regular expression that may match anywhere in a line.
///
/// It was compiled once when somebody wrote it, and refused if that failed. What is read from the log and the state was
/// written by that way alone, and is not compiled again: every decision reads the policy that it stands in.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mask(String);

/// A [`Mask`] that is ready to be used.
#[derive(Clone, Debug)]
pub struct Finder(Regex);

impl Mask {
    /// Reads an expression.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        let mask = Mask(source.to_owned());
        mask.finder()?;
        Ok(mask)
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compiles it.
    pub fn finder(&self) -> Result<Finder, PatternError> {
        if self.0.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong(self.0.len()));
        }
        if self.0.is_empty() {
            return Err(PatternError::Nothing);
        }
        regexp::compile(&self.0).map(Finder)
    }
}

impl Finder {
    /// Where it matches in a text, in bytes, from left to right without overlaps. Matches of nothing are left out.
    pub fn find_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        let found = self.0.find_iter(text).map(|found| found.range());
        found.filter(|range| !range.is_empty())
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Mask {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let written = d.is_human_readable();
        let source = String::deserialize(d)?;
        if written {
            Mask::parse(&source).map_err(serde::de::Error::custom)
        } else {
            Ok(Mask(source))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_anywhere_in_a_line_and_never_nothing() {
        let found = |source: &str, text: &str| -> Vec<(usize, usize)> {
            let finder = Mask::parse(source)
                .expect("a good one")
                .finder()
                .expect("the same");
            finder
                .find_in(text)
                .map(|range| (range.start, range.end))
                .collect()
        };
        assert_eq!(
            found("AKIA[0-9A-Z]{4}", "id AKIA1234, AKIAZZZZ"),
            [(3, 11), (13, 21)]
        );
        assert_eq!(found("x*", "axxb"), [(1, 3)]);
        assert_eq!(found("^pass", "pass pass"), [(0, 4)]);
    }

    #[test]
    fn what_does_not_compile_or_is_too_large_is_refused() {
        for bad in [
            "",
            "(",
            "[z-a]",
            r"(\w{200}){200}",
            &"x".repeat(MAX_PATTERN_BYTES + 1),
        ] {
            assert!(Mask::parse(bad).is_err(), "{bad:.20}");
        }
    }
}
