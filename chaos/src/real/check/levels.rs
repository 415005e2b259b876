//! What a node holds returns to its level: descriptors, memory and disk after a run are what they were before it, but for
//! what the run was meant to leave.

use super::{Said, unless};

/// What one node holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    /// Open descriptors.
    pub descriptors: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Disk in use, in bytes.
    pub disk: u64,
    /// Entries of the log so far, from the cluster's beginning.
    pub entries: u64,
}

/// Connections that may have come meanwhile; a leak of one a fault would be more.
const DESCRIPTORS: u64 = 60;
/// What allocator and caches may keep.
const MEMORY: u64 = 192 << 20;
/// The log that waits for its next snapshot, and what the store holds before it gives it back.
const DISK: u64 = 160 << 20;
/// What an entry leaves for good: its record, its events, its recording's pieces.
const DISK_PER_ENTRY: u64 = 8 << 10;

/// Compares each node (by its name) before and after.
pub fn check(nodes: &[(String, Level, Level)]) -> Said {
    let mut wrong = Vec::new();
    let mut most = Level::default();
    for (name, before, after) in nodes {
        let entries = after.entries.saturating_sub(before.entries);
        let mut beyond = |what: &str, was: u64, is: u64, may: u64| {
            if is > was + may {
                wrong.push(format!(
                    "{name}: {what} went from {was} to {is}, and may grow by {may}"
                ));
            }
        };
        beyond("descriptors", before.descriptors, after.descriptors, DESCRIPTORS);
        beyond("memory", before.memory, after.memory, MEMORY + entries * 512);
        beyond("disk", before.disk, after.disk, DISK + entries * DISK_PER_ENTRY);
        most.descriptors = most.descriptors.max(after.descriptors);
        most.memory = most.memory.max(after.memory);
        most.disk = most.disk.max(after.disk);
    }
    let good = format!(
        "at most {} descriptors, {} MiB of memory, {} MiB of disk a node",
        most.descriptors,
        most.memory >> 20,
        most.disk >> 20
    );
    unless(wrong, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_leak_is_found_and_growth_with_the_log_is_none() {
        let before = Level {
            descriptors: 100,
            memory: 100 << 20,
            disk: 50 << 20,
            entries: 1000,
        };
        let with = |after: Level| check(&[("n1".into(), before, after)]);
        with(before).expect("it is as it was");
        with(Level {
            descriptors: 400,
            ..before
        })
        .expect_err("descriptors");
        with(Level {
            memory: 1 << 30,
            ..before
        })
        .expect_err("memory");
        with(Level {
            disk: 1 << 30,
            ..before
        })
        .expect_err("disk");
        with(Level {
            disk: 1 << 30,
            entries: 200_000,
            ..before
        })
        .expect("as many entries take so much");
    }
}
