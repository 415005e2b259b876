//! `palctl lock` and `palctl locks ...`.

use super::{FormatArg, Link, YesArg, all_records, confirm, name_of, text_at};
use crate::errors::{Failure, print};
use crate::http::fill;
use crate::output::{self, Table};
use crate::profile::now;
use palisade_core::api::path;
use palisade_core::name::{Login, Name};
use palisade_core::record::{AnyRecord, Kind, LockSpec, LockTarget, Record};
use palisade_core::time::Ttl;
use reqwest::Method;

#[derive(Debug, clap::Args)]
#[group(id = "target", required = true, multiple = true, args = ["user", "role", "login", "host"])]
pub(super) struct LockArgs {
    /// This user
    #[arg(long)]
    user: Option<Name>,
    /// Every holder of this role
    #[arg(long)]
    role: Option<Name>,
    /// This account on any host
    #[arg(long)]
    login: Option<Login>,
    /// This host
    #[arg(long, alias = "node")]
    host: Option<Name>,
    /// What the locked out person reads
    #[arg(long, default_value = "")]
    message: String,
    /// How long [default: until it is removed]
    #[arg(long, value_parser = Ttl::parse)]
    ttl: Option<Ttl>,
    /// The lock's name [default: made up]
    #[arg(long)]
    name: Option<Name>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum LocksCommand {
    /// List locks
    Ls(FormatArg),
    /// Remove a lock
    Rm {
        /// Its name, as listed
        name: String,
        #[command(flatten)]
        yes: YesArg,
    },
}

pub(super) async fn lock(link: &Link, args: LockArgs) -> Result<(), Failure> {
    let target = LockTarget {
        user: args.user,
        role: args.role,
        login: args.login,
        host: args.host,
    };
    let made_up = || {
        Name::parse(&format!(
            "lock-{}",
            &uuid::Uuid::new_v4().simple().to_string()[..12]
        ))
    };
    let name = match args.name {
        Some(name) => name,
        None => made_up().map_err(|e| Failure::new(e.to_string(), "give --name"))?,
    };
    let shown = target.shown();
    let mut record = Record::new(
        name.clone(),
        LockSpec {
            target,
            message: args.message,
        },
    );
    record.metadata.expires = args.ttl.map(|ttl| now().plus_ms(ttl.ms()));
    let record: AnyRecord = record.into();
    link.nodes()?
        .change(Method::POST, &fill(path::RECORDS, &["lock"]), &record.to_json())
        .await?;
    print(&format!(
        "Locked: {shown}. Open sessions are being ended.\nUndo it with: palctl locks rm {name}\n"
    ))
}

pub(super) async fn run(link: &Link, command: LocksCommand) -> Result<(), Failure> {
    match command {
        LocksCommand::Ls(format) => {
            let locks = all_records(&link.nodes()?, Kind::Lock).await?;
            output::list(format.format, &locks, || {
                let mut table = Table::new(&["Lock", "Target", "Message", "Expires"]);
                for lock in &locks {
                    table.row(&[
                        name_of(lock),
                        text_at(lock, "/spec/target"),
                        text_at(lock, "/spec/message"),
                        text_at(lock, "/metadata/expires"),
                    ]);
                }
                table
            })
        }
        LocksCommand::Rm { name, yes } => {
            confirm(&format!("Remove lock {name}"), yes.yes)?;
            link.nodes()?
                .delete(&fill(path::RECORD, &["lock", &name]))
                .await?;
            print(&format!("Lock {name} was removed.\n"))
        }
    }
}
