//! Every route, in one table: the router and the OpenAPI document are both made of it, so that neither can have one
//! that the other lacks.

use crate::api::{Api, Shared};
use crate::ask::{Ask, Fresh};
use crate::caller::Caller;
use crate::document::Table;
use crate::error::Failure;
use crate::{
    agents, approvals, audit, audit_state, browser, bundle, certs, cluster, explain, guard, health, hosts,
    invites, lint, login, mfa, passkeys, recordings, records, sessions, shares, terminal, ui,
};
use axum::Router;
use axum::extract::{DefaultBodyLimit, RawQuery};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use palisade_core::api::{self, path};
use palisade_core::record::{Grant, Verb};
use palisade_core::terminal as frames;
use serde_json::{Value, json};

/// The liveness probe's path.
pub const LIVEZ: &str = "/livez";
/// Its older name.
pub const HEALTHZ: &str = "/healthz";
/// The readiness probe's path.
pub const READYZ: &str = "/readyz";
/// The path of Prometheus metrics.
pub const METRICS: &str = "/metrics";

/// The API as a router. Who calls is in the [`crate::Peer`] that the listener puts into each request.
pub fn router(api: Api) -> Router {
    let app = Shared::new(api);
    let router = table()
        .router
        .fallback(ui::serve)
        .method_not_allowed_fallback(wrong_method);
    guard::layers(router.layer(DefaultBodyLimit::disable()), &app).with_state(app)
}

/// The OpenAPI document.
pub fn openapi() -> Value {
    table().document()
}

async fn wrong_method() -> Failure {
    Failure::method()
}

async fn readyz(ask: Ask, RawQuery(query): RawQuery) -> Response {
    match health::wanted(query.as_deref()) {
        Some(wanted) => health::answer(ask.app.api.operations.ready(wanted == health::Wanted::Write)),
        None => health::unknown(),
    }
}

async fn metrics(ask: Ask) -> Result<Response, Failure> {
    // At the control socket also without a quorum: that is when they are wanted most.
    if ask.peer.caller != Caller::LocalOperator {
        let who = ask.who(Fresh::Decision).await?;
        ask.permit(&who, Verb::Read, Grant::Node, None).await?;
    }
    let text = ask.app.api.operations.metrics();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn document() -> axum::Json<Value> {
    axum::Json(openapi())
}

fn table() -> Table {
    let mut t = Table::new();
    t.get(LIVEZ, "livez", "Whether the process lives", health::livez)
        .open()
        .probe(None);
    t.get(HEALTHZ, "healthz", "The same as /livez", health::livez)
        .open()
        .probe(None);
    t.get(
        READYZ,
        "readyz",
        "Whether the node is fit to serve; with ?write, whether it is fit to take changes",
        readyz,
    )
    .open()
    .probe(Some(json!({
        "name": "write",
        "in": "query",
        "required": false,
        "allowEmptyValue": true,
        "description": "Whether it takes changes, instead of whether it serves",
        "schema": {"type": "string", "enum": ["", "1", "true"]},
    })));
    t.get(METRICS, "metrics", "Prometheus metrics", metrics)
        .text(&["text/plain"]);
    t.get(path::OPENAPI, "openapi", "This document", document)
        .open()
        .object();
    t.get(path::PING, "ping", "What the cluster is", cluster::ping)
        .open()
        .reply::<api::Ping>();
    // People.
    t.post(
        path::LOGIN,
        "login",
        "Certificates for a password and a code",
        login::login,
    )
    .open()
    .may(&[401, 409, 429])
    .body::<api::LoginRequest>()
    .reply::<api::Certificates>();
    t.post(
        path::LOGOUT,
        "logout",
        "Writes the audit event of a logout",
        login::logout,
    )
    .none();
    t.post(
        path::CERTS,
        "renew",
        "New certificates from valid ones",
        certs::renew,
    )
    .may(&[409])
    .body::<api::RenewRequest>()
    .reply::<api::Certificates>();
    t.get(
        path::INVITE,
        "view_invite",
        "What an invited person has to set",
        invites::view,
    )
    .open()
    .may(&[429])
    .reply::<api::InviteView>();
    t.post(
        path::INVITE,
        "accept_invite",
        "Sets password and second factor",
        invites::accept,
    )
    .open()
    .may(&[409, 429])
    .body::<api::AcceptInvite>()
    .none();
    t.get(
        path::INVITE_RECOVERY,
        "invite_recovery",
        "The recovery codes that go with what an invited person has to set",
        mfa::of_invite,
    )
    .open()
    .may(&[429])
    .reply::<api::RecoveryCodes>();
    t.post(path::INVITES, "invite", "An invite, or a reset", invites::create)
        .may(&[409])
        .body::<api::NewInvite>()
        .reply::<api::InviteLink>();
    // Browsers.
    t.get(path::WEB_WAYS, "ways", "How one may log in", browser::ways)
        .open()
        .reply::<api::WaysIn>();
    t.post(
        path::WEB_LOGIN,
        "web_login",
        "A browser's session for a password and a code: the answer sets its cookie",
        browser::login,
    )
    .open()
    .may(&[401, 409, 429])
    .body::<api::BrowserLogin>()
    .reply::<api::BrowserSession>();
    t.get(
        path::WEB_SESSION,
        "web_session",
        "The session of the browser that asks",
        browser::session,
    )
    .browser()
    .reply::<api::BrowserSession>();
    t.post(
        path::WEB_LOGOUT,
        "web_logout",
        "Ends the session of the browser that asks",
        browser::logout,
    )
    .browser()
    .none();
    t.get(
        path::WEB_SESSIONS,
        "web_sessions",
        "The caller's sessions in browsers",
        browser::list,
    )
    .reply::<api::BrowserSessions>();
    t.delete(
        path::WEB_SESSION_OF,
        "end_web_session",
        "Ends one of the caller's sessions in browsers",
        browser::revoke,
    )
    .none();
    t.post(
        path::WEB_CONFIRM,
        "web_confirm",
        "Proves again who sits there: for five minutes credentials may be changed",
        browser::confirm,
    )
    .browser()
    .body::<api::Confirm>()
    .none();
    t.put(
        path::WEB_PASSWORD,
        "set_password",
        "Sets the caller's password; certificates and other sessions are void",
        browser::set_password,
    )
    .browser()
    .body::<api::NewPassword>()
    .none();
    t.post(
        path::PASSKEY_BEGIN,
        "begin_passkey",
        "Begins to keep a passkey",
        passkeys::begin,
    )
    .browser()
    .reply::<api::PasskeyChallenge>();
    t.post(
        path::PASSKEY_FINISH,
        "finish_passkey",
        "Keeps a passkey",
        passkeys::finish,
    )
    .browser()
    .body::<api::NewPasskey>()
    .none();
    t.get(
        path::PASSKEYS,
        "passkeys",
        "The caller's passkeys",
        passkeys::list,
    )
    .reply::<api::Passkeys>();
    t.delete(
        path::PASSKEY,
        "remove_passkey",
        "Forgets a passkey",
        passkeys::remove,
    )
    .browser()
    .none();
    t.post(
        path::PASSKEY_LOGIN_BEGIN,
        "begin_passkey_login",
        "Begins a login with a passkey",
        passkeys::login_begin,
    )
    .open()
    .may(&[429])
    .reply::<api::PasskeyChallenge>();
    t.post(
        path::PASSKEY_LOGIN_FINISH,
        "finish_passkey_login",
        "A browser's session for a passkey: the answer sets its cookie",
        passkeys::login_finish,
    )
    .open()
    .may(&[401, 409, 429])
    .body::<api::PasskeyLogin>()
    .reply::<api::BrowserSession>();
    second_factors(&mut t);
    t.post(
        path::LINT,
        "lint",
        "What is wrong with a record's text; changes nothing",
        lint::lint,
    )
    .body::<api::Lint>()
    .reply::<api::LintReply>();
    t.post(
        path::EXPLAIN,
        "explain_role",
        "Who reaches what with a role, and what saving it would change; changes nothing",
        explain::role,
    )
    .body::<api::Explain>()
    .reply::<api::RoleExplained>();
    t.get(path::WHOAMI, "whoami", "Who the caller is", hosts::whoami)
        .reply::<api::WhoAmI>();
    // Records.
    t.get(path::RECORDS, "list_records", "Records of a kind", records::list)
        .query::<records::Paging>()
        .reply::<api::Page>();
    t.post(path::RECORDS, "create_record", "A new record", records::create)
        .record_body()
        .may(&[409])
        .record_reply(StatusCode::CREATED);
    t.get(path::RECORD, "read_record", "One record", records::read)
        .record_reply(StatusCode::OK);
    t.put(path::RECORD, "update_record", "Changes a record", records::update)
        .query::<records::PutQuery>()
        .record_body()
        .may(&[409])
        .record_reply(StatusCode::OK);
    t.delete(path::RECORD, "delete_record", "Removes a record", records::delete)
        .query::<records::DeleteQuery>()
        .may(&[409])
        .none();
    // Hosts, sessions, recordings.
    t.get(
        path::HOSTS,
        "hosts",
        "Hosts that the caller may reach",
        hosts::list,
    )
    .query::<hosts::HostQuery>()
    .reply::<api::HostPage>();
    t.get(
        path::TERMINAL,
        "terminal",
        "A terminal at a host: a WebSocket, whose first frame is the credential",
        terminal::open,
    )
    .open()
    .may(&[429])
    .socket::<frames::Asks, frames::Says>();
    t.get(path::FILE, "read_file", "A file of a host", terminal::get_file)
        .query::<terminal::FileQuery>()
        .may(&[409])
        .text(&["application/octet-stream"]);
    t.put(
        path::FILE,
        "write_file",
        "Writes a file of a host",
        terminal::put_file,
    )
    .query::<terminal::FileQuery>()
    .bytes_body()
    .may(&[409])
    .none();
    t.get(
        path::SESSIONS,
        "sessions",
        "Sessions that run now",
        sessions::list,
    )
    .reply::<api::LiveSessions>();
    t.delete(path::SESSION, "end_session", "Ends a session", sessions::end)
        .none();
    t.get(
        path::RECORDINGS,
        "recordings",
        "Recordings, newest first",
        recordings::list,
    )
    .query::<api::RecordingFilter>()
    .reply::<api::RecordingPage>();
    t.get(
        path::RECORDINGS_SEARCH,
        "search_recordings",
        "Looks for a text in what recordings show, newest first; the text is written into the audit log",
        recordings::search,
    )
    .query::<api::RecordingSearch>()
    .reply::<api::RecordingHits>();
    t.get(
        path::RECORDING,
        "recording",
        "One recording's row",
        sessions::recording,
    )
    .reply::<api::RecordingView>();
    t.get(
        path::RECORDING_EVENTS,
        "recording_events",
        "A recording for the player",
        sessions::events,
    )
    .lines::<api::PlayLine>();
    t.get(
        path::RECORDING_CAST,
        "recording_asciicast",
        "A recording as asciicast v2, with what the cluster's rules mask",
        sessions::asciicast,
    )
    .text(&["application/x-asciicast"]);
    t.get(path::SHARES, "shares", "The links to a recording", shares::list)
        .reply::<api::Shares>();
    t.post(
        path::SHARES,
        "create_share",
        "A link that shows a recording to somebody without a login",
        shares::create,
    )
    .may(&[409])
    .body::<api::NewShare>()
    .reply::<api::ShareLink>();
    t.delete(path::SHARE, "revoke_share", "Revokes a link", shares::revoke)
        .none();
    t.post(
        path::SHARED,
        "shared",
        "What a link shows beside its recording",
        shares::view,
    )
    .open()
    .may(&[429])
    .body::<api::OpenShare>()
    .reply::<api::SharedView>();
    t.post(
        path::SHARED_EVENTS,
        "shared_events",
        "A link's recording for the player, with what the cluster's rules mask",
        shares::events,
    )
    .open()
    .may(&[429])
    .body::<api::OpenShare>()
    .lines::<api::PlayLine>();
    // The audit log.
    t.get(
        path::AUDIT,
        "search_audit",
        "Searches the audit log",
        audit::search,
    )
    .query::<api::AuditSearch>()
    .reply::<api::AuditPage>();
    t.get(
        path::AUDIT_EXPORT,
        "export_audit",
        "The whole log, for offline verification",
        audit::export,
    )
    .lines::<api::AuditExportLine>();
    t.get(
        path::AUDIT_STATE,
        "audit_state",
        "Whether the audit log is whole",
        audit_state::state,
    )
    .reply::<api::AuditState>();
    t.get(
        path::AUDIT_DOWNLOAD,
        "download_audit",
        "Every event that a search finds, as JSON lines or CSV",
        audit_state::download,
    )
    .query::<audit_state::Download>()
    .text(&["application/x-ndjson", "text/csv"]);
    // The cluster.
    t.get(
        path::AUTHORITY,
        "authority",
        "An authority's public half",
        cluster::authority,
    )
    .reply::<api::AuthorityView>();
    t.post(
        path::SIGN_HOST,
        "sign_host",
        "A certificate for an OpenSSH server's host key",
        cluster::sign_host,
    )
    .may(&[409])
    .body::<api::SignHost>()
    .reply::<api::HostCertificate>();
    t.post(
        path::TOKENS,
        "create_token",
        "A single-use join token",
        cluster::token,
    )
    .body::<api::NewToken>()
    .reply::<api::JoinToken>();
    t.post(
        path::JOIN,
        "join",
        "Lets a node in that holds a token",
        cluster::join,
    )
    .open()
    .may(&[409, 429])
    .body::<api::JoinRequest>()
    .reply::<api::JoinReply>();
    t.get(
        path::BUNDLE,
        "bundle_file",
        "A file of the offline bundle",
        bundle::file,
    )
    .open()
    .may(&[429])
    .text(&["application/octet-stream"]);
    t.post(
        path::HOST_JOIN,
        "join_host",
        "Lets an agent in that holds a token",
        agents::join,
    )
    .open()
    .may(&[404, 409, 429])
    .body::<api::HostJoinRequest>()
    .reply::<api::HostJoinReply>();
    t.post(
        path::HOST_RENEW,
        "renew_host",
        "New certificates for an agent",
        agents::renew,
    )
    .agent()
    .may(&[404, 409])
    .body::<api::HostRenewRequest>()
    .reply::<api::HostJoinReply>();
    t.get(path::STATUS, "status", "Members, leader and lag", cluster::status)
        .reply::<api::ClusterStatus>();
    t.get(
        path::SUPPORT,
        "support",
        "What somebody who helps wants to see; at the node's control socket alone",
        cluster::support,
    )
    .reply::<api::SupportBundle>();
    t.delete(
        path::NODE,
        "remove_node",
        "Takes a node out of the cluster",
        cluster::remove,
    )
    .may(&[409])
    .none();
    t.post(
        path::TRANSFER,
        "transfer",
        "Hands leadership over",
        cluster::transfer,
    )
    .may(&[404, 409])
    .body::<api::Transfer>()
    .none();
    t.post(
        path::REPLACE,
        "replace_node",
        "Has one node take another's place",
        cluster::replace,
    )
    .may(&[404, 409])
    .body::<api::Replacement>()
    .none();
    t.post(
        path::INIT,
        "init",
        "Makes a cluster of this node; at its control socket alone",
        cluster::init_elsewhere,
    )
    .body::<api::InitRequest>()
    .reply::<api::InitReply>();
    t.post(
        path::JOIN_ORDER,
        "join_order",
        "Joins a cluster; at the node's control socket alone",
        cluster::order_elsewhere,
    )
    .body::<api::JoinOrder>()
    .reply::<api::ClusterStatus>();
    t
}

fn second_factors(t: &mut Table) {
    t.get(
        path::MFA,
        "mfa",
        "What the caller has beside the password",
        mfa::factors,
    )
    .reply::<api::SecondFactors>();
    t.post(
        path::RECOVERY,
        "new_recovery",
        "New recovery codes; the older are void",
        mfa::new_codes,
    )
    .browser()
    .reply::<api::RecoveryCodes>();
    t.post(
        path::TOTP_BEGIN,
        "begin_totp",
        "Begins with a new authenticator",
        mfa::totp_begin,
    )
    .browser()
    .reply::<api::TotpChallenge>();
    t.post(
        path::TOTP_FINISH,
        "finish_totp",
        "Takes a new authenticator; the older and its recovery codes are void",
        mfa::totp_finish,
    )
    .browser()
    .body::<api::NewTotp>()
    .reply::<api::RecoveryCodes>();
    t.post(
        path::APPROVALS,
        "ask_approval",
        "A program asks to be let in by its user's browser",
        approvals::begin,
    )
    .open()
    .may(&[409, 413, 429])
    .body::<api::ApprovalRequest>()
    .reply::<api::ApprovalTicket>();
    t.post(
        path::APPROVAL_TAKE,
        "take_approval",
        "What the program was answered; waits for some seconds",
        approvals::take,
    )
    .open()
    .may(&[413, 429])
    .body::<api::ApprovalTake>()
    .reply::<api::ApprovalReply>();
    t.get(
        path::WEB_APPROVAL,
        "approval",
        "A program that asks to be let in",
        approvals::view,
    )
    .browser()
    .may(&[404])
    .reply::<api::ApprovalView>();
    t.post(
        path::WEB_APPROVAL,
        "answer_approval",
        "Lets a program in, or turns it away",
        approvals::answer,
    )
    .browser()
    .may(&[404, 409])
    .body::<api::ApprovalAnswer>()
    .none();
}
