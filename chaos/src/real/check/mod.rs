//! Checkers: plain functions over what clients saw and over what nodes answer. Each says what it looked at, or which
//! promise was broken; each has tests of good and bad histories beside it.

pub mod audit;
pub mod enough;
pub mod levels;
pub mod linear;
pub mod recordings;
pub mod secrets;
pub mod streams;

/// What a checker says: what it looked at, or what is wrong.
pub type Said = Result<String, Vec<String>>;

/// The good line, unless something is wrong.
fn unless(wrong: Vec<String>, good: String) -> Said {
    if wrong.is_empty() { Ok(good) } else { Err(wrong) }
}
