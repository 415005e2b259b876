//! `palctl hosts ...`.

use super::{FormatArg, Link, YesArg, all_records, confirm, name_of, text_at};
use crate::errors::{Failure, print};
use crate::http::{Nodes, fill};
use crate::output::{self, Table};
use palisade_core::api::{HostPage, path};
use palisade_core::name::Name;
use palisade_core::record::{AnyRecord, HostAddr, HostSpec, Kind, Labels, Record};
use reqwest::Method;
use ssh_key::PublicKey;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum HostsCommand {
    /// Add a plain OpenSSH server
    Add(AddArgs),
    /// List hosts
    Ls(FormatArg),
    /// Remove a host
    Rm {
        /// Its name
        name: String,
        #[command(flatten)]
        yes: YesArg,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// The name people will use
    name: String,
    /// Where its SSH server listens [default: NAME:22]
    #[arg(long, value_name = "HOST[:PORT]")]
    addr: Option<String>,
    /// Labels that roles select by: env=prod,role=db
    #[arg(long, value_delimiter = ',', value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Its host public key; not needed if it has a certificate from `palctl auth sign --host`
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// A line for people
    #[arg(long)]
    description: Option<String>,
}

pub(super) async fn run(link: &Link, command: HostsCommand) -> Result<(), Failure> {
    match command {
        HostsCommand::Add(args) => {
            let record = record(&args)?;
            let made = link
                .nodes()?
                .change(Method::POST, &fill(path::RECORDS, &["host"]), &record.to_json())
                .await;
            made.map_err(|e| match e.code() {
                Some("conflict") => Failure::new(
                    format!("there is a host {} already", args.name),
                    format!("change it with `palctl edit host/{}`", args.name),
                ),
                _ => e.into(),
            })?;
            print(&format!("Host {} was added.\n", args.name))?;
            if args.public_key.is_none() {
                print(&format!(
                    "It needs a host certificate: palctl auth sign --host {} --key /etc/ssh/ssh_host_ed25519_key.pub\n",
                    args.name
                ))?;
            }
            Ok(())
        }
        HostsCommand::Ls(format) => {
            let nodes = link.nodes()?;
            let mut hosts = all_records(&nodes, Kind::Host).await?;
            let online = online(&nodes).await?;
            for host in &mut hosts {
                if let Some(online) = online.get(&name_of(host)) {
                    host["online"] = (*online).into();
                }
            }
            output::list(format.format, &hosts, || {
                let mut table = Table::new(&["Host", "Address", "Labels", "Trusted by"]);
                for host in &hosts {
                    let pinned = !text_at(host, "/spec/public_key").is_empty();
                    let by = if pinned { "its key" } else { "certificate" };
                    let addr = match host["online"].as_bool() {
                        Some(true) => "agent, online".to_owned(),
                        Some(false) => "agent, offline".to_owned(),
                        None => text_at(host, "/spec/addr"),
                    };
                    table.row(&[
                        name_of(host),
                        addr,
                        text_at(host, "/metadata/labels"),
                        by.to_owned(),
                    ]);
                }
                table
            })
        }
        HostsCommand::Rm { name, yes } => {
            confirm(&format!("Remove host {name}"), yes.yes)?;
            link.nodes()?
                .delete(&fill(path::RECORD, &["host", &name]))
                .await?;
            print(&format!("Host {name} was removed.\n"))
        }
    }
}

/// Hosts with an agent, and whether it is connected.
async fn online(nodes: &Nodes) -> Result<BTreeMap<String, bool>, Failure> {
    let (mut all, mut after) = (BTreeMap::new(), String::new());
    loop {
        let query = [("after", after), ("limit", "1000".to_owned())];
        let page: HostPage = nodes.get(path::HOSTS, &query).await?;
        all.extend(
            page.items
                .into_iter()
                .filter_map(|host| Some((host.name, host.online?))),
        );
        if page.next.is_empty() {
            return Ok(all);
        }
        after = page.next;
    }
}

/// `key=value` pairs.
pub(super) fn labels(pairs: &[String]) -> Result<Labels, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(Failure::usage(
            format!("{text:?} is no label"),
            "write labels like env=prod,role=db",
        )),
    };
    pairs.iter().map(pair).collect()
}

fn record(args: &AddArgs) -> Result<AnyRecord, Failure> {
    let name =
        Name::parse(&args.name).map_err(|e| Failure::usage(e.to_string(), "correct it and try again"))?;
    let addr = args.addr.clone().unwrap_or_else(|| args.name.clone());
    let addr = HostAddr::parse(&addr)
        .or_else(|_| HostAddr::parse(&format!("{addr}:22")))
        .map_err(|e| Failure::usage(e.to_string(), "give --addr HOST:PORT"))?;
    let public_key = args
        .public_key
        .as_ref()
        .map(|file| public_key(file))
        .transpose()?;
    let mut spec = HostSpec::at(addr);
    spec.public_key = public_key;
    let mut record = Record::new(name, spec);
    record.metadata.labels = labels(&args.labels)?;
    record.metadata.description = args.description.clone().unwrap_or_default();
    Ok(record.into())
}

/// A host's public key from a file, without its comment.
pub(super) fn public_key(file: &std::path::Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| Failure::file(file, "read", &e))?;
    let private = "give the file that ends in .pub, like /etc/ssh/ssh_host_ed25519_key.pub";
    if text.contains("PRIVATE KEY") {
        return Err(Failure::usage(
            format!("{} is a private key", file.display()),
            private,
        ));
    }
    let key = PublicKey::from_openssh(text.trim())
        .map_err(|e| Failure::usage(format!("{} is no SSH public key: {e}", file.display()), private))?;
    PublicKey::new(key.key_data().clone(), "")
        .to_openssh()
        .map(|line| line.trim().to_owned())
        .map_err(|e| Failure::usage(format!("{} cannot be used: {e}", file.display()), private))
}
