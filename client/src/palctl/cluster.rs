//! `palctl cluster ...`.

use super::{Link, YesArg, confirm, status};
use crate::errors::{Failure, print};
use crate::http::fill;
use crate::profile::web_addr;
use palisade_core::api::{
    ClusterStatus, InitReply, InitRequest, JoinOrder, JoinToken, NewToken, Replacement, Transfer, path,
};
use palisade_core::name::Name;
use palisade_core::shown::Shown;
use reqwest::Method;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

const TOKEN_VARIABLE: &str = "PALISADE_JOIN_TOKEN";

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
    ///
    /// The token is a secret for as long as it is valid. As an argument other accounts of this machine can see it: give
    /// it by --token-file, as - on the input, or in PALISADE_JOIN_TOKEN instead.
    Join {
        /// The token from `palctl tokens add` on a member (or - to read it), and the HTTPS address of a member
        #[arg(required = true, num_args = 1..=2, value_names = ["TOKEN", "ADDR"])]
        words: Vec<String>,
        /// Read the token from this file
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Show the cluster
    Status(status::StatusArgs),
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

pub(super) async fn run(link: &Link, command: ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::Init { name, nodes } => init(link, name, nodes).await,
        ClusterCommand::Join { words, token_file } => {
            let given = Given {
                words,
                file: token_file,
                variable: std::env::var(TOKEN_VARIABLE).ok(),
            };
            let (token, addr) = given.resolve(&mut std::io::stdin().lock())?;
            join(link, token, &addr).await
        }
        ClusterCommand::Status(args) => status::run(link, &args).await.map(|_| ()),
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

/// How a join token may be given.
struct Given {
    words: Vec<String>,
    file: Option<PathBuf>,
    variable: Option<String>,
}

impl Given {
    /// Token and address. Says so where the token came in a way that others can see.
    fn resolve(self, input: &mut dyn Read) -> Result<(Zeroizing<String>, String), Failure> {
        let wrong = |what: &str| {
            Failure::usage(
                what,
                "give the token by --token-file FILE, as - on the input, or in PALISADE_JOIN_TOKEN",
            )
        };
        let mut words = self.words.into_iter();
        let (token, addr) = match (words.next(), words.next()) {
            (Some(token), Some(addr)) => (Some(token), addr),
            (Some(addr), None) => (None, addr),
            (None, _) => return Err(wrong("there is no address")),
        };
        let token = match (token.as_deref(), self.file, self.variable) {
            (Some(_), Some(_), _) => return Err(wrong("the token is given twice")),
            (Some("-"), None, _) => read_token(input, "the input")?,
            (Some(token), None, _) => {
                eprintln!(
                    "warning: a token in the arguments can be seen by other accounts of this machine and stays in the shell's history: use --token-file, - or {TOKEN_VARIABLE}"
                );
                Zeroizing::new(token.to_owned())
            }
            (None, Some(path), _) => {
                let shown = path.display().to_string();
                let mut file = File::open(&path).map_err(|e| wrong(&format!("{shown}: {e}")))?;
                read_token(&mut file, &shown)?
            }
            (None, None, Some(token)) => Zeroizing::new(token),
            (None, None, None) => return Err(wrong("there is no token")),
        };
        Ok((token, addr))
    }
}

fn read_token(mut from: &mut dyn Read, what: &str) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    Read::take(&mut from, 4096)
        .read_to_string(&mut text)
        .map_err(|e| Failure::new(format!("{what}: {e}"), "give a file that holds the token alone"))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
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

async fn join(link: &Link, token: Zeroizing<String>, addr: &str) -> Result<(), Failure> {
    if !token.starts_with("pj1.") || token.split('.').count() != 5 {
        return Err(Failure::usage(
            "this is no join token",
            "run `palctl tokens add` on a member and give what it prints",
        ));
    }
    let order = JoinOrder {
        token: token.to_string(),
        addr: web_addr(addr)?.to_string(),
    };
    let nodes = link.control()?.deadline(Duration::from_secs(120));
    let status: ClusterStatus = nodes.post(path::JOIN_ORDER, &order).await?;
    print(&format!(
        "This node joined cluster {}.\n\n{}",
        Shown(&status.cluster),
        status::text(&status)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_by_any_of_four_ways_and_by_one_of_them_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, "pj1.file\n").expect("written");
        let ask = |words: &[&str], file: Option<&PathBuf>, variable: Option<&str>| {
            let given = Given {
                words: words.iter().map(|w| (*w).to_owned()).collect(),
                file: file.cloned(),
                variable: variable.map(str::to_owned),
            };
            let resolved = given.resolve(&mut &b" pj1.input\n"[..]);
            resolved.map(|(token, addr)| (token.to_string(), addr)).ok()
        };
        let is = |token: &str| Some((token.to_owned(), "n1:3080".to_owned()));
        assert_eq!(
            ask(&["pj1.word", "n1:3080"], None, Some("pj1.variable")),
            is("pj1.word")
        );
        assert_eq!(
            ask(&["-", "n1:3080"], None, Some("pj1.variable")),
            is("pj1.input")
        );
        assert_eq!(
            ask(&["n1:3080"], Some(&file), Some("pj1.variable")),
            is("pj1.file")
        );
        assert_eq!(ask(&["n1:3080"], None, Some("pj1.variable")), is("pj1.variable"));
        assert_eq!(ask(&["n1:3080"], None, None), None);
        assert_eq!(ask(&["pj1.word", "n1:3080"], Some(&file), None), None);
        assert_eq!(ask(&["n1:3080"], Some(&folder.path().join("none")), None), None);
    }

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
