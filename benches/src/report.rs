//! What a run measured, kept: as a file for each commit, so that two can be compared, and as the table and the chart in
//! `docs/`, which are made of such a file and of nothing else.

use crate::load::Seen;
use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// What must hold of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aim {
    /// Our figure, in its unit.
    AtMost(f64),
    /// Ours divided by the peer's.
    RatioAtMost(f64),
    /// Ours divided by the peer's.
    RatioAtLeast(f64),
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Milliseconds, a second, KB, ...
    pub(crate) unit: String,
    /// Ours: a median, where there is more than one.
    pub(crate) ours: f64,
    /// Ours, from the tenth to the ninetieth in a hundred; of rounds, from the least to the most.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) spread: Option<(f64, f64)>,
    /// Who else was measured in the same run, and what they took.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) peer: Option<(String, f64)>,
    /// Ours of the peer's, where it is not simply the one by the other: the median of rounds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) beside: Option<f64>,
    /// What must hold.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) aim: Option<Aim>,
    /// Anything else worth a column: processor time, memory.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) cost: String,
    /// The commit that it is of.
    #[serde(default)]
    pub(crate) commit: String,
}

impl Figure {
    pub(crate) fn new(unit: &str, ours: f64) -> Self {
        Figure {
            unit: unit.to_owned(),
            ours,
            spread: None,
            peer: None,
            beside: None,
            aim: None,
            cost: String::new(),
            commit: String::new(),
        }
    }

    /// The median of times, in milliseconds.
    pub(crate) fn times(seen: &Seen) -> Self {
        let mut figure = Figure::new("ms", seen.percentile(50));
        figure.spread = Some((seen.percentile(10), seen.percentile(90)));
        figure
    }

    pub(crate) fn peer(mut self, name: &str, theirs: f64) -> Self {
        self.peer = Some((name.to_owned(), theirs));
        self
    }

    pub(crate) fn aim(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    pub(crate) fn cost(mut self, cost: String) -> Self {
        self.cost = cost;
        self
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        let (_, theirs) = self.peer.as_ref()?;
        Some(self.beside.unwrap_or(self.ours / theirs))
    }

    /// Whether the aim is met, if there is one.
    fn met(&self) -> Option<bool> {
        match self.aim? {
            Aim::AtMost(most) => Some(self.ours <= most),
            Aim::RatioAtMost(most) => Some(self.ratio()? <= most),
            Aim::RatioAtLeast(least) => Some(self.ratio()? >= least),
        }
    }

    fn aim_text(&self) -> String {
        match self.aim {
            None => String::new(),
            Some(Aim::AtMost(most)) => format!("≤ {} {}", number(most), self.unit),
            Some(Aim::RatioAtMost(most)) => format!("ratio ≤ {most:.2}"),
            Some(Aim::RatioAtLeast(least)) => format!("ratio ≥ {least:.2}"),
        }
    }
}

/// A run, or several of parts: figures by name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// What the machine is.
    machine: BTreeMap<String, String>,
    figures: BTreeMap<String, Figure>,
}

static SEEN: Mutex<Vec<(String, Figure)>> = Mutex::new(Vec::new());

/// Keeps a figure of this run; the name is what compares two runs.
pub(crate) fn keep(name: impl Into<String>, figure: Figure) {
    if let Ok(mut seen) = SEEN.lock() {
        seen.push((name.into(), figure));
    }
}

fn read(path: &Path) -> anyhow::Result<Results> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Writes what this run kept into `path`; figures of other parts, measured before, stay there.
pub(crate) fn write(path: &Path) -> anyhow::Result<()> {
    let mut results = if path.exists() {
        read(path)?
    } else {
        Results::default()
    };
    let commit = said("git", &["describe", "--always", "--dirty", "--abbrev=10"]);
    results.machine = machine();
    let seen = SEEN.lock().map(|seen| seen.clone()).unwrap_or_default();
    for (name, mut figure) in seen {
        figure.commit.clone_from(&commit);
        results.figures.insert(name, figure);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&results)?))?;
    println!("\nkept in {}", path.display());
    Ok(())
}

/// The first line that a program says, or nothing.
fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let text = output.map(|o| if o.stdout.is_empty() { o.stderr } else { o.stdout });
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn machine() -> BTreeMap<String, String> {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        line.split_once(':')
            .map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    [
        (
            "processor",
            format!("{} × {}", crate::cores(), field("/proc/cpuinfo", "model name")),
        ),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", said("uname", &["-sr"])),
        ("load", crate::load_average()),
        ("etcd", said("etcd", &["--version"])),
        ("openssh", said("ssh", &["-V"])),
        ("compiler", said("rustc", &["-V"])),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What changed between two results: figures of both, and how the second is to the first.
pub(crate) fn compare(before: &Path, after: &Path) -> anyhow::Result<()> {
    let (before, after) = (read(before)?, read(after)?);
    println!("{:<52} {:>10} {:>10} {:>8}", "", "before", "after", "change");
    for (name, now) in &after.figures {
        let Some(then) = before.figures.get(name) else {
            continue;
        };
        // Where a peer ran beside it, the ratios are compared: machines and minutes differ.
        let (then, now, unit) = match (then.ratio(), now.ratio()) {
            (Some(then), Some(now)) => (then, now, "ratio"),
            _ => (then.ours, now.ours, now.unit.as_str()),
        };
        println!(
            "{name:<52} {:>10} {:>10} {:>+7.0}%  {unit}",
            number(then),
            number(now),
            (now / then - 1.0) * 100.0
        );
    }
    Ok(())
}

/// Makes the table and the chart of the documentation.
pub(crate) fn document(results: &Path, docs: &Path) -> anyhow::Result<()> {
    let results = read(results)?;
    ensure!(!results.figures.is_empty(), "there are no figures");
    std::fs::write(docs.join("figures.md"), table(&results))?;
    std::fs::write(docs.join("figures.svg"), chart(&results))?;
    println!("written: {}/figures.md and figures.svg", docs.display());
    Ok(())
}

fn table(results: &Results) -> String {
    let mut text = String::from(
        "# What things cost\n\n\
         Made by `make bench`; do not edit. Each figure was measured beside its peer in the same run, on the same machine; the ratio is\n\
         what counts, ours divided by theirs. Absolute numbers belong to the machine and the minute. How each is measured is in\n\
         `benches/src`; `palisade-bench --help` lists the parts.\n\n",
    );
    for (name, value) in &results.machine {
        let _ = writeln!(text, "- {name}: {value}");
    }
    text.push_str(
        "\n![ratios beside peers](figures.svg)\n\n\
         | what | ours | spread | peer | ratio | aim | met | cost | commit |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, figure) in &results.figures {
        let _ = writeln!(
            text,
            "| {name} | {} {} | {} | {} | {} | {} | {} | {} | {} |",
            number(figure.ours),
            figure.unit,
            figure.spread.map_or(String::new(), |(low, high)| format!(
                "{} – {}",
                number(low),
                number(high)
            )),
            figure
                .peer
                .as_ref()
                .map_or(String::new(), |(name, value)| format!(
                    "{name}: {}",
                    number(*value)
                )),
            figure
                .ratio()
                .map_or(String::new(), |ratio| format!("{ratio:.2}")),
            figure.aim_text(),
            match figure.met() {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            },
            figure.cost,
            figure.commit,
        );
    }
    text
}

/// Bars of all ratios, with a mark where the aim is.
fn chart(results: &Results) -> String {
    const ROW: usize = 22;
    const LEFT: f64 = 330.0;
    const SCALE: f64 = 160.0;
    const MOST: f64 = 3.0;
    let bars: Vec<_> = results
        .figures
        .iter()
        .filter_map(|(name, figure)| Some((name, figure, figure.ratio()?)))
        .collect();
    let height = bars.len() * ROW + 40;
    let width = LEFT + SCALE * MOST + 70.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (row, (name, figure, ratio)) in bars.iter().enumerate() {
        let y = row * ROW + 10;
        let color = match figure.met() {
            Some(true) => "#2e7d32",
            Some(false) => "#c62828",
            None => "#607d8b",
        };
        let name = name.replace('&', "&amp;").replace('<', "&lt;");
        let long = ratio.min(MOST) * SCALE;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{long:.1}\" height=\"14\" fill=\"{color}\"/><text x=\"{:.1}\" y=\"{}\">{ratio:.2}</text>",
            LEFT - 8.0,
            y + 12,
            LEFT + long + 5.0,
            y + 12
        );
        if let Some(Aim::RatioAtMost(aim) | Aim::RatioAtLeast(aim)) = figure.aim {
            let x = LEFT + aim * SCALE;
            let _ = writeln!(
                svg,
                "<line x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\" stroke=\"#000\" stroke-width=\"2\"/>",
                y - 2,
                y + 16
            );
        }
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">ours divided by the peer's; the black mark is the aim, red misses it</text>\n</svg>",
        height - 8
    );
    svg
}

/// Where a run of this commit is kept, if nothing else is said.
pub(crate) fn default_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results/latest.json")
}

#[cfg(test)]
mod tests {
    use super::{Aim, Figure};

    #[test]
    fn an_aim_is_met_or_not_by_ratio_or_by_the_figure() {
        let half = Figure::new("/s", 50.0).peer("etcd", 100.0);
        assert_eq!(half.met(), None);
        assert_eq!(half.clone().aim(Aim::RatioAtLeast(0.5)).met(), Some(true));
        assert_eq!(half.clone().aim(Aim::RatioAtLeast(0.51)).met(), Some(false));
        assert_eq!(half.clone().aim(Aim::RatioAtMost(0.5)).met(), Some(true));
        assert_eq!(half.clone().aim(Aim::RatioAtMost(0.4)).met(), Some(false));
        assert_eq!(half.clone().aim(Aim::AtMost(49.0)).met(), Some(false));
        let alone = Figure::new("KB", 3.0).aim(Aim::RatioAtMost(1.0));
        assert_eq!(alone.met(), None, "there is no peer to be beside");
    }
}
