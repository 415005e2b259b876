//! Links that show one recording to somebody without a login.
//!
//! The secret of a link stands behind its `#`: it is shown once, kept as a hash, and comes back in a body alone, so that no
//! log of addresses has it. Whether a link opens its recording is decided each time, by the one decision, as if whoever
//! made it played it. Whatever is wrong with a link, the answer is the same.

use crate::ask::{Ask, Fresh, Who, audit, user_decides};
use crate::audit::moment;
use crate::body::{Json, Path};
use crate::certs::addresses;
use crate::error::Failure;
use crate::invites::{random_secret, sha256_hex};
use crate::sessions::{row, row_labels, session_id, shown, stream};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use palisade_core::access::{Refusal, RulePermit, View};
use palisade_core::api::{NewShare, OpenShare, ShareLink, ShareRow, SharedView, Shares};
use palisade_core::command::{self, Command};
use palisade_core::event::{Event, EventKind};
use palisade_core::kv::{Kv, KvFault};
use palisade_core::name::{Name, SessionId};
use palisade_core::ports::PlayFormat;
use palisade_core::record::{Grant, RecordingSpec, Verb};
use palisade_core::state::{self, Share};
use palisade_core::time::Timestamp;

/// Longer than any token of ours.
const TOKEN_BYTES_MAX: usize = 128;

/// The permit to share one recording, and its row: whoever shares it must be able to play it.
async fn may_share(ask: &Ask, who: &Who, id: &SessionId) -> Result<(RulePermit, RecordingSpec), Failure> {
    let row = row(ask, id)?;
    let labels = row.as_ref().map(|row| row_labels(&row.spec)).unwrap_or_default();
    let about = Some((id.as_str(), &labels));
    ask.permit(who, Verb::Read, Grant::Recording, about).await?;
    let permit = ask.permit(who, Verb::Create, Grant::Recording, about).await?;
    let row = row.ok_or_else(|| Failure::not_found(format!("there is no recording {id}")))?;
    Ok((permit, row.spec))
}

/// `POST /v1/recordings/{id}/shares`. A repetition makes another link: the first one's secret is lost with its answer.
pub(crate) async fn create(
    ask: Ask,
    Path(id): Path<String>,
    Json(request): Json<NewShare>,
) -> Result<axum::Json<ShareLink>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let session = session_id(&id)?;
    let (permit, _) = may_share(&ask, &who, &session).await?;
    let Who::User(..) = who else {
        return Err(Failure::refused(
            "a link lives by the rights of the user who makes it: log in as one",
        ));
    };
    let expires = moment("expires", &request.expires)?
        .ok_or_else(|| Failure::invalid("expires: say when the link runs out"))?;
    let token = random_secret();
    let id = uuid::Uuid::new_v4().simple().to_string();
    let command = Command::CreateShare {
        maker: Name::parse(permit.actor())?,
        session,
        share: command::NewShare {
            id: id.clone(),
            token_sha256: sha256_hex(&token),
            note: request.note.trim().to_owned(),
            expires,
        },
    };
    ask.propose(ask.actor(permit.actor()), ask.new_id(), command)
        .await?;
    let (web_addrs, _) = addresses(ask.kv().as_ref())?;
    let addr = web_addrs.first().map(String::as_str).unwrap_or("localhost");
    Ok(axum::Json(ShareLink {
        id,
        url: format!("https://{addr}/shared#{}", *token),
        expires,
    }))
}

/// `GET /v1/recordings/{id}/shares`: those whose time is not over, newest first.
pub(crate) async fn list(ask: Ask, Path(id): Path<String>) -> Result<axum::Json<Shares>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let session = session_id(&id)?;
    let (_, spec) = may_share(&ask, &who, &session).await?;
    let (kv, now) = (ask.kv(), ask.now());
    let mut items = Vec::new();
    for kept in state::shares(kv.as_ref(), &session)?.into_iter().rev() {
        if kept.share.expires <= now {
            continue;
        }
        let void = by_maker(kv.as_ref(), &kept, &spec, now)?.err();
        items.push(ShareRow {
            id: kept.share.id,
            maker: kept.maker.to_string(),
            note: kept.share.note,
            created: kept.created,
            expires: kept.share.expires,
            opened: kept.opened,
            last_opened: kept.last_opened,
            void: void.unwrap_or_default(),
        });
    }
    Ok(axum::Json(Shares { items }))
}

/// `DELETE /v1/recordings/{id}/shares/{share}`.
pub(crate) async fn revoke(
    ask: Ask,
    Path((id, share)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let who = ask.who(Fresh::Change).await?;
    let session = session_id(&id)?;
    let (permit, _) = may_share(&ask, &who, &session).await?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if share.len() != 32 || !share.bytes().all(hex) {
        return Err(Failure::invalid("share: not the id of a link"));
    }
    let parts: [&[u8]; 3] = [b"revoke-share", session.as_str().as_bytes(), share.as_bytes()];
    let command = Command::RevokeShare {
        session: session.clone(),
        share: share.clone(),
    };
    ask.change(&permit, &parts, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a link's maker may still play and share its recording; if not, why, for people and the audit log.
fn by_maker(
    kv: &dyn Kv,
    kept: &Share,
    spec: &RecordingSpec,
    now: Timestamp,
) -> Result<Result<RulePermit, String>, KvFault> {
    let Some(view) = View::load(kv, &kept.maker)? else {
        return Ok(Err(Refusal::NoUser(kept.maker.to_string()).to_string()));
    };
    if view.check_serial(kept.serial).is_err() {
        let why = format!(
            "{} set a new password, or is another user of that name",
            kept.maker
        );
        return Ok(Err(why));
    }
    let labels = row_labels(spec);
    let decide = |verb| {
        let about = Some((spec.session.as_str(), &labels));
        user_decides(&view, verb, Grant::Recording, about, now)
    };
    let decided = decide(Verb::Create).and_then(|_| decide(Verb::Read));
    Ok(decided.map_err(|why| format!("{}: {why}", kept.maker)))
}

/// The link that a token opens, with its recording, once the log says that it was opened.
async fn opened(ask: &Ask, token: &str, what: &str) -> Result<(Share, RecordingSpec), Failure> {
    if !ask.app.tokens.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Failure::bad_token());
    }
    ask.fresh(Fresh::Linear).await?;
    let (kv, now) = (ask.kv(), ask.now());
    let token_sha256 = sha256_hex(token);
    let Some(kept) = state::share_of_token(kv.as_ref(), &token_sha256)? else {
        return Err(Failure::bad_token());
    };
    let Some(found) = row(ask, &kept.session)? else {
        return Err(Failure::bad_token());
    };
    let why = if kept.share.expires <= now {
        Some("its time is over".to_owned())
    } else {
        by_maker(kv.as_ref(), &kept, &found.spec, now)?.err()
    };
    if let Some(why) = why {
        return Err(refused(ask, &kept, &why).await);
    }
    let command = Command::OpenShare {
        token_sha256,
        what: what.to_owned(),
    };
    ask.propose(ask.actor(""), ask.new_id(), command).await?;
    Ok((kept, found.spec))
}

/// Writes down that a link was tried that is void.
async fn refused(ask: &Ask, kept: &Share, why: &str) -> Failure {
    if !ask.app.refusals.take(format!("share/{}", kept.share.id)) {
        return Failure::rate_limited();
    }
    let event = Event::new(EventKind::RecordingShareRefused)
        .addr(ask.peer.shown_addr())
        .session(kept.session.as_str())
        .target(format!("recording/{}", kept.session))
        .message(why)
        .with("share", &kept.share.id)
        .with("maker", &kept.maker);
    let wrote = ask.propose(ask.actor(""), ask.new_id(), audit(event)).await;
    if let Err(error) = wrote {
        tracing::warn!(
            share = kept.share.id,
            ?error,
            "a refusal could not be written to the audit log"
        );
    }
    Failure::bad_token()
}

/// `POST /v1/shared`.
pub(crate) async fn view(
    ask: Ask,
    Json(request): Json<OpenShare>,
) -> Result<axum::Json<SharedView>, Failure> {
    let (kept, mut spec) = opened(&ask, &request.token, "description").await?;
    spec.command = ask.app.api.recordings.masked(&spec.command)?;
    let cluster = state::cluster(ask.kv().as_ref())?;
    Ok(axum::Json(SharedView {
        cluster: cluster.map(|c| c.name.to_string()).unwrap_or_default(),
        recording: shown(spec),
        maker: kept.maker.to_string(),
        note: kept.share.note,
        expires: kept.share.expires,
    }))
}

/// `POST /v1/shared/events`.
pub(crate) async fn events(ask: Ask, Json(request): Json<OpenShare>) -> Result<Response, Failure> {
    let (kept, _) = opened(&ask, &request.token, "recording").await?;
    let source = ask
        .app
        .api
        .recordings
        .play(&kept.session, PlayFormat::Shared)
        .await?;
    let mut response = Response::new(stream(source));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
