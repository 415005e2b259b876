//! What the service manager of this machine is told: that the program serves, that it stops, and that it is alive.
//! Where none listens (a terminal, a container), nothing is told to nobody.
//!
//! "Alive" is said only after the program's own work has answered: a node that hangs falls silent, whatever its idle
//! threads do, and is started again.

use sd_notify::NotifyState;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(error = %error, "the service manager could not be told");
    }
}

/// It serves; `status` says what, in a line.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It was asked to stop, and does so in order.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// How often to say that it is alive: three times within what the service manager allows, so that one late answer is no
/// death.
fn interval(allowed: Duration) -> Duration {
    (allowed / 3).max(Duration::from_millis(100))
}

/// Says that the program is alive whenever `alive` has answered so, for as long as the future is polled. Returns at once
/// where nobody watches.
pub async fn watch<F, A>(alive: F)
where
    F: Fn() -> A,
    A: Future<Output = bool>,
{
    let Some(allowed) = sd_notify::watchdog_enabled() else {
        return;
    };
    let every = interval(allowed);
    loop {
        match tokio::time::timeout(every, alive()).await {
            Ok(true) => tell(&[NotifyState::Watchdog]),
            Ok(false) => tracing::error!(
                "the work of this program has ended: the service manager is not told that it lives"
            ),
            Err(_) => tracing::warn!(
                seconds = every.as_secs(),
                "the work of this program does not answer: the service manager is not told that it lives"
            ),
        }
        tokio::time::sleep(every).await;
    }
}

/// Whether HTTP is answered at a control socket, whatever the answer is.
pub async fn control_answers(socket: &Path) -> bool {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
            .await?;
        let mut begin = [0; 5];
        stream.read_exact(&mut begin).await?;
        Ok::<_, std::io::Error>(begin == *b"HTTP/")
    };
    asked.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    #[test]
    fn the_service_manager_hears_often_enough_to_miss_one() {
        for seconds in [1, 5, 30, 600] {
            let allowed = Duration::from_secs(seconds);
            assert!(interval(allowed) * 2 < allowed, "{seconds}");
        }
        assert!(interval(Duration::ZERO) > Duration::ZERO, "it would spin");
    }

    #[tokio::test]
    async fn only_a_socket_that_answers_counts() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("control.sock");
        assert!(!control_answers(&path).await, "there is no socket");
        let listener = UnixListener::bind(&path).expect("it can be bound");
        // The kernel takes the connection, nobody answers: a hung process looks like this.
        let silent = tokio::time::timeout(Duration::from_millis(200), control_answers(&path)).await;
        assert!(silent.is_err(), "{silent:?}");
        let server = tokio::spawn(async move {
            // The first is the one that went away above.
            for answer in ["", "", "what?", "HTTP/1.1 503 Service Unavailable\r\n\r\n"] {
                let (mut stream, _) = listener.accept().await?;
                let mut asked = [0; 256];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            Ok::<_, std::io::Error>(())
        });
        let mut said = Vec::new();
        for _ in 0..3 {
            said.push(control_answers(&path).await);
        }
        assert_eq!(said, [false, false, true]);
        server.await.expect("it ended").expect("it accepted");
    }
}
