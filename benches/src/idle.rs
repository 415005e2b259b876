//! Memory of sessions in which nothing happens: at the nodes that carry them and at the agent.

use crate::report::{Aim, Figure, keep};
use crate::scene::{Scene, Way};
use crate::ssh::{resident, residents, show};
use anyhow::{Context as _, ensure};
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Sessions that are begun at the same time.
const AT_ONCE: usize = 8;
/// Until what was allocated for the beginning of the last ones has been given back, as far as it is.
const REST: Duration = Duration::from_secs(10);

/// Ended when dropped.
struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// So many sessions at one agent, through three nodes. Each has a terminal and a shell of its own.
pub(crate) fn measure(sessions: usize) -> anyhow::Result<()> {
    println!("\n== agent: {sessions} idle sessions, three nodes");
    let scene = Scene::start(3, true)?;
    let agent = scene.agent.as_ref().and_then(|agent| agent.pid());
    let agent = agent.context("the agent runs")?;
    // What the first ones need once is no session's.
    drop(open(&scene, AT_ONCE)?);
    std::thread::sleep(REST);
    let before = (residents(&scene.cluster)?, resident(agent)?);
    show("nodes before", &before.0);
    show("agent before", &[before.1]);
    let mut all = Vec::new();
    while all.len() < sessions {
        all.extend(open(&scene, AT_ONCE.min(sessions - all.len()))?);
    }
    std::thread::sleep(REST);
    let after = (residents(&scene.cluster)?, resident(agent)?);
    show("nodes", &after.0);
    show("agent", &[after.1]);
    for one in &mut all {
        ensure!(one.0.try_wait()?.is_none(), "a session ended");
    }
    let each = |before: u64, after: u64| after.saturating_sub(before) as f64 * 1.024 / sessions as f64;
    let nodes: u64 = before.0.iter().sum();
    // What a session leaves in the log and the state is at every node, and is no part of its being open: the node that
    // grew least carries none, or hardly any.
    let grown = || {
        before
            .0
            .iter()
            .zip(&after.0)
            .map(|(before, after)| after.saturating_sub(*before))
    };
    let everywhere = grown().min().unwrap_or(0) * before.0.len() as u64;
    println!(
        "{:>28}: {:.0} KB where it is carried (aim: under 150), {:.0} KB at all nodes with what it leaves there",
        "each",
        each(everywhere, grown().sum()),
        each(nodes, after.0.iter().sum())
    );
    let carried = each(everywhere, grown().sum());
    keep(
        "agent: idle session at its node",
        Figure::new("KB", carried).aim(Aim::AtMost(150.0)),
    );
    let beside = each(before.1, after.1);
    keep(
        "agent: idle session at the agent",
        Figure::new("KB", beside).aim(Aim::AtMost(1000.0)),
    );
    println!(
        "{:>28}: {:.0} KB at the agent beyond the shell (aim: under 1000)",
        "each",
        each(before.1, after.1)
    );
    Ok(())
}

fn open(scene: &Scene, count: usize) -> anyhow::Result<Vec<Session>> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut ssh = scene.command("ssh", Way::Pal);
        ssh.args(["-tt", &scene.host(Way::Pal), "echo open-$((1+1)); exec sh"]);
        ssh.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        all.push(Session(ssh.spawn()?));
    }
    for one in &mut all {
        let screen = one.0.stdout.as_mut().context("a pipe")?;
        let (mut shown, mut byte) = (Vec::new(), [0]);
        while !shown.ends_with(b"open-2") {
            screen.read_exact(&mut byte).context("a session did not begin")?;
            shown.push(byte[0]);
        }
    }
    Ok(all)
}
