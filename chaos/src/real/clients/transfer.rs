//! Files to and from hosts, by `scp` and `sftp` through a node and by `pal scp` to an agent; what arrives is compared by
//! its hash.

use super::{AGENT, PLAIN, Shared, Watched, at_host};
use crate::real::check::streams::Passed;
use crate::real::rng::Rng;
use palisade_testkit::Person;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::Path;
use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(700);

/// Copies files until told to stop.
pub fn run(person: &Person, folder: &Path, shared: &Shared, rng: &mut Rng) {
    let (from, to) = (folder.join("from"), folder.join("to"));
    while shared.goes_on() {
        let bytes: Vec<u8> = (0..(128 << 10) + rng.below(1 << 20))
            .map(|_| rng.number() as u8)
            .collect();
        fs::write(&from, &bytes).expect("the run's folder is writable");
        let _ = fs::remove_file(&to);
        let host = *rng.pick(&[PLAIN, AGENT]);
        let there = |path: &Path| format!("{}:{}", at_host(host), path.display());
        let words = match rng.below(2) {
            0 => [there(&from), to.display().to_string()],
            _ => [from.display().to_string(), there(&to)],
        };
        let words = ["-q", words[0].as_str(), words[1].as_str()];
        let mut command = match (host, rng.below(2)) {
            (AGENT, _) => {
                let mut command = person.pal_command(&["scp"]);
                command.args(words);
                command
            }
            (_, 0) => person.openssh("scp", &words),
            // As `sftp host:path path`: from there alone.
            _ => person.openssh("sftp", &["-q", &there(&from), &to.display().to_string()]),
        };
        let ended = Watched::start(&mut command).finish(LONGEST);
        let ok = ended.is_some_and(|status| status.success());
        shared.history.count("transfer", ok, false);
        if ok {
            let arrived = fs::read(&to).unwrap_or_default();
            shared
                .passed
                .lock()
                .expect("nobody panics while holding it")
                .push(Passed {
                    what: format!("a file of {} bytes, {host}", bytes.len()),
                    sent: bytes.len() as u64,
                    arrived: arrived.len() as u64,
                    same: Sha256::digest(&bytes) == Sha256::digest(&arrived),
                    whole: true,
                });
        }
        shared.pause(PACE);
    }
}
