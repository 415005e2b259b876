//! `palctl tokens ...`.

use super::hosts::labels as read_labels;
use super::{FormatArg, Link, YesArg, all_records, confirm, name_of, text_at};
use crate::errors::{Failure, print};
use crate::http::fill;
use crate::output::{self, Format, Table};
use palisade_core::api::{JoinToken, NewToken, path};
use palisade_core::name::Name;
use palisade_core::record::{HostToken, Kind};
use palisade_core::shown::Shown;
use palisade_core::time::Ttl;

#[derive(Debug, clap::Subcommand)]
pub(super) enum TokensCommand {
    /// Make a token that lets one node join, or one host's agent
    Add {
        /// For the agent of a host instead of a node; with a name, for that host alone
        #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
        host: Option<String>,
        /// Labels of the host, such as env=prod,role=db
        #[arg(long, value_delimiter = ',', requires = "host")]
        labels: Vec<String>,
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
        TokensCommand::Add {
            host,
            labels,
            ttl,
            quiet,
            format,
        } => {
            let host = host.map(|name| host_token(&name, &labels)).transpose()?;
            let for_host = host.is_some();
            let ask = NewToken {
                ttl_secs: ttl.map_or(0, Ttl::ms).div_ceil(1000),
                host,
            };
            let made: JoinToken = link.nodes()?.post(path::TOKENS, &ask).await?;
            if quiet {
                return print(&format!("{}\n", Shown(&made.token)));
            }
            if format.format != Format::Text {
                return print(&output::data_text(format.format, &output::to_value(&made)?));
            }
            if for_host {
                return print(&format!(
                    "This token lets one host join, until {}. On the host, type this, and give the token when it waits for it:\n\n  {}\n\n  palisade agent join - {}\n  systemctl enable --now palisade-agent      (without a package: palisade agent start)\n\nRevoke it with: palctl tokens rm {}\n",
                    made.expires,
                    Shown(&made.token),
                    made.web_addrs
                        .iter()
                        .map(|addr| Shown(addr).to_string())
                        .collect::<Vec<_>>()
                        .join(" "),
                    Shown(&made.name)
                ));
            }
            let addr = made.web_addrs.first().map_or("ADDRESS", String::as_str);
            print(&format!(
                "This token lets one node join, until {}:\n\n  {}\n\nOn the new node, with `palisade node` running, type this, and give the token when it waits for it:\n  palctl cluster join - {}\n\nRevoke it with: palctl tokens rm {}\n",
                made.expires,
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

/// What the agent that uses the token may join as.
fn host_token(name: &str, labels: &[String]) -> Result<HostToken, Failure> {
    let name = match name {
        "" => None,
        name => {
            Some(Name::parse(name).map_err(|e| Failure::usage(e.to_string(), "correct it and try again"))?)
        }
    };
    Ok(HostToken {
        name,
        labels: read_labels(labels)?,
    })
}
