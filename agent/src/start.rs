//! The start and the end of a session, as the cluster learns of them.

use crate::connection::Connection;
use crate::spool::Writer;
use crate::terminal::Wanted;
use crate::uplink::Declined;
use palisade_core::api::LiveSession;
use palisade_core::event::{Event, EventKind};
use palisade_core::name::SessionId;
use palisade_core::pass::LoginPass;
use palisade_core::record::{Completeness, RecordingSite, RecordingSpec, SessionKind};
use palisade_core::tunnel::SessionEnd;
use palisade_session::recording::DataKey;
use palisade_session::ssh::relay::Outcome;
use palisade_session::tap::{Ended, Plan, Tap, cut_command, kind_word, mode_word};
use std::sync::Arc;

/// A session whose start is committed.
pub(crate) struct Begun {
    pub(crate) plan: Plan,
    pub(crate) live: LiveSession,
    pub(crate) tap: Tap,
    pub(crate) writer: Arc<Writer>,
}

/// Commits the start: nothing runs before its event and the recording's index row are in the log.
pub(crate) async fn begin(
    connection: &Arc<Connection>,
    pass: &LoginPass,
    kind: SessionKind,
    command: &str,
    terminal: Option<&Wanted>,
) -> Result<Begun, String> {
    let shared = &connection.shared;
    let internal = |_| "no session could be made".to_owned();
    let session = SessionId::parse(&uuid::Uuid::new_v4().to_string()).map_err(internal)?;
    let decided = connection.pass();
    let claims = decided.claims();
    let started = shared.uplink.now();
    let row = RecordingSpec {
        at_agent: true,
        session: session.clone(),
        session_kind: kind,
        user: claims.user.clone(),
        login: pass.login.clone(),
        host: shared.config.host.clone(),
        // The node that commits it writes itself here, and seals the key.
        node: 0,
        client_addr: claims.client_addr.clone(),
        command: cut_command(command),
        mode: pass.record_session,
        started,
        ended: None,
        completeness: Completeness::Live,
        chunks: 0,
        output_bytes: 0,
        last_chunk: String::new(),
        sealed_key: String::new(),
    };
    let event = connection
        .event(EventKind::SessionStart)
        .session(session.as_str())
        .with("kind", kind_word(kind))
        .with("recording", mode_word(pass.record_session))
        .with("recorded_at", "host")
        .with("cert_serial", claims.credential.serial);
    let mut events = vec![event];
    if kind == SessionKind::Exec {
        let exec = connection.event(EventKind::Exec).session(session.as_str());
        events.push(exec.target(cut_command(command)));
    }
    let key = DataKey::generate().map_err(|e| e.to_string())?;
    if connection.site == RecordingSite::Node {
        shared
            .uplink
            .start(decided.proof(), row, pass.max_sessions, &key, events)
            .await
            .map_err(|declined| match declined {
                Declined::Refused(reason) => reason,
                unavailable @ Declined::Unavailable(_) => unavailable.to_string(),
            })?;
    }
    let plan = Plan {
        session: session.clone(),
        kind,
        mode: pass.record_session,
        exec_capture_bytes: pass.exec_capture_bytes,
        command: cut_command(command),
        terminal: terminal
            .filter(|_| kind == SessionKind::Interactive)
            .map(|wanted| (wanted.columns, wanted.rows)),
    };
    let writer = match connection.site {
        RecordingSite::Node => shared.spool.writer(&session, decided.proof(), plan.mode),
        RecordingSite::Proxy => shared.spool.silent(&session),
    };
    let tap = Tap::begin(
        Arc::clone(&writer) as _,
        &plan,
        key,
        &tokio::runtime::Handle::current(),
    );
    let live = LiveSession {
        session: session.to_string(),
        user: claims.user.to_string(),
        login: pass.login.to_string(),
        host: shared.config.host.to_string(),
        client_addr: claims.client_addr.clone(),
        node: 0,
        kind: kind_word(kind).to_owned(),
        started,
        participants: Vec::new(),
    };
    Ok(Begun {
        plan,
        live,
        tap,
        writer,
    })
}

/// A session whose program could not be started.
pub(crate) fn failed(connection: &Arc<Connection>, begun: Begun, reason: &str) {
    let outcome = Outcome {
        broken: Some(reason.to_owned()),
        ..Outcome::default()
    };
    let connection = Arc::clone(connection);
    connection.shared.tasks.clone().spawn(async move {
        end(
            &connection,
            &begun.tap,
            &begun.writer,
            &begun.plan.session,
            &outcome,
            None,
        )
        .await;
    });
}

/// Ends the recording and has the end written, now or when a node can be reached again.
pub(crate) async fn end(
    connection: &Connection,
    tap: &Tap,
    writer: &Writer,
    session: &SessionId,
    outcome: &Outcome,
    ours: Option<&str>,
) {
    let base = |kind: EventKind| -> Event { connection.event(kind) };
    let Ended {
        completeness,
        chunks,
        last_chunk,
        output_bytes,
        events,
    } = tap.finish(outcome, ours, &base).await;
    let end = SessionEnd {
        session: session.clone(),
        completeness,
        chunks,
        output_bytes,
        last_chunk,
        events,
    };
    writer.end(end).await;
}
