//! Somebody's place in a room: who they are there, what their keys do, and what they are shown.

use crate::connection::Connection;
use crate::room::Room;
use bytes::Bytes;
use palisade_core::name::Name;
use palisade_core::record::JoinMode;
use palisade_session::ssh::russh::server::Msg;
use palisade_session::ssh::russh::{ChannelWriteHalf, Sig};
use palisade_session::ssh::serve::Stop;
use std::sync::Arc;

/// What Ctrl-C sends: whoever does not type leaves by it, and an owner gives up waiting.
pub(crate) const CTRL_C: u8 = 3;

/// What somebody in a room may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Whose session it is.
    Owner,
    /// They joined it, as a node decided.
    Joined(JoinMode),
}

impl Mode {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Owner => "owner",
            Mode::Joined(mode) => mode.as_str(),
        }
    }

    fn types(self) -> bool {
        matches!(self, Mode::Owner | Mode::Joined(JoinMode::Peer))
    }
}

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Who.
    pub user: Name,
    /// As what.
    pub mode: Mode,
    /// From where.
    pub client_addr: String,
}

/// Somebody's place in a room: the channel that their terminal is at the other end of.
pub(crate) struct Seat {
    pub(crate) room: Arc<Room>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) write: Arc<ChannelWriteHalf<Msg>>,
    pub(crate) mode: Mode,
    /// They have left, or were made to.
    pub(crate) gone: Stop,
}

impl Seat {
    pub(crate) fn new(
        room: &Arc<Room>,
        connection: Arc<Connection>,
        write: Arc<ChannelWriteHalf<Msg>>,
        mode: Mode,
    ) -> Arc<Seat> {
        Arc::new(Seat {
            room: Arc::clone(room),
            connection,
            write,
            mode,
            gone: Stop::default(),
        })
    }

    pub(crate) fn participant(&self) -> Participant {
        let pass = self.connection.pass();
        Participant {
            user: pass.claims().user.clone(),
            mode: self.mode,
            client_addr: pass.claims().client_addr.clone(),
        }
    }

    /// They typed, or sent. Ready when the program has taken it.
    pub(crate) async fn typed(self: &Arc<Self>, bytes: &Bytes) {
        if !self.mode.types() {
            return self.key(bytes).await;
        }
        self.room.typed(self, bytes).await;
    }

    /// A key of somebody who does not type. Only a key by itself counts: what a terminal answers by itself, and what is
    /// pasted, comes in longer pieces.
    async fn key(self: &Arc<Self>, bytes: &Bytes) {
        match (self.mode, &bytes[..]) {
            (_, [CTRL_C]) => {
                let _ = self.write.exit_status(0).await;
                let _ = self.write.eof().await;
                self.leave(true);
            }
            (Mode::Joined(JoinMode::Moderator), [b't' | b'T']) => {
                let who = self.participant().user;
                self.room
                    .stop
                    .stop(&format!("{who}, a moderator, ended the session"));
            }
            _ => {}
        }
    }

    /// They will send nothing more. A terminal has no end of input: that is a key.
    pub(crate) async fn end_of_input(&self) {
        if self.mode == Mode::Owner {
            self.room.end_of_input().await;
        }
    }

    pub(crate) fn resized(&self, columns: u32, rows: u32, pixels: (u32, u32)) {
        // One terminal has one size, and it is its owner's.
        if self.mode == Mode::Owner {
            self.room.resized(columns, rows, pixels);
        }
    }

    pub(crate) fn signal(&self, signal: &Sig) {
        if self.mode.types() {
            self.room.signal(signal);
        }
    }

    /// They leave. An owner who does so on purpose ends the session, as closing any terminal does.
    pub(crate) fn leave(self: &Arc<Self>, on_purpose: bool) {
        self.gone.stop("");
        self.room.left(self, on_purpose, "");
    }

    /// Sends output, as fast as they take it. False when they are gone.
    pub(crate) async fn send(&self, ext: Option<u32>, data: Bytes) -> bool {
        let send = async {
            self.connection.egress.ready().await;
            match ext {
                None => self.write.data_bytes(data).await,
                Some(ext) => self.write.extended_data_bytes(ext, data).await,
            }
        };
        tokio::select! {
            sent = send => sent.is_ok(),
            _ = self.gone.stopped() => false,
        }
    }
}
