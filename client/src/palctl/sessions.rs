//! `palctl sessions ...`.

use super::{FormatArg, Link, YesArg, confirm};
use crate::errors::{Failure, print};
use crate::http::{CallError, Nodes, fill};
use crate::output::{self, Format, Table};
use palisade_core::api::{LiveSessions, path};

#[derive(Debug, clap::Subcommand)]
pub(super) enum SessionsCommand {
    /// List live sessions
    Ls(FormatArg),
    /// End a session
    End {
        /// Its id, as listed
        session: String,
        #[command(flatten)]
        yes: YesArg,
    },
}

pub(super) async fn run(link: &Link, command: SessionsCommand) -> Result<(), Failure> {
    match command {
        SessionsCommand::Ls(format) => ls(&link.nodes()?, format.format).await,
        SessionsCommand::End { session, yes } => {
            confirm(&format!("End session {session}"), yes.yes)?;
            link.nodes()?.delete(&fill(path::SESSION, &[&session])).await?;
            print(&format!("Session {session} was ended.\n"))
        }
    }
}

/// Prints the live sessions.
pub(crate) async fn ls(nodes: &Nodes, format: Format) -> Result<(), Failure> {
    let live: Result<LiveSessions, CallError> = nodes.get(path::SESSIONS, &[]).await;
    let live = live?.items;
    output::list(format, &live, || {
        let mut table = Table::new(&["Session", "User", "Login", "Host", "Kind", "From", "Node", "Started"]);
        for s in &live {
            table.row(&[
                s.session.clone(),
                s.user.clone(),
                s.login.clone(),
                s.host.clone(),
                s.kind.clone(),
                s.client_addr.clone(),
                s.node.to_string(),
                s.started.to_string(),
            ]);
        }
        table
    })
}
