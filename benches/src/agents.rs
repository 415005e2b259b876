//! Sessions at hosts with an agent: beside sshd itself and beside `ssh -J` over a stock sshd.

use crate::report::{Aim, Figure, keep};
use crate::scene::{Files, Scene, Way, down, keep_times, keystrokes, rates, set_up, table, up};

const WAYS: [Way; 4] = [Way::Pal, Way::Agent, Way::Jump, Way::Direct];
/// Without what is not asked about: each round costs minutes.
const BULK: [Way; 2] = [Way::Pal, Way::Direct];

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// `ssh host true`
    SetUp,
    /// Keystrokes
    Echo,
    /// Output of a command
    Down,
    /// Input of a command
    Up,
    /// sftp get
    Get,
    /// sftp put
    Put,
}

/// The parts, in turn.
pub(crate) fn measure(
    parts: &[Part],
    nodes: usize,
    times: usize,
    mib: u64,
    rounds: usize,
) -> anyhow::Result<()> {
    let scene = Scene::start(nodes, true)?;
    let files = Files::new(mib)?;
    for part in parts {
        match part {
            Part::SetUp => {
                println!("\n== agent: session set-up, `ssh host true`, {times} times in turn");
                let seen = table(&WAYS, set_up(&scene, &WAYS, times)?);
                println!(
                    "{:>18}  {:.2} of ssh -J over sshd (aim 0.60), {:.2} of direct (aim 1.00)",
                    "pal ssh",
                    seen[0].percentile(50) / seen[2].percentile(50),
                    seen[0].percentile(50) / seen[3].percentile(50),
                );
                let aims = [(Way::Pal, Aim::RatioAtMost(1.0))];
                keep_times("agent: session set-up", &WAYS, &seen, 3, &aims);
                let jump = Figure::times(&seen[0]).peer(Way::Jump.name(), seen[2].percentile(50));
                keep(
                    "agent: session set-up, beside ssh -J",
                    jump.aim(Aim::RatioAtMost(0.6)),
                );
            }
            Part::Echo => {
                let keys = times * 20;
                println!("\n== agent: keystroke echo, {keys} keys in turn, recording on");
                let seen = table(&WAYS, keystrokes(&scene, &WAYS, keys)?);
                let aims = [(Way::Pal, Aim::RatioAtMost(1.5))];
                keep_times("agent: keystroke echo", &WAYS, &seen, 3, &aims);
                let more = seen[0].percentile(99) - seen[3].percentile(99);
                keep(
                    "agent: keystroke echo, p99 over direct",
                    Figure::new("ms", more).aim(Aim::AtMost(1.5)),
                );
                println!("{:>18}  p50 at most 1.50 of direct, p99 +1.50 ms", "aim");
            }
            Part::Down => {
                println!("\n== agent: output of a command, {mib} MiB, recording on (aim 0.80)");
                rates("agent: output", &BULK, mib, rounds, |way| down(&scene, way, mib))?;
            }
            Part::Up => {
                println!("\n== agent: input of a command, {mib} MiB, recording on (aim 0.80)");
                rates("agent: input", &BULK, mib, rounds, |way| up(&scene, way, mib))?;
            }
            Part::Get => {
                println!("\n== agent: sftp get, {mib} MiB (aim 0.80)");
                rates("agent: sftp get", &BULK, mib, rounds, |way| {
                    files.get(&scene, way)
                })?;
            }
            Part::Put => {
                println!("\n== agent: sftp put, {mib} MiB (aim 0.80)");
                rates("agent: sftp put", &BULK, mib, rounds, |way| {
                    files.put(&scene, way)
                })?;
            }
        }
    }
    Ok(())
}
