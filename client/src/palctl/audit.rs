//! `palctl audit ...`.

use super::Link;
use crate::errors::{Failure, print};
use crate::http::{CallError, Nodes, fill};
use crate::output::{self, Format, Table};
use crate::save::save;
use crate::verify::{Report, Verifier};
use crate::when::moment;
use palisade_core::api::{AuditItem, AuditPage, AuditSearch, AuthorityView, path};
use palisade_core::shown::Shown;
use palisade_core::time::Timestamp;
use ssh_key::PublicKey;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub(super) enum AuditCommand {
    /// Search the audit log
    Search(SearchArgs),
    /// Write the whole log into a file, for offline verification
    Export {
        /// The file [default: standard output]
        #[arg(short = 'o', long = "out", value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check that nothing in the log was changed: the cluster's, or an exported file without any cluster
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct SearchArgs {
    /// Not before: 2026-11-22T10:00:00Z, or 2h for two hours ago
    #[arg(long, alias = "from-utc", value_parser = moment)]
    from: Option<Timestamp>,
    /// Before
    #[arg(long, alias = "to-utc", value_parser = moment)]
    to: Option<Timestamp>,
    /// This user
    #[arg(long, default_value = "")]
    user: String,
    /// This host
    #[arg(long, default_value = "")]
    host: String,
    /// This event, or the beginning of one: session.
    #[arg(long, alias = "type", default_value = "")]
    event: String,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// All of them, page by page
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    all: bool,
    /// Oldest first
    #[arg(long)]
    oldest_first: bool,
    /// From the page before
    #[arg(long, default_value = "")]
    cursor: String,
    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Text that appears anywhere in the event
    #[arg(default_value = "")]
    text: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// An exported file, or - for standard input [default: the cluster's log]
    file: Option<PathBuf>,
    /// The audit authority's public key, from `palctl auth export --type audit`; without it a file is trusted to name its own
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn run(link: &Link, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Search(args) => search(&link.nodes()?, &args).await,
        AuditCommand::Export { out } => {
            let response = link.nodes()?.stream(path::AUDIT_EXPORT, &[]).await?;
            save(response, out.as_deref()).await
        }
        AuditCommand::Verify(args) => verify(link, &args).await,
    }
}

fn query(search: &AuditSearch) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("from", search.from.clone()),
        ("to", search.to.clone()),
        ("user", search.user.clone()),
        ("host", search.host.clone()),
        ("event", search.event.clone()),
        ("text", search.text.clone()),
        ("cursor", search.cursor.clone()),
    ];
    pairs.retain(|(_, value)| !value.is_empty());
    pairs.push(("limit", search.limit.to_string()));
    if search.oldest_first {
        pairs.push(("oldest_first", "true".into()));
    }
    pairs
}

async fn search(nodes: &Nodes, args: &SearchArgs) -> Result<(), Failure> {
    let text = |at: Option<Timestamp>| at.map(|t| t.to_string()).unwrap_or_default();
    let mut ask = AuditSearch {
        from: text(args.from),
        to: text(args.to),
        user: args.user.clone(),
        host: args.host.clone(),
        event: args.event.clone(),
        text: args.text.clone(),
        limit: if args.all { 1000 } else { args.limit },
        oldest_first: args.oldest_first,
        cursor: args.cursor.clone(),
    };
    let wanted = if args.all { usize::MAX } else { args.limit as usize };
    let mut page = AuditPage {
        items: Vec::new(),
        cursor: String::new(),
    };
    loop {
        let next: AuditPage = nodes.get(path::AUDIT, &query(&ask)).await?;
        page.items.extend(next.items);
        // A rare event may be behind several short pages. A cursor that stands still would keep us for ever.
        let stuck = next.cursor == ask.cursor;
        page.cursor = next.cursor.clone();
        if page.items.len() >= wanted || next.cursor.is_empty() || stuck {
            break;
        }
        ask.cursor = next.cursor;
        ask.limit = u32::try_from(wanted - page.items.len()).unwrap_or(1000).min(1000);
    }
    match args.format {
        Format::Text => {
            print(&table(&page.items).render())?;
            if !page.cursor.is_empty() {
                eprintln!("There is more: --cursor {}", Shown(&page.cursor));
            }
            Ok(())
        }
        format => print(&output::data_text(format, &output::to_value(&page)?)),
    }
}

fn table(items: &[AuditItem]) -> Table {
    let mut table = Table::new(&["Seq", "Time", "Code", "Event", "User", "Host", "About"]);
    for item in items {
        let event = &item.event;
        let login = if event.login.is_empty() {
            String::new()
        } else {
            format!("{}@", event.login)
        };
        let about = [
            event.target.as_str(),
            event.message.as_str(),
            event.session.as_str(),
        ];
        let about: Vec<&str> = about.into_iter().filter(|part| !part.is_empty()).collect();
        table.row(&[
            item.seq.to_string(),
            event.time.to_string(),
            item.code.clone(),
            event.event.name().to_owned(),
            event.user.clone(),
            if event.host.is_empty() {
                String::new()
            } else {
                format!("{login}{}", event.host)
            },
            about.join(": "),
        ]);
    }
    table
}

fn bad(fault: crate::verify::Fault) -> Failure {
    Failure::new(
        format!("the audit log does NOT verify: {fault}"),
        "keep this copy, verify an older export or backup, and find out who could write to the nodes' disks",
    )
}

async fn verify(link: &Link, args: &VerifyArgs) -> Result<(), Failure> {
    let given = match &args.authority {
        None => None,
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|e| Failure::file(file, "read", &e))?;
            let key = PublicKey::from_openssh(text.trim()).map_err(|e| {
                Failure::usage(
                    format!("{} is no public key: {e}", file.display()),
                    "give what `palctl auth export --type audit` printed",
                )
            })?;
            Some(key)
        }
    };
    let report = match &args.file {
        Some(file) => verify_file(file, given.clone())?,
        None => verify_cluster(&link.nodes()?, given.clone()).await?,
    };
    if args.format != Format::Text {
        return print(&output::data_text(args.format, &output::to_value(&report)?));
    }
    print(&text(&report))?;
    if args.file.is_some() && given.is_none() {
        eprintln!("note: the file names its own authority; compare the fingerprint, or give --authority");
    }
    Ok(())
}

async fn verify_cluster(nodes: &Nodes, mut given: Option<PublicKey>) -> Result<Report, Failure> {
    if given.is_none() {
        let view: Result<AuthorityView, CallError> = nodes.get(&fill(path::AUTHORITY, &["audit"]), &[]).await;
        given = PublicKey::from_openssh(view?.public.trim()).ok();
    }
    let mut verifier = Verifier::new(given);
    let mut response = nodes.stream(path::AUDIT_EXPORT, &[]).await?;
    let broken = |e: reqwest::Error| Failure::new(format!("the export broke off: {e}"), "try again");
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        verifier.feed(&chunk).map_err(bad)?;
    }
    verifier.finish().map_err(bad)
}

fn verify_file(file: &Path, given: Option<PublicKey>) -> Result<Report, Failure> {
    let failed = |e: std::io::Error| Failure::file(file, "read", &e);
    let mut input: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(file).map_err(failed)?),
    };
    let mut verifier = Verifier::new(given);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match input.read(&mut buffer).map_err(failed)? {
            0 => return verifier.finish().map_err(bad),
            n => verifier.feed(&buffer[..n]).map_err(bad)?,
        }
    }
}

fn text(report: &Report) -> String {
    let rest = report.entries - report.covered;
    let tail = match rest {
        0 => String::new(),
        n => format!(" ({n} newer entries are not signed yet)"),
    };
    format!(
        "The audit log is good.\n  Entries:   {}, of which {} are under a signed head{tail}\n  Heads:     {} checked, the last signed at {}\n  Authority: {}\n  Cluster:   {}\n",
        report.entries,
        report.covered,
        report.heads,
        report.signed,
        report.authority,
        Shown(&report.cluster_id)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_narrows_is_asked() {
        let ask = AuditSearch {
            user: "alice".into(),
            limit: 5,
            ..AuditSearch::default()
        };
        assert_eq!(
            query(&ask),
            [("user", "alice".to_owned()), ("limit", "5".to_owned())]
        );
    }
}
