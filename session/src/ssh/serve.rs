//! What every SSH connection that we serve needs: a reason to end, places for channels, and the task that runs it.

use super::config::MAX_CHANNELS;
use super::stream::{Egress, Transport};
use russh::ChannelOpenFailure;
use russh::server::{Config, Handler};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// A reason to end, once there is one.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<Option<String>>>);

impl Default for Stop {
    fn default() -> Self {
        Stop(Arc::new(watch::Sender::new(None)))
    }
}

impl Stop {
    /// Ends whatever waits. The first reason stays.
    pub fn stop(&self, reason: &str) {
        self.0.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(reason.to_owned());
            }
            first
        });
    }

    /// The reason, if there is one by now.
    pub fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits for a reason.
    pub async fn stopped(&self) -> String {
        let mut changes = self.0.subscribe();
        // It cannot fail: the sender is `self`.
        let reason = changes
            .wait_for(Option::is_some)
            .await
            .map(|reason| reason.clone());
        reason.ok().flatten().unwrap_or_default()
    }
}

/// Channels that one connection has open.
#[derive(Debug, Default)]
pub struct Places(Arc<AtomicUsize>);

/// One open channel; gives its place back when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Places {
    /// A place for one more channel, or the refusal that its client gets.
    pub fn take(&self) -> Result<Place, ChannelOpenFailure> {
        let taken = self.0.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.0));
        if taken < MAX_CHANNELS {
            return Ok(place);
        }
        Err(ChannelOpenFailure::Other {
            // SSH_OPEN_RESOURCE_SHORTAGE
            code: 4,
            reason: format!("more than {MAX_CHANNELS} channels on one connection"),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The refusal of a channel, with the reason that its user reads.
pub fn prohibited(reason: &str) -> ChannelOpenFailure {
    ChannelOpenFailure::Other {
        // SSH_OPEN_ADMINISTRATIVELY_PROHIBITED
        code: 1,
        reason: reason.to_owned(),
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client said goodbye, or we did.
    Closed,
    /// It broke: the client may be on its way back.
    Lost,
}

/// Runs one served connection to its end, within the login grace until somebody has authenticated. When `stop` has a
/// reason, the client is told, and the connection ends.
pub async fn run<S, H>(
    config: Config,
    transport: Transport<S>,
    handler: H,
    passed: Arc<AtomicBool>,
    grace: Duration,
    stop: &Stop,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler<Error = russh::Error> + Send + 'static,
{
    let kill = KillOnDrop(transport.egress());
    let deadline = tokio::time::sleep(grace);
    tokio::pin!(deadline);
    let started = tokio::select! {
        started = russh::server::run_stream(Arc::new(config), transport, handler) => started,
        () = &mut deadline => return Ending::Closed,
    };
    let Ok(mut session) = started else {
        return Ending::Lost;
    };
    let mut in_time = false;
    loop {
        tokio::select! {
            ended = &mut session => {
                return match ended {
                    Ok(()) => Ending::Closed,
                    Err(error) => {
                        tracing::debug!(error = %error, "SSH connection ended");
                        Ending::Lost
                    }
                };
            }
            () = &mut deadline, if !in_time => {
                if !passed.load(Ordering::SeqCst) {
                    return Ending::Closed;
                }
                in_time = true;
            }
            reason = stop.stopped() => {
                // Whoever has something to say to the user says it before this.
                tokio::time::sleep(Duration::from_millis(300)).await;
                let goodbye = session.handle();
                let said = goodbye.disconnect(russh::Disconnect::ByApplication, reason, "en".into());
                let _ = tokio::time::timeout(Duration::from_millis(200), said).await;
                let _ = tokio::time::timeout(Duration::from_millis(500), &mut session).await;
                drop(kill);
                return Ending::Closed;
            }
        }
    }
}

/// Breaks the transport when the connection's task is over, however it ended.
struct KillOnDrop(Arc<Egress>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}
