//! Searching the audit log: what is asked, whether an event answers it, and where a page ends.
//!
//! [`AuditLog`](crate::audit_log::AuditLog) walks events in order of sequence number and keeps those that
//! [`AuditQuery::matches`]; the cursor says after which one the next page begins. A cursor holds for the query it was made for and no other, and
//! a changed one is refused: it is a bookmark, not a permission.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::event::Event;
use crate::page::PageSummary;
use crate::time::Timestamp;

/// The most events on one page.
pub const LIMIT_MAX: u32 = 1000;

/// Events on a page when nothing is said.
pub const LIMIT_DEFAULT: u32 = 100;

/// The longest text of a filter, in bytes.
const FILTER_BYTES_MAX: usize = 256;

const CURSOR_VERSION: u8 = 1;
const CURSOR_DOMAIN: &[u8] = b"palisade audit cursor";

/// What a person asks for, not yet checked. Empty fields do not narrow.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter<'a> {
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// This user.
    pub user: &'a str,
    /// This host.
    pub host: &'a str,
    /// An event's name or code, or the beginning of names: `session` and `session.` are all of
    /// `session.start`, `session.end` and so on.
    pub kind: &'a str,
    /// Text that appears anywhere in the event, in any case.
    pub text: &'a str,
    /// At most so many, up to [`LIMIT_MAX`]; 0 for [`LIMIT_DEFAULT`].
    pub limit: u32,
    /// Oldest first instead of newest first.
    pub oldest_first: bool,
}

/// A query that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    from_ms: u64,
    /// Exclusive.
    to_ms: u64,
    user: String,
    host: String,
    kind: String,
    /// In lower case.
    text: String,
    limit: u32,
    newest_first: bool,
}

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The time range is empty.
    #[error("the search ends at {to}, before it begins at {from}")]
    Range {
        /// Where it begins.
        from: Timestamp,
        /// Where it ends.
        to: Timestamp,
    },
    /// Too many events at once.
    #[error("at most {LIMIT_MAX} events can be asked for at a time, not {0}: use the cursor for more")]
    Limit(u32),
    /// A filter is too long.
    #[error("the filter {0} is longer than {FILTER_BYTES_MAX} bytes")]
    Filter(&'static str),
}

/// Why a cursor is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// It was changed, or is none.
    #[error("this is not a cursor: start the search again without one")]
    Damaged,
    /// It comes from another release.
    #[error("the cursor's format {0} is not known: start the search again without one")]
    Version(u8),
    /// It was made for another search.
    #[error("the cursor belongs to another search: start again without one, or keep the filters")]
    OtherQuery,
}

/// What a query looks at in an event.
pub trait AuditFields {
    /// When, in milliseconds since 1970.
    fn time_ms(&self) -> u64;
    /// The event's name: `session.start`.
    fn name(&self) -> &str;
    /// Its code.
    fn code(&self) -> &str;
    /// Who; empty if nobody known.
    fn user(&self) -> &str;
    /// Where; empty if nowhere.
    fn host(&self) -> &str;
    /// Everything else that free text is looked for in, beside the above.
    fn text(&self) -> Cow<'_, str>;
}

impl AuditQuery {
    /// Checks what is asked.
    pub fn new(filter: &AuditFilter<'_>) -> Result<Self, QueryError> {
        let from = filter.from.unwrap_or(Timestamp::ZERO);
        let to = filter.to.unwrap_or(Timestamp::from_ms(u64::MAX));
        if to < from {
            return Err(QueryError::Range { from, to });
        }
        let limit = match filter.limit {
            0 => LIMIT_DEFAULT,
            n if n > LIMIT_MAX => return Err(QueryError::Limit(n)),
            n => n,
        };
        let filters = [
            ("user", filter.user),
            ("host", filter.host),
            ("event", filter.kind),
            ("text", filter.text),
        ];
        if let Some((name, _)) = filters.iter().find(|(_, value)| value.len() > FILTER_BYTES_MAX) {
            return Err(QueryError::Filter(name));
        }
        Ok(Self {
            from_ms: from.ms(),
            to_ms: to.ms(),
            user: filter.user.to_owned(),
            host: filter.host.to_owned(),
            kind: filter.kind.to_owned(),
            text: filter.text.to_lowercase(),
            limit,
            newest_first: !filter.oldest_first,
        })
    }

    /// The first moment that is searched.
    pub fn from_ms(&self) -> u64 {
        self.from_ms
    }

    /// The first moment that is no longer searched.
    pub fn to_ms(&self) -> u64 {
        self.to_ms
    }

    /// How many events a page may have.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Whether the newest event comes first.
    pub fn newest_first(&self) -> bool {
        self.newest_first
    }

    /// Whether an event answers the query.
    pub fn matches(&self, event: &impl AuditFields) -> bool {
        let time = event.time_ms();
        time >= self.from_ms
            && (time < self.to_ms || self.to_ms == u64::MAX)
            && (self.user.is_empty() || self.user == event.user())
            && (self.host.is_empty() || self.host == event.host())
            && self.matches_kind(event.name(), event.code())
            && self.matches_text(event)
    }

    /// Whether an event on a page with this summary may answer the query. If not, the page need not be read.
    pub fn may_match(&self, page: &PageSummary) -> bool {
        page.latest.ms() >= self.from_ms
            && (page.earliest.ms() < self.to_ms || self.to_ms == u64::MAX)
            && page.may_hold_user(&self.user)
            && page.may_hold_host(&self.host)
            && page
                .kinds
                .iter()
                .any(|kind| self.matches_kind(kind.name(), kind.code()))
    }

    fn matches_kind(&self, name: &str, code: &str) -> bool {
        let kind = self.kind.strip_suffix('*').unwrap_or(&self.kind);
        kind.is_empty()
            || kind == code
            || name
                .strip_prefix(kind)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || kind.ends_with('.'))
    }

    fn matches_text(&self, event: &impl AuditFields) -> bool {
        let found = |text: &str| text.to_lowercase().contains(&self.text);
        self.text.is_empty()
            || found(event.user())
            || found(event.host())
            || found(event.name())
            || found(event.code())
            || found(&event.text())
    }

    /// The cursor for a page that ended with the event of this sequence number.
    pub fn cursor(&self, last_seq: u64) -> String {
        let mut bytes = vec![CURSOR_VERSION];
        bytes.extend_from_slice(&last_seq.to_be_bytes());
        bytes.extend_from_slice(&self.digest()[..8]);
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The sequence number after which the next page begins; nothing for an empty cursor, the first page.
    pub fn resume(&self, cursor: &str) -> Result<Option<u64>, CursorError> {
        if cursor.is_empty() {
            return Ok(None);
        }
        if cursor.len() > 64 {
            return Err(CursorError::Damaged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| CursorError::Damaged)?;
        let (body, given) = bytes.split_last_chunk::<8>().ok_or(CursorError::Damaged)?;
        if check(body) != *given {
            return Err(CursorError::Damaged);
        }
        let (&version, rest) = body.split_first().ok_or(CursorError::Damaged)?;
        if version != CURSOR_VERSION {
            return Err(CursorError::Version(version));
        }
        let (seq, query) = rest.split_first_chunk::<8>().ok_or(CursorError::Damaged)?;
        if *query != self.digest()[..8] {
            return Err(CursorError::OtherQuery);
        }
        Ok(Some(u64::from_be_bytes(*seq)))
    }

    /// What makes two queries the same search. The page size does not: it may change between pages.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.from_ms.to_be_bytes());
        hash.update(self.to_ms.to_be_bytes());
        for text in [&self.user, &self.host, &self.kind, &self.text] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.update([u8::from(self.newest_first)]);
        hash.finalize().into()
    }
}

fn check(body: &[u8]) -> [u8; 8] {
    let hash = Sha256::new()
        .chain_update(CURSOR_DOMAIN)
        .chain_update(body)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    first
}

impl AuditFields for Event {
    fn time_ms(&self) -> u64 {
        self.time.ms()
    }

    fn name(&self) -> &str {
        self.event.name()
    }

    fn code(&self) -> &str {
        self.event.code()
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn text(&self) -> Cow<'_, str> {
        // A line apart, so that a text cannot be found across two fields.
        let mut all = [
            &self.addr,
            &self.login,
            &self.session,
            &self.target,
            &self.message,
        ]
        .map(String::as_str)
        .join("\n");
        for (name, value) in &self.data {
            all.push('\n');
            all.push_str(name);
            all.push('=');
            all.push_str(value);
        }
        Cow::Owned(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;
    use proptest::prelude::*;

    fn event() -> Event {
        let mut event = Event::new(EventKind::SessionStart)
            .user("alice")
            .host("db-1")
            .login("root")
            .addr("192.0.2.7")
            .message("A Terminal")
            .with("term", "xterm");
        event.time = Timestamp::from_ms(1000);
        event
    }

    fn found(filter: AuditFilter<'_>) -> bool {
        AuditQuery::new(&filter).expect("good").matches(&event())
    }

    fn any() -> AuditFilter<'static> {
        AuditFilter::default()
    }

    #[test]
    fn each_filter_narrows() {
        let at = |ms| Some(Timestamp::from_ms(ms));
        let table = [
            (any(), true),
            (
                AuditFilter {
                    from: at(1000),
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    from: at(1001),
                    ..any()
                },
                false,
            ),
            (
                AuditFilter {
                    to: at(1000),
                    ..any()
                },
                false,
            ),
            (
                AuditFilter {
                    to: at(1001),
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    user: "alice",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    user: "alic",
                    ..any()
                },
                false,
            ),
            (
                AuditFilter {
                    host: "db-1",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    host: "db-2",
                    ..any()
                },
                false,
            ),
            (
                AuditFilter {
                    kind: "session.start",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    kind: "session",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    kind: "session.",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    kind: "session.*",
                    ..any()
                },
                true,
            ),
            (AuditFilter { kind: "*", ..any() }, true),
            (
                AuditFilter {
                    kind: "sess",
                    ..any()
                },
                false,
            ),
            (
                AuditFilter {
                    kind: "session.st",
                    ..any()
                },
                false,
            ),
            (
                AuditFilter {
                    kind: "session.end",
                    ..any()
                },
                false,
            ),
            (
                AuditFilter {
                    kind: EventKind::SessionStart.code(),
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    text: "terminal",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    text: "ALICE",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    text: "term=xterm",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    text: "192.0.2",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    text: "root\n",
                    ..any()
                },
                true,
            ),
            (
                AuditFilter {
                    text: "nowhere",
                    ..any()
                },
                false,
            ),
            (
                AuditFilter {
                    user: "alice",
                    text: "nowhere",
                    ..any()
                },
                false,
            ),
        ];
        for (filter, wanted) in table {
            assert_eq!(found(filter.clone()), wanted, "{filter:?}");
        }
    }

    #[test]
    fn impossible_queries_are_refused() {
        let at = |ms| Some(Timestamp::from_ms(ms));
        assert!(matches!(
            AuditQuery::new(&AuditFilter {
                from: at(2),
                to: at(1),
                ..any()
            }),
            Err(QueryError::Range { .. })
        ));
        assert_eq!(
            AuditQuery::new(&AuditFilter { limit: 1001, ..any() }),
            Err(QueryError::Limit(1001))
        );
        let long = "x".repeat(257);
        assert_eq!(
            AuditQuery::new(&AuditFilter { text: &long, ..any() }),
            Err(QueryError::Filter("text"))
        );
        assert_eq!(AuditQuery::new(&any()).expect("good").limit(), 100);
        assert_eq!(
            AuditQuery::new(&AuditFilter { limit: 1000, ..any() })
                .expect("good")
                .limit(),
            1000
        );
    }

    #[test]
    fn a_cursor_holds_for_its_own_search_only() {
        let query = AuditQuery::new(&AuditFilter {
            user: "alice",
            ..any()
        })
        .expect("good");
        let cursor = query.cursor(42);
        assert_eq!(query.resume(&cursor), Ok(Some(42)));
        assert_eq!(query.resume(""), Ok(None));
        let wider = AuditQuery::new(&AuditFilter {
            user: "alice",
            limit: 7,
            ..any()
        })
        .expect("good");
        assert_eq!(wider.resume(&cursor), Ok(Some(42)));
        for other in [
            AuditFilter { user: "bob", ..any() },
            AuditFilter {
                host: "alice",
                ..any()
            },
            AuditFilter {
                user: "alice",
                oldest_first: true,
                ..any()
            },
        ] {
            assert_eq!(
                AuditQuery::new(&other).expect("good").resume(&cursor),
                Err(CursorError::OtherQuery)
            );
        }
        let mut newer = vec![2];
        newer.extend_from_slice(&[0; 16]);
        let sum = check(&newer);
        newer.extend_from_slice(&sum);
        assert_eq!(
            query.resume(&URL_SAFE_NO_PAD.encode(newer)),
            Err(CursorError::Version(2))
        );
    }

    proptest! {
        #[test]
        fn a_changed_cursor_is_refused(
            seq in proptest::prelude::any::<u64>(), at in proptest::prelude::any::<prop::sample::Index>(), c in "[A-Za-z0-9_-]",
            garbage in proptest::prelude::any::<String>(),
        ) {
            let query = AuditQuery::new(&any()).expect("good");
            let cursor = query.cursor(seq);
            prop_assert_eq!(query.resume(&cursor), Ok(Some(seq)));
            let i = at.index(cursor.len());
            let changed = format!("{}{c}{}", &cursor[..i], &cursor[i + 1..]);
            if changed != cursor {
                prop_assert!(query.resume(&changed).is_err());
            }
            prop_assert!(query.resume(&cursor[..i]).is_err() || i == 0);
            prop_assert!(query.resume(&garbage).is_err() || garbage.is_empty());
        }
    }
}
