//! What a run says at its end.

use super::check::Said;
use super::history::Count;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One kind of fault over a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kind {
    /// How often it was made.
    pub made: usize,
    /// How often together with another.
    pub in_pairs: usize,
    /// The longest time without a successful write from its beginning until the cluster was well again.
    pub worst_gap: Duration,
    /// The same where another fault came with it.
    pub worst_in_pairs: Duration,
}

/// A whole run.
#[derive(Debug)]
pub struct Report {
    /// What makes it again.
    pub replay: String,
    /// How long it took.
    pub took: Duration,
    /// The faults.
    pub faults: BTreeMap<&'static str, Kind>,
    /// The operations.
    pub counts: BTreeMap<&'static str, Count>,
    /// Each checker and what it said.
    pub checks: Vec<(&'static str, Said)>,
    /// Where the logs are.
    pub logs: PathBuf,
}

impl Report {
    /// Whether every promise was kept, and enough happened to show it.
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|(_, said)| said.is_ok())
    }

    /// The checkers that found a promise broken, each with the first thing that it found. That too little happened is no
    /// such thing.
    pub fn caught(&self) -> Vec<(&'static str, String)> {
        let found = |(name, said): &(&'static str, Said)| match said {
            Err(wrong) if *name != "enough" => wrong.first().map(|first| (*name, first.clone())),
            _ => None,
        };
        self.checks.iter().filter_map(found).collect()
    }
}

/// Lines of one checker's findings: the first ones say enough.
const LINES: usize = 12;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28} {:>5} {:>8} {:>22} {:>10}",
            "fault", "made", "in pairs", "worst gap of writes", "in pairs"
        )?;
        for (name, kind) in &self.faults {
            let gap = |count: usize, gap: Duration| match count {
                0 => "-".to_owned(),
                _ => format!("{:.2} s", gap.as_secs_f64()),
            };
            let alone = gap(kind.made - kind.in_pairs, kind.worst_gap);
            let paired = gap(kind.in_pairs, kind.worst_in_pairs);
            writeln!(
                f,
                "{name:<28} {:>5} {:>8} {alone:>22} {paired:>10}",
                kind.made, kind.in_pairs
            )?;
        }
        writeln!(
            f,
            "\n{:<28} {:>8} {:>8} {:>8}",
            "operation", "ok", "failed", "unknown"
        )?;
        for (name, Count { ok, failed, unknown }) in &self.counts {
            writeln!(f, "{name:<28} {ok:>8} {failed:>8} {unknown:>8}")?;
        }
        writeln!(f)?;
        for (name, said) in &self.checks {
            match said {
                Ok(good) => writeln!(f, "good  {name}: {good}")?,
                Err(wrong) => {
                    writeln!(f, "BAD   {name}: {} broken", wrong.len())?;
                    for line in wrong.iter().take(LINES) {
                        writeln!(f, "        {line}")?;
                    }
                }
            }
        }
        writeln!(f, "\nlogs: {}", self.logs.display())?;
        writeln!(f, "replay: {}", self.replay)?;
        let made: usize = self.faults.values().map(|kind| kind.made).sum();
        let verdict = if self.is_good() {
            "every promise was kept"
        } else {
            "PROMISES WERE BROKEN"
        };
        writeln!(f, "{made} faults in {} s: {verdict}", self.took.as_secs())
    }
}
