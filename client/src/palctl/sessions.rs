//! `palctl sessions ...`.

use super::{FormatArg, Link, YesArg, confirm};
use crate::errors::{Failure, print};
use crate::http::fill;
use palisade_core::api::path;

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
        SessionsCommand::Ls(format) => crate::live::ls(&link.nodes()?, format.format).await,
        SessionsCommand::End { session, yes } => {
            confirm(&format!("End session {session}"), yes.yes)?;
            link.nodes()?.delete(&fill(path::SESSION, &[&session])).await?;
            print(&format!("Session {session} was ended.\n"))
        }
    }
}
