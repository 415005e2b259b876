//! `palctl cluster ...` and `palctl status`.

use super::{FormatArg, Link, YesArg, confirm};
use crate::errors::{Failure, print};
use crate::http::fill;
use crate::output::{self, Format, Table};
use crate::profile::web_addr;
use palisade_core::api::{ClusterStatus, InitReply, InitRequest, JoinOrder, Replacement, Transfer, path};
use palisade_core::name::Name;
use palisade_core::shown::Shown;
use reqwest::Method;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Subcommand)]
pub(super) enum ClusterCommand {
    /// Make a cluster of this node; run it on one node only
    Init {
        /// The cluster's name
        #[arg(long)]
        name: String,
    },
    /// Let this node join a cluster
    Join {
        /// From `palctl tokens add` on a member
        #[arg(env = "PALISADE_JOIN_TOKEN", hide_env_values = true)]
        token: String,
        /// HTTPS address of a member
        addr: String,
    },
    /// Show the cluster
    Status(StatusArgs),
    /// Take a node out of the cluster
    Leave {
        /// The node's name
        node: String,
        #[command(flatten)]
        yes: YesArg,
    },
    /// Let one node take another's place, at no time without a quorum
    Replace {
        /// The node that goes
        old: String,
        /// The node that stays in its place: a member already, whether it votes yet or not
        #[arg(long)]
        with: String,
        /// Also if the node that goes answers while another does not
        #[arg(long)]
        healthy: bool,
        #[command(flatten)]
        yes: YesArg,
    },
    /// Hand leadership over
    Transfer {
        /// To this node [default: whichever is best]
        #[arg(long)]
        to: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    format: FormatArg,
}

pub(super) async fn run(link: &Link, command: ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::Init { name } => init(link, name).await,
        ClusterCommand::Join { token, addr } => join(link, token, &addr).await,
        ClusterCommand::Status(args) => status(link, &args).await.map(|_| ()),
        ClusterCommand::Leave { node, yes } => {
            confirm(&format!("Take node {node} out of the cluster"), yes.yes)?;
            // A leader hands over first, and the log must agree.
            let nodes = link.nodes()?.deadline(Duration::from_secs(60));
            nodes.delete(&fill(path::NODE, &[&node])).await?;
            print(&format!(
                "Node {node} is no longer a member. Its data directory may be removed.\n"
            ))
        }
        ClusterCommand::Replace {
            old,
            with,
            healthy,
            yes,
        } => {
            let node = |name: &str| {
                Name::parse(name)
                    .map_err(|e| Failure::usage(e.to_string(), "`palctl cluster status` lists the nodes"))
            };
            let body = Replacement {
                old: node(&old)?,
                with: node(&with)?,
                healthy,
            };
            confirm(
                &format!("Take node {old} out of the cluster, with {with} in its place"),
                yes.yes,
            )?;
            // The newcomer may have to catch up first.
            let nodes = link.nodes()?.deadline(Duration::from_secs(90));
            nodes.change(Method::POST, path::REPLACE, &body).await?;
            print(&format!(
                "Node {with} has taken the place of {old}, whose data directory may be removed.\n"
            ))
        }
        ClusterCommand::Transfer { to } => {
            let body = Transfer {
                to: to.unwrap_or_default(),
            };
            link.nodes()?.change(Method::POST, path::TRANSFER, &body).await?;
            print("Leadership was handed over.\n")
        }
    }
}

async fn init(link: &Link, name: String) -> Result<(), Failure> {
    let name =
        Name::parse(&name).map_err(|e| Failure::usage(e.to_string(), "give --name a name like main"))?;
    let nodes = link.control()?.deadline(Duration::from_secs(60));
    let reply: InitReply = nodes
        .post(
            path::INIT,
            &InitRequest {
                cluster: name.to_string(),
            },
        )
        .await?;
    let first = if reply.created {
        "made"
    } else {
        "was there already; nothing was changed"
    };
    print(&format!(
        "Cluster {name} {first}.\n  Id:     {}\n  CA pin: {}\n\nNext:\n  palctl tokens add                    a token for each further node\n  palctl users add NAME --roles ...    the first user\n",
        Shown(&reply.cluster_id),
        Shown(&reply.ca_pin)
    ))
}

async fn join(link: &Link, token: String, addr: &str) -> Result<(), Failure> {
    if !token.starts_with("pj1.") || token.split('.').count() != 5 {
        return Err(Failure::usage(
            "this is no join token",
            "run `palctl tokens add` on a member and give what it prints",
        ));
    }
    let order = JoinOrder {
        token,
        addr: web_addr(addr)?.to_string(),
    };
    let nodes = link.control()?.deadline(Duration::from_secs(120));
    let status: ClusterStatus = nodes.post(path::JOIN_ORDER, &order).await?;
    print(&format!(
        "This node joined cluster {}.\n\n{}",
        Shown(&status.cluster),
        text(&status)
    ))
}

pub(super) async fn status(link: &Link, args: &StatusArgs) -> Result<ExitCode, Failure> {
    let status: ClusterStatus = link.nodes()?.get(path::STATUS, &[]).await?;
    match args.format.format {
        Format::Text => print(&text(&status))?,
        format => print(&output::data_text(format, &output::to_value(&status)?))?,
    }
    // So that a script notices without reading.
    Ok(if status.cluster.is_empty() || status.quorum {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn text(status: &ClusterStatus) -> String {
    if status.cluster.is_empty() {
        return "This node is in no cluster yet: run `palctl cluster init` or `palctl cluster join` on it.\n"
            .into();
    }
    let leader = status
        .leader
        .and_then(|id| status.nodes.iter().find(|n| n.id == id));
    let mut out = format!(
        "Cluster:   {} ({})\nVersion:   {}\nCA pin:    {}\nQuorum:    {}\nLeader:    {}\nTerm:      {}, log {}, applied {}\nDisk:      {} MiB free, sync p99 {}\nMay lose:  {} more node(s)\n\n",
        Shown(&status.cluster),
        Shown(&status.cluster_id),
        Shown(&status.version),
        Shown(&status.ca_pin),
        if status.quorum { "yes" } else { "NO" },
        leader.map_or("none".to_owned(), |n| format!("{} (id {})", Shown(&n.name), n.id)),
        status.term,
        status.last_index,
        status.applied_index,
        status.disk_free_bytes / (1024 * 1024),
        if status.fsync_p99_us == 0 {
            "-".to_owned()
        } else {
            format!("{:.1} ms", status.fsync_p99_us as f64 / 1000.0)
        },
        status.failure_tolerance,
    );
    let mut table = Table::new(&[
        "Node", "Id", "Role", "Votes", "Answers", "Lag", "HTTPS", "SSH", "Peer",
    ]);
    for node in &status.nodes {
        let yes = |b: bool| if b { "yes" } else { "no" }.to_owned();
        let name = if node.id == status.node {
            format!("{} *", node.name)
        } else {
            node.name.clone()
        };
        table.row(&[
            name,
            node.id.to_string(),
            node.role.clone(),
            yes(node.voter),
            yes(node.reachable),
            node.lag.map_or("-".into(), |n| n.to_string()),
            node.web_addr.clone(),
            node.ssh_addr.clone(),
            node.peer_addr.clone(),
        ]);
    }
    out += &table.render();
    for advice in &status.advice {
        out += &format!("\n! {}", Shown(advice));
    }
    if !status.advice.is_empty() {
        out.push('\n');
    }
    out
}
