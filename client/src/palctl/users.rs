//! `palctl users ...`.

use super::{FormatArg, Link, YesArg, all_records, confirm, name_of, text_at};
use crate::errors::{Failure, print};
use crate::http::{Nodes, fill};
use crate::output::{self, Table};
use palisade_core::api::{InviteLink, NewInvite, path};
use palisade_core::name::{Login, Name};
use palisade_core::record::{AnyRecord, Kind, Record, UserSpec};
use palisade_core::shown::Shown;
use palisade_core::time::Ttl;
use reqwest::Method;

#[derive(Debug, clap::Subcommand)]
pub(super) enum UsersCommand {
    /// Make a user and print an invite
    Add {
        /// The user's name
        name: String,
        /// Roles, with commas
        #[arg(long, value_delimiter = ',', required = true)]
        roles: Vec<String>,
        /// Accounts on hosts that {{internal.logins}} in roles stands for, with commas
        #[arg(long, value_delimiter = ',')]
        logins: Vec<String>,
        /// How long the invite may be used [default: 1h]
        #[arg(long, value_parser = Ttl::parse)]
        ttl: Option<Ttl>,
        #[command(flatten)]
        format: FormatArg,
    },
    /// List users
    Ls(FormatArg),
    /// Remove a user
    Rm {
        /// The user's name
        name: String,
        #[command(flatten)]
        yes: YesArg,
    },
    /// Print an invite to choose a new password and second factor; the old ones work until it is used
    Reset {
        /// The user's name
        name: String,
        /// How long it may be used [default: 1h]
        #[arg(long, value_parser = Ttl::parse)]
        ttl: Option<Ttl>,
        #[command(flatten)]
        format: FormatArg,
    },
}

pub(super) async fn run(link: &Link, command: UsersCommand) -> Result<(), Failure> {
    match command {
        UsersCommand::Add {
            name,
            roles,
            logins,
            ttl,
            format,
        } => {
            let user = record(&name, &roles, &logins)?;
            let nodes = link.nodes()?;
            let made = nodes
                .change(Method::POST, &fill(path::RECORDS, &["user"]), &user.to_json())
                .await;
            made.map_err(|e| match e.code() {
                Some("conflict") => Failure::new(
                    format!("there is a user {name} already"),
                    format!("for a new invite run `palctl users reset {name}`"),
                ),
                _ => e.into(),
            })?;
            invite(&nodes, &name, ttl, format, "User {} was made.").await
        }
        UsersCommand::Ls(format) => {
            let users = all_records(&link.nodes()?, Kind::User).await?;
            output::list(format.format, &users, || {
                let mut table = Table::new(&["User", "Roles", "Logins"]);
                for user in &users {
                    table.row(&[
                        name_of(user),
                        text_at(user, "/spec/roles"),
                        text_at(user, "/spec/traits/logins"),
                    ]);
                }
                table
            })
        }
        UsersCommand::Rm { name, yes } => {
            confirm(&format!("Remove user {name}"), yes.yes)?;
            link.nodes()?
                .delete(&fill(path::RECORD, &["user", &name]))
                .await?;
            print(&format!("User {name} was removed.\n"))
        }
        UsersCommand::Reset { name, ttl, format } => {
            invite(
                &link.nodes()?,
                &name,
                ttl,
                format,
                "User {} may choose a new password.",
            )
            .await
        }
    }
}

fn record(name: &str, roles: &[String], logins: &[String]) -> Result<AnyRecord, Failure> {
    let bad = |e: palisade_core::name::BadName| Failure::usage(e.to_string(), "correct it and try again");
    let name = Name::parse(name).map_err(bad)?;
    let roles = roles
        .iter()
        .map(|r| Name::parse(r.trim()))
        .collect::<Result<_, _>>()
        .map_err(bad)?;
    let mut spec = UserSpec {
        roles,
        ..UserSpec::default()
    };
    if !logins.is_empty() {
        let logins = logins
            .iter()
            .map(|l| Login::parse(l.trim()).map(String::from))
            .collect::<Result<_, _>>();
        spec.traits.insert("logins".into(), logins.map_err(bad)?);
    }
    Ok(Record::new(name, spec).into())
}

async fn invite(
    nodes: &Nodes,
    name: &str,
    ttl: Option<Ttl>,
    format: FormatArg,
    done: &str,
) -> Result<(), Failure> {
    let ask = NewInvite {
        ttl_secs: ttl.map_or(0, Ttl::ms).div_ceil(1000),
    };
    let link: InviteLink = nodes.post(&fill(path::INVITES, &[name]), &ask).await?;
    if format.format != output::Format::Text {
        return print(&output::data_text(format.format, &output::to_value(&link)?));
    }
    print(&format!(
        "{}\nSend this link to them, by a way that only they read. It works once, until {}:\n\n  {}\n\nCA pin: {}\n\nThey open it in a browser, or type:\n  pal invite accept '{}' --ca-pin {}\n",
        done.replacen("{}", &Shown(&link.user).to_string(), 1),
        link.expires,
        Shown(&link.url),
        Shown(&link.ca_pin),
        Shown(&link.url),
        Shown(&link.ca_pin),
    ))
}
