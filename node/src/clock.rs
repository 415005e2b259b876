//! What time it is, on a machine whose clock may be wrong.
//!
//! Nodes tell one another what their clocks say. Where the clocks of most nodes agree and this one's is off by more
//! than a bound, this node goes by the others, so that its certificates, codes and lock-outs stay right; where that
//! cannot be told (one or two nodes), it goes by its own clock and warns. Between two comparisons time goes on by the
//! monotonic clock: a wall clock that jumps is believed only once it was compared.

use bytes::Bytes;
use palisade_core::name::NodeId;
use palisade_core::time::Timestamp;
use palisade_raft::RaftNode;
use parking_lot::{Mutex, RwLock};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// By how much clocks may differ without a warning, in milliseconds.
pub const WARN_MS: u64 = 1_000;
/// By how much this node's clock may differ from most others' before it is not believed, in milliseconds.
const BOUND_MS: u64 = 5_000;
/// How long another node may take to say what time it is.
const ASK_FOR: Duration = Duration::from_secs(1);
const CALL: &str = "clock";

/// The moment of the last comparison, and the time it was.
static ANCHOR: RwLock<Option<(Instant, Timestamp)>> = RwLock::new(None);

/// What this machine's clock says.
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The time that everything in this process goes by.
pub fn now() -> Timestamp {
    match *ANCHOR.read() {
        None => wall(),
        Some((at, time)) => time.plus_ms(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
    }
}

/// The same time for TLS, which checks the certificates of clients by it.
#[derive(Debug)]
pub(crate) struct TlsTime;

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now().secs())))
    }
}

/// What the last comparison found.
#[derive(Debug, Default)]
pub struct Skew(Mutex<Compared>);

#[derive(Debug, Default)]
struct Compared {
    /// How far the clocks of other nodes are from this one's, in milliseconds; positive if they are ahead.
    offsets: BTreeMap<NodeId, i64>,
    /// What was added to this node's clock, in milliseconds.
    correction: i64,
}

impl Skew {
    /// The largest difference at the last comparison, in milliseconds.
    pub fn worst_ms(&self) -> u64 {
        let compared = self.0.lock();
        let all = compared.offsets.values().map(|ms| ms.unsigned_abs());
        all.max().unwrap_or(0)
    }
}

/// Answers the other nodes.
pub(crate) fn listen(raft: &RaftNode) {
    raft.on_call(CALL, |_, _| {
        let at = wall().ms().to_be_bytes();
        Box::pin(async move { Ok(Bytes::copy_from_slice(&at)) })
    });
}

/// Compares this node's clock with those of the others, and sets the time of this process by it.
pub(crate) async fn compare(raft: &RaftNode, skew: &Skew) {
    let others = raft.peers().others();
    let asked = others.iter().map(|peer| async move {
        let before = wall();
        let answer = raft.peers().call(*peer, CALL, Bytes::new(), ASK_FOR).await;
        let after = wall();
        let theirs = <[u8; 8]>::try_from(&answer.ok()?[..]).ok()?;
        Some((
            *peer,
            offset(before, Timestamp::from_ms(u64::from_be_bytes(theirs)), after),
        ))
    });
    let offsets: BTreeMap<NodeId, i64> = futures::future::join_all(asked)
        .await
        .into_iter()
        .flatten()
        .collect();
    let mut compared = skew.0.lock();
    let differs = |ms: &i64| ms.unsigned_abs() > WARN_MS;
    for (peer, ms) in &offsets {
        // Said once, not at every comparison.
        if differs(ms) && !compared.offsets.get(peer).is_some_and(differs) {
            tracing::warn!(
                node.id = peer,
                skew_ms = ms,
                "the clocks of two nodes differ: set both by NTP"
            );
        }
    }
    let known: Vec<i64> = offsets.values().copied().collect();
    compared.offsets = offsets;
    // Too few answers to tell who is right: time goes on from the last comparison, if there was one.
    if others.len() >= 2 && known.len() < 2 {
        return;
    }
    let correction = correction(&known);
    match (
        std::mem::replace(&mut compared.correction, correction),
        correction,
    ) {
        (0, 0) => {}
        (0, off_by_ms) => tracing::warn!(
            off_by_ms,
            "this node's clock is wrong: it goes by the other nodes' until it is set by NTP"
        ),
        (_, 0) => tracing::info!("this node's clock agrees with the others' again"),
        _ => {}
    }
    let (at, wall) = (Instant::now(), wall());
    let time = match u64::try_from(correction) {
        Ok(ahead) => wall.plus_ms(ahead),
        Err(_) => wall.minus_ms(correction.unsigned_abs()),
    };
    *ANCHOR.write() = Some((at, time));
}

/// How far `theirs` is from our clock, which said `before` and `after` around the question: at least so much.
fn offset(before: Timestamp, theirs: Timestamp, after: Timestamp) -> i64 {
    let ahead = theirs.since_ms(after).cast_signed();
    let behind = before.since_ms(theirs).cast_signed();
    if ahead > 0 { ahead } else { -behind }
}

/// What has to be added to this node's clock: the median of all clocks, this one's included, if that is further away
/// than the bound and there are at least three.
fn correction(offsets: &[i64]) -> i64 {
    if offsets.len() < 2 {
        return 0;
    }
    let mut all = offsets.to_vec();
    all.push(0);
    all.sort_unstable();
    // Of an even number of clocks the one of the two middle ones that changes less.
    let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
    let median = if low.abs() < high.abs() { low } else { high };
    if median.unsigned_abs() > BOUND_MS {
        median
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_most_others_contradict_is_corrected() {
        assert_eq!(correction(&[-3_600_000, -3_600_040]), -3_600_000);
        assert_eq!(correction(&[90_000, 90_100]), 90_000);
        assert_eq!(correction(&[90_000, 90_100, 0, 5]), 0, "most agree with this one");
        assert_eq!(correction(&[90_000, 90_100, 90_050, 5]), 90_000);
    }

    #[test]
    fn one_wrong_clock_among_the_others_changes_nothing_here() {
        assert_eq!(correction(&[3_600_000, 20]), 0);
        assert_eq!(correction(&[3_600_000, -3_600_000]), 0);
    }

    #[test]
    fn small_differences_and_too_few_clocks_change_nothing() {
        assert_eq!(correction(&[]), 0);
        assert_eq!(correction(&[3_600_000]), 0);
        assert_eq!(correction(&[4_000, 4_000]), 0);
        assert_eq!(correction(&[90_000, 90_000, 0]), 0, "two against two");
    }

    #[test]
    fn the_time_that_a_question_took_is_not_a_difference() {
        let at = Timestamp::from_ms;
        assert_eq!(offset(at(100), at(150), at(200)), 0);
        assert_eq!(offset(at(100), at(260), at(200)), 60);
        assert_eq!(offset(at(100), at(40), at(200)), -60);
    }
}
