//! Live sessions, and recordings one by one.

use crate::ask::{Ask, Fresh, Who, audit};
use crate::body::Path;
use crate::error::Failure;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use palisade_core::access::{Credential, JoinAsk, RulePermit, View, decide_join};
use palisade_core::api::{LiveSession, LiveSessions, RecordingView};
use palisade_core::event::{Event, EventKind};
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::ports::{ByteSource, PlayFormat};
use palisade_core::record::{Grant, JoinMode, Labels, Record, RecordingSpec, Spec, Verb};
use palisade_core::state;
use palisade_core::time::Timestamp;
use std::collections::BTreeMap;

/// `GET /v1/sessions`: those that a rule shows, and those that the caller may join.
pub(crate) async fn list(ask: Ask) -> Result<axum::Json<LiveSessions>, Failure> {
    let who = ask.who(Fresh::Decision).await?;
    let now = ask.now();
    // Whoever may join some sessions is not refused the list of those.
    let permit = match who.joins_some(now) && !who.may(Verb::List, Grant::Session, now) {
        true => None,
        false => Some(ask.permit(&who, Verb::List, Grant::Session, None).await?),
    };
    let mut items = ask.app.api.sessions.list().await;
    let mut joinable = Joinable::new(&ask, &who);
    let mut shown = Vec::new();
    for session in items.drain(..) {
        let labels = labels([
            ("user", &session.user),
            ("host", &session.host),
            ("login", &session.login),
        ]);
        let listed = permit
            .as_ref()
            .is_some_and(|permit| who.sees(permit, &session.session, &labels, now));
        if listed || joinable.has(&session, now)? {
            shown.push(session);
        }
    }
    Ok(axum::Json(LiveSessions { items: shown }))
}

/// Which sessions a caller may join, as anything.
struct Joinable<'a> {
    ask: &'a Ask,
    who: Option<(&'a View, Credential)>,
    /// What is known of the owners met so far.
    owners: BTreeMap<Name, Option<View>>,
}

impl<'a> Joinable<'a> {
    fn new(ask: &'a Ask, who: &'a Who) -> Self {
        let who = match who {
            Who::Operator => None,
            Who::User(view, certified) => {
                let credential = Credential {
                    principals: Vec::new(),
                    serial: certified.serial,
                    valid_before: certified.not_after,
                    source_address: None,
                };
                Some((&**view, credential))
            }
        };
        Joinable {
            ask,
            who,
            owners: BTreeMap::new(),
        }
    }

    fn has(&mut self, session: &LiveSession, now: Timestamp) -> Result<bool, Failure> {
        let Some((view, credential)) = &self.who else {
            return Ok(false);
        };
        let parsed = (
            SessionId::parse(&session.session),
            Name::parse(&session.user),
            Login::parse(&session.login),
            Name::parse(&session.host),
        );
        let (Ok(id), Ok(user), Ok(login), Ok(host)) = parsed else {
            return Ok(false);
        };
        if !self.owners.contains_key(&user) {
            let owner = View::load(self.ask.kv().as_ref(), &user)?;
            self.owners.insert(user.clone(), owner);
        }
        let Some(Some(owner)) = self.owners.get(&user) else {
            return Ok(false);
        };
        Ok(JoinMode::ALL.into_iter().any(|mode| {
            let ask = JoinAsk {
                credential,
                client: None,
                session: &id,
                owner,
                login: &login,
                host: &host,
                mode,
                again: false,
            };
            decide_join(&ask, view, now).is_ok()
        }))
    }
}

/// What conditions of rules can ask about a session or a recording.
fn labels(of: [(&str, &str); 3]) -> Labels {
    of.into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn session_id(text: &str) -> Result<SessionId, Failure> {
    Ok(SessionId::parse(text)?)
}

/// `DELETE /v1/sessions/{id}`.
pub(crate) async fn end(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let id = session_id(&id)?;
    let row = row(&ask, &id)?;
    let about = row.as_ref().map(|row| row_labels(&row.spec)).unwrap_or_default();
    let permit = ask
        .permit(&who, Verb::Delete, Grant::Session, Some((id.as_str(), &about)))
        .await?;
    let why = format!("ended by {}", permit.actor());
    if !ask.app.api.sessions.end(&id, &why).await? {
        return Err(Failure::not_found(format!(
            "session {id} does not run (any more)"
        )));
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn row(ask: &Ask, id: &SessionId) -> Result<Option<Record<RecordingSpec>>, Failure> {
    let any = state::any_record(ask.kv().as_ref(), RecordingSpec::KIND, id.as_str())?;
    Ok(any.and_then(RecordingSpec::from_any))
}

/// What conditions of rules can ask about a recording.
pub(crate) fn row_labels(spec: &RecordingSpec) -> Labels {
    labels([
        ("user", spec.user.as_str()),
        ("host", spec.host.as_str()),
        ("login", spec.login.as_str()),
    ])
}

/// The row as it is shown: the sealed key stays behind.
pub(crate) fn shown(mut spec: RecordingSpec) -> RecordingView {
    spec.sealed_key.clear();
    RecordingView { recording: spec }
}

/// The permit to read one recording, and its row.
async fn open(ask: &Ask, who: &Who, id: &SessionId) -> Result<(RulePermit, Record<RecordingSpec>), Failure> {
    let row = row(ask, id)?;
    let about = row.as_ref().map(|row| row_labels(&row.spec)).unwrap_or_default();
    let permit = ask
        .permit(who, Verb::Read, Grant::Recording, Some((id.as_str(), &about)))
        .await?;
    let row = row.ok_or_else(|| Failure::not_found(format!("there is no recording {id}")))?;
    Ok((permit, row))
}

/// `GET /v1/recordings/{id}`.
pub(crate) async fn recording(
    ask: Ask,
    Path(id): Path<String>,
) -> Result<axum::Json<RecordingView>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let (_, row) = open(&ask, &who, &session_id(&id)?).await?;
    Ok(axum::Json(shown(row.spec)))
}

/// `GET /v1/recordings/{id}/events`.
pub(crate) async fn events(ask: Ask, Path(id): Path<String>) -> Result<Response, Failure> {
    play(ask, &id, PlayFormat::Events).await
}

/// `GET /v1/recordings/{id}/asciicast`.
pub(crate) async fn asciicast(ask: Ask, Path(id): Path<String>) -> Result<Response, Failure> {
    play(ask, &id, PlayFormat::Asciicast).await
}

async fn play(ask: Ask, id: &str, format: PlayFormat) -> Result<Response, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let id = session_id(id)?;
    let (permit, row) = open(&ask, &who, &id).await?;
    let source = ask.app.api.recordings.play(&id, format).await?;
    let (form, media_type, ending) = match format {
        PlayFormat::Events => ("events", "application/x-ndjson", "ndjson"),
        PlayFormat::Asciicast => ("asciicast", "application/x-asciicast", "cast"),
        PlayFormat::Shared => ("shared", "application/x-ndjson", "ndjson"),
    };
    let event = Event::new(EventKind::SessionPlay)
        .user(permit.actor())
        .addr(ask.peer.shown_addr())
        .login(row.spec.login.as_str())
        .host(row.spec.host.as_str())
        .session(id.as_str())
        .target(format!("recording/{id}"))
        .with("of", &row.spec.user)
        .with("format", form);
    // Nobody sees a byte before the log says that they did.
    ask.change(
        &permit,
        &[b"play", id.as_str().as_bytes(), form.as_bytes()],
        audit(event),
    )
    .await?;
    let mut response = Response::new(stream(source));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let disposition = format!("attachment; filename=\"{id}.{ending}\"");
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// A body that ends the connection rather than pretend to be whole.
pub(crate) fn stream(source: Box<dyn ByteSource>) -> Body {
    let pieces = futures::stream::unfold(Some(source), |source| async move {
        let mut source = source?;
        match source.next().await? {
            Ok(bytes) => Some((Ok(bytes), Some(source))),
            Err(why) => {
                tracing::warn!(%why, "an answer broke off while it was given out");
                Some((Err(std::io::Error::other("the answer broke off")), None))
            }
        }
    });
    Body::from_stream(pieces)
}
