//! SIGHUP: the configuration is read again. What can be taken over at once is; what cannot is named in the log.

use crate::agent;
use crate::config::Config;
use crate::logging::Log;
use std::path::Path;
use tokio::sync::watch;

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

/// The same for an agent, whose configuration `load` reads: labels are taken over, and sessions never end for it.
pub fn reload_agent(
    load: impl FnOnce() -> Result<agent::Config, String>,
    now: &watch::Sender<agent::Config>,
) {
    let new = match load() {
        Ok(new) => new,
        Err(faults) => {
            tracing::error!(%faults, "SIGHUP: the configuration has faults, and everything stays as it was");
            return;
        }
    };
    let waiting = new.waiting(&now.borrow());
    if !waiting.is_empty() {
        let keys = waiting.join(", ");
        tracing::warn!(%keys, "SIGHUP: this takes effect at the next start of the agent");
    }
    // The rest stays what the agent was started with.
    let taken = now.send_if_modified(|now| {
        let differs = (&now.labels, &now.label_commands) != (&new.labels, &new.label_commands);
        now.labels = new.labels;
        now.label_commands = new.label_commands;
        differs
    });
    if taken {
        tracing::info!("SIGHUP: the labels are taken over");
    } else if waiting.is_empty() {
        tracing::info!("SIGHUP: the configuration has not changed");
    }
}
