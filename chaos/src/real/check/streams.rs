//! What passed through nodes came out as it went in.

use super::{Said, unless};

/// A file or a stream that passed.
#[derive(Debug, Clone)]
pub struct Passed {
    /// What it was.
    pub what: String,
    /// Bytes that went in.
    pub sent: u64,
    /// Bytes that came out.
    pub arrived: u64,
    /// Whether those are the first of the bytes that went in.
    pub same: bool,
    /// Whether somebody said that all of it had passed.
    pub whole: bool,
}

/// Checks all of them.
pub fn check(passed: &[Passed]) -> Said {
    let mut wrong = Vec::new();
    for one in passed {
        if !one.same {
            wrong.push(format!("{} came out as other bytes", one.what));
        } else if one.arrived > one.sent || (one.whole && one.arrived < one.sent) {
            wrong.push(format!(
                "{}: {} bytes went in, {} came out",
                one.what, one.sent, one.arrived
            ));
        }
    }
    let bytes: u64 = passed.iter().map(|one| one.arrived).sum();
    unless(
        wrong,
        format!(
            "{} files and streams, {} KiB, came out as they went in",
            passed.len(),
            bytes / 1024
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_a_longer_and_a_silently_shortened_stream_are_refused() {
        let good = Passed {
            what: "x".into(),
            sent: 10,
            arrived: 10,
            same: true,
            whole: true,
        };
        check(std::slice::from_ref(&good)).expect("all of it came");
        let cut = Passed {
            arrived: 4,
            whole: false,
            ..good.clone()
        };
        check(&[cut]).expect("it was cut, and nobody said otherwise");
        for bad in [
            Passed {
                same: false,
                ..good.clone()
            },
            Passed {
                arrived: 11,
                ..good.clone()
            },
            Passed { arrived: 9, ..good },
        ] {
            check(std::slice::from_ref(&bad)).expect_err(&format!("{bad:?}"));
        }
    }
}
