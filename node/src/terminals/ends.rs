//! The ends of a terminal and of a file, as the port has them.

use super::file_fault;
use palisade_core::ports::{
    ByteSource, FileWriting, Pending, TerminalEvent, TerminalFault, TerminalInput, TerminalOutput,
    Unavailable,
};
use palisade_session::files::client::{Reading, Writing};
use palisade_session::ssh::user::{self, Hearing, Said, Speaking};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The end of a terminal that hears.
pub(super) struct Screen {
    hearing: Hearing,
    notices: mpsc::Receiver<String>,
    stop: CancellationToken,
    status: Option<u32>,
    /// The last line of ours.
    said: String,
}

impl Screen {
    pub(super) fn new(hearing: Hearing, notices: mpsc::Receiver<String>, stop: CancellationToken) -> Self {
        Screen {
            hearing,
            notices,
            stop,
            status: None,
            said: String::new(),
        }
    }

    async fn next(&mut self, most: usize) -> TerminalEvent {
        loop {
            let said = tokio::select! {
                biased;
                () = self.stop.cancelled() => return TerminalEvent::Moves,
                Some(notice) = self.notices.recv() => return TerminalEvent::Notice(notice),
                said = self.hearing.next(most) => said,
            };
            match said {
                Said::Output(bytes) => return TerminalEvent::Output(bytes.into()),
                Said::Words(words) => {
                    let line = user::reason(&words);
                    if !line.is_empty() {
                        self.said.clone_from(&line);
                        return TerminalEvent::Notice(line);
                    }
                }
                Said::Status(status) => self.status = Some(status),
                Said::Signal(signal) => self.said = format!("its program was ended by signal {signal}"),
                Said::End => {
                    let mut reason = std::mem::take(&mut self.said);
                    if self.status.is_some() {
                        reason.clear();
                    } else if reason.is_empty() {
                        let farewell = self.hearing.farewell();
                        reason = farewell.unwrap_or_else(|| "the connection to the host was lost".into());
                    }
                    return TerminalEvent::Closed {
                        status: self.status.take(),
                        reason,
                    };
                }
            }
        }
    }
}

impl TerminalOutput for Screen {
    fn next(&mut self, most: usize) -> Pending<'_, TerminalEvent> {
        Box::pin(Screen::next(self, most))
    }
}

/// The end that speaks.
pub(super) struct Keys {
    pub(super) speaking: Speaking,
    pub(super) left: Arc<AtomicBool>,
}

impl TerminalInput for Keys {
    fn typed(&self, bytes: Vec<u8>) -> Pending<'_, bool> {
        Box::pin(async move { self.speaking.send(bytes.into()).await })
    }

    fn resize(&self, columns: u32, rows: u32) -> Pending<'_, ()> {
        Box::pin(async move { self.speaking.resize(columns, rows).await })
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.left.store(false, Ordering::SeqCst);
            self.speaking.clone().close().await;
        })
    }
}

/// A file being read.
pub(super) struct File(pub(super) Reading);

impl ByteSource for File {
    fn next(&mut self) -> Pending<'_, Option<Result<Vec<u8>, Unavailable>>> {
        Box::pin(async move {
            match self.0.next().await {
                Ok(Some(bytes)) => Some(Ok(bytes.into())),
                Ok(None) => None,
                Err(error) => Some(Err(Unavailable::Fault(error.to_string()))),
            }
        })
    }
}

/// A file being written.
pub(super) struct NewFile(pub(super) Writing);

impl FileWriting for NewFile {
    fn write(&mut self, bytes: Vec<u8>) -> Pending<'_, Result<(), TerminalFault>> {
        Box::pin(async move { self.0.write(bytes.into()).await.map_err(file_fault) })
    }

    fn finish(self: Box<Self>) -> Pending<'static, Result<(), TerminalFault>> {
        Box::pin(async move { self.0.finish().await.map_err(file_fault) })
    }
}
