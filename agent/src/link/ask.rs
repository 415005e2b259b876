//! Asking the cluster, by whichever tunnel works.

use super::Link;
use palisade_core::tunnel::{Answer, MESSAGE_BYTES_MAX, SHIP_BYTES_MAX, ToNode};
use palisade_session::tunnel::Tunnel;
use palisade_session::tunnel::wire::{WireError, read_message, write_message};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// How long one node may take: an election fits.
const ANSWER: Duration = Duration::from_secs(10);
/// How long to wait for a tunnel where there is none.
const TUNNEL: Duration = Duration::from_secs(3);

/// Why something was not written.
pub(super) enum NoAnswer {
    Refused(String),
    Unavailable(String),
}

impl Link {
    /// Asks until a node says yes or no; a node that cannot is followed by the next.
    pub(super) async fn ask(&self, request: &ToNode) -> Result<(), NoAnswer> {
        let mut up = self.up.subscribe();
        if *up.borrow() == 0 {
            let _ = tokio::time::timeout(TUNNEL, up.wait_for(|up| *up > 0)).await;
        }
        let tunnels: Vec<Tunnel> = self.tunnels.lock().values().cloned().collect();
        let mut last = "no node is connected".to_owned();
        for tunnel in tunnels {
            match tokio::time::timeout(ANSWER, ask_one(&tunnel, request)).await {
                Ok(Ok(Answer::Done)) => return Ok(()),
                Ok(Ok(Answer::Refused(why))) => return Err(NoAnswer::Refused(why)),
                Ok(Ok(Answer::Unavailable(why))) => last = why,
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "a node did not answer in time".into(),
            }
        }
        Err(NoAnswer::Unavailable(last))
    }
}

async fn ask_one(tunnel: &Tunnel, request: &ToNode) -> Result<Answer, WireError> {
    let mut stream = tunnel.open().await?;
    let most = match request {
        ToNode::Ship { .. } => SHIP_BYTES_MAX,
        _ => MESSAGE_BYTES_MAX,
    };
    write_message(&mut stream, request, most).await?;
    stream.shutdown().await?;
    let answer = read_message::<Answer>(&mut stream, MESSAGE_BYTES_MAX).await?;
    answer.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
}
