//! `palctl cluster ...` and `palctl status`.

use super::{FormatArg, Link, YesArg, confirm};
use crate::errors::{Failure, print};
use crate::http::fill;
use crate::output::{self, Format, Table};
use crate::profile::web_addr;
use palisade_core::api::{
    ClusterStatus, InitReply, InitRequest, JoinOrder, JoinToken, NewToken, Transfer, path,
};
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
        #[arg(long, default_value = "main")]
        name: String,
        /// How many nodes it shall have: a join line is printed for each of the others
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=7))]
        nodes: u8,
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
        ClusterCommand::Init { name, nodes } => init(link, name, nodes).await,
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
        ClusterCommand::Transfer { to } => {
            let body = Transfer {
                to: to.unwrap_or_default(),
            };
            link.nodes()?.change(Method::POST, path::TRANSFER, &body).await?;
            print("Leadership was handed over.\n")
        }
    }
}

async fn init(link: &Link, name: String, wanted: u8) -> Result<(), Failure> {
    let name =
        Name::parse(&name).map_err(|e| Failure::usage(e.to_string(), "give --name a name like main"))?;
    let nodes = link.control()?.deadline(Duration::from_secs(60));
    let ask = InitRequest {
        cluster: name.to_string(),
    };
    let reply: InitReply = nodes.post(path::INIT, &ask).await?;
    let mut out = format!(
        "Cluster {name} {}.\n  Id:     {}\n  CA pin: {}\n",
        if reply.created {
            "made"
        } else {
            "was there already; nothing was changed"
        },
        Shown(&reply.cluster_id),
        Shown(&reply.ca_pin)
    );
    let mut tokens = Vec::new();
    // A second run is harmless: it makes no tokens that nobody asked for.
    for _ in 1..if reply.created { wanted } else { 1 } {
        let ask = NewToken {
            ttl_secs: 0,
            host: None,
        };
        tokens.push(nodes.post::<_, JoinToken>(path::TOKENS, &ask).await?);
    }
    out += &next_steps(&tokens);
    print(&out)
}

/// What comes after the first node. Each token has the cluster's id and pin in it, works once, and runs out.
fn next_steps(tokens: &[JoinToken]) -> String {
    let mut out = String::from("\nNext:\n");
    if let Some(first) = tokens.first() {
        out += &format!(
            "  on {}, one line each, until {}; a line works once:\n",
            if tokens.len() == 1 {
                "the other node".to_owned()
            } else {
                format!("the {} other nodes", tokens.len())
            },
            first.expires
        );
        for token in tokens {
            let addr = token.web_addrs.first().map_or("ADDRESS", String::as_str);
            out += &format!(
                "    palctl cluster join {} {}\n",
                Shown(&token.token),
                Shown(addr)
            );
        }
    } else {
        out += "  palctl tokens add                    a join line for each further node\n";
    }
    out + "  palctl users add NAME --roles ...    the first user\n"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_further_node_gets_a_line_of_its_own() {
        let token = |secret: &str| JoinToken {
            name: "t".into(),
            token: format!("pj1.id.pin.t.{secret}"),
            ca_pin: "sha256:pin".into(),
            expires: palisade_core::time::Timestamp::ZERO,
            web_addrs: vec!["n1:3080".into()],
        };
        let two = next_steps(&[token("one"), token("two")]);
        for line in [
            "palctl cluster join pj1.id.pin.t.one n1:3080",
            "palctl cluster join pj1.id.pin.t.two n1:3080",
            "2 other nodes",
            "until 1970",
        ] {
            assert!(two.contains(line), "{line:?} is not in {two}");
        }
        assert!(next_steps(&[]).contains("palctl tokens add"));
    }
}
