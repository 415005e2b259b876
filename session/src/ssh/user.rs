//! A session channel of a connection that we made, as its user has it: a terminal, or a subsystem such as SFTP.
//!
//! Whoever listens may be slow. Everything that arrives is taken at once, so that the connection never waits for them, and
//! the far end may send no more than a window ahead of what they took.

use super::channel_io::WRITE;
use super::client::{Connection, Nothing};
use super::queue::{Item, Queue};
use super::stream::Egress;
use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelWriteHalf};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How long a far end that refused something may take to say why.
const REASON: Duration = Duration::from_millis(500);

/// How long the end of a channel that we closed is waited for before its connection is broken off.
const GOODBYE: Duration = Duration::from_secs(2);

/// What we put before a line of our own, on whatever machine it is written.
const OURS: &str = "palisade: ";

/// A reason longer than this is cut.
const REASON_BYTES: usize = 2000;

/// Why a channel has no program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// The far end says no, in words for people.
    #[error("{0}")]
    Refused(String),
    /// The connection is gone.
    #[error("the connection to the host was lost")]
    Lost,
}

/// What the far end says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Output of the program.
    Output(Bytes),
    /// Standard error: with a terminal nothing but lines of ours go there.
    Words(Bytes),
    /// The program ended by itself, with this status.
    Status(u32),
    /// A signal ended it.
    Signal(String),
    /// Nothing follows.
    End,
}

/// A terminal that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Terminal<'a> {
    /// Its kind, as in `TERM`.
    pub term: &'a str,
    /// Its width, in characters.
    pub columns: u32,
    /// Its height.
    pub rows: u32,
    /// A session of the user's own that they come back to.
    pub session: Option<&'a str>,
}

/// Opens a shell in a terminal.
///
/// # Errors
/// Why there is none. A far end that grants a shell and then says why there is none looks as one that grants it.
pub async fn shell(
    connection: Arc<Connection<Nothing>>,
    wanted: Terminal<'_>,
) -> Result<(Hearing, Speaking), NotBegun> {
    let (mut hearing, speaking) = open(connection).await?;
    let write = Arc::clone(&speaking.write);
    if let Some(session) = wanted.session {
        lost(write.set_env(false, "PALISADE_SESSION", session).await)?;
    }
    let pty = write.request_pty(true, wanted.term, wanted.columns, wanted.rows, 0, 0, &[]);
    lost(pty.await)?;
    hearing.granted().await?;
    lost(write.request_shell(true).await)?;
    hearing.granted().await?;
    Ok((hearing, speaking))
}

/// Opens a subsystem.
///
/// # Errors
/// As [`shell`].
pub async fn subsystem(
    connection: Arc<Connection<Nothing>>,
    name: &str,
) -> Result<(Hearing, Speaking), NotBegun> {
    let (mut hearing, speaking) = open(connection).await?;
    lost(speaking.write.request_subsystem(true, name).await)?;
    hearing.granted().await?;
    Ok((hearing, speaking))
}

async fn open(connection: Arc<Connection<Nothing>>) -> Result<(Hearing, Speaking), NotBegun> {
    let channel = match connection.handle().channel_open_session().await {
        Ok(channel) => channel,
        Err(russh::Error::ChannelOpenFailure(failure)) => {
            return Err(NotBegun::Refused(failure.description().to_owned()));
        }
        Err(_) => return Err(NotBegun::Lost),
    };
    let (mut read, write) = channel.split();
    let (queue, write) = (Arc::new(Queue::default()), Arc::new(write));
    let filled = Arc::clone(&queue);
    let fill = tokio::spawn(async move { filled.fill(&mut read).await });
    let hearing = Hearing {
        queue,
        write: Arc::clone(&write),
        ahead: VecDeque::new(),
        consumed: 0,
        grant: connection.window() / 4,
        fill,
        alive: Arc::clone(&connection),
    };
    let speaking = Speaking {
        write,
        egress: connection.egress(),
        alive: connection,
    };
    Ok((hearing, speaking))
}

fn lost(sent: Result<(), russh::Error>) -> Result<(), NotBegun> {
    sent.map_err(|_| NotBegun::Lost)
}

/// What of a line on standard error a person reads as a reason: without the mark that it is ours.
pub fn reason(words: &[u8]) -> String {
    let words = &words[..words.len().min(REASON_BYTES)];
    let text = String::from_utf8_lossy(words);
    let text = text.trim();
    text.strip_prefix(OURS).unwrap_or(text).to_owned()
}

/// The half that hears.
pub struct Hearing {
    queue: Arc<Queue>,
    write: Arc<ChannelWriteHalf<Msg>>,
    /// Came before it was asked for.
    ahead: VecDeque<Said>,
    consumed: u32,
    /// The window is granted anew in parts of this size.
    grant: u32,
    fill: tokio::task::JoinHandle<()>,
    /// The connection ends with whoever holds it last.
    alive: Arc<Connection<Nothing>>,
}

impl std::fmt::Debug for Hearing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hearing").finish_non_exhaustive()
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.fill.abort();
    }
}

impl Hearing {
    /// The next of what is said; output in pieces of at most `most` bytes, which must not be 0. May be given up at any
    /// time: nothing is lost.
    pub async fn next(&mut self, most: usize) -> Said {
        if self.consumed >= self.grant {
            // If the connection is gone, that is heard below.
            let _ = self.write.grant_window(self.consumed).await;
            self.consumed = 0;
        }
        let said = match self.ahead.pop_front() {
            Some(said) => said,
            None => self.pop().await,
        };
        self.taken(said, most)
    }

    fn taken(&mut self, said: Said, most: usize) -> Said {
        let said = match said {
            Said::Output(mut bytes) if bytes.len() > most => {
                let rest = bytes.split_off(most);
                self.ahead.push_front(Said::Output(rest));
                Said::Output(bytes)
            }
            said => said,
        };
        if let Said::Output(bytes) | Said::Words(bytes) = &said {
            let n = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.consumed = self.consumed.saturating_add(n);
        }
        said
    }

    /// The last words of the far end, once it has ended the whole connection.
    pub fn farewell(&self) -> Option<String> {
        self.alive.farewell().filter(|words| !words.is_empty())
    }

    async fn pop(&mut self) -> Said {
        loop {
            match self.queue.pop().await {
                Item::Data(chunk) if chunk.ext.is_none() => return Said::Output(chunk.data),
                Item::Data(chunk) => return Said::Words(chunk.data),
                Item::Msg(ChannelMsg::ExitStatus { exit_status }) => return Said::Status(exit_status),
                Item::Msg(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    return Said::Signal(format!("{signal_name:?}"));
                }
                Item::Msg(ChannelMsg::Close) | Item::End | Item::Overflow => return Said::End,
                // Answers to what was asked are waited for elsewhere; the end of the output is not the end.
                Item::Msg(_) => {}
            }
        }
    }

    /// Waits for the answer to the oldest request that was not answered.
    async fn granted(&mut self) -> Result<(), NotBegun> {
        loop {
            match self.queue.pop().await {
                Item::Msg(ChannelMsg::Success) => return Ok(()),
                Item::Msg(ChannelMsg::Failure) => return Err(NotBegun::Refused(self.why().await)),
                Item::Data(chunk) if chunk.ext.is_none() => self.ahead.push_back(Said::Output(chunk.data)),
                Item::Data(chunk) => self.ahead.push_back(Said::Words(chunk.data)),
                Item::Msg(ChannelMsg::Close) | Item::End | Item::Overflow => {
                    return match self.reason_ahead() {
                        Some(why) => Err(NotBegun::Refused(why)),
                        None => Err(NotBegun::Lost),
                    };
                }
                Item::Msg(_) => {}
            }
        }
    }

    /// The line that goes with a refusal, before it or behind it.
    async fn why(&mut self) -> String {
        if let Some(why) = self.reason_ahead() {
            return why;
        }
        match tokio::time::timeout(REASON, self.pop()).await {
            Ok(Said::Words(words)) => reason(&words),
            _ => "the host refuses it, and does not say why".to_owned(),
        }
    }

    fn reason_ahead(&self) -> Option<String> {
        self.ahead.iter().find_map(|said| match said {
            Said::Words(words) => Some(reason(words)),
            _ => None,
        })
    }

    /// Whether a shell that was granted is none, and why: it ends before it says anything. A silent one is taken for a shell
    /// after a while.
    pub async fn refused(&mut self, within: Duration) -> Option<String> {
        let decided = |said: &Said| !matches!(said, Said::Words(_));
        let told = async {
            while !self.ahead.iter().any(decided) {
                let said = self.pop().await;
                self.ahead.push_back(said);
            }
        };
        let _ = tokio::time::timeout(within, told).await;
        match self.ahead.iter().find(|said| decided(said)) {
            Some(Said::Status(_) | Said::Signal(_) | Said::End) => self.reason_ahead(),
            _ => None,
        }
    }

    /// Ready when the program is over, or the channel; with the last line of ours, if there was one. What is said before
    /// that is kept, up to a window. May be given up at any time.
    pub async fn over(&mut self) -> Option<String> {
        let ended = |said: &Said| matches!(said, Said::Status(_) | Said::Signal(_) | Said::End);
        while !self.ahead.iter().any(ended) {
            let said = self.pop().await;
            self.ahead.push_back(said);
        }
        self.reason_ahead()
    }
}

/// The half that speaks.
#[derive(Clone)]
pub struct Speaking {
    write: Arc<ChannelWriteHalf<Msg>>,
    egress: Arc<Egress>,
    alive: Arc<Connection<Nothing>>,
}

impl std::fmt::Debug for Speaking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speaking").finish_non_exhaustive()
    }
}

impl Speaking {
    /// Sends input; ready when the far end's window has room for it. False if the channel is over.
    pub async fn send(&self, mut bytes: Bytes) -> bool {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(WRITE));
            self.egress.ready().await;
            if self.write.data_bytes(piece).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Says that the terminal has another size.
    pub async fn resize(&self, columns: u32, rows: u32) {
        let _ = self.write.window_change(columns, rows, 0, 0).await;
    }

    /// Closes the channel, as closing any terminal does; the connection ends soon after.
    pub async fn close(self) {
        let _ = self.write.close().await;
        let alive = self.alive;
        tokio::spawn(async move {
            let gone = async {
                while !alive.handle().is_closed() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            let _ = tokio::time::timeout(GOODBYE, gone).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_line_of_ours_without_its_mark() {
        for (words, read) in [
            ("\r\npalisade: locked: gone\r\n", "locked: gone"),
            ("palisade: no\r\n", "no"),
            ("  sh: not ours \n", "sh: not ours"),
            ("", ""),
        ] {
            assert_eq!(reason(words.as_bytes()), read);
        }
        assert_eq!(reason(&[b'x'; 5000]).len(), REASON_BYTES);
    }
}
