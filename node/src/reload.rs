//! SIGHUP: the configuration is read again. What can be taken over at once is; what cannot is named in the log.

use crate::config::Config;
use crate::logging::Log;
use std::path::Path;

/// Reads the file again; answers the configuration that holds from now on. One with faults changes nothing.
pub fn reload(path: &Path, now: Config, log: &Log) -> Config {
    let new = match Config::load(path) {
        Ok(new) => new,
        Err(faults) => {
            tracing::error!(%faults, "SIGHUP: the configuration has faults, and everything stays as it was");
            return now;
        }
    };
    let changes = new.changes(&now);
    if changes.is_empty() {
        tracing::info!("SIGHUP: the configuration has not changed");
        return now;
    }
    log.change(new.log, &new.log_level);
    for (key, before, after) in &changes {
        if key.reload {
            tracing::info!(key = key.name, %before, %after, "SIGHUP: taken over");
        } else {
            tracing::warn!(key = key.name, %before, %after, "SIGHUP: this takes effect at the next start of the node");
        }
    }
    new
}
