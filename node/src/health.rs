//! Whether a node is fit to serve, and to take changes: one plain decision over what was observed.

use std::time::Duration;

/// How far behind a node may be and still be called ready, in entries.
const READY_LAG: u64 = 5_000;
/// A quorum that was heard from this long ago may be gone: for reading that is soon enough, for writing not.
pub(crate) const FRESH_MS: u64 = 2_000;
/// A disk that has not finished a sync for this long hangs. The same bound as the Raft room's, which then hands over.
const SYNC_HANGS: Duration = Duration::from_secs(2);
/// Entries that no majority has written for this long do not commit.
const COMMIT_STUCK: Duration = Duration::from_secs(3);
/// The leader signs a head of the audit log every ten seconds while events come in.
const HEAD_STUCK: Duration = Duration::from_secs(60);
/// Pages are sealed every second while enough events wait.
const SEALING_STUCK: Duration = Duration::from_secs(120);

/// What was observed of a node.
#[derive(Debug, Clone)]
pub(crate) struct Signs {
    /// Whether it may decide from its own state, or why not.
    pub(crate) decides: Result<(), String>,
    /// Committed entries that it has not applied.
    pub(crate) lag: u64,
    /// It is about to stop.
    pub(crate) stopping: bool,
    /// It knows a leader.
    pub(crate) leader: bool,
    /// Since a leader with a quorum was heard from; absent if never.
    pub(crate) quorum_age_ms: Option<u64>,
    /// What failed on the disk, for good.
    pub(crate) disk_error: Option<String>,
    /// The log takes no changes for lack of space.
    pub(crate) disk_full: bool,
    /// How long the sync under way has taken.
    pub(crate) sync_waits: Duration,
    /// Why recordings and audit pages cannot be stored.
    pub(crate) segments: Result<(), String>,
    /// For how long nothing was committed although something waits.
    pub(crate) commit_waits: Duration,
    /// For how long no head of the audit log was signed although events wait.
    pub(crate) head_waits: Duration,
    /// For how long no audit page was sealed although enough events wait.
    pub(crate) sealing_waits: Duration,
}

/// Whether it is fit to serve. `Err` says why not, in one line.
pub(crate) fn ready(signs: &Signs) -> Result<(), String> {
    if signs.stopping {
        return Err("this node is stopping".into());
    }
    if let Some(error) = &signs.disk_error {
        return Err(format!("the disk failed: {error}"));
    }
    if signs.disk_full {
        return Err("the disk is full: neither changes nor audit events can be written".into());
    }
    if signs.sync_waits > SYNC_HANGS {
        let secs = signs.sync_waits.as_secs();
        return Err(format!(
            "the disk has not finished a sync for {secs} s: neither changes nor audit events can be written"
        ));
    }
    signs.decides.clone()?;
    if signs.lag > READY_LAG {
        return Err(format!("this node is {} entries behind", signs.lag));
    }
    Ok(())
}

/// Whether a change and its audit event can commit through it now. `Err` says why not, in one line.
pub(crate) fn ready_to_write(signs: &Signs) -> Result<(), String> {
    ready(signs)?;
    if !signs.leader {
        return Err("no leader is known".into());
    }
    match signs.quorum_age_ms {
        Some(ms) if ms <= FRESH_MS => {}
        Some(ms) => {
            return Err(format!(
                "a leader with a quorum was last heard from {:.1} s ago",
                ms as f64 / 1000.0
            ));
        }
        None => return Err("no leader with a quorum was heard from yet".into()),
    }
    if signs.commit_waits > COMMIT_STUCK {
        return Err(format!(
            "nothing has been committed for {} s although changes wait: too few nodes write to their disks",
            signs.commit_waits.as_secs()
        ));
    }
    stores_audit(signs)
}

/// Whether it should lead, or, when others could, go on leading. `Err` says why not, in one line. Lag and quorum do not
/// count: who has neither does not lead for long. An audit log that nobody signs or seals is held against the leader alone,
/// whose duty that is.
pub(crate) fn fit_to_lead(signs: &Signs, leads: bool) -> Result<(), String> {
    if signs.stopping {
        return Err("this node is stopping".into());
    }
    if let Some(error) = &signs.disk_error {
        return Err(format!("the disk failed: {error}"));
    }
    if signs.disk_full {
        return Err("the disk is full".into());
    }
    if leads {
        return stores_audit(signs);
    }
    signs.segments.clone()
}

/// Whether what is audited and recorded finds its way to the disk.
fn stores_audit(signs: &Signs) -> Result<(), String> {
    if let Err(why) = &signs.segments {
        return Err(format!("recordings and audit pages cannot be stored: {why}"));
    }
    if signs.head_waits > HEAD_STUCK {
        return Err(format!(
            "the audit log is stuck: no head was signed for {} s although events wait",
            signs.head_waits.as_secs()
        ));
    }
    if signs.sealing_waits > SEALING_STUCK {
        return Err(format!(
            "the audit log is stuck: no page was sealed for {} s although events wait",
            signs.sealing_waits.as_secs()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Signs {
        Signs {
            decides: Ok(()),
            lag: 0,
            stopping: false,
            leader: true,
            quorum_age_ms: Some(60),
            disk_error: None,
            disk_full: false,
            sync_waits: Duration::ZERO,
            segments: Ok(()),
            commit_waits: Duration::ZERO,
            head_waits: Duration::ZERO,
            sealing_waits: Duration::ZERO,
        }
    }

    /// Each sign alone: what it makes of `/readyz`, of `/readyz?write`, and the word that names it.
    #[test]
    fn a_stuck_audit_log_is_held_against_its_leader_alone() {
        type Change = fn(&mut Signs);
        let table: [(Change, bool, bool); 8] = [
            (|_| (), true, true),
            (|s| s.disk_full = true, false, false),
            (|s| s.disk_error = Some("EIO".into()), false, false),
            (|s| s.stopping = true, false, false),
            (|s| s.segments = Err("read-only".into()), false, false),
            (|s| s.head_waits = HEAD_STUCK * 2, false, true),
            (|s| s.sealing_waits = SEALING_STUCK * 2, false, true),
            (|s| s.quorum_age_ms = None, true, true),
        ];
        for (i, (change, leads, follows)) in table.into_iter().enumerate() {
            let mut signs = well();
            change(&mut signs);
            let fit = |leader| fit_to_lead(&signs, leader).is_ok();
            assert_eq!((fit(true), fit(false)), (leads, follows), "line {i}: {signs:?}");
        }
    }

    #[test]
    fn every_sign_has_its_effect() {
        let secs = Duration::from_secs;
        type Change = Box<dyn Fn(&mut Signs)>;
        let table: Vec<(&str, bool, bool, Change)> = vec![
            ("", true, true, Box::new(|_| {})),
            ("stopping", false, false, Box::new(|s| s.stopping = true)),
            (
                "input/output",
                false,
                false,
                Box::new(|s| s.disk_error = Some("input/output error".into())),
            ),
            ("disk is full", false, false, Box::new(|s| s.disk_full = true)),
            ("", true, true, Box::new(move |s| s.sync_waits = secs(2))),
            (
                "not finished a sync for 3 s",
                false,
                false,
                Box::new(move |s| s.sync_waits = secs(3)),
            ),
            (
                "no quorum",
                false,
                false,
                Box::new(|s| s.decides = Err("no quorum".into())),
            ),
            ("", true, true, Box::new(|s| s.lag = 5_000)),
            ("5001 entries behind", false, false, Box::new(|s| s.lag = 5_001)),
            ("no leader is known", true, false, Box::new(|s| s.leader = false)),
            ("", true, true, Box::new(|s| s.quorum_age_ms = Some(2_000))),
            (
                "2.5 s ago",
                true,
                false,
                Box::new(|s| s.quorum_age_ms = Some(2_500)),
            ),
            (
                "no leader with a quorum",
                true,
                false,
                Box::new(|s| s.quorum_age_ms = None),
            ),
            ("", true, true, Box::new(move |s| s.commit_waits = secs(3))),
            (
                "nothing has been committed for 4 s",
                true,
                false,
                Box::new(move |s| s.commit_waits = secs(4)),
            ),
            (
                "recordings and audit pages cannot be stored: read-only",
                true,
                false,
                Box::new(|s| s.segments = Err("read-only".into())),
            ),
            ("", true, true, Box::new(move |s| s.head_waits = secs(60))),
            (
                "no head was signed for 61 s",
                true,
                false,
                Box::new(move |s| s.head_waits = secs(61)),
            ),
            ("", true, true, Box::new(move |s| s.sealing_waits = secs(120))),
            (
                "no page was sealed for 121 s",
                true,
                false,
                Box::new(move |s| s.sealing_waits = secs(121)),
            ),
        ];
        for (word, serves, writes, change) in table {
            let mut signs = well();
            change(&mut signs);
            let (serve, write) = (ready(&signs), ready_to_write(&signs));
            assert_eq!(
                (serve.is_ok(), write.is_ok()),
                (serves, writes),
                "{word}: {signs:?}"
            );
            let why = write.err().unwrap_or_default();
            assert!(
                why.contains(word) && !why.contains('\n'),
                "{why:?} does not say {word:?}"
            );
        }
    }
}
