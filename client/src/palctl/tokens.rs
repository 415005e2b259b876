//! `palctl tokens ...`.

use super::{FormatArg, Link, YesArg, all_records, confirm, name_of, text_at};
use crate::errors::{Failure, print};
use crate::http::fill;
use crate::output::{self, Format, Table};
use palisade_core::api::{JoinToken, NewToken, path};
use palisade_core::record::Kind;
use palisade_core::shown::Shown;
use palisade_core::time::Ttl;

#[derive(Debug, clap::Subcommand)]
pub(super) enum TokensCommand {
    /// Make a token that lets one node join
    Add {
        /// How long it may be used [default: 30m]
        #[arg(long, value_parser = Ttl::parse)]
        ttl: Option<Ttl>,
        /// Print the token alone
        #[arg(long, short)]
        quiet: bool,
        #[command(flatten)]
        format: FormatArg,
    },
    /// List tokens
    Ls(FormatArg),
    /// Revoke a token
    Rm {
        /// Its name, as listed
        name: String,
        #[command(flatten)]
        yes: YesArg,
    },
}

pub(super) async fn run(link: &Link, command: TokensCommand) -> Result<(), Failure> {
    match command {
        TokensCommand::Add { ttl, quiet, format } => {
            let ask = NewToken {
                ttl_secs: ttl.map_or(0, Ttl::ms).div_ceil(1000),
            };
            let made: JoinToken = link.nodes()?.post(path::TOKENS, &ask).await?;
            if quiet {
                return print(&format!("{}\n", Shown(&made.token)));
            }
            if format.format != Format::Text {
                return print(&output::data_text(format.format, &output::to_value(&made)?));
            }
            let addr = made.web_addrs.first().map_or("ADDRESS", String::as_str);
            print(&format!(
                "This token lets one node join, until {}:\n\n  {}\n\nOn the new node, with `palisade node` running, type:\n  palctl cluster join {} {}\n\nRevoke it with: palctl tokens rm {}\n",
                made.expires,
                Shown(&made.token),
                Shown(&made.token),
                Shown(addr),
                Shown(&made.name)
            ))
        }
        TokensCommand::Ls(format) => {
            let tokens = all_records(&link.nodes()?, Kind::Token).await?;
            output::list(format.format, &tokens, || {
                let mut table = Table::new(&["Token", "Expires"]);
                for token in &tokens {
                    table.row(&[name_of(token), text_at(token, "/metadata/expires")]);
                }
                table
            })
        }
        TokensCommand::Rm { name, yes } => {
            confirm(&format!("Revoke token {name}"), yes.yes)?;
            link.nodes()?
                .delete(&fill(path::RECORD, &["token", &name]))
                .await?;
            print(&format!("Token {name} was revoked.\n"))
        }
    }
}
