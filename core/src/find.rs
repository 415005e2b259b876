//! A text that somebody looks for in what was shown on screens: checked once, here, so that the API can refuse it before
//! anything is read, and the recordings' own search uses it as it is.

/// The longest text that is looked for, in characters.
pub const TEXT_CHARS_MAX: usize = 256;

/// What to look for within a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    wanted: Vec<char>,
    ignore_case: bool,
}

/// Why something cannot be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Nothing is everywhere.
    #[error("there is nothing to look for")]
    Empty,
    /// Longer than any line of interest.
    #[error("the text to look for is longer than {TEXT_CHARS_MAX} characters")]
    TooLong,
    /// A line break or the like: lines are looked at one by one.
    #[error("the text to look for has a control character")]
    Control,
}

impl Query {
    /// Looks for `text` within a line.
    pub fn new(text: &str, ignore_case: bool) -> Result<Self, QueryError> {
        if text.is_empty() {
            return Err(QueryError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(QueryError::Control);
        }
        let mut query = Self {
            wanted: Vec::new(),
            ignore_case,
        };
        query.wanted = text.chars().map(|c| query.fold(c)).collect();
        if query.wanted.len() > TEXT_CHARS_MAX {
            Err(QueryError::TooLong)
        } else {
            Ok(query)
        }
    }

    /// The characters in their order, folded.
    pub fn wanted(&self) -> &[char] {
        &self.wanted
    }

    /// A character as it is compared: one for one, so that places stay places.
    pub fn fold(&self, c: char) -> char {
        if self.ignore_case {
            c.to_lowercase().next().unwrap_or(c)
        } else {
            c
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_that_make_no_sense_are_refused() {
        assert_eq!(Query::new("", false), Err(QueryError::Empty));
        assert_eq!(Query::new("a\nb", false), Err(QueryError::Control));
        assert_eq!(Query::new("\u{9b}31m", false), Err(QueryError::Control));
        assert_eq!(
            Query::new(&"a".repeat(TEXT_CHARS_MAX + 1), false),
            Err(QueryError::TooLong)
        );
        assert!(Query::new(&"ü".repeat(TEXT_CHARS_MAX), true).is_ok());
    }
}
