//! Ports that no other test of this machine is using.

use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::net::TcpListener;
use std::sync::Mutex;

/// Held until the process ends, so that a restarted node finds its ports free.
static HELD: Mutex<Vec<Flock<File>>> = Mutex::new(Vec::new());

/// Below the range from which the kernel takes ports for outgoing connections: those come and go at any moment.
const FIRST: u16 = 14_000;
const LAST: u16 = 31_000;

/// A port on loopback that stays this process's own until it ends.
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir().join(format!("palisade-test-ports-{}", nix::unistd::getuid()));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let span = LAST - FIRST;
    let start = u16::try_from(std::process::id() % u32::from(span)).expect("it is smaller than a port");
    for step in 0..span {
        let port = FIRST + (start + step) % span;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(port.to_string()))
            .expect("the temporary folder is writable");
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().expect("nobody panics while holding it").push(lock);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {LAST}");
}
