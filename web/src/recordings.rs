//! Which recordings there are, and what is found in them.

use crate::ask::{Ask, Fresh, Who, audit};
use crate::audit::moment;
use crate::body::Query;
use crate::error::Failure;
use crate::records::Paging;
use crate::sessions::{row_labels, shown};
use palisade_core::access::RulePermit;
use palisade_core::api::{
    RecordingFilter, RecordingGap, RecordingHit, RecordingHits, RecordingPage, RecordingSearch,
};
use palisade_core::event::{Event, EventKind};
use palisade_core::find;
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::ports::{SearchOrder, SearchedPart};
use palisade_core::record::{Grant, RecordingSpec, Verb};
use palisade_core::state;
use palisade_core::time::Timestamp;
use std::cmp::Reverse;
use std::time::{Duration, Instant};

/// Searches at a time on a node: each takes a core.
pub(crate) const SEARCHES_MOST: usize = 2;
/// Searches at a time of one user.
pub(crate) const SEARCHES_EACH: usize = 1;

/// Recordings that one request comes through at most.
const RECORDINGS_MOST: usize = 200;
/// Places that one request gives at most of one recording, and of all: a recording is never left half for these.
const HITS_EACH: usize = 20;
const HITS_MOST: usize = 100;
/// Bytes of events that one request looks at, and how long: then it stops at the next chunk, and says where.
const BYTES_MOST: u64 = 64 << 20;
const WITHIN: Duration = Duration::from_secs(2);

/// The longest words to list by, in bytes.
const WORDS_BYTES_MAX: usize = 256;

/// Where a recording stands among all: by when it began, then by its id.
type Place = (u64, String);

fn place(spec: &RecordingSpec) -> Place {
    (spec.started.ms(), spec.session.to_string())
}

/// What narrows a list or a search.
#[derive(Debug)]
struct Wanted {
    user: Option<Name>,
    host: Option<Name>,
    login: Option<Login>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// In lower case.
    words: Vec<String>,
}

/// A filter that is set, read; a fault names its field.
fn field<T, E: std::fmt::Display>(
    name: &str,
    text: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = read(text).map_err(|e| Failure::invalid(format!("{name}: {e}")))?;
    Ok(Some(read))
}

impl Wanted {
    fn new([user, host, login, since, until]: [&str; 5], words: &str) -> Result<Wanted, Failure> {
        let (since, until) = (moment("since", since)?, moment("until", until)?);
        if since.zip(until).is_some_and(|(since, until)| until <= since) {
            return Err(Failure::invalid("until: it is not after since"));
        }
        if words.len() > WORDS_BYTES_MAX || words.chars().any(char::is_control) {
            let why = format!("q: at most {WORDS_BYTES_MAX} bytes, without control characters");
            return Err(Failure::invalid(why));
        }
        Ok(Wanted {
            user: field("user", user, Name::parse)?,
            host: field("host", host, Name::parse)?,
            login: field("login", login, Login::parse)?,
            since,
            until,
            words: words
                .to_lowercase()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        })
    }

    fn fits(&self, spec: &RecordingSpec) -> bool {
        let among = self.user.as_ref().is_none_or(|user| *user == spec.user)
            && self.host.as_ref().is_none_or(|host| *host == spec.host)
            && self.login.as_ref().is_none_or(|login| *login == spec.login)
            && self.since.is_none_or(|since| spec.started >= since)
            && self.until.is_none_or(|until| spec.started < until);
        if !among || self.words.is_empty() {
            return among;
        }
        let said = format!(
            "{} {} {} {}@{} {}",
            spec.session, spec.user, spec.host, spec.login, spec.host, spec.command
        );
        let said = said.to_lowercase();
        self.words.iter().all(|word| said.contains(word))
    }
}

/// `GET /v1/recordings`: newest first.
pub(crate) async fn list(
    ask: Ask,
    Query(asked): Query<RecordingFilter>,
) -> Result<axum::Json<RecordingPage>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let permit = ask.permit(&who, Verb::List, Grant::Recording, None).await?;
    let narrowed = [&asked.user, &asked.host, &asked.login, &asked.since, &asked.until];
    let wanted = Wanted::new(narrowed.map(String::as_str), &asked.q)?;
    let paging = Paging {
        after: asked.after,
        limit: asked.limit,
    };
    let limit = paging.limit()?;
    let before = after_page(&paging.after)?;
    let (kv, now) = (ask.kv(), ask.now());
    // Rows are kept by session id, which has no order in time: all of them are looked at, off the async threads.
    let page = tokio::task::spawn_blocking(move || -> Result<RecordingPage, Failure> {
        let mut rows = state::records::<RecordingSpec>(kv.as_ref())?;
        rows.retain(|row| before.as_ref().is_none_or(|before| place(&row.spec) < *before));
        rows.retain(|row| wanted.fits(&row.spec));
        rows.retain(|row| who.sees(&permit, row.metadata.name.as_str(), &row_labels(&row.spec), now));
        rows.sort_unstable_by_key(|row| Reverse(place(&row.spec)));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().map(|row| place(&row.spec)).filter(|_| more);
        Ok(RecordingPage {
            items: rows.into_iter().map(|row| shown(row.spec)).collect(),
            next: last.map(|(ms, id)| format!("{ms}.{id}")).unwrap_or_default(),
        })
    });
    let page = page.await.map_err(|e| Failure::internal("recordings", &e))??;
    Ok(axum::Json(page))
}

fn after_page(after: &str) -> Result<Option<Place>, Failure> {
    match Cursor::read(after)? {
        None => Ok(None),
        Some(Cursor { at, chunk: None }) => Ok(Some(at)),
        Some(_) => Err(bad_cursor()),
    }
}

/// Where a list or a search goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    at: Place,
    /// Behind that recording; or in it, with this chunk.
    chunk: Option<u32>,
}

impl Cursor {
    fn read(text: &str) -> Result<Option<Cursor>, Failure> {
        match text {
            "" => Ok(None),
            text => Cursor::parse(text).map(Some).ok_or_else(bad_cursor),
        }
    }

    fn parse(text: &str) -> Option<Cursor> {
        let mut parts = text.split('.');
        let ms = parts.next()?.parse().ok()?;
        let id = SessionId::parse(parts.next()?).ok()?;
        let chunk = parts.next().map(str::parse).transpose().ok()?;
        parts.next().is_none().then(|| Cursor {
            at: (ms, id.to_string()),
            chunk,
        })
    }

    fn write(&self) -> String {
        let (ms, id) = &self.at;
        match self.chunk {
            None => format!("{ms}.{id}"),
            Some(chunk) => format!("{ms}.{id}.{chunk}"),
        }
    }
}

fn bad_cursor() -> Failure {
    Failure::invalid("after: not from a page before")
}

/// Recordings that are searched by one request, each with the permit to read it.
struct Readable {
    rows: Vec<(RulePermit, RecordingSpec)>,
    /// Whether there are further ones.
    more: bool,
}

impl Readable {
    /// The newest that fit and may be read, from the cursor on. Those that may not be are passed over.
    async fn find(ask: &Ask, who: Who, wanted: Wanted, from: Option<&Cursor>) -> Result<Readable, Failure> {
        let (kv, now) = (ask.kv(), ask.now());
        let from = from.cloned();
        let found = tokio::task::spawn_blocking(move || -> Result<Readable, Failure> {
            let mut specs: Vec<RecordingSpec> = state::records::<RecordingSpec>(kv.as_ref())?
                .into_iter()
                .map(|row| row.spec)
                .filter(|spec| wanted.fits(spec))
                .filter(|spec| {
                    from.as_ref().is_none_or(|from| match from.chunk {
                        None => place(spec) < from.at,
                        Some(_) => place(spec) <= from.at,
                    })
                })
                .collect();
            specs.sort_unstable_by_key(|spec| Reverse(place(spec)));
            let readable = specs.into_iter().filter_map(|spec| {
                let about = (spec.session.as_str(), &row_labels(&spec));
                let permit = who.permit_among(Verb::Read, Grant::Recording, about, now)?;
                Some((permit, spec))
            });
            let mut rows: Vec<_> = readable.take(RECORDINGS_MOST + 1).collect();
            let more = rows.len() > RECORDINGS_MOST;
            rows.truncate(RECORDINGS_MOST);
            Ok(Readable { rows, more })
        });
        found.await.map_err(|e| Failure::internal("recordings", &e))?
    }
}

/// `GET /v1/recordings/search`.
pub(crate) async fn search(
    ask: Ask,
    Query(asked): Query<RecordingSearch>,
) -> Result<axum::Json<RecordingHits>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let permit = ask.permit(&who, Verb::List, Grant::Recording, None).await?;
    let query = find::Query::new(&asked.q, true).map_err(|e| Failure::invalid(format!("q: {e}")))?;
    let narrowed = [&asked.user, &asked.host, &asked.login, &asked.since, &asked.until];
    let wanted = Wanted::new(narrowed.map(String::as_str), "")?;
    let cursor = Cursor::read(&asked.after)?;
    let place = ask.app.searches.take(who.name().to_owned());
    let _place = place.map_err(|_| Failure::rate_limited())?;
    let readable = Readable::find(&ask, who, wanted, cursor.as_ref()).await?;
    let found = look(&ask, &query, readable, cursor).await;
    audited(&ask, &permit, &asked, &found).await?;
    Ok(axum::Json(found))
}

/// Looks through recordings until as much was found, read or waited for as one request may.
async fn look(ask: &Ask, query: &find::Query, readable: Readable, cursor: Option<Cursor>) -> RecordingHits {
    let mut found = RecordingHits {
        items: Vec::new(),
        more_in: Vec::new(),
        gaps: Vec::new(),
        searched: 0,
        reached: None,
        next: String::new(),
    };
    let (began, mut bytes) = (Instant::now(), 0);
    let mut done: Option<Place> = None;
    for (permit, spec) in readable.rows {
        let here = place(&spec);
        let over = bytes >= BYTES_MOST || began.elapsed() >= WITHIN || found.items.len() >= HITS_MOST;
        if let Some(done) = done.take_if(|_| over) {
            found.next = Cursor {
                at: done,
                chunk: None,
            }
            .write();
            return found;
        }
        let resumed = cursor.as_ref().filter(|cursor| cursor.at == here);
        let order = SearchOrder {
            session: spec.session.clone(),
            query: query.clone(),
            from_chunk: resumed.and_then(|cursor| cursor.chunk).unwrap_or(0),
            most_hits: HITS_EACH,
            most_bytes: BYTES_MOST - bytes.min(BYTES_MOST),
            within: WITHIN.saturating_sub(began.elapsed()),
        };
        let part = match ask.app.api.recordings.search(&permit, order).await {
            Ok(part) => part,
            Err(why) => {
                tracing::warn!(session = %spec.session, %why, "a recording could not be searched");
                SearchedPart {
                    gap: Some("its chunks cannot be read at this node now: the node's log says why".into()),
                    ..SearchedPart::default()
                }
            }
        };
        bytes += part.bytes;
        found.searched += 1;
        found.reached = Some(spec.started);
        take(&mut found, &spec, part.hits);
        if part.more {
            found.more_in.push(spec.session.to_string());
        }
        if let Some(why) = part.gap {
            let session = spec.session.to_string();
            found.gaps.push(RecordingGap { session, why });
        }
        if let Some(chunk) = part.next_chunk {
            let (at, chunk) = (here, Some(chunk));
            found.next = Cursor { at, chunk }.write();
            return found;
        }
        done = Some(here);
    }
    if let Some(at) = done.filter(|_| readable.more) {
        found.next = Cursor { at, chunk: None }.write();
    }
    found
}

fn take(found: &mut RecordingHits, spec: &RecordingSpec, hits: Vec<palisade_core::ports::FoundText>) {
    found.items.extend(hits.into_iter().map(|hit| RecordingHit {
        session: spec.session.to_string(),
        user: spec.user.to_string(),
        login: spec.login.to_string(),
        host: spec.host.to_string(),
        started: spec.started,
        at_ms: hit.at_ms,
        before: hit.before,
        found: hit.found,
        rest: hit.rest,
    }));
}

/// Nobody sees a line before the log says what they looked for, and of which sessions they see lines.
async fn audited(
    ask: &Ask,
    permit: &RulePermit,
    asked: &RecordingSearch,
    found: &RecordingHits,
) -> Result<(), Failure> {
    let mut sessions: Vec<&str> = found.items.iter().map(|hit| hit.session.as_str()).collect();
    sessions.dedup();
    let sessions = sessions.join(" ");
    let mut event = Event::new(EventKind::RecordingSearch)
        .user(permit.actor())
        .addr(ask.peer.shown_addr())
        .target("recording")
        .with("query", &asked.q)
        .with("hits", found.items.len());
    for (name, value) in [
        ("of", &asked.user),
        ("on", &asked.host),
        ("as", &asked.login),
        ("since", &asked.since),
        ("until", &asked.until),
        ("after", &asked.after),
        ("sessions", &sessions),
    ] {
        if !value.is_empty() {
            event = event.with(name, value);
        }
    }
    let parts = [
        &asked.q,
        &asked.user,
        &asked.host,
        &asked.login,
        &asked.since,
        &asked.until,
        &asked.after,
        &sessions,
    ];
    let mut bound: Vec<&[u8]> = vec![b"search-recordings"];
    bound.extend(parts.iter().map(|part| part.as_bytes()));
    ask.change(permit, &bound, audit(event)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::record::{Completeness, RecordingMode, SessionKind};

    const ID: &str = "0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a";

    fn spec() -> RecordingSpec {
        RecordingSpec {
            session: SessionId::parse(ID).expect("a UUID"),
            session_kind: SessionKind::Exec,
            user: Name::parse("alice").expect("a name"),
            login: Login::parse("deploy").expect("a login"),
            host: Name::parse("web1").expect("a name"),
            node: 1,
            at_agent: false,
            client_addr: String::new(),
            command: "Uptime -p".into(),
            mode: RecordingMode::BestEffort,
            started: Timestamp::from_ms(1000),
            ended: None,
            completeness: Completeness::Complete,
            chunks: 0,
            output_bytes: 0,
            last_chunk: String::new(),
            sealed_key: String::new(),
        }
    }

    #[test]
    fn a_recording_fits_what_narrows_and_every_word() {
        let fits = |narrowed: [&str; 5], words: &str| {
            Wanted::new(narrowed, words).expect("well-formed").fits(&spec())
        };
        let second = "1970-01-01T00:00:01Z";
        for narrowed in [
            [""; 5],
            ["alice", "web1", "deploy", "", ""],
            ["", "", "", second, "1970-01-01T00:00:01.001Z"],
        ] {
            assert!(fits(narrowed, ""), "{narrowed:?}");
        }
        for narrowed in [
            ["alic", "", "", "", ""],
            ["", "web", "", "", ""],
            ["", "", "root", "", ""],
            ["", "", "", "1970-01-01T00:00:01.001Z", ""],
            ["", "", "", "", second],
        ] {
            assert!(!fits(narrowed, ""), "{narrowed:?}");
        }
        for words in ["4f6e", "ALI web", "deploy@web1", "uptime alice", " "] {
            assert!(fits([""; 5], words), "{words:?}");
        }
        assert!(!fits([""; 5], "alice web2"));
    }

    #[test]
    fn bad_filters_are_refused_by_their_name() {
        for (narrowed, words, name) in [
            (["a b", "", "", "", ""], "", "user: "),
            (["", "..", "", "", ""], "", "host: "),
            (["", "", "a\nb", "", ""], "", "login: "),
            (["", "", "", "yesterday", ""], "", "since: "),
            (["", "", "", "", "2026-13-01T00:00:00Z"], "", "until: "),
            (
                ["", "", "", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"],
                "",
                "until: ",
            ),
            ([""; 5], "\u{1b}[2J", "q: "),
        ] {
            let why = Wanted::new(narrowed, words).expect_err("refused");
            assert!(why.message().starts_with(name), "{}", why.message());
        }
        assert!(Wanted::new([""; 5], &"x".repeat(WORDS_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_cursor_reads_what_it_wrote_and_nothing_else() {
        for chunk in [None, Some(0), Some(u32::MAX)] {
            let cursor = Cursor {
                at: (7, ID.to_owned()),
                chunk,
            };
            assert_eq!(Cursor::read(&cursor.write()), Ok(Some(cursor)));
        }
        assert_eq!(Cursor::read(""), Ok(None));
        for bad in [
            "x",
            "1",
            "1.x",
            "1.",
            ".",
            &format!("-1.{ID}"),
            &format!("1.{ID}.x"),
            &format!("1.{ID}.1.1"),
        ] {
            assert!(Cursor::read(bad).is_err(), "{bad:?}");
        }
        assert!(after_page(&format!("1.{ID}.3")).is_err(), "a list has no chunks");
    }
}
