//! Regular expressions that operators write: compiled within limits, and never looser than they look.

use regex::{Error, Regex, RegexBuilder};

use super::PatternError;

/// Bytes that a compiled expression may take.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// Compiles `^...$` so that it matches whole values only, whatever flags stand inside.
pub(super) fn whole(source: &str) -> Result<Regex, PatternError> {
    refuse_loose(source)?;
    // `(?m)` would let ^ and $ match at line breaks; \A and \z always mean the ends.
    compile(&format!(r"\A(?:{source})\z"))
}

/// Compiles an expression that may match anywhere.
pub(super) fn compile(source: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(source)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(32)
        .build()
        .map_err(|error| PatternError::Regex(reason(&error)))
}

/// The one line of the compiler's complaint that says what is wrong.
fn reason(error: &Error) -> String {
    match error {
        Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
        other => {
            let text = other.to_string();
            let line = text.lines().find_map(|line| line.strip_prefix("error: "));
            line.unwrap_or("it does not compile").to_owned()
        }
    }
}

/// Refuses a `|` outside of every group, and a `)` without its `(`: with either, `^` and `$` do not hold for the
/// whole expression.
fn refuse_loose(source: &str) -> Result<(), PatternError> {
    let mut chars = source.chars();
    let (mut groups, mut class) = (0usize, 0usize);
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => {
                class += 1;
                // A bracket right after the opening one, or after its ^, is a character of the class.
                let mut ahead = chars.clone();
                let mut first = ahead.next();
                if first == Some('^') {
                    first = ahead.next();
                }
                if first == Some(']') {
                    chars = ahead;
                }
            }
            ']' if class > 0 => class -= 1,
            _ if class > 0 => {}
            '(' => groups += 1,
            ')' => {
                groups = groups
                    .checked_sub(1)
                    .ok_or_else(|| PatternError::Regex("unopened group".to_owned()))?;
            }
            '|' if groups == 0 => return Err(PatternError::Alternation),
            _ => {}
        }
    }
    Ok(())
}
