//! Forwarded TCP streams (`ssh -L`): what comes back through a node must be what was sent, byte by byte, also when the
//! stream was resumed through another node on its way.

use super::{AGENT, PLAIN, Shared, Watched, at_host};
use crate::real::check::streams::Passed;
use crate::real::rng::Rng;
use palisade_testkit::{Person, free_port};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LISTENS: Duration = Duration::from_secs(20);
/// Blocks of one stream, and the time between two.
const BLOCKS: u64 = 60;
const BLOCK: u64 = 8 * 1024;
const PACE: Duration = Duration::from_millis(50);
/// Longer than a stream may stand still.
const STANDS: Duration = Duration::from_secs(40);

/// Holds one stream after the other.
pub fn run(person: &Person, shared: &Shared, rng: &mut Rng) {
    let port = free_port();
    while shared.goes_on() {
        let host = *rng.pick(&[PLAIN, AGENT, AGENT]);
        let spec = format!("127.0.0.1:{port}:127.0.0.1:{}", shared.echo);
        let target = at_host(host);
        let words = [
            "-N",
            "-o",
            "ExitOnForwardFailure=yes",
            "-L",
            spec.as_str(),
            target.as_str(),
        ];
        let mut command = match host {
            AGENT => {
                let mut command = person.pal_command(&["ssh"]);
                command.args(words);
                command
            }
            _ => person.openssh("ssh", &words),
        };
        let mut ssh = Watched::start(&mut command);
        let until = Instant::now() + LISTENS;
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break Some(stream),
                Err(_) if !ssh.is_running() || Instant::now() > until => break None,
                Err(_) => std::thread::sleep(Duration::from_millis(30)),
            }
        };
        let seed = rng.number();
        let passed = stream.map(|stream| pass(stream, seed, host, shared));
        let kind = if host == PLAIN {
            "forward at a host"
        } else {
            "forward at an agent"
        };
        shared
            .history
            .count(kind, passed.as_ref().is_some_and(|p| p.sent == p.arrived), false);
        if let Some(passed) = passed {
            shared
                .passed
                .lock()
                .expect("nobody panics while holding it")
                .push(passed);
        }
        ssh.kill();
        shared.pause(Duration::from_millis(300));
    }
}

/// The byte at a place: another run of them in every stream.
fn byte(seed: u64, at: u64) -> u8 {
    ((at ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

fn pass(stream: TcpStream, seed: u64, host: &str, shared: &Shared) -> Passed {
    let mut passed = Passed {
        what: format!("a forwarded stream, {host}"),
        sent: 0,
        arrived: 0,
        same: true,
        // A stream may end with its node: then what came is the beginning of what was sent.
        whole: false,
    };
    let _ = stream.set_read_timeout(Some(STANDS));
    let _ = stream.set_write_timeout(Some(STANDS));
    let Ok(mut writing) = stream.try_clone() else {
        return passed;
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut sent = 0;
            for _ in 0..BLOCKS {
                let block: Vec<u8> = (sent..sent + BLOCK).map(|at| byte(seed, at)).collect();
                if writing.write_all(&block).is_err() {
                    break;
                }
                sent += BLOCK;
                shared.pause(PACE);
            }
            let _ = writing.shutdown(std::net::Shutdown::Write);
            sent
        });
        let mut reading = &stream;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match reading.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let right = |(i, b): (usize, &u8)| *b == byte(seed, passed.arrived + i as u64);
                    passed.same &= buffer[..n].iter().enumerate().all(right);
                    passed.arrived += n as u64;
                }
                Err(_) => break,
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
        passed.sent = writer.join().unwrap_or_default();
    });
    passed
}
