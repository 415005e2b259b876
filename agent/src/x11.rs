//! X11: a display of this host that is carried to the user's, as sshd does it with `X11UseLocalhost`.
//!
//! The cookie that is written for programs here is a made-up one of the user's client, which exchanges it for the real
//! one at its end.

use crate::connection::Connection;
use crate::forward::accept;
use crate::program::{Launch, Program, Run};
use palisade_core::access::Ability;
use palisade_core::event::EventKind;
use palisade_session::ssh::russh::server::Handle;
use palisade_session::ssh::serve::Stop;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// Displays begin above those that a host may have by itself.
const FIRST: u16 = 10;
/// How many are tried.
const MOST: u16 = 1000;
/// Display 0 is at this port.
const PORT: u16 = 6000;
/// How long `xauth` may take: it waits for its lock.
const XAUTH: Duration = Duration::from_secs(10);

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// One connection, then no more.
    pub(crate) single: bool,
    pub(crate) protocol: String,
    pub(crate) cookie: String,
    pub(crate) screen: u32,
}

/// A display; it goes when this is dropped.
pub(crate) struct Display {
    number: u16,
    screen: u32,
    stop: Stop,
}

impl Display {
    /// What `DISPLAY` is set to.
    pub(crate) fn name(&self) -> String {
        format!("localhost:{}.{}", self.number, self.screen)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.stop.stop("the session is over");
    }
}

pub(crate) async fn open(connection: &Arc<Connection>, ask: Ask) -> Result<Display, String> {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    let sound = !ask.protocol.is_empty()
        && ask.protocol.len() <= 64
        && ask.protocol.bytes().all(word)
        && ask.cookie.len() <= 1024
        && ask.cookie.len().is_multiple_of(2)
        && ask.cookie.bytes().all(|c| c.is_ascii_hexdigit())
        && ask.screen < 400;
    if !sound {
        return Err("the X11 request is malformed".into());
    }
    let event = connection
        .event(EventKind::Forward)
        .with("kind", Ability::X11.as_str());
    connection.audit(vec![event]).await.map_err(|e| e.to_string())?;
    let (listener, number) = listen().await.ok_or("this host has no display to spare")?;
    authorize(connection, number, &ask).await?;
    let stop = Stop::default();
    let display = Display {
        number,
        screen: ask.screen,
        stop: stop.clone(),
    };
    let connection = Arc::clone(connection);
    connection.shared.tasks.clone().spawn(async move {
        let once = stop.clone();
        let next = || async {
            let (stream, from) = listener.accept().await?;
            let _ = stream.set_nodelay(true);
            Ok((stream, from))
        };
        let open = |user: Handle, (stream, from): (TcpStream, SocketAddr)| {
            if ask.single {
                once.stop("one connection was asked for");
            }
            async move {
                let (ip, port) = (from.ip().to_string(), u32::from(from.port()));
                Ok((user.channel_open_x11(ip, port).await?, stream))
            }
        };
        accept(&connection, Ability::X11, &stop, next, open).await;
    });
    Ok(display)
}

async fn listen() -> Option<(TcpListener, u16)> {
    for number in FIRST..FIRST + MOST {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT + number)).await {
            return Some((listener, number));
        }
    }
    None
}

/// Lets the user's programs on this host use the display: `xauth`, run as the user.
async fn authorize(connection: &Connection, number: u16, ask: &Ask) -> Result<(), String> {
    let account = connection.account().ok_or("not logged in")?;
    let failed = |e: std::io::Error| format!("xauth: {e}");
    let mut program = Program::start(Launch {
        helper: &connection.shared.config.helper,
        account,
        run: Run::Command(b"exec xauth -q -".to_vec()),
        env: Vec::new(),
        terminal: None,
        from: "",
    })
    .map_err(failed)?;
    // On standard input: arguments are seen by everybody.
    let lines = format!(
        "remove unix:{number}.{screen}\nadd unix:{number}.{screen} {protocol} {cookie}\n",
        screen = ask.screen,
        protocol = ask.protocol,
        cookie = ask.cookie
    );
    if let Some(mut input) = program.input.take() {
        let _ = input.write_all(lines.as_bytes()).await;
        let _ = input.shutdown().await;
    }
    match tokio::time::timeout(XAUTH, program.wait()).await {
        Ok(crate::program::Exit::Status(0)) => Ok(()),
        Ok(_) => Err("xauth failed on this host: is it installed?".into()),
        Err(_) => {
            program.end().await;
            Err("xauth does not end on this host".into())
        }
    }
}
