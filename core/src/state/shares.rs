//! Links that show one recording to somebody without a login: which there are, what for, until when, and by whose rights.
//!
//! Whether a link opens its recording is decided when it is opened, as if whoever made it played it: this file keeps the
//! links, and knows nothing of roles.

use super::apply::{Run, Verdict, not_found};
use super::{keys, read};
use crate::command::{NewShare, RefusedCommand};
use crate::event::{Event, EventKind};
use crate::kv::{Kv, KvFault, prefix_end};
use crate::name::{Name, SessionId};
use crate::record::{AnyRecord, Completeness, Kind, RecordingSpec, UserSpec};
use crate::time::Timestamp;
use crate::wire;
use serde::{Deserialize, Serialize};

/// Links that one recording may have at a time.
pub const SHARES_MAX: usize = 20;
/// How long a link may live, in milliseconds: 30 days.
pub const SHARE_TTL_MS: u64 = 30 * 86_400_000;
/// How long the line may be that says what it is for, in characters.
pub const SHARE_NOTE_CHARS: usize = 200;

/// A link to a recording, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The recording's session.
    pub session: SessionId,
    /// Who made it.
    pub maker: Name,
    /// The index of the entry that made it: void when the maker's certificates up to it are.
    pub serial: u64,
    /// What was said when it was made.
    pub share: NewShare,
    /// When it was made.
    pub created: Timestamp,
    /// How often it was opened.
    pub opened: u64,
    /// When that was last.
    pub last_opened: Option<Timestamp>,
}

/// The links to a recording, oldest first, with those whose time is over.
pub fn shares(kv: &dyn Kv, session: &SessionId) -> Result<Vec<Share>, KvFault> {
    let prefix = keys::shares(session);
    let pairs = kv.scan(&prefix, prefix_end(&prefix).as_deref(), usize::MAX, false)?;
    let read = |(key, bytes): &(Vec<u8>, Vec<u8>)| {
        wire::decode("share", super::STATE_VERSION, bytes).map_err(|e| super::fault(key, e))
    };
    let mut all = pairs.iter().map(read).collect::<Result<Vec<Share>, _>>()?;
    all.sort_by_key(|share| share.serial);
    Ok(all)
}

/// One link to a recording.
pub fn share(kv: &dyn Kv, session: &SessionId, id: &str) -> Result<Option<Share>, KvFault> {
    read(kv, "share", &keys::share(session, id))
}

/// The link whose token has this hash, also one whose time is over.
pub fn share_of_token(kv: &dyn Kv, token_sha256: &str) -> Result<Option<Share>, KvFault> {
    let found: Option<(SessionId, String)> = read(kv, "share token", &keys::share_token(token_sha256))?;
    match found {
        Some((session, id)) => share(kv, &session, &id),
        None => Ok(None),
    }
}

impl Run<'_> {
    pub(super) fn create_share(
        &mut self,
        maker: Name,
        session: SessionId,
        share: NewShare,
    ) -> Result<Verdict, KvFault> {
        let verdict = self.may_be_shared(&maker, &session, &share)?;
        let row = match verdict {
            Ok(row) => row,
            Err(why) => return Ok(self.audited(Err(why), EventKind::RecordRefused, &target(&session))),
        };
        let mut kept = shares(&self.state, &session)?;
        kept.retain(|old| {
            let over = old.share.expires <= self.now;
            if over {
                self.remove_share(old);
            }
            !over
        });
        if kept.len() >= SHARES_MAX {
            let why = format!("a recording has {SHARES_MAX} links at most: revoke one first");
            let refused = Err(RefusedCommand::Invalid(why));
            return Ok(self.audited(refused, EventKind::RecordRefused, &target(&session)));
        }
        let taken = super::share(&self.state, &session, &share.id)?.is_some()
            || share_of_token(&self.state, &share.token_sha256)?.is_some();
        if taken {
            return Ok(Err(RefusedCommand::Invalid("the link's id is taken".into())));
        }
        let kept = Share {
            session,
            maker,
            serial: self.index,
            share,
            created: self.now,
            opened: 0,
            last_opened: None,
        };
        self.put(
            keys::share_token(&kept.share.token_sha256),
            &(&kept.session, &kept.share.id),
        );
        self.put(keys::share(&kept.session, &kept.share.id), &kept);
        let event = share_event(EventKind::RecordingShare, &kept, Some(&row));
        self.event(event.with("expires", kept.share.expires));
        Ok(Ok(()))
    }

    /// The recording, if there may be a link to it.
    fn may_be_shared(
        &self,
        maker: &Name,
        session: &SessionId,
        share: &NewShare,
    ) -> Result<Result<RecordingSpec, RefusedCommand>, KvFault> {
        let invalid = |why: String| Ok(Err(RefusedCommand::Invalid(why)));
        let Some(row) = recording(&self.state, session)? else {
            return Ok(Err(not_found(Kind::Recording, session.as_str())));
        };
        if row.completeness == Completeness::Live {
            return invalid("the session still runs: its recording can be shared once it has ended".into());
        }
        if super::record::<UserSpec>(&self.state, maker)?.is_none() {
            return Ok(Err(not_found(Kind::User, maker.as_str())));
        }
        if share.expires <= self.now {
            return invalid("expires: this time is over".into());
        }
        if share.expires.since_ms(self.now) > SHARE_TTL_MS {
            return invalid(format!(
                "expires: a link lives {} days at most",
                SHARE_TTL_MS / 86_400_000
            ));
        }
        if share.note.chars().count() > SHARE_NOTE_CHARS || share.note.chars().any(char::is_control) {
            return invalid(format!(
                "note: at most {SHARE_NOTE_CHARS} characters, without control characters"
            ));
        }
        Ok(Ok(row))
    }

    pub(super) fn open_share(&mut self, token_sha256: &str, what: &str) -> Result<Verdict, KvFault> {
        let found = share_of_token(&self.state, token_sha256)?;
        let Some(mut kept) = found.filter(|kept| kept.share.expires > self.now) else {
            return Ok(Err(RefusedCommand::BadToken));
        };
        kept.opened += 1;
        kept.last_opened = Some(self.now);
        self.put(keys::share(&kept.session, &kept.share.id), &kept);
        let row = recording(&self.state, &kept.session)?;
        let event = share_event(EventKind::RecordingShareOpen, &kept, row.as_ref());
        self.event(event.with("what", what));
        Ok(Ok(()))
    }

    pub(super) fn revoke_share(&mut self, session: &SessionId, id: &str) -> Result<Verdict, KvFault> {
        let Some(kept) = super::share(&self.state, session, id)? else {
            return Ok(Err(RefusedCommand::NoShare));
        };
        self.remove_share(&kept);
        let row = recording(&self.state, session)?;
        self.event(share_event(EventKind::RecordingShareRevoke, &kept, row.as_ref()));
        Ok(Ok(()))
    }

    fn remove_share(&mut self, kept: &Share) {
        self.state.delete(keys::share_token(&kept.share.token_sha256));
        self.state.delete(keys::share(&kept.session, &kept.share.id));
    }
}

fn recording(kv: &dyn Kv, session: &SessionId) -> Result<Option<RecordingSpec>, KvFault> {
    Ok(match super::any_record(kv, Kind::Recording, session.as_str())? {
        Some(AnyRecord::Recording(row)) => Some(row.spec),
        _ => None,
    })
}

fn target(session: &SessionId) -> String {
    format!("recording/{session}")
}

/// An event about a link: of which recording, by its id and what it is for.
fn share_event(kind: EventKind, kept: &Share, row: Option<&RecordingSpec>) -> Event {
    let mut event = Event::new(kind)
        .session(kept.session.as_str())
        .target(target(&kept.session))
        .with("share", &kept.share.id)
        .with("maker", &kept.maker);
    if !kept.share.note.is_empty() {
        event = event.with("note", &kept.share.note);
    }
    if let Some(row) = row {
        event = event
            .host(row.host.as_str())
            .login(row.login.as_str())
            .with("of", &row.user);
    }
    event
}
