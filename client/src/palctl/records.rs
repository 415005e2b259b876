//! `palctl get | create | edit | rm`.

use super::{Link, YesArg, all_records, confirm, name_of, text_at};
use crate::errors::{Failure, print};
use crate::http::{CallError, Nodes, fill};
use crate::output::{self, Format, Table};
use crate::profile;
use crate::ssh_config::shell_word;
use palisade_core::api::path;
use palisade_core::record::{AnyRecord, Kind, parse_records};
use reqwest::Method;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// What to show: users, roles, role/ops, hosts, ...; several with commas
    #[arg(value_name = "KIND[/NAME]")]
    what: String,
    /// How to show it
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// The file, or - for standard input
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE",
        required_unless_present = "file"
    )]
    filename: Option<PathBuf>,
    /// The same, without -f
    #[arg(conflicts_with = "filename", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Change records that are there already
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct EditArgs {
    /// The record
    #[arg(value_name = "KIND/NAME")]
    what: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct RmArgs {
    /// The record
    #[arg(value_name = "KIND/NAME")]
    what: String,
    #[command(flatten)]
    yes: YesArg,
}

/// `role`, `roles`, `role/ops`.
fn reference(text: &str) -> Result<(Kind, Option<&str>), Failure> {
    let (kind, name) = match text.split_once('/') {
        Some((kind, name)) if !name.is_empty() => (kind, Some(name)),
        Some((kind, _)) => (kind, None),
        None => (text, None),
    };
    let kind = Kind::parse(kind).map_err(|e| {
        let all: Vec<_> = Kind::ALL.iter().map(|k| k.as_str()).collect();
        Failure::usage(e.to_string(), format!("the kinds are {}", all.join(", ")))
    })?;
    Ok((kind, name))
}

fn one(text: &str) -> Result<(Kind, &str), Failure> {
    match reference(text)? {
        (kind, Some(name)) => Ok((kind, name)),
        (kind, None) => Err(Failure::usage(
            format!("{text} names no record"),
            format!("write it like {kind}/NAME; `palctl get {kind}` lists them"),
        )),
    }
}

async fn fetch(nodes: &Nodes, kind: Kind, name: &str) -> Result<Value, CallError> {
    nodes.get(&fill(path::RECORD, &[kind.as_str(), name]), &[]).await
}

pub(super) async fn get(link: &Link, args: &GetArgs) -> Result<(), Failure> {
    let wanted = args
        .what
        .split(',')
        .map(reference)
        .collect::<Result<Vec<_>, _>>()?;
    let nodes = link.nodes()?;
    let mut found = Vec::new();
    for (kind, name) in &wanted {
        match name {
            Some(name) => found.push(fetch(&nodes, *kind, name).await?),
            None => found.extend(all_records(&nodes, *kind).await?),
        }
    }
    match args.format {
        // Documents that `palctl create` reads back.
        Format::Yaml => print(&found.iter().map(output::yaml).collect::<Vec<_>>().join("---\n")),
        Format::Json => match (&found[..], &wanted[..]) {
            ([single], [(_, Some(_))]) => print(&output::json(single)),
            _ => print(&output::json(&Value::Array(found))),
        },
        Format::Text => {
            let mut table = Table::new(&["Kind", "Name", "Labels", "Expires", "Revision"]);
            for record in &found {
                table.row(&[
                    text_at(record, "/kind"),
                    name_of(record),
                    text_at(record, "/metadata/labels"),
                    text_at(record, "/metadata/expires"),
                    text_at(record, "/metadata/revision"),
                ]);
            }
            print(&table.render())
        }
    }
}

/// Reads a file that may be `-`, up to a size that no set of records has.
fn read(file: &Path) -> Result<String, Failure> {
    const MOST: u64 = 16 * 1024 * 1024;
    let mut text = String::new();
    let failed = |e: &std::io::Error| Failure::file(file, "read", e);
    if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MOST)
            .read_to_string(&mut text)
            .map_err(|e| failed(&e))?;
    } else {
        let open = std::fs::File::open(file).map_err(|e| failed(&e))?;
        open.take(MOST)
            .read_to_string(&mut text)
            .map_err(|e| failed(&e))?;
    }
    Ok(text)
}

fn parse(text: &str, from: &str) -> Result<Vec<AnyRecord>, Failure> {
    let records = parse_records(text)
        .map_err(|e| Failure::new(format!("{from}: {e}"), "correct it; nothing was changed"))?;
    if records.is_empty() {
        return Err(Failure::new(
            format!("{from} holds no record"),
            "give records as `palctl get` shows them",
        ));
    }
    Ok(records)
}

pub(super) async fn create(link: &Link, args: &CreateArgs) -> Result<(), Failure> {
    let file = args.filename.as_ref().or(args.file.as_ref());
    let file =
        file.ok_or_else(|| Failure::usage("there is no file", "give -f FILE, or -f - for standard input"))?;
    // All are read before the first is sent: a slip in the last leaves nothing half done.
    let records = parse(&read(file)?, &file.display().to_string())?;
    let nodes = link.nodes()?;
    for record in records {
        let (kind, name) = (record.kind(), record.metadata().name.to_string());
        let made = nodes
            .change(
                Method::POST,
                &fill(path::RECORDS, &[kind.as_str()]),
                &record.to_json(),
            )
            .await;
        match made {
            Ok(_) => print(&format!("{kind}/{name} was created.\n"))?,
            Err(e) if e.code() == Some("conflict") && args.force => {
                replace(&nodes, record).await?;
                print(&format!("{kind}/{name} was changed.\n"))?;
            }
            Err(e) if e.code() == Some("conflict") => {
                return Err(Failure::new(
                    format!("there is a {kind} {name} already"),
                    format!("use --force to replace it, or `palctl edit {kind}/{name}`"),
                ));
            }
            Err(e) => {
                let failure: Failure = e.into();
                return Err(Failure {
                    what: format!("{kind}/{name}: {}", failure.what),
                    ..failure
                });
            }
        }
    }
    Ok(())
}

/// Replaces what is there now, unless the record given names a revision of its own.
async fn replace(nodes: &Nodes, mut record: AnyRecord) -> Result<(), Failure> {
    let (kind, name) = (record.kind(), record.metadata().name.to_string());
    if record.metadata().revision == 0 {
        let now = fetch(nodes, kind, &name).await?;
        record.metadata_mut().revision = now
            .pointer("/metadata/revision")
            .and_then(Value::as_u64)
            .unwrap_or(0);
    }
    put(nodes, &record).await
}

async fn put(nodes: &Nodes, record: &AnyRecord) -> Result<(), Failure> {
    let route = fill(
        path::RECORD,
        &[record.kind().as_str(), record.metadata().name.as_str()],
    );
    nodes.change(Method::PUT, &route, &record.to_json()).await?;
    Ok(())
}

/// Removes the file it names unless told to keep it.
struct Draft {
    path: PathBuf,
    keep: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

pub(super) async fn edit(link: &Link, args: &EditArgs) -> Result<(), Failure> {
    let (kind, name) = one(&args.what)?;
    let nodes = link.nodes()?;
    let before = output::yaml(&fetch(&nodes, kind, name).await?);
    let path = std::env::temp_dir().join(format!("palctl-{kind}-{}.yaml", uuid::Uuid::new_v4()));
    profile::write(&path, before.as_bytes())?;
    let mut draft = Draft { path, keep: false };
    run_editor(&draft.path)?;
    let after = std::fs::read_to_string(&draft.path).map_err(|e| Failure::file(&draft.path, "read", &e))?;
    if after == before {
        return print("Nothing was changed.\n");
    }
    // From here on the person's work is not thrown away.
    draft.keep = true;
    let kept = format!("your text is kept in {}", draft.path.display());
    let with_kept = |failure: Failure| Failure {
        todo: format!("{}; {kept}", failure.todo),
        ..failure
    };
    let mut records = parse(&after, &draft.path.display().to_string()).map_err(with_kept)?;
    let (Some(record), true) = (records.pop(), records.is_empty()) else {
        return Err(Failure::new("there is more than one record in the text", kept));
    };
    if record.kind() != kind || record.metadata().name.as_str() != name {
        return Err(Failure::new("kind and name of a record cannot be changed", kept));
    }
    put(&nodes, &record).await.map_err(with_kept)?;
    draft.keep = false;
    print(&format!("{kind}/{name} was changed.\n"))
}

fn run_editor(path: &Path) -> Result<(), Failure> {
    let set = |name: &str| std::env::var(name).ok().filter(|e| !e.trim().is_empty());
    let editor = set("VISUAL")
        .or_else(|| set("EDITOR"))
        .unwrap_or_else(|| "vi".into());
    // By a shell, because people put options into the variable.
    let line = format!("{editor} {}", shell_word(&path.to_string_lossy()));
    let failed = |what: String| Failure::new(what, "set EDITOR to an editor that waits until you are done");
    let status = std::process::Command::new("sh").args(["-c", &line]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!(
            "the editor `{editor}` ended with {status}; nothing was changed"
        ))),
        Err(e) => Err(failed(format!("cannot start the editor `{editor}`: {e}"))),
    }
}

pub(super) async fn rm(link: &Link, args: &RmArgs) -> Result<(), Failure> {
    let (kind, name) = one(&args.what)?;
    confirm(&format!("Remove {kind}/{name}"), args.yes.yes)?;
    link.nodes()?
        .delete(&fill(path::RECORD, &[kind.as_str(), name]))
        .await?;
    print(&format!("{kind}/{name} was removed.\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_refused_with_all_its_faults() {
        let text = "kind: role\nmetadata: {name: r}\nspec: {optoins: {}, allow: {login: [x]}}\n";
        let failure = parse(text, "role.yaml").expect_err("two faults");
        let lines: Vec<&str> = failure.what.lines().collect();
        assert_eq!(lines.len(), 3, "{failure}");
        assert_eq!(lines[0], "role.yaml: 2 faults");
        assert!(
            lines[1].contains("\"options\"") && lines[2].contains("\"logins\""),
            "{failure}"
        );
    }

    #[test]
    fn references_are_read_and_the_nearest_kind_is_named() {
        assert_eq!(reference("roles"), Ok((Kind::Role, None)));
        assert_eq!(reference("role/ops"), Ok((Kind::Role, Some("ops"))));
        assert_eq!(one("role").map_err(|f| f.code), Err(2));
        let failure = reference("rloe/ops").expect_err("no such kind");
        assert!(failure.what.contains("\"role\""), "{failure}");
        assert_eq!(failure.code, 2);
    }
}
