//! What this process takes from its machine, as Linux tells it.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use std::fs;
use std::time::Duration;

/// What the process takes now. What cannot be found out is 0.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Process {
    /// Resident memory, in bytes.
    pub(crate) memory_bytes: u64,
    /// Processor time since its start.
    pub(crate) cpu: Duration,
    /// Open file descriptors.
    pub(crate) open_files: u64,
    /// How many it may have.
    pub(crate) most_files: u64,
    /// Threads.
    pub(crate) threads: u64,
}

/// Looks.
pub(crate) fn look() -> Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Process {
        memory_bytes: number(&status, "VmRSS:") * 1024,
        cpu: getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |used| {
            time(used.user_time()) + time(used.system_time())
        }),
        open_files: fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64),
        most_files: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
        threads: number(&status, "Threads:"),
    }
}

fn number(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

fn time(value: nix::sys::time::TimeVal) -> Duration {
    let secs = u64::try_from(value.tv_sec()).unwrap_or(0);
    let micros = u64::try_from(value.tv_usec()).unwrap_or(0);
    Duration::from_secs(secs) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_takes_something() {
        let now = look();
        assert!(now.memory_bytes > 1 << 20, "{now:?}");
        assert!(now.open_files >= 3 && now.most_files >= now.open_files, "{now:?}");
        assert!(now.threads >= 1 && now.cpu > Duration::ZERO, "{now:?}");
    }

    #[test]
    fn a_number_is_found_by_its_key() {
        let status = "Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t7\n";
        assert_eq!(
            (
                number(status, "VmRSS:"),
                number(status, "Threads:"),
                number(status, "No:")
            ),
            (1234, 7, 0)
        );
    }
}
