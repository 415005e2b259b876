//! One channel of the user's connection coupled to one channel of the host's connection.
//!
//! Each direction is two futures in one task: an intake that takes every message at once and never waits for anything
//! else, and an outlet that checks, records and sends. So a session loop never waits for a slow far side, and no
//! cycle of waiting can close; what the intake holds is bounded by the window, which only the outlet grants anew.
//!
//! ```text
//! user's session loop -> [queue] -> outlet: inspect -> window and gate of the host -> host's session loop
//!                                      \-> grants the user's window
//! ```

use super::config::WINDOW;
use super::queue::{Item, Queue};
use super::stream::Egress;
use bytes::Bytes;
use russh::{Channel, ChannelId, ChannelMsg, ChannelWriteHalf};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a refused program returns: the status of `ssh` itself when it fails.
const REFUSED_STATUS: u32 = 255;

/// A window is granted anew in parts of this size.
const GRANT: u32 = WINDOW / 4;

/// What watches and decides while a channel is relayed.
pub trait Inspect: Send {
    /// The user requests something of the host: a terminal, a shell, a signal. `Err` refuses it with a line that the
    /// user sees; nothing is sent to the host.
    fn request<'a>(&'a mut self, request: &'a mut ChannelMsg) -> Boxed2<'a, Result<(), String>>;

    /// The host sends this to the user. It is sent on when the future is ready; `Err` ends the channel.
    fn output<'a>(&'a mut self, data: &'a [Chunk]) -> Boxed2<'a, Result<(), String>>;

    /// Whether a reason to end may be written to the user as text: on forwarded connections it may not.
    fn speaks(&self) -> bool {
        true
    }

    /// The user sends this to the host.
    fn input<'a>(&'a mut self, data: &'a Bytes) -> Boxed2<'a, Result<(), String>>;
}

/// A boxed future that borrows.
pub type Boxed2<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Data of one stream of a channel; `ext` is 1 for standard error.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Which stream.
    pub ext: Option<u32>,
    /// The bytes.
    pub data: Bytes,
}

/// One end of a relay.
pub struct End<M: From<(ChannelId, ChannelMsg)>> {
    /// The channel.
    pub channel: Channel<M>,
    /// The gate of the connection it belongs to.
    pub egress: Arc<Egress>,
}

/// How a relay ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the program returned.
    pub exit_status: Option<u32>,
    /// The signal that killed it.
    pub exit_signal: Option<String>,
    /// Bytes from the user.
    pub input_bytes: u64,
    /// Bytes to the user.
    pub output_bytes: u64,
    /// Who or what ended it, if not the two sides themselves.
    pub broken: Option<String>,
}

/// What others may see of a running relay.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes from the user.
    pub input: AtomicU64,
    /// Bytes to the user.
    pub output: AtomicU64,
}

enum Answer {
    Host,
    Ours(bool),
}

struct Shared<'a, U: From<(ChannelId, ChannelMsg)>> {
    user: &'a ChannelWriteHalf<U>,
    answers: Mutex<VecDeque<Answer>>,
    outcome: Mutex<Outcome>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Couples the two ends until one of them closes or `stop` is ready with a reason, which the user sees.
pub async fn relay<U, H, I>(
    user: End<U>,
    host: End<H>,
    mut inspect: I,
    progress: &Progress,
    stop: impl Future<Output = String> + Send,
) -> (Outcome, I)
where
    U: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    H: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    I: Inspect,
{
    let (mut user_read, user_write) = user.channel.split();
    let (mut host_read, host_write) = host.channel.split();
    let shared = Shared {
        user: &user_write,
        answers: Mutex::new(VecDeque::new()),
        outcome: Mutex::new(Outcome::default()),
    };
    let speaks = inspect.speaks();
    let (up, down) = (Queue::default(), Queue::default());
    // One inspector, used by both directions in turn; a tokio mutex because it is held while waiting for its answer.
    let inspector = tokio::sync::Mutex::new(&mut inspect);

    let upward = shared.upward(&up, &host_write, &host.egress, &inspector, progress);
    let downward = shared.downward(&down, &host_write, &user.egress, &inspector, progress);
    let ended = {
        tokio::pin!(stop);
        tokio::select! {
            biased;
            reason = stop => Some(reason),
            // The intakes never finish before their outlets have worked through what they left.
            () = async { tokio::join!(up.fill(&mut user_read), down.fill(&mut host_read)); std::future::pending().await } => None,
            broken = downward => broken,
            // The user is gone or broke a rule; what the host still has to say has no reader.
            broken = upward => broken,
        }
    };
    if let (Some(reason), true) = (&ended, speaks) {
        let line = format!("\r\npalisade: {reason}\r\n");
        // As far as the window allows at once: a user who does not read must not delay the end.
        let told = user_write.extended_data_bytes(1, line.into_bytes());
        let _ = tokio::time::timeout(std::time::Duration::from_millis(200), told).await;
    }
    let _ = user_write.close().await;
    let _ = host_write.close().await;
    let mut outcome = std::mem::take(&mut *lock(&shared.outcome));
    outcome.input_bytes = progress.input.load(Ordering::Relaxed);
    outcome.output_bytes = progress.output.load(Ordering::Relaxed);
    outcome.broken = ended;
    (outcome, inspect)
}

impl<U: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Shared<'_, U> {
    /// From the user to the host. Returns when the user's side is over.
    async fn upward<H, I>(
        &self,
        queue: &Queue,
        host: &ChannelWriteHalf<H>,
        gate: &Egress,
        inspector: &tokio::sync::Mutex<&mut I>,
        progress: &Progress,
    ) -> Option<String>
    where
        H: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
        I: Inspect,
    {
        let mut consumed = 0;
        loop {
            let msg = match queue.pop().await {
                Item::Data(chunk) => {
                    let n = u32::try_from(chunk.data.len()).unwrap_or(u32::MAX);
                    if let Err(reason) = inspector.lock().await.input(&chunk.data).await {
                        return Some(reason);
                    }
                    gate.ready().await;
                    let sent = match chunk.ext {
                        None => host.data_bytes(chunk.data).await,
                        Some(ext) => host.extended_data_bytes(ext, chunk.data).await,
                    };
                    if sent.is_err() {
                        // The host's side is over: the other direction still delivers what it had to say.
                        return std::future::pending().await;
                    }
                    progress.input.fetch_add(n.into(), Ordering::Relaxed);
                    grant(self.user, &mut consumed, n).await;
                    continue;
                }
                Item::Msg(ChannelMsg::Eof) => {
                    let _ = host.eof().await;
                    continue;
                }
                Item::Msg(ChannelMsg::Close) | Item::End => return None,
                Item::Overflow => return Some("too many unanswered requests on one channel".into()),
                Item::Msg(msg) => msg,
            };
            if !self.request(msg, host, inspector).await {
                return None;
            }
        }
    }

    /// Passes a request on, or refuses it. False if the channel is over because its program was refused.
    async fn request<H, I>(
        &self,
        mut msg: ChannelMsg,
        host: &ChannelWriteHalf<H>,
        inspector: &tokio::sync::Mutex<&mut I>,
    ) -> bool
    where
        H: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
        I: Inspect,
    {
        let wants_reply = match &msg {
            ChannelMsg::RequestPty { want_reply, .. }
            | ChannelMsg::RequestShell { want_reply }
            | ChannelMsg::Exec { want_reply, .. }
            | ChannelMsg::RequestSubsystem { want_reply, .. }
            | ChannelMsg::RequestX11 { want_reply, .. }
            | ChannelMsg::SetEnv { want_reply, .. }
            | ChannelMsg::AgentForward { want_reply } => *want_reply,
            ChannelMsg::WindowChange { .. } | ChannelMsg::Signal { .. } => false,
            // Informational, or not something a user sends.
            _ => return true,
        };
        let is_program = matches!(
            msg,
            ChannelMsg::RequestShell { .. } | ChannelMsg::Exec { .. } | ChannelMsg::RequestSubsystem { .. }
        );
        let verdict = inspector.lock().await.request(&mut msg).await;
        if let Err(reason) = verdict {
            // OpenSSH's client throws away what it was told on a channel whose program was refused. So that the
            // reason is read, the program is granted, says it, and fails.
            if wants_reply {
                lock(&self.answers).push_back(Answer::Ours(is_program));
                self.answer().await;
            }
            let line = format!("palisade: {reason}\r\n");
            let told = self.user.extended_data_bytes(1, line.into_bytes());
            let _ = tokio::time::timeout(std::time::Duration::from_millis(200), told).await;
            if is_program {
                self.fail_program().await;
            }
            return !is_program;
        }
        // Noted before it is sent: the answer may be there at once.
        if wants_reply {
            lock(&self.answers).push_back(Answer::Host);
        }
        if send_request(host, msg).await.is_err() && wants_reply {
            lock(&self.answers).pop_back();
            lock(&self.answers).push_back(Answer::Ours(false));
            self.answer().await;
        }
        true
    }

    /// Ends a program that never ran, after the host has answered what was asked before it.
    async fn fail_program(&self) {
        for _ in 0..100 {
            if lock(&self.answers).is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let _ = self.user.exit_status(REFUSED_STATUS).await;
        let _ = self.user.eof().await;
    }

    /// From the host to the user. Returns when the host's side is over.
    async fn downward<H, I>(
        &self,
        queue: &Queue,
        host: &ChannelWriteHalf<H>,
        gate: &Egress,
        inspector: &tokio::sync::Mutex<&mut I>,
        progress: &Progress,
    ) -> Option<String>
    where
        H: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
        I: Inspect,
    {
        let mut consumed = 0;
        loop {
            let item = match queue.pop().await {
                Item::Data(first) => {
                    let batch = queue.pop_data(first);
                    if let Err(reason) = inspector.lock().await.output(&batch).await {
                        return Some(reason);
                    }
                    for chunk in batch {
                        let n = u32::try_from(chunk.data.len()).unwrap_or(u32::MAX);
                        gate.ready().await;
                        let sent = match chunk.ext {
                            None => self.user.data_bytes(chunk.data).await,
                            Some(ext) => self.user.extended_data_bytes(ext, chunk.data).await,
                        };
                        if sent.is_err() {
                            return None;
                        }
                        progress.output.fetch_add(n.into(), Ordering::Relaxed);
                        grant(host, &mut consumed, n).await;
                    }
                    continue;
                }
                item => item,
            };
            let sent = match item {
                Item::Msg(ChannelMsg::Success) => self.answered(true).await,
                Item::Msg(ChannelMsg::Failure) => self.answered(false).await,
                Item::Msg(ChannelMsg::Eof) => self.user.eof().await,
                Item::Msg(ChannelMsg::ExitStatus { exit_status }) => {
                    lock(&self.outcome).exit_status = Some(exit_status);
                    self.user.exit_status(exit_status).await
                }
                Item::Msg(ChannelMsg::ExitSignal {
                    signal_name,
                    core_dumped,
                    error_message,
                    lang_tag,
                }) => {
                    lock(&self.outcome).exit_signal = Some(format!("{signal_name:?}"));
                    self.user
                        .exit_signal(signal_name, core_dumped, error_message, lang_tag)
                        .await
                }
                Item::Msg(ChannelMsg::Close) => return None,
                Item::End => return Some("the connection to the host was lost".into()),
                Item::Overflow => return Some("the host answers what was not asked".into()),
                _ => Ok(()),
            };
            if sent.is_err() {
                return None;
            }
        }
    }

    async fn answered(&self, success: bool) -> Result<(), russh::Error> {
        let expected = matches!(lock(&self.answers).front(), Some(Answer::Host));
        if expected {
            lock(&self.answers).pop_front();
            self.user.reply(success).await?;
        }
        self.answer().await;
        Ok(())
    }

    /// Gives the answers of our own that are due: those with no answer of the host's before them.
    async fn answer(&self) {
        loop {
            let ours = {
                let mut answers = lock(&self.answers);
                let ours = match answers.front() {
                    Some(Answer::Ours(ok)) => *ok,
                    _ => return,
                };
                answers.pop_front();
                ours
            };
            if self.user.reply(ours).await.is_err() {
                return;
            }
        }
    }
}

async fn grant<M>(to: &ChannelWriteHalf<M>, consumed: &mut u32, n: u32)
where
    M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
{
    *consumed = consumed.saturating_add(n);
    if *consumed >= GRANT {
        let _ = to.grant_window(std::mem::take(consumed)).await;
    }
}

async fn send_request<H>(host: &ChannelWriteHalf<H>, msg: ChannelMsg) -> Result<(), russh::Error>
where
    H: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
{
    match msg {
        ChannelMsg::RequestPty {
            want_reply,
            term,
            col_width,
            row_height,
            pix_width,
            pix_height,
            terminal_modes,
        } => {
            host.request_pty(
                want_reply,
                &term,
                col_width,
                row_height,
                pix_width,
                pix_height,
                &terminal_modes,
            )
            .await
        }
        ChannelMsg::RequestShell { want_reply } => host.request_shell(want_reply).await,
        ChannelMsg::Exec { want_reply, command } => host.exec(want_reply, command).await,
        ChannelMsg::RequestSubsystem { want_reply, name } => host.request_subsystem(want_reply, name).await,
        ChannelMsg::SetEnv {
            want_reply,
            variable_name,
            variable_value,
        } => host.set_env(want_reply, variable_name, variable_value).await,
        ChannelMsg::AgentForward { want_reply } => host.agent_forward(want_reply).await,
        ChannelMsg::WindowChange {
            col_width,
            row_height,
            pix_width,
            pix_height,
        } => {
            host.window_change(col_width, row_height, pix_width, pix_height)
                .await
        }
        ChannelMsg::Signal { signal } => host.signal(signal).await,
        // X11 is not carried, and nothing else comes here.
        _ => Err(russh::Error::RequestDenied),
    }
}

/// Watches nothing and allows nothing but bytes: for forwarded connections, which were decided when they were opened.
#[derive(Debug, Default, Clone, Copy)]
pub struct BytesOnly;

impl Inspect for BytesOnly {
    fn speaks(&self) -> bool {
        false
    }
    fn request<'a>(&'a mut self, _: &'a mut ChannelMsg) -> Boxed2<'a, Result<(), String>> {
        Box::pin(std::future::ready(Err(
            "a forwarded connection carries no requests".into(),
        )))
    }
    fn output<'a>(&'a mut self, _: &'a [Chunk]) -> Boxed2<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn input<'a>(&'a mut self, _: &'a Bytes) -> Boxed2<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
