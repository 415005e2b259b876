//! `palisade node check`: what in a data directory is damaged, in plain words, and what to do about it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    Identity, IdentityError, LogOptions, LogStore, OpenError, REPAIR_COMMAND, SegmentOptions, SegmentStore,
    StateOptions, StateStore, error::escaped, files,
};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, in words.
    pub what: String,
    /// The command that puts it right, if one does.
    pub repair: Option<&'static str>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong; empty if all is well.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub checked: Vec<String>,
}

impl Report {
    /// Nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        self.findings.is_empty()
    }

    fn damaged(&mut self, what: impl Into<String>) {
        self.findings.push(Finding {
            what: what.into(),
            repair: Some(REPAIR_COMMAND),
        });
    }

    fn note(&mut self, what: impl Into<String>) {
        self.findings.push(Finding {
            what: what.into(),
            repair: None,
        });
    }

    fn opened<T>(&mut self, result: Result<T, OpenError>) -> Option<T> {
        match result {
            Ok(t) => return Some(t),
            Err(OpenError::Damaged(d)) => self.damaged(d.to_string()),
            Err(e @ OpenError::Missing { .. }) => self.damaged(e.to_string()),
            Err(e) => self.note(e.to_string()),
        }
        None
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in &self.checked {
            writeln!(f, "checked: {what}")?;
        }
        for finding in &self.findings {
            writeln!(f, "problem: {}", finding.what)?;
            if let Some(repair) = finding.repair {
                writeln!(f, "  repair: {repair}")?;
            }
        }
        if self.is_healthy() {
            writeln!(f, "no damage found")?;
        }
        Ok(())
    }
}

/// Reads everything in the data directory of a node that is not running, and says what is damaged.
pub fn check(data_dir: &Path) -> Report {
    let mut report = Report::default();
    let complete = match Identity::load(data_dir) {
        Ok(Some(id)) => {
            report
                .checked
                .push(format!("identity: node {} of cluster {}", id.node, id.cluster));
            id.complete
        }
        Ok(None) => {
            report.note(format!(
                "{} is not the data directory of a node yet",
                data_dir.display()
            ));
            return report;
        }
        Err(e @ (IdentityError::Damaged { .. } | IdentityError::HalfMade { .. })) => {
            report.damaged(e.to_string());
            true
        }
        Err(e) => {
            report.note(e.to_string());
            return report;
        }
    };
    if !complete {
        report.note("this node was never fully set up; its stores hold nothing that was acknowledged");
        return report;
    }
    check_log(data_dir, &mut report);
    check_state(data_dir, &mut report);
    check_segments(data_dir, &mut report);
    report
}

fn check_log(data_dir: &Path, report: &mut Report) {
    let opts = LogOptions {
        must_exist: true,
        ..LogOptions::default()
    };
    // Opening reads and verifies every entry.
    if let Some(log) = report.opened(LogStore::open(&data_dir.join("raft"), opts)) {
        let held = match log.bounds() {
            Some((first, last)) => format!("entries {first} to {last}"),
            None => "no entries".to_owned(),
        };
        report.checked.push(format!("log: {held}"));
    }
}

fn check_state(data_dir: &Path, report: &mut Report) {
    let opts = StateOptions {
        must_exist: true,
        ..StateOptions::default()
    };
    let Some(state) = report.opened(StateStore::open(data_dir, opts)) else {
        return;
    };
    let (count, damaged) = state.verify();
    report.checked.push(format!("state: {count} keys"));
    for (key, why) in damaged {
        report.damaged(format!("key {}: {why}", escaped(&key)));
    }
}

fn check_segments(data_dir: &Path, report: &mut Report) {
    let Some(segments) = report.opened(SegmentStore::open(data_dir, SegmentOptions::default())) else {
        return;
    };
    let mut count = 0;
    match segments.scrub(|_| {
        count += 1;
        true
    }) {
        Ok(damaged) => {
            for name in damaged {
                report.note(format!(
                    "segment {name} is damaged; a running node fetches it again from its peers"
                ));
            }
        }
        Err(e) => report.note(e.to_string()),
    }
    report.checked.push(format!("segments: {count}"));
}

/// The first half of a repair: moves log, state, snapshots and identity of a node that is not running into a new
/// directory `damaged-<time>` beside them, so that the node can join again under a new id. Segments stay: they are
/// checked by their hashes. Returns the directory.
pub fn set_aside(data_dir: &Path) -> io::Result<PathBuf> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let mut target = data_dir.join(format!("damaged-{now}"));
    for n in 1.. {
        match fs::create_dir(&target) {
            Ok(()) => break,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                target = data_dir.join(format!("damaged-{now}-{n}"));
            }
            Err(e) => return Err(e),
        }
    }
    // The identity goes last: interrupted before that, the node still refuses to start, and this can be run again.
    let mut names: Vec<_> = fs::read_dir(data_dir)?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| n == "raft" || n == "snap" || n.starts_with("sm-") || n.starts_with("sm."))
        .collect();
    names.sort();
    if data_dir.join("identity.json").exists() {
        names.push("identity.json".to_owned());
    }
    for name in names {
        fs::rename(data_dir.join(&name), target.join(&name))?;
    }
    files::sync_dir(&target)?;
    files::sync_dir(data_dir)?;
    Ok(target)
}
