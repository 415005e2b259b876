//! An SFTP server, version 3 (draft-ietf-secsh-filexfer-02), with the extensions of OpenSSH that its clients and sshfs
//! use. It runs as the user: `..` and symbolic links lead where the user may go, and nowhere else.
//!
//! One request after the other, answered in order. Answers are written when the next request has to be waited for.

mod attrs;
mod files;
mod listing;
mod wire;

use files::Server;
use rustix::stdio::{stdin, stdout};
use std::path::Path;
use std::process::ExitCode;

/// The longest packet, as in OpenSSH.
const PACKET: usize = 256 << 10;

/// The most content in one packet: a packet without its head.
const CONTENT: usize = PACKET - 1024;

/// Answers are written at the latest when there are so many of them.
const FLUSH: usize = 1 << 20;

/// Serves standard input and output until it ends.
pub(crate) fn serve(home: &Path) -> Result<ExitCode, String> {
    // Fewer and larger reads and writes; not a fault where it is not allowed.
    let _ = rustix::pipe::fcntl_setpipe_size(stdin(), FLUSH);
    let _ = rustix::pipe::fcntl_setpipe_size(stdout(), FLUSH);
    let mut server = Server::new(home.to_owned());
    let mut input = Input::default();
    let mut output = Vec::new();
    loop {
        match input.packet() {
            Ok(Some(packet)) => {
                server.answer(packet, &mut output);
                if output.len() >= FLUSH {
                    write(&mut output)?;
                }
                continue;
            }
            Ok(None) => {}
            Err(()) => return Err("the client does not speak SFTP".into()),
        }
        write(&mut output)?;
        match input.fill() {
            Ok(true) => {}
            Ok(false) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(format!("the session is gone: {error}")),
        }
    }
}

fn write(output: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = &output[..];
    while !rest.is_empty() {
        match rustix::io::write(stdout(), rest) {
            Ok(n) => rest = &rest[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("the session is gone: {error}")),
        }
    }
    output.clear();
    Ok(())
}

/// What has come and is not worked through.
#[derive(Debug, Default)]
struct Input {
    bytes: Vec<u8>,
    /// Where the first packet begins that was not given out.
    from: usize,
}

impl Input {
    /// The next packet, if it is whole. `Err` if it cannot be one.
    fn packet(&mut self) -> Result<Option<&[u8]>, ()> {
        let rest = &self.bytes[self.from..];
        let Some((length, body)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 || length > PACKET {
            return Err(());
        }
        if body.len() < length {
            return Ok(None);
        }
        let start = self.from + 4;
        self.from = start + length;
        Ok(Some(&self.bytes[start..start + length]))
    }

    /// Waits for more. False at the end.
    fn fill(&mut self) -> std::io::Result<bool> {
        self.bytes.drain(..self.from);
        self.from = 0;
        let have = self.bytes.len();
        self.bytes.resize(have + PACKET, 0);
        let got = loop {
            match rustix::io::read(stdin(), &mut self.bytes[have..]) {
                Err(rustix::io::Errno::INTR) => {}
                got => break got,
            }
        };
        self.bytes.truncate(have + got.as_ref().copied().unwrap_or(0));
        Ok(got? > 0)
    }
}
