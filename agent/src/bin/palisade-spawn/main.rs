//! `palisade-spawn`: becomes a user and is their program. Started by the agent for each session, by nobody else.
//!
//! ```text
//! palisade-spawn session --user NAME [--tty PATH] [--from ADDRESS] [--env NAME=VALUE]... --login|--command TEXT|--sftp
//! palisade-spawn connect --user NAME -- PATH              opens a socket, and hands its descriptor back
//! palisade-spawn listen [--private] --user NAME -- PATH   makes one, likewise
//! palisade-spawn remove --user NAME -- PATH               removes one
//! ```
//!
//! It begins as the agent, with an empty environment, and gives up everything before it runs anything. What it says on
//! standard error the user reads.

mod become_user;
mod session;
mod sftp;
mod sockets;

use std::ffi::OsString;
use std::process::ExitCode;

/// What `ssh` itself returns when it fails.
const FAILED: u8 = 255;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let mode = args.next().unwrap_or_default();
    let rest: Vec<OsString> = args.collect();
    let done = match mode.to_str() {
        Some("session") => session::run(rest),
        Some("connect") => sockets::connect(rest),
        Some("listen") => sockets::listen(rest),
        Some("remove") => sockets::remove(rest),
        _ => Err("this program is started by the Palisade agent".into()),
    };
    match done {
        Ok(code) => code,
        Err(reason) => {
            // Nobody is left to be told if this fails.
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "palisade: {reason}\r");
            ExitCode::from(FAILED)
        }
    }
}
