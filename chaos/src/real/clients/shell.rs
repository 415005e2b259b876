//! Shells that tick: what their user saw, and when, is compared with what was recorded.

use super::{AGENT, PLAIN, Shared, Watched, at_host};
use crate::real::rng::Rng;
use palisade_testkit::Person;
use std::time::Duration;

/// Ticks of one session, and the time between two.
const TICKS: u32 = 40;
const EVERY: &str = "0.1";
/// No session takes longer than this, pauses of nodes included.
const LONGEST: Duration = Duration::from_secs(50);

/// A session as its user saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What marks its ticks.
    pub tag: String,
    /// The host.
    pub host: &'static str,
    /// Whether nothing may be shown that is not recorded.
    pub strict: bool,
    /// Whether it ended by itself.
    pub whole: bool,
    /// When each tick that was seen was made, in milliseconds; their numbers are their places.
    pub ticks: Vec<u64>,
    /// The era in which it began, and the one in which it ended.
    pub eras: (usize, usize),
}

/// Holds one session after the other. The user's role says whether it is strict.
pub fn run(person: &Person, host: &'static str, strict: bool, shared: &Shared, rng: &mut Rng) {
    let mut number = 0;
    while shared.goes_on() {
        number += 1;
        let tag = format!("{}-{}{}", person.name, host, number);
        // Each tick tells when it was made: when it was seen depends on how busy the machine is.
        let script = format!(
            "exec bash -c 'i=0; while [ $i -lt {TICKS} ]; do echo \"[{tag}.$i@$EPOCHREALTIME]\"; i=$((i+1)); sleep {EVERY}; done; echo \"[{tag}.end@0]\"'"
        );
        let target = at_host(host);
        let words = ["-tt", target.as_str(), script.as_str()];
        let mut command = match host {
            AGENT => {
                let mut command = person.pal_command(&["ssh"]);
                command.args(words);
                command
            }
            _ => person.openssh("ssh", &words),
        };
        let begin = shared.era.load(std::sync::atomic::Ordering::SeqCst);
        let mut watched = Watched::start(&mut command);
        watched.finish(LONGEST);
        let mut seen = Seen {
            tag: tag.clone(),
            host,
            strict,
            whole: false,
            ticks: Vec::new(),
            eras: (begin, shared.era.load(std::sync::atomic::Ordering::SeqCst)),
        };
        for (_, line) in watched.lines() {
            match mark(&line, &tag) {
                Some(("end", _)) => seen.whole = true,
                Some((n, made)) if n.parse() == Ok(seen.ticks.len()) => seen.ticks.push(made),
                Some((n, _)) => shared.history.violation(format!(
                    "a shell: [{tag}.{n}] was shown where tick {} should have been",
                    seen.ticks.len()
                )),
                None => {}
            }
        }
        if seen.whole && seen.ticks.len() != TICKS as usize {
            shared.history.violation(format!(
                "a shell: {tag} ended with {} of {TICKS} ticks",
                seen.ticks.len()
            ));
        }
        let kind = if host == PLAIN {
            "shell at a host"
        } else {
            "shell at an agent"
        };
        shared.history.count(kind, seen.whole, false);
        if !seen.ticks.is_empty() {
            shared
                .sessions
                .lock()
                .expect("nobody panics while holding it")
                .push(seen);
        }
        shared.pause(Duration::from_millis(100 + rng.below(300) as u64));
    }
}

/// The number and the time, in milliseconds, of `[tag.number@seconds.fraction]` in a line.
fn mark<'a>(line: &'a str, tag: &str) -> Option<(&'a str, u64)> {
    let (_, rest) = line.split_once(&format!("[{tag}."))?;
    let (number, made) = rest.split_once(']')?.0.split_once('@')?;
    let micros: String = made.chars().filter(char::is_ascii_digit).collect();
    Some((number, micros.parse::<u64>().ok()? / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found() {
        assert_eq!(mark("xx[a-1.17@12.345678]yy", "a-1"), Some(("17", 12_345)));
        assert_eq!(mark("[a-1.end@0]", "a-1"), Some(("end", 0)));
        assert_eq!(mark("[a-11.17@1.0]", "a-1"), None);
        assert_eq!(mark("[a-1.17@1.0", "a-1"), None);
    }
}
