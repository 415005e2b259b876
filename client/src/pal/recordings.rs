//! `pal play`, `pal recordings ...`.

use crate::errors::{Failure, print};
use crate::http::{CallError, Nodes, fill};
use crate::output::{self, Format, Table};
use crate::play::tape::{TAPE_MAX, Tape};
use crate::play::{self, Wish};
use crate::profile::Profile;
use crate::save::save;
use crate::when::moment;
use palisade_core::api::{RecordingHit, RecordingHits, RecordingPage, RecordingView, path};
use palisade_core::name::SessionId;
use palisade_core::record::{Completeness, SessionKind};
use palisade_core::shown::Shown;
use palisade_core::time::{Timestamp, Ttl};
use std::path::{Path, PathBuf};

/// Recordings that one answer holds at most.
const PAGE_MAX: usize = 1000;

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
        #[command(flatten)]
        narrow: Narrow,
        /// Only with these words in id, user, host, login or command
        #[arg(short = 'q', long = "search", value_name = "WORDS", default_value = "")]
        words: String,
    },
    /// Look for a text in what recordings show, newest first. The text is written into the audit log
    Search {
        /// The text, within one line, in any case
        text: String,
        /// How to show what is found
        #[arg(long, short, value_enum, default_value_t)]
        format: Format,
        /// Stop after so many places
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        narrow: Narrow,
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

/// Which recordings are meant.
#[derive(Debug, clap::Args)]
pub(super) struct Narrow {
    /// Only of this user
    #[arg(long, default_value = "")]
    user: String,
    /// Only on this host
    #[arg(long, default_value = "")]
    host: String,
    /// Only as this login
    #[arg(long, default_value = "")]
    login: String,
    /// Begun not before: 2026-11-22T10:00:00Z, or 2h for two hours ago
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Begun before
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
}

impl Narrow {
    /// As a query, of what narrows alone.
    fn query(&self) -> Vec<(&'static str, String)> {
        let text = |at: Option<Timestamp>| at.map(|t| t.to_string()).unwrap_or_default();
        let mut pairs = vec![
            ("user", self.user.clone()),
            ("host", self.host.clone()),
            ("login", self.login.clone()),
            ("since", text(self.since)),
            ("until", text(self.until)),
        ];
        pairs.retain(|(_, value)| !value.is_empty());
        pairs
    }
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
            narrow,
            words,
        } => {
            let mut query = narrow.query();
            if !words.is_empty() {
                query.push(("q", words));
            }
            let found = list(&nodes, limit, &query).await?;
            output::list(format, &found, || table(&found))
        }
        RecordingsCommand::Search {
            text,
            format,
            limit,
            narrow,
        } => search(&nodes, &text, format, limit, narrow.query()).await,
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
    narrowed: &[(&'static str, String)],
) -> Result<Vec<RecordingView>, CallError> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let mut query = narrowed.to_vec();
        let page = (limit - found.len()).clamp(1, PAGE_MAX);
        query.push(("limit", page.to_string()));
        if !after.is_empty() {
            query.push(("after", after.clone()));
        }
        let page: RecordingPage = nodes.get(path::RECORDINGS, &query).await?;
        found.extend(page.items);
        if found.len() >= limit || page.next.is_empty() || page.next == after {
            found.truncate(limit);
            return Ok(found);
        }
        after = page.next;
    }
}

/// Goes on until enough was found or everything was searched. As text, each place is a line as soon as it is known.
async fn search(
    nodes: &Nodes,
    text: &str,
    format: Format,
    limit: usize,
    mut query: Vec<(&'static str, String)>,
) -> Result<(), Failure> {
    query.push(("q", text.to_owned()));
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let mut query = query.clone();
        if !after.is_empty() {
            query.push(("after", after.clone()));
        }
        let part: RecordingHits = nodes.get(path::RECORDINGS_SEARCH, &query).await?;
        for hit in part.items {
            if found.len() < limit {
                if format == Format::Text {
                    print(&hit_line(&hit))?;
                }
                found.push(hit);
            }
        }
        for session in part.more_in {
            eprintln!(
                "note: there is more in {session}: pal play {session} --search {}",
                quoted(text)
            );
        }
        for gap in part.gaps {
            eprintln!(
                "note: {} was not searched whole: {}",
                Shown(&gap.session),
                Shown(&gap.why)
            );
        }
        let stuck = part.next == after;
        after = part.next;
        if after.is_empty() || stuck || found.len() >= limit {
            break;
        }
    }
    if !after.is_empty() {
        eprintln!(
            "note: stopped after {} places: --limit gives more, --until goes further back",
            found.len()
        );
    }
    match format {
        Format::Text if found.is_empty() => {
            eprintln!("nothing found");
            Ok(())
        }
        Format::Text => Ok(()),
        Format::Json | Format::Yaml => print(&output::data_text(format, &output::to_value(&found)?)),
    }
}

/// `session  time  user@host  text`; the time is that of the clock on the wall.
fn hit_line(hit: &RecordingHit) -> String {
    let at = Timestamp::from_secs(hit.started.plus_ms(hit.at_ms).secs());
    let line = format!("{}{}{}", hit.before, hit.found, hit.rest);
    format!(
        "{}  {at}  {}@{}  {}\n",
        Shown(&hit.session),
        Shown(&hit.user),
        Shown(&hit.host),
        Shown(line.trim())
    )
}

/// A text as a shell takes it.
fn quoted(text: &str) -> String {
    format!("'{}'", Shown(&text.replace('\'', "'\\''")))
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
            format!("{:.60}", Shown(&r.command)),
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

    #[test]
    fn a_place_is_one_line_that_the_terminal_does_not_obey() {
        let hit = RecordingHit {
            session: "s1".into(),
            user: "alice".into(),
            login: "root".into(),
            host: "web1".into(),
            started: Timestamp::from_secs(1_800_000_000),
            at_ms: 61_500,
            before: "# ".into(),
            found: "cat".into(),
            rest: " \u{202e}x ".into(),
        };
        assert_eq!(
            hit_line(&hit),
            "s1  2027-01-15T08:01:01Z  alice@web1  # cat \\u{202e}x\n"
        );
    }

    #[test]
    fn a_text_is_quoted_for_the_shell() {
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
