//! Threads that carry connections, each with a runtime of its own.
//!
//! All tasks of one connection (two SSH sessions and the relay between them) run on one thread. So a key that a person
//! presses wakes one thread once, and goes through the node by function calls; on a shared runtime each hop may wake
//! another processor, which costs more than all the work there is to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Some threads; they end when this is dropped.
pub(crate) struct Lanes(Vec<Lane>);

struct Lane {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    /// Ends the thread when it is dropped.
    _end: oneshot::Sender<()>,
}

/// One connection on a lane; it counts until this is dropped.
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// As many lanes as can be had, up to `wanted`.
    pub(crate) fn start(wanted: usize) -> Self {
        let mut lanes = Vec::new();
        for i in 0..wanted {
            match Lane::start(i) {
                Ok(lane) => lanes.push(lane),
                Err(error) => {
                    tracing::warn!(error = %error, lanes = i, "there are fewer threads for SSH than processors");
                    break;
                }
            }
        }
        Lanes(lanes)
    }

    /// The lane with the fewest connections. Without any lane the caller's runtime has to do.
    pub(crate) fn pick(&self) -> (Handle, Busy) {
        let least = self
            .0
            .iter()
            .min_by_key(|lane| lane.connections.load(Ordering::Relaxed));
        let (handle, connections) = match least {
            Some(lane) => (lane.handle.clone(), Arc::clone(&lane.connections)),
            None => (Handle::current(), Arc::default()),
        };
        connections.fetch_add(1, Ordering::Relaxed);
        (handle, Busy(connections))
    }
}

impl Lane {
    fn start(i: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name(format!("ssh-{i}-blocking"))
            .build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name(format!("ssh-{i}"))
            .spawn(move || runtime.block_on(ended))?;
        Ok(Lane {
            handle,
            connections: Arc::default(),
            _end: end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_go_where_the_fewest_are_and_stay_on_their_thread() {
        let lanes = Lanes::start(2);
        let thread = |handle: Handle| async move {
            let named = handle.spawn(async {
                let first = std::thread::current().id();
                let other = tokio::spawn(async { std::thread::current().id() })
                    .await
                    .expect("ran");
                assert_eq!(first, other, "what a connection spawns stays with it");
                first
            });
            named.await.expect("ran")
        };
        let (one, busy_one) = lanes.pick();
        let (two, _busy_two) = lanes.pick();
        let (one, two) = (thread(one).await, thread(two).await);
        assert_ne!(one, two);
        drop(busy_one);
        let (next, _busy) = lanes.pick();
        assert_eq!(thread(next).await, one);
    }

    #[tokio::test]
    async fn without_lanes_the_runtime_at_hand_is_used() {
        let (handle, _busy) = Lanes::start(0).pick();
        let thread = handle.spawn(async { std::thread::current().id() });
        // This runtime has one thread: ours.
        assert_eq!(thread.await.expect("ran"), std::thread::current().id());
    }
}
