//! Who is at a socket, by its first frame.

use crate::ask::{Ask, Fresh, Who};
use crate::browser::Shown;
use crate::caller::Caller;
use crate::error::Failure;
use palisade_core::access::{Refusal, View};
use palisade_core::state;
use palisade_core::terminal::Open;
use std::time::Duration;

/// How long a host may take to end a terminal by itself, and to say why, before its socket ends.
const AT_THE_HOST: Duration = Duration::from_secs(2);

/// Who opens a terminal, and in which browser's session: whoever the connection's certificate says, or the session's cookie
/// with what its page knows, or, at another node than the one that has the cookie, what its page knows alone.
pub(super) async fn who_opens(ask: &Ask, open: &Open) -> Result<(Who, Option<String>), Failure> {
    if ask.peer.caller != Caller::Nobody {
        return Ok((ask.who(Fresh::Linear).await?, None));
    }
    let shown = match (&ask.browser, open.resume.is_empty()) {
        (_, false) => Shown::resumes(&open.resume),
        (Some(cookie), true) => Some(cookie.clone().and_page(&open.csrf)),
        (None, true) => None,
    };
    let shown =
        shown.ok_or_else(|| Failure::unauthenticated("log in first: this browser has no session here"))?;
    let id = shown.id().to_owned();
    Ok((ask.showing(shown).who(Fresh::Linear).await?, Some(id)))
}

/// Ready, with the reason, when the login is void by which a terminal was opened. What a role or a lock takes away ends at
/// the host, which says so and writes it down; this comes after that.
pub(super) async fn gone(ask: &Ask, who: &Who, session: Option<&str>) -> String {
    let consensus = &ask.app.api.consensus;
    let Who::User(view, certified) = who else {
        return std::future::pending().await;
    };
    let mut seen = consensus.policy_version();
    loop {
        seen = consensus.policy_changed(seen).await;
        // A node that cannot read its state ends nothing for that.
        let Ok(now) = View::load(ask.kv().as_ref(), &view.user.metadata.name) else {
            continue;
        };
        let why = match now {
            Some(now) => now.check_serial(certified.serial).err(),
            None => Some(Refusal::NoUser(view.user.metadata.name.to_string())),
        };
        if why.is_none() && session.is_some_and(|id| logged_out(ask, id)) {
            return "you logged out".into();
        }
        if let Some(why) = why {
            tokio::time::sleep(AT_THE_HOST).await;
            return why.to_string();
        }
    }
}

fn logged_out(ask: &Ask, session: &str) -> bool {
    matches!(state::browser_session(ask.kv().as_ref(), session), Ok(None))
}
