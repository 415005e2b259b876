//! The lines that `ls -l` shows, which clients print as they come.

use nix::unistd::{Gid, Group, Uid, User};
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Older than this a file's year is shown and not its time of day.
const HALF_A_YEAR: i64 = 182 * 86_400;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Names of users and groups, looked up once.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    /// One line, in UTC.
    pub(super) fn line(&mut self, name: &[u8], of: &Metadata) -> Vec<u8> {
        let user = self.users.entry(of.uid()).or_insert_with_key(|id| {
            let found = User::from_uid(Uid::from_raw(*id)).ok().flatten();
            found.map_or_else(|| id.to_string(), |user| user.name)
        });
        let group = self.groups.entry(of.gid()).or_insert_with_key(|id| {
            let found = Group::from_gid(Gid::from_raw(*id)).ok().flatten();
            found.map_or_else(|| id.to_string(), |group| group.name)
        });
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let mut line = format!(
            "{} {:3} {user:<8} {group:<8} {:>8} {} ",
            mode(of.mode()),
            of.nlink(),
            of.size(),
            date(of.mtime(), now)
        )
        .into_bytes();
        line.extend_from_slice(name);
        line
    }
}

fn mode(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o020_000 => 'c',
        0o060_000 => 'b',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [
        (6, 0o4000, 's', 'S'),
        (3, 0o2000, 's', 'S'),
        (0, 0o1000, 't', 'T'),
    ] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn date(at: i64, now: i64) -> String {
    let (days, second) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let month = MONTHS[month];
    if (now - HALF_A_YEAR..=now + 3600).contains(&at) {
        format!("{month} {day:2} {:02}:{:02}", second / 3600, second % 3600 / 60)
    } else {
        format!("{month} {day:2}  {year}")
    }
}

/// Year, month from 0, and day of a number of days since 1970, in the Gregorian calendar: years that begin in March and
/// cycles of 400 of them have the leap days at their ends.
fn civil(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12;
    let year = year + cycle * 400 + i64::from(month < 2);
    (year, usize::try_from(month).unwrap_or(0), day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(civil(0), (1970, 0, 1));
        assert_eq!(civil(-1), (1969, 11, 31));
        assert_eq!(civil(11_016), (2000, 1, 29));
        assert_eq!(civil(20_783), (2026, 10, 26));
        assert_eq!(date(1_800_000_000, 1_800_000_000), "Jan 15 08:00");
        assert_eq!(date(0, 1_800_000_000), "Jan  1  1970");
    }

    #[test]
    fn modes_are_shown_as_by_ls() {
        assert_eq!(mode(0o100_644), "-rw-r--r--");
        assert_eq!(mode(0o041_777), "drwxrwxrwt");
        assert_eq!(mode(0o104_755), "-rwsr-xr-x");
        assert_eq!(mode(0o102_640), "-rw-r-S---");
    }
}
