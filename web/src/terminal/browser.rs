//! Who is at a socket, by its first frame.

use crate::ask::{Ask, Fresh, Who};
use crate::error::Failure;
use palisade_core::access::{Refusal, View};
use palisade_core::terminal::Open;
use std::time::Duration;

/// How long a host may take to end a terminal by itself, and to say why, before its socket ends.
const AT_THE_HOST: Duration = Duration::from_secs(2);

/// Who opens a terminal: whoever the connection's credential says.
pub(super) async fn who_opens(ask: &Ask, _: &Open) -> Result<Who, Failure> {
    ask.who(Fresh::Linear).await
}

/// Ready, with the reason, when the login is void by which a terminal was opened. What a role or a lock takes away ends at
/// the host, which says so and writes it down; this comes after that.
pub(super) async fn gone(ask: &Ask, who: &Who) -> String {
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
        if let Some(why) = why {
            tokio::time::sleep(AT_THE_HOST).await;
            return why.to_string();
        }
    }
}
