//! The web pages, in Debian's Chromium: signing in on a phone, keys and a long text in the terminal beside `pal ssh`, the list
//! among many hosts, and the player. What is done in the browser is written in `web/ui/e2e/figures.mjs`, and timed there.

use crate::report::{Aim, Figure, keep};
use crate::scene::{Scene, Way, keystrokes, scratch, table};
use crate::writes::write_labelled;
use anyhow::{Context as _, ensure};
use palisade_testkit::me;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Times of one thing, in milliseconds.
#[derive(Debug, Deserialize)]
struct Times {
    median: f64,
    low: f64,
    high: f64,
}

/// What the browser found.
#[derive(Debug, Deserialize)]
struct Found {
    signin: Times,
    echo: Times,
    cat: Cat,
    hosts: Times,
    opens: Times,
    seeks: Times,
    memory: Memory,
}

#[derive(Debug, Deserialize)]
struct Cat {
    ms: f64,
    longest: f64,
}

/// In MiB.
#[derive(Debug, Deserialize)]
struct Memory {
    heap: f64,
    grown: f64,
    lines: f64,
}

/// What is done, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Host records in the list.
    pub(crate) hosts: u64,
    /// Sign-ins, and openings of the list.
    pub(crate) times: usize,
    /// Keystrokes.
    pub(crate) keys: usize,
    /// MiB of text on the terminal's screen.
    pub(crate) mib: u64,
}

/// Measures the pages of one node, with an agent on the same machine.
pub(crate) fn measure(plan: Plan) -> anyhow::Result<()> {
    let Plan {
        hosts,
        times,
        keys,
        mib,
    } = plan;
    println!("\n== web pages: one node, {hosts} hosts, {keys} keys, {mib} MiB of text");
    let scene = Scene::start(1, true)?;
    let cluster = &scene.cluster;
    write_labelled(cluster, hosts)?;
    cluster.without_second_factor();
    let wanda = cluster.person_by_password("wanda", "access,auditor");
    let folder = scratch()?;
    let text = folder.path().join("text");
    write_text(&text, mib)?;
    let seen = table(&[Way::Pal], keystrokes(&scene, &[Way::Pal], keys)?);
    let pal = seen[0].percentile(50);
    let node = &cluster.nodes[0];
    let listed = hosts + 2;
    let mut people = BTreeMap::new();
    people.insert("wanda", json!({"password": wanda.password}));
    let facts = json!({
        "nodes": [{"name": "n1", "url": format!("https://{}", node.web_addr())}],
        "me": me(),
        "hosts": {"agent": scene.host(Way::Pal).rsplit('@').next()},
        "people": people,
        "text": text,
        "count": listed,
        "times": times,
        "keys": keys,
        "opens": times.div_ceil(2),
        "seeks": times * 4,
    });
    let found = browse(folder.path(), &facts)?;
    keep_all(&found, pal, hosts, mib);
    Ok(())
}

/// Lines as a log has them.
fn write_text(path: &Path, mib: u64) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let (mut written, mut n) = (0, 0u64);
    while written < mib << 20 {
        let line = format!(
            "{n:>9} the quick brown fox jumps over the lazy dog, and the log says so at length {n:x}\n"
        );
        file.write_all(line.as_bytes())?;
        written += line.len() as u64;
        n += 1;
    }
    Ok(file.flush()?)
}

/// Runs the file for the browser, which writes down what it found.
fn browse(folder: &Path, facts: &serde_json::Value) -> anyhow::Result<Found> {
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/ui");
    ensure!(
        ui.join("node_modules").is_dir(),
        "the web pages were not built: run scripts/ui.sh"
    );
    let path = folder.join("facts.json");
    std::fs::write(&path, facts.to_string())?;
    let found = folder.join("figures.json");
    // What it does is seen while it does it; each of its waits has an end.
    let status = Command::new("node")
        .args(["e2e/run.mjs", "figures.mjs"])
        .current_dir(ui)
        .env("PALISADE_FACTS", &path)
        .env("PALISADE_FIGURES", &found)
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "the browser did not come to its end: {status}");
    let text = std::fs::read_to_string(&found).context("the browser found nothing")?;
    Ok(serde_json::from_str(&text)?)
}

fn figure(times: &Times) -> Figure {
    let mut figure = Figure::new("ms", times.median);
    figure.spread = Some((times.low, times.high));
    figure
}

fn keep_all(found: &Found, pal: f64, hosts: u64, mib: u64) {
    let said = |what: &str, figure: Figure| {
        println!("{what:>46}  {:>8.1} {}", figure.ours, figure.unit);
        keep(format!("web: {what}"), figure);
    };
    let at_most = |times: &Times, most: f64| figure(times).aim(Aim::AtMost(most));
    said(
        "sign-in interactive, mid-range phone",
        at_most(&found.signin, 1000.0),
    );
    said(
        "keystroke echo in the terminal",
        figure(&found.echo).peer(Way::Pal.name(), pal),
    );
    said(
        "keystroke echo in the terminal, over pal ssh",
        Figure::new("ms", found.echo.median - pal).aim(Aim::AtMost(5.0)),
    );
    // What a person does not take for a page that hangs.
    said(
        &format!("{mib} MiB of cat, longest task"),
        Figure::new("ms", found.cat.longest).aim(Aim::AtMost(200.0)),
    );
    said(
        &format!("{mib} MiB of cat, in all"),
        Figure::new("ms", found.cat.ms),
    );
    said(
        &format!("first rows of {hosts} hosts"),
        at_most(&found.hosts, 200.0),
    );
    said("a recording of eight hours opens", at_most(&found.opens, 2000.0));
    said("a recording of eight hours seeks", at_most(&found.seeks, 300.0));
    let lines = format!("{:.1} MiB of lines", found.memory.lines);
    said(
        "player, heap",
        Figure::new("MiB", found.memory.heap)
            .aim(Aim::AtMost(200.0))
            .cost(lines.clone()),
    );
    said(
        "player, growth of its process",
        Figure::new("MiB", found.memory.grown)
            .aim(Aim::AtMost(200.0))
            .cost(lines),
    );
}
