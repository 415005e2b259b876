//! Points in time and lengths of time, as values. Nothing here reads a clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Milliseconds since 1970-01-01T00:00:00Z. Shown and written as RFC 3339 in text, as a number on the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The beginning of the epoch; also "never happened".
    pub const ZERO: Timestamp = Timestamp(0);

    /// From milliseconds since the epoch.
    pub const fn from_ms(ms: u64) -> Self {
        Timestamp(ms)
    }

    /// From seconds since the epoch; saturates.
    pub const fn from_secs(secs: u64) -> Self {
        Timestamp(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, as certificates count them.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// This time plus a number of milliseconds; saturates.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Timestamp(self.0.saturating_add(ms))
    }

    /// This time minus a number of milliseconds; stops at the epoch.
    pub const fn minus_ms(self, ms: u64) -> Self {
        Timestamp(self.0.saturating_sub(ms))
    }

    /// How many milliseconds have passed since `earlier`; 0 if it is later.
    pub const fn since_ms(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339, for example `2026-11-22T10:00:00Z`.
    pub fn parse(text: &str) -> Result<Self, BadTime> {
        let at = OffsetDateTime::parse(text.trim(), &Rfc3339).map_err(|_| BadTime(text.into()))?;
        let ms = at.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(ms).map(Timestamp).map_err(|_| BadTime(text.into()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = OffsetDateTime::from_unix_timestamp_nanos(self.0 as i128 * 1_000_000)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok());
        match shown {
            Some(text) => f.pad(&text),
            None => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            s.collect_str(self)
        } else {
            s.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            Timestamp::parse(&text).map_err(serde::de::Error::custom)
        } else {
            u64::deserialize(d).map(Timestamp)
        }
    }
}

/// A text that is not an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: write it like 2026-11-22T10:00:00Z")]
pub struct BadTime(pub String);

/// A length of time as people write it: `30s`, `10m`, `12h`, `7d`, `1h30m`. Kept in milliseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ttl(u64);

impl Ttl {
    /// From whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Ttl(secs * 1000)
    }

    /// From whole hours.
    pub const fn hours(hours: u64) -> Self {
        Ttl(hours * 3_600_000)
    }

    /// Length in milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Whether this is no time at all, which several options read as "no limit".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Reads `12h`, `1h30m`, `45s`, `7d`. A bare number is refused: it has no unit.
    pub fn parse(text: &str) -> Result<Self, BadTtl> {
        let bad = || BadTtl(text.chars().take(40).collect());
        let (mut total, mut number, mut any) = (0u64, None::<u64>, false);
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            if let Some(digit) = c.to_digit(10) {
                let grown = number
                    .unwrap_or(0)
                    .checked_mul(10)
                    .and_then(|n| n.checked_add(digit.into()));
                number = Some(grown.ok_or_else(bad)?);
                continue;
            }
            let unit = match c {
                'm' if rest.peek() == Some(&'s') => {
                    rest.next();
                    1
                }
                's' => 1000,
                'm' => 60_000,
                'h' => 3_600_000,
                'd' => 86_400_000,
                _ => return Err(bad()),
            };
            let part = number.take().and_then(|n| n.checked_mul(unit)).ok_or_else(bad)?;
            total = total.checked_add(part).ok_or_else(bad)?;
            any = true;
        }
        // Ten years: anything longer is a slip of the keyboard, and larger sums overflow certificates.
        if number.is_some() || !any || total > 3_650 * 86_400_000 {
            return Err(bad());
        }
        Ok(Ttl(total))
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut left = self.0;
        for (unit, ms) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
            ("ms", 1),
        ] {
            if left >= ms {
                text.push_str(&format!("{}{unit}", left / ms));
                left %= ms;
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Ttl {
    type Error = BadTtl;
    fn try_from(text: String) -> Result<Self, BadTtl> {
        Ttl::parse(&text)
    }
}

impl From<Ttl> for String {
    fn from(ttl: Ttl) -> String {
        ttl.to_string()
    }
}

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a length of time: write it like 30s, 10m, 12h or 7d (ten years at most)")]
pub struct BadTtl(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_reads_what_it_writes() {
        for text in ["30s", "10m", "12h", "7d", "1h30m", "1d2h3m4s5ms", "0s"] {
            assert_eq!(Ttl::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn ttl_refuses_what_has_no_unit_or_overflows() {
        for text in [
            "",
            "12",
            "h",
            "12x",
            "-1h",
            "99999999999999999999h",
            "999999999d",
            "1h3",
            "１h",
        ] {
            assert!(Ttl::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn time_reads_what_it_writes() {
        let at = Timestamp::from_ms(1_700_000_000_123);
        assert_eq!(Timestamp::parse(&at.to_string()), Ok(at));
        assert!(Timestamp::parse("yesterday").is_err());
        assert!(Timestamp::parse("1960-01-01T00:00:00Z").is_err());
    }
}
