//! Labels of a host: those that do not change, and those that commands print again and again.

use super::config::{Config, LabelCommand};
use palisade_core::record::Labels;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

/// How long a label's command may take.
const COMMAND: Duration = Duration::from_secs(10);
/// The most of its output that becomes a label.
const VALUE_CHARS_MAX: usize = 200;

/// The labels, kept up to date until `stop`.
pub(super) fn watch(config: &Config, stop: &CancellationToken) -> channel::Receiver<Labels> {
    let (sender, receiver) = channel::channel(config.labels.clone());
    let sender = Arc::new(sender);
    for (name, what) in config.label_commands.clone() {
        tokio::spawn(keep(name, what, Arc::clone(&sender), stop.clone()));
    }
    receiver
}

async fn keep(
    name: String,
    what: LabelCommand,
    labels: Arc<channel::Sender<Labels>>,
    stop: CancellationToken,
) {
    loop {
        match value(&what).await {
            Ok(value) => {
                labels.send_if_modified(|labels| {
                    labels.insert(name.clone(), value.clone()).as_ref() != Some(&value)
                });
            }
            // What cannot be said is not said: an old value might open a door that is meant to be closed.
            Err(error) => {
                tracing::warn!(label = name, error, "a label's command failed");
                labels.send_if_modified(|labels| labels.remove(&name).is_some());
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(what.interval) => {}
        }
    }
}

async fn value(what: &LabelCommand) -> Result<String, String> {
    let Some((program, arguments)) = what.command.split_first() else {
        return Err("there is no command".into());
    };
    let running = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(COMMAND, running)
        .await
        .map_err(|_| format!("it took longer than {} s", COMMAND.as_secs()))?
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default().trim();
    Ok(line
        .chars()
        .filter(|c| !c.is_control())
        .take(VALUE_CHARS_MAX)
        .collect())
}
