//! A recording on its way out: as the player reads it, or as asciicast; masked where it leaves the cluster.

use super::{Chunks, NodeRecordings, fault};
use palisade_core::api::{MaskedRule, PlayLine};
use palisade_core::ports::{PlayFormat, Unavailable};
use palisade_core::record::{Completeness, Record, RecordingSpec};
use palisade_session::recording::{
    CastHeader, CastWriter, Chain, DataKey, Masks, Played, Redactor, event_line,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A recording on its way out, on a thread of its own.
pub(super) struct Playing {
    pub(super) recordings: Arc<NodeRecordings>,
    pub(super) row: Record<RecordingSpec>,
    pub(super) key: DataKey,
    pub(super) found: Chunks,
    pub(super) silent: BTreeSet<u64>,
    pub(super) format: PlayFormat,
    /// What is masked in this copy.
    pub(super) masks: Masks,
    pub(super) out: mpsc::Sender<Result<Vec<u8>, Unavailable>>,
}

impl Playing {
    pub(super) fn run(self, waiter: &tokio::runtime::Handle) {
        let mut chain = Chain::new((&self.row.spec.session).into(), &self.key);
        let played = match self.format {
            PlayFormat::Events | PlayFormat::Shared => self.events(&mut chain, waiter),
            PlayFormat::Asciicast => self.asciicast(&mut chain, waiter),
        };
        if let Err(Ended::Fault(why)) = played {
            let _ = self.out.blocking_send(Err(why));
        }
    }

    /// Feeds the chunks one after another, and gives each one's events away.
    fn each(
        &self,
        chain: &mut Chain<'_>,
        waiter: &tokio::runtime::Handle,
        mut take: impl FnMut(Vec<Played>) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        for (name, node) in self.found.values() {
            let bytes = waiter
                .block_on(self.recordings.fetch(name, *node))
                .map_err(Ended::Fault)?;
            match chain.feed(&bytes) {
                Ok(events) => take(events)?,
                // Nothing after a gap is proven; the last line says where it stops.
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn send(&self, lines: Vec<u8>) -> Result<(), Ended> {
        if lines.is_empty() {
            return Ok(());
        }
        self.out.blocking_send(Ok(lines)).map_err(|_| Ended::NobodyReads)
    }

    fn events(&self, chain: &mut Chain<'_>, waiter: &tokio::runtime::Handle) -> Result<(), Ended> {
        let mut row = self.row.spec.clone();
        row.sealed_key.clear();
        row.command = self.masks.text(&row.command);
        self.send(json_line(&PlayLine::Start(row))?)?;
        let mut redactor = Redactor::new(self.masks.clone());
        let lines_of = |events: Vec<Played>, lines: &mut Vec<u8>| -> Result<(), Ended> {
            for event in &events {
                lines.extend(json_line(&event_line(event))?);
            }
            Ok(())
        };
        self.each(chain, waiter, |events| {
            let mut lines = Vec::new();
            for event in events {
                lines_of(redactor.push(event), &mut lines)?;
            }
            self.send(lines)
        })?;
        let mut lines = Vec::new();
        lines_of(redactor.finish(), &mut lines)?;
        if !self.masks.is_empty() {
            let rules = redactor.counts().map(|(name, count)| MaskedRule {
                name: name.to_owned(),
                count,
            });
            lines.extend(json_line(&PlayLine::Masked(rules.collect()))?);
        }
        lines.extend(json_line(&self.end(chain))?);
        self.send(lines)
    }

    fn end(&self, chain: &Chain<'_>) -> PlayLine {
        let complete = chain.has_ended();
        let text = match (&self.row.spec.completeness, complete) {
            (_, true) => "complete".to_owned(),
            // The row says so only once the cluster has given the node up.
            (Completeness::Live, _) if self.silent.contains(&self.row.spec.node) => format!(
                "node {} carries the session and does not answer: this is what the other nodes have",
                self.row.spec.node
            ),
            (Completeness::Live, _) => "the session still runs".to_owned(),
            (Completeness::Interrupted(why), _) => why.clone(),
            (Completeness::Complete, _) => chain.finish().to_string(),
        };
        PlayLine::End { complete, text }
    }

    fn asciicast(&self, chain: &mut Chain<'_>, waiter: &tokio::runtime::Handle) -> Result<(), Ended> {
        let spec = &self.row.spec;
        let title = format!("{} as {} on {}", spec.user, spec.login, spec.host);
        let header = CastHeader {
            cols: 80,
            rows: 24,
            timestamp: spec.started.secs(),
            title: Some(title),
            redacted: self.masks.names(),
        };
        let mut writer = CastWriter::new(header);
        let mut redactor = Redactor::new(self.masks.clone());
        self.each(chain, waiter, |events| {
            let mut lines = String::new();
            for Played { event, .. } in events.into_iter().flat_map(|event| redactor.push(event)) {
                writer.push(&event.kind, event.at_ms, &mut lines);
            }
            self.send(lines.into_bytes())
        })?;
        let mut rest = String::new();
        for Played { event, .. } in redactor.finish() {
            writer.push(&event.kind, event.at_ms, &mut rest);
        }
        writer.finish_redacted(redactor.counts(), &mut rest);
        self.send(rest.into_bytes())
    }
}

/// Why a playback stops early.
enum Ended {
    NobodyReads,
    Fault(Unavailable),
}

fn json_line(line: &PlayLine) -> Result<Vec<u8>, Ended> {
    let mut bytes = serde_json::to_vec(line).map_err(|e| Ended::Fault(fault(e)))?;
    bytes.push(b'\n');
    Ok(bytes)
}
