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

/// The labels by the configuration of the moment, kept up to date until `stop`.
pub(super) fn watch(
    mut configs: channel::Receiver<Config>,
    stop: &CancellationToken,
) -> channel::Receiver<Labels> {
    let mut config = configs.borrow_and_update().clone();
    let (sender, receiver) = channel::channel(config.labels.clone());
    let (sender, stop) = (Arc::new(sender), stop.clone());
    tokio::spawn(async move {
        loop {
            let turn = stop.child_token();
            for (name, what) in config.label_commands.clone() {
                tokio::spawn(keep(name, what, Arc::clone(&sender), turn.clone()));
            }
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                changed = configs.changed() => changed,
            };
            if changed.is_err() {
                // Whoever could change it is gone; the commands go on.
                return stop.cancelled().await;
            }
            turn.cancel();
            let new = configs.borrow_and_update().clone();
            sender.send_modify(|labels| {
                let mut next = new.labels.clone();
                // What a command printed holds until it is asked again, if it is the same command.
                for (name, what) in &new.label_commands {
                    if config.label_commands.get(name) == Some(what)
                        && let Some(value) = labels.remove(name)
                    {
                        next.insert(name.clone(), value);
                    }
                }
                *labels = next;
            });
            config = new;
        }
    });
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
            // Asked inside: once another configuration holds, this one says nothing more.
            Ok(value) => {
                labels.send_if_modified(|labels| {
                    !stop.is_cancelled()
                        && labels.insert(name.clone(), value.clone()).as_ref() != Some(&value)
                });
            }
            // What cannot be said is not said: an old value might open a door that is meant to be closed.
            Err(error) => {
                tracing::warn!(label = name, error, "a label's command failed");
                labels.send_if_modified(|labels| !stop.is_cancelled() && labels.remove(&name).is_some());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(&format!("name: web1\n{text}")).expect("a configuration")
    }

    #[tokio::test]
    async fn labels_follow_the_configuration_and_those_of_commands_that_went_are_gone() {
        let stop = CancellationToken::new();
        let sender = channel::Sender::new(config(
            "labels: {env: prod}\nlabel_commands: {a: {command: [/bin/echo, one], interval: 1h}, b: {command: [/bin/echo, two], interval: 1h}}\n",
        ));
        let mut labels = watch(sender.subscribe(), &stop);
        let is = |wanted: &'static [(&str, &str)]| {
            move |labels: &Labels| {
                labels.len() == wanted.len()
                    && wanted
                        .iter()
                        .all(|(name, value)| labels.get(*name).is_some_and(|is| is == value))
            }
        };
        let patience = Duration::from_secs(30);
        let first = labels.wait_for(is(&[("env", "prod"), ("a", "one"), ("b", "two")]));
        tokio::time::timeout(patience, first)
            .await
            .expect("in time")
            .expect("they are watched");
        sender.send_replace(config(
            "labels: {env: test}\nlabel_commands: {a: {command: [/bin/echo, one], interval: 1h}, c: {command: [/bin/echo, three], interval: 1h}}\n",
        ));
        let second = labels.wait_for(is(&[("env", "test"), ("a", "one"), ("c", "three")]));
        tokio::time::timeout(patience, second)
            .await
            .expect("in time")
            .expect("they are watched");
    }
}
