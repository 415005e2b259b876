//! kill -9 of the node that carries a shell, a transfer and a forwarded TCP stream: how long each stands still.

use crate::load::Seen;
use crate::report::{Aim, Figure, keep};
use crate::scene::{Scene, Way, scratch};
use palisade_testkit::{Pauses, outlive, retry};
use std::io::{Read as _, Write as _};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// So many times; a loss of anything ends the measurement with an error.
pub(crate) fn measure(tries: usize, mib: u64) -> anyhow::Result<()> {
    println!(
        "\n== agent: kill -9 of the node that carries a shell, {mib} MiB and a forwarded stream, {tries} tries"
    );
    let scene = Scene::start(3, true)?;
    let folder = scratch()?;
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let mut random = std::fs::File::open("/dev/urandom")?.take(mib << 20);
    let mut file = std::fs::File::create(&from)?;
    std::io::copy(&mut random, &mut file)?;
    file.flush()?;
    let cluster = &scene.cluster;
    let mut all: Vec<Pauses> = Vec::new();
    for n in 0..tries {
        retry("two tunnels of the agent", PATIENCE, || match cluster.tunnels() {
            2.0 => Ok(()),
            other => Err(format!("{other} tunnels")),
        });
        let (down, mut said) = (n % 2 == 0, String::new());
        let mut killed = 0;
        let pauses = outlive(&scene.alice, &scene.host(Way::Pal), (&from, &to), down, || {
            // A link to a node without a tunnel goes on to one with: every third time that one dies.
            let carrier = cluster.carrier();
            let holds = |i: &usize| cluster.metric(*i, "palisade_agents") > 0.0;
            killed = match (0..3).find(holds) {
                Some(holder) if n % 3 == 2 && !holds(&carrier) => holder,
                _ => carrier,
            };
            said = format!(
                "n{}{}",
                killed + 1,
                if holds(&killed) {
                    ", which holds a tunnel"
                } else {
                    ""
                }
            );
            cluster.kill9(killed);
        });
        println!(
            "{:>4}: {said}; {}: shell {:>5.0} ms, forward {:>5.0} ms, transfer {:>5.0} ms",
            n + 1,
            if down { "down" } else { "up" },
            ms(pauses.shell),
            ms(pauses.forward),
            ms(pauses.transfer)
        );
        all.push(pauses);
        cluster.spawn(killed);
        cluster.wait_voters(3);
    }
    for (what, of) in [
        ("shell", (|p: &Pauses| p.shell) as fn(&Pauses) -> Duration),
        ("forward", |p| p.forward),
        ("transfer", |p| p.transfer),
        ("longest of a try", Pauses::longest),
    ] {
        let seen = Seen::of(all.iter().map(of).collect(), Duration::from_secs(1));
        let p95 = Figure::new("ms", seen.percentile(95)).aim(Aim::AtMost(3000.0));
        keep(
            format!("agent: its node killed, pause of {what}, p95"),
            p95.cost(format!("{tries} kills, nothing lost")),
        );
        println!(
            "{what:>18}  p50 {:>5.0} ms  p95 {:>5.0} ms  most {:>5.0} ms",
            seen.percentile(50),
            seen.percentile(95),
            seen.percentile(100)
        );
    }
    println!("{:>18}  nothing lost, p95 under 3000 ms", "aim");
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
