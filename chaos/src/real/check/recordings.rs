//! Recordings keep their promise. One of a session that ended holds all that its user saw. One of a session that was cut
//! off with its node lacks at most the last second of that; where the role says `strict`, nothing.

use super::{Said, unless};
use crate::real::clients::shell::Seen;

/// How much of an interrupted recording may be missing, in milliseconds.
const PROMISE: u64 = 1000;

/// What a recording plays.
#[derive(Debug, Clone)]
pub struct Cast {
    /// Its session.
    pub session: String,
    /// All output, as text.
    pub text: String,
}

/// The ticks of a session in a recording, in the order in which they play.
fn ticks(text: &str, tag: &str) -> Vec<usize> {
    let begin = format!("[{tag}.");
    text.split(begin.as_str())
        .skip(1)
        .filter_map(|rest| rest.split_once(']')?.0.split_once('@')?.0.parse().ok())
        .collect()
}

/// Checks each session against the recordings.
pub fn check(sessions: &[Seen], casts: &[Cast]) -> Said {
    let mut wrong = Vec::new();
    let mut cut = 0;
    for seen in sessions {
        let Seen {
            tag, strict, whole, ..
        } = seen;
        let found: Vec<_> = casts
            .iter()
            .filter(|cast| cast.text.contains(&format!("[{tag}.")))
            .collect();
        let recorded = match found[..] {
            [] => Vec::new(),
            [cast] => ticks(&cast.text, tag),
            _ => {
                wrong.push(format!("{tag} is in {} recordings", found.len()));
                continue;
            }
        };
        if recorded.iter().enumerate().any(|(place, tick)| place != *tick) {
            wrong.push(format!(
                "the recording of {tag} has gaps or plays something twice: {recorded:?}"
            ));
            continue;
        }
        cut += usize::from(!whole);
        let end = seen.ticks.last().copied().unwrap_or(0);
        let owed = match whole | strict {
            true => seen.ticks.len(),
            false => seen.ticks.iter().filter(|at| **at + PROMISE < end).count(),
        };
        if recorded.len() < owed {
            let last = recorded.len().checked_sub(1).map(|last| seen.ticks[last]);
            wrong.push(format!(
                "the recording of {tag} (whole: {whole}, strict: {strict}) plays {} of {} ticks that were seen, and owes {owed}; it is short by {} ms; eras {:?}; {}",
                recorded.len(),
                seen.ticks.len(),
                end - last.unwrap_or(seen.ticks[0]),
                seen.eras,
                found.first().map_or("it has none", |cast| cast.session.as_str()),
            ));
        }
    }
    let good = format!(
        "{} sessions have recordings that keep their promise; {cut} were cut off",
        sessions.len()
    );
    unless(wrong, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(whole: bool, strict: bool) -> Seen {
        Seen {
            tag: "t1".into(),
            host: "plain",
            strict,
            whole,
            ticks: (0..20).map(|n| n * 100).collect(),
            eras: (0, 0),
        }
    }

    fn cast(ticks: std::ops::Range<usize>) -> Cast {
        let text = ticks.map(|n| format!("[t1.{n}@0]\r\n")).collect();
        Cast {
            session: "s".into(),
            text,
        }
    }

    #[test]
    fn a_session_that_ended_is_recorded_to_its_end() {
        check(&[seen(true, false)], &[cast(0..20)]).expect("all of it");
        check(&[seen(true, false)], &[cast(0..19)]).expect_err("the end is missing");
        check(&[seen(true, false)], &[]).expect_err("there is none");
    }

    #[test]
    fn an_interrupted_one_lacks_a_second_at_most() {
        // The last tick was made at 1900 ms: what was made before 900 ms is owed.
        check(&[seen(false, false)], &[cast(0..9)]).expect("a second");
        check(&[seen(false, false)], &[cast(0..8)]).expect_err("more than a second");
        check(&[seen(false, false)], &[cast(0..25)]).expect("more than was seen");
    }

    #[test]
    fn a_strict_one_has_everything_that_was_seen() {
        check(&[seen(false, true)], &[cast(0..20)]).expect("all of it");
        check(&[seen(false, true)], &[cast(0..19)]).expect_err("one was shown before it was kept");
    }

    #[test]
    fn gaps_repetitions_and_doubles_are_refused() {
        let gap = Cast {
            session: "s".into(),
            text: "[t1.0@0][t1.2@0]".into(),
        };
        check(&[seen(false, false)], &[gap]).expect_err("a gap");
        let again = Cast {
            session: "s".into(),
            text: format!("{}[t1.3@0]", cast(0..20).text),
        };
        check(&[seen(true, false)], &[again]).expect_err("something twice");
        check(&[seen(true, false)], &[cast(0..20), cast(0..20)]).expect_err("two recordings");
        let other = Cast {
            session: "s".into(),
            text: cast(0..20).text.replace("t1", "t11"),
        };
        check(&[seen(true, false)], &[other]).expect_err("another session's");
    }
}
