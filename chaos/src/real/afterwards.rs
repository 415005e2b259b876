//! The checkers that ask the nodes, once clients have stopped and the cluster is well.

use super::check::{self, Said};
use super::clients::Shared;
use super::clients::api::{Api, Reply};
use super::clients::shell::Seen;
use super::run::{caught, said};
use super::world::{World, walk};
use palisade_testkit::{retry, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// What is there after the last fault.
pub(super) struct After<'a> {
    pub(super) world: &'a World,
    pub(super) shared: &'a Shared,
    pub(super) auditor: &'a Api,
    pub(super) promised: &'a check::audit::Promised,
    /// What each node held before the first fault.
    pub(super) before: &'a [check::levels::Level],
}

impl After<'_> {
    /// All of them, in their order. One that cannot get an answer has found something too.
    pub(super) fn checks(&self) -> Vec<(&'static str, Said)> {
        vec![
            // Playing is audited too: before the logs are read.
            ask("recordings", || self.recordings()),
            ask("events and certificates", || self.events()),
            ask("audit proof", || self.proof()),
            ask("levels", || self.levels()),
            ask("secrets", || self.secrets()),
        ]
    }

    fn recordings(&self) -> Said {
        let sessions = self
            .shared
            .sessions
            .lock()
            .expect("all clients have ended")
            .clone();
        recordings(self.auditor, &sessions)
    }

    fn events(&self) -> Said {
        let World { cluster, members, .. } = self.world;
        cluster.wait_converged();
        let mut logs: Vec<_> = members
            .iter()
            .map(|i| (self.world.name(*i).to_owned(), whole_log(self.auditor, *i)))
            .collect();
        // What came while the first was read is in some of them only.
        let least = logs.iter().map(|(_, log)| log.len()).min().unwrap_or(0);
        logs.iter_mut().for_each(|(_, log)| log.truncate(least));
        check::audit::check(self.promised, &logs)
    }

    fn proof(&self) -> Said {
        let verify = |i: &usize| {
            let ran = self.world.cluster.palctl(*i, &["audit", "verify"]);
            let good = ran.succeeded() && ran.text().contains("good");
            (!good).then(|| ran.to_string())
        };
        let wrong = self.world.members.iter().filter_map(verify).collect();
        said(wrong, "the log proves itself at every node")
    }

    fn levels(&self) -> Said {
        let World { members, .. } = self.world;
        let both = members.iter().zip(self.before);
        let levels: Vec<_> = both
            .map(|(i, before)| (self.world.name(*i).to_owned(), *before, self.world.level(*i)))
            .collect();
        check::levels::check(&levels)
    }

    /// In everything that the run has left: data, logs and support bundles; not in the homes, where people keep what is
    /// theirs.
    fn secrets(&self) -> Said {
        let World { cluster, members, .. } = self.world;
        let mut files = self.world.files();
        for i in members {
            let into = cluster.folder(&format!("bundle-{}", self.world.name(*i)));
            let bundle = into.join("bundle.tar.gz");
            let out = bundle.display().to_string();
            cluster.palctl(*i, &["doctor", "--out", &out]).ok();
            run(Command::new("tar").arg("-C").arg(&into).arg("-xzf").arg(&bundle)).ok();
            walk(&into, &mut files);
        }
        let read = files
            .iter()
            .map(|path| (path.display().to_string(), fs::read(path).unwrap_or_default()));
        check::secrets::check(&self.shared.history.secrets(), read)
    }
}

fn ask(name: &'static str, check: impl FnOnce() -> Said) -> (&'static str, Said) {
    let began = Instant::now();
    let said = caught(check).unwrap_or_else(|why| Err(vec![why]));
    println!("  {name}: {:.1} s", began.elapsed().as_secs_f64());
    (name, said)
}

/// All of the log as one node tells it.
fn whole_log(auditor: &Api, node: usize) -> Vec<Value> {
    let mut log = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/audit/events?oldest_first=true&limit=1000&cursor={cursor}");
        let page = retry("a page of the log", PATIENCE, || match auditor.get(node, &path) {
            Reply::Said(200, page) => Ok(page),
            other => Err(format!("{other:?}")),
        });
        log.extend(page["items"].as_array().cloned().unwrap_or_default());
        cursor = page["cursor"].as_str().unwrap_or_default().to_owned();
        if cursor.is_empty() {
            return log;
        }
    }
}

/// How long the recording of a session whose node died may take until it is known to have ended.
const ENDS: Duration = Duration::from_secs(150);

/// Compares what users saw with what is recorded. What is still being written is waited for, if something is missing.
fn recordings(auditor: &Api, sessions: &[Seen]) -> Said {
    let began = Instant::now();
    let mut casts: BTreeMap<String, check::recordings::Cast> = BTreeMap::new();
    loop {
        let rows = recording_rows(auditor);
        for row in &rows {
            let word = |field: &str| row["recording"][field].as_str().unwrap_or_default();
            let session = word("session").to_owned();
            if matches!(word("kind"), "sftp" | "forward") || casts.contains_key(&session) {
                continue;
            }
            let path = format!("/v1/recordings/{session}/asciicast");
            let text = retry("a recording", PATIENCE, || auditor.text(0, &path));
            casts.insert(
                session.clone(),
                check::recordings::Cast {
                    text: output(&text),
                    session,
                },
            );
        }
        let said = check::recordings::check(sessions, &casts.values().cloned().collect::<Vec<_>>());
        let live: Vec<&str> = rows
            .iter()
            .filter(|row| row["recording"]["completeness"] == "live")
            .filter_map(|row| row["recording"]["session"].as_str())
            .collect();
        if said.is_ok() || live.is_empty() || began.elapsed() > ENDS {
            return said;
        }
        live.iter().for_each(|session| drop(casts.remove(*session)));
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn recording_rows(auditor: &Api) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/recordings?limit=500&after={after}");
        let page = retry("the recordings", PATIENCE, || match auditor.get(0, &path) {
            Reply::Said(200, page) => Ok(page),
            other => Err(format!("{other:?}")),
        });
        rows.extend(page["items"].as_array().cloned().unwrap_or_default());
        after = page["next"].as_str().unwrap_or_default().to_owned();
        if after.is_empty() {
            return rows;
        }
    }
}

/// What an asciicast shows: its lines are `[time, "o", "text"]` below a head.
fn output(cast: &str) -> String {
    let shown = cast.lines().filter_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let event = event.as_array().filter(|e| e.len() == 3 && e[1] == "o")?;
        event[2].as_str().map(str::to_owned)
    });
    shown.collect()
}
