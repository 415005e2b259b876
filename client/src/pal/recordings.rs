//! `pal play`, `pal recordings ...`.

use crate::errors::Failure;
use crate::http::{CallError, Nodes, fill};
use crate::output::{self, Format, Table};
use crate::play::tape::{TAPE_MAX, Tape};
use crate::play::{self, Wish};
use crate::profile::Profile;
use crate::save::save;
use palisade_core::api::{RecordingPage, RecordingView, path};
use palisade_core::name::SessionId;
use palisade_core::record::{Completeness, SessionKind};
use palisade_core::time::Ttl;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct PlayArgs {
    /// A session's id, or an asciicast file
    #[arg(value_name = "SESSION|FILE.cast")]
    what: String,
    /// How many times faster: 0.5, 2, 8
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Leave out time in which nothing happened, with a mark
    #[arg(long, visible_alias = "skip-idle-time")]
    skip_idle: bool,
    /// Begin where this text was shown; without a terminal, list the places
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Begin here: 1m30s
    #[arg(long, value_parser = Ttl::parse, value_name = "TIME")]
    at: Option<Ttl>,
    /// Print the output at once
    #[arg(long)]
    no_wait: bool,
    /// On a terminal as it was, or as output at once
    #[arg(long, short, value_enum, default_value = "pty")]
    format: PlayFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PlayFormat {
    /// As it was, on a terminal
    Pty,
    /// The output at once, as with --no-wait
    Text,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('x').parse::<f64>() {
        Ok(speed) if (0.125..=64.0).contains(&speed) => Ok(speed),
        _ => Err("the speed is a number from 0.125 to 64".into()),
    }
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum RecordingsCommand {
    /// List recordings, newest first
    Ls {
        /// How to show them
        #[arg(long, short, value_enum, default_value_t)]
        format: Format,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Only of this user
        #[arg(long)]
        user: Option<String>,
        /// Only on this host
        #[arg(long)]
        host: Option<String>,
    },
    /// Write a recording as asciicast v2
    Export {
        /// The session's id
        session: SessionId,
        /// The file [default: standard output]
        #[arg(short = 'o', long = "out", value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(super) async fn play(
    load: impl FnOnce() -> Result<Profile, Failure>,
    args: PlayArgs,
) -> Result<(), Failure> {
    let tape = match SessionId::parse(&args.what) {
        Ok(session) => from_cluster(&load()?, &session).await?,
        Err(_) if Path::new(&args.what).exists() || args.what.ends_with(".cast") => {
            from_file(Path::new(&args.what))?
        }
        Err(e) => {
            return Err(Failure::usage(
                e.to_string(),
                "`pal recordings ls` shows the ids; a file must exist",
            ));
        }
    };
    let wish = Wish {
        speed: args.speed,
        skip_idle: args.skip_idle,
        at_ms: args.at.map_or(0, Ttl::ms),
        search: args.search,
        no_wait: args.no_wait || args.format == PlayFormat::Text,
    };
    play::play(&tape, &wish)
}

async fn from_cluster(profile: &Profile, session: &SessionId) -> Result<Tape, Failure> {
    let nodes = Nodes::of_profile(profile)?;
    let route = fill(path::RECORDING_EVENTS, &[session.as_str()]);
    let mut response = nodes.stream(&route, &[]).await?;
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            // What came is played; its last line may be cut.
            Err(e) if bytes.contains(&b'\n') => {
                eprintln!("note: the answer broke off: {e}");
                let whole = bytes.iter().rposition(|b| *b == b'\n').unwrap_or(0);
                bytes.truncate(whole);
                break;
            }
            Err(e) => return Err(Failure::new(format!("the answer broke off: {e}"), "try again")),
        }
        if bytes.len() > TAPE_MAX {
            return Err(Failure::new(
                "the recording is too large to play",
                format!("export it: pal recordings export {session} -o FILE"),
            ));
        }
    }
    Tape::from_play_lines(&bytes).map_err(|e| {
        Failure::new(
            format!("the recording cannot be played: {e}"),
            "check that pal and the nodes are of one version",
        )
    })
}

fn from_file(path: &Path) -> Result<Tape, Failure> {
    let meta = std::fs::metadata(path).map_err(|e| Failure::file(path, "read", &e))?;
    let unplayable = |why: String| {
        Failure::new(
            format!("{} cannot be played: {why}", path.display()),
            "give an asciicast v2 file, as `pal recordings export` writes it",
        )
    };
    if meta.len() > TAPE_MAX as u64 {
        return Err(unplayable("it is too large".into()));
    }
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, "read", &e))?;
    Tape::from_asciicast(&bytes).map_err(|e| unplayable(e.to_string()))
}

pub(super) async fn run(profile: &Profile, command: RecordingsCommand) -> Result<(), Failure> {
    let nodes = Nodes::of_profile(profile)?;
    match command {
        RecordingsCommand::Ls {
            format,
            limit,
            user,
            host,
        } => {
            let wanted = |view: &RecordingView| {
                user.as_ref().is_none_or(|u| view.recording.user.as_str() == u)
                    && host.as_ref().is_none_or(|h| view.recording.host.as_str() == h)
            };
            let found = list(&nodes, limit, wanted).await?;
            output::list(format, &found, || table(&found))
        }
        RecordingsCommand::Export { session, out } => {
            let response = nodes
                .stream(&fill(path::RECORDING_CAST, &[session.as_str()]), &[])
                .await?;
            save(response, out.as_deref()).await
        }
    }
}

async fn list(
    nodes: &Nodes,
    limit: usize,
    wanted: impl Fn(&RecordingView) -> bool,
) -> Result<Vec<RecordingView>, CallError> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let query = if after.is_empty() {
            vec![]
        } else {
            vec![("after", after.clone())]
        };
        let page: RecordingPage = nodes.get(path::RECORDINGS, &query).await?;
        found.extend(page.items.into_iter().filter(&wanted));
        if found.len() >= limit || page.next.is_empty() || page.next == after {
            found.truncate(limit);
            return Ok(found);
        }
        after = page.next;
    }
}

fn table(views: &[RecordingView]) -> Table {
    let mut table = Table::new(&[
        "Session", "Started", "User", "Login", "Host", "Kind", "Length", "State", "Command",
    ]);
    for RecordingView { recording: r } in views {
        let kind = match r.session_kind {
            SessionKind::Interactive => "interactive",
            SessionKind::Exec => "exec",
            SessionKind::Sftp => "sftp",
            SessionKind::Forward => "forward",
        };
        let length = r
            .ended
            .map_or("-".to_owned(), |end| play::tape::elapsed(end.since_ms(r.started)));
        let state = match &r.completeness {
            Completeness::Live => "live".to_owned(),
            Completeness::Complete => "complete".to_owned(),
            Completeness::Interrupted(why) => format!("interrupted: {why}"),
        };
        table.row(&[
            r.session.to_string(),
            r.started.to_string(),
            r.user.to_string(),
            r.login.to_string(),
            r.host.to_string(),
            kind.to_owned(),
            length,
            state,
            format!("{:.60}", palisade_core::shown::Shown(&r.command)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_bounded() {
        assert_eq!(speed("2x"), Ok(2.0));
        for bad in ["0", "-1", "NaN", "inf", "1000", "fast"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }
}
