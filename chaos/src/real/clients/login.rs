//! Logins without pause: each gives a certificate, and its serial is remembered.

use super::Shared;
use crate::real::rng::Rng;
use palisade_testkit::Person;
use std::time::Duration;

const PACE: Duration = Duration::from_millis(400);

/// Logs in until told to stop, at the nodes in any order.
pub fn run(person: &Person, shared: &Shared, rng: &mut Rng) {
    while shared.goes_on() {
        let mut addrs = shared.web.clone();
        rng.shuffle(&mut addrs);
        let ran = person.login_by_password(&addrs.join(","));
        shared.history.count("login", ran.succeeded(), false);
        if ran.succeeded() {
            let shown = person.certificate();
            let serial = shown
                .lines()
                .find_map(|line| line.trim().strip_prefix("Serial: "));
            match serial {
                Some(serial) => shared.history.certificate(&person.name, serial),
                None => shared
                    .history
                    .violation(format!("a certificate without a serial: {shown}")),
            }
        }
        shared.pause(PACE);
    }
}
