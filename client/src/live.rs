//! The list of live sessions, which people and operators see alike.

use crate::errors::Failure;
use crate::http::{CallError, Nodes};
use crate::output::{self, Format, Table};
use palisade_core::api::{LiveSessions, path};

/// Prints the live sessions.
pub async fn ls(nodes: &Nodes, format: Format) -> Result<(), Failure> {
    let live: Result<LiveSessions, CallError> = nodes.get(path::SESSIONS, &[]).await;
    let live = live?.items;
    output::list(format, &live, || {
        let mut table = Table::new(&[
            "Session",
            "User",
            "Login",
            "Host",
            "Kind",
            "Participants",
            "From",
            "Node",
            "Started",
        ]);
        for s in &live {
            table.row(&[
                s.session.clone(),
                s.user.clone(),
                s.login.clone(),
                s.host.clone(),
                s.kind.clone(),
                s.participants
                    .iter()
                    .map(|one| format!("{} ({})", one.user, one.mode))
                    .collect::<Vec<_>>()
                    .join(", "),
                s.client_addr.clone(),
                s.node.to_string(),
                s.started.to_string(),
            ]);
        }
        table
    })
}
