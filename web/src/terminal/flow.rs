//! How much output may be on its way to a browser: what it has not said to be on the screen counts.

use palisade_core::terminal::UNACKED_MAX;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Output on its way to one browser.
#[derive(Debug, Default)]
pub(super) struct Flow {
    unacked: Mutex<u64>,
    news: Notify,
}

/// A browser acks what it was never sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NeverSent;

impl Flow {
    /// How many more bytes may be sent now.
    pub(super) fn room(&self) -> usize {
        let unacked = usize::try_from(*self.unacked.lock()).unwrap_or(usize::MAX);
        UNACKED_MAX.saturating_sub(unacked)
    }

    /// So many were sent.
    pub(super) fn sent(&self, bytes: usize) {
        *self.unacked.lock() += bytes as u64;
    }

    /// So many are on the screen.
    pub(super) fn acked(&self, bytes: u64) -> Result<(), NeverSent> {
        let mut unacked = self.unacked.lock();
        *unacked = unacked.checked_sub(bytes).ok_or(NeverSent)?;
        drop(unacked);
        self.news.notify_one();
        Ok(())
    }

    /// Waits for an ack.
    pub(super) async fn more(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn what_is_unacked_is_bounded_and_acks_make_room() {
        let flow = Flow::default();
        assert_eq!(flow.room(), UNACKED_MAX);
        flow.sent(UNACKED_MAX - 1);
        assert_eq!(flow.room(), 1);
        flow.sent(1);
        assert_eq!(flow.room(), 0);
        let waits = tokio::time::timeout(Duration::from_millis(10), flow.more()).await;
        assert!(waits.is_err(), "nothing was acked");
        flow.acked(64 << 10).expect("it was sent");
        tokio::time::timeout(Duration::from_secs(5), flow.more())
            .await
            .expect("an ack is news");
        assert_eq!(flow.room(), 64 << 10);
        flow.acked(UNACKED_MAX as u64 - (64 << 10)).expect("it was sent");
        assert_eq!(flow.room(), UNACKED_MAX);
    }

    #[test]
    fn what_was_never_sent_cannot_be_acked() {
        let flow = Flow::default();
        flow.sent(10);
        assert_eq!(flow.acked(11), Err(NeverSent));
        assert_eq!(flow.acked(u64::MAX), Err(NeverSent));
        flow.acked(10).expect("it was sent");
        assert_eq!(flow.acked(1), Err(NeverSent));
    }
}
