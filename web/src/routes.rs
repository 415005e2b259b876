//! Every route, in one table: the router and the OpenAPI document are both made of it, so that neither can have one
//! that the other lacks.

use crate::api::{Api, App, Shared};
use crate::ask::{Ask, Fresh};
use crate::caller::Caller;
use crate::error::Failure;
use crate::{
    agents, approvals, audit, audit_state, browser, bundle, certs, cluster, explain, guard, health, hosts,
    invites, lint, login, mfa, passkeys, records, sessions, terminal, ui,
};
use axum::Router;
use axum::extract::{DefaultBodyLimit, RawQuery};
use axum::handler::Handler;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use palisade_core::api::{self, path};
use palisade_core::record::{Grant, Verb};
use palisade_core::{event, record, terminal as frames};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

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
        .probe(&[]);
    t.get(HEALTHZ, "healthz", "The same as /livez", health::livez)
        .open()
        .probe(&[]);
    t.get(
        READYZ,
        "readyz",
        "Whether the node is fit to serve; with ?write, whether it is fit to take changes",
        readyz,
    )
    .open()
    .probe(&["write"]);
    t.get(METRICS, "metrics", "Prometheus metrics", metrics)
        .text("text/plain");
    t.get(path::OPENAPI, "openapi", "This document", document)
        .open()
        .text("application/json");
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
    .body::<api::RenewRequest>()
    .reply::<api::Certificates>();
    t.get(
        path::INVITE,
        "view_invite",
        "What an invited person has to set",
        invites::view,
    )
    .open()
    .reply::<api::InviteView>();
    t.post(
        path::INVITE,
        "accept_invite",
        "Sets password and second factor",
        invites::accept,
    )
    .open()
    .body::<api::AcceptInvite>()
    .none();
    t.get(
        path::INVITE_RECOVERY,
        "invite_recovery",
        "The recovery codes that go with what an invited person has to set",
        mfa::of_invite,
    )
    .open()
    .reply::<api::RecoveryCodes>();
    t.post(path::INVITES, "invite", "An invite, or a reset", invites::create)
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
    .body::<api::BrowserLogin>()
    .reply::<api::BrowserSession>();
    t.get(
        path::WEB_SESSION,
        "web_session",
        "The session of the browser that asks",
        browser::session,
    )
    .reply::<api::BrowserSession>();
    t.post(
        path::WEB_LOGOUT,
        "web_logout",
        "Ends the session of the browser that asks",
        browser::logout,
    )
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
    .body::<api::Confirm>()
    .none();
    t.put(
        path::WEB_PASSWORD,
        "set_password",
        "Sets the caller's password; certificates and other sessions are void",
        browser::set_password,
    )
    .body::<api::NewPassword>()
    .none();
    t.post(
        path::PASSKEY_BEGIN,
        "begin_passkey",
        "Begins to keep a passkey",
        passkeys::begin,
    )
    .reply::<api::PasskeyChallenge>();
    t.post(
        path::PASSKEY_FINISH,
        "finish_passkey",
        "Keeps a passkey",
        passkeys::finish,
    )
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
    .none();
    t.post(
        path::PASSKEY_LOGIN_BEGIN,
        "begin_passkey_login",
        "Begins a login with a passkey",
        passkeys::login_begin,
    )
    .open()
    .reply::<api::PasskeyChallenge>();
    t.post(
        path::PASSKEY_LOGIN_FINISH,
        "finish_passkey_login",
        "A browser's session for a passkey: the answer sets its cookie",
        passkeys::login_finish,
    )
    .open()
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
        .query(&["after", "limit"])
        .reply::<api::Page>();
    t.post(path::RECORDS, "create_record", "A new record", records::create)
        .record_body()
        .record_reply(201);
    t.get(path::RECORD, "read_record", "One record", records::read)
        .record_reply(200);
    t.put(path::RECORD, "update_record", "Changes a record", records::update)
        .query(&["upsert"])
        .record_body()
        .record_reply(200);
    t.delete(path::RECORD, "delete_record", "Removes a record", records::delete)
        .query(&["revision"])
        .none();
    // Hosts, sessions, recordings.
    t.get(
        path::HOSTS,
        "hosts",
        "Hosts that the caller may reach",
        hosts::list,
    )
    .query(&["after", "limit", "search", "query"])
    .reply::<api::HostPage>();
    t.get(
        path::TERMINAL,
        "terminal",
        "A terminal at a host: a WebSocket, whose first frame is the credential",
        terminal::open,
    )
    .open()
    .socket::<frames::Asks, frames::Says>();
    t.get(path::FILE, "read_file", "A file of a host", terminal::get_file)
        .query(&["login", "path"])
        .text("application/octet-stream");
    t.put(
        path::FILE,
        "write_file",
        "Writes a file of a host",
        terminal::put_file,
    )
    .query(&["login", "path"])
    .bytes_body()
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
        sessions::recordings,
    )
    .query(&["after", "limit"])
    .reply::<api::RecordingPage>();
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
        "A recording as asciicast v2",
        sessions::asciicast,
    )
    .text("application/x-asciicast");
    // The audit log.
    t.get(
        path::AUDIT,
        "search_audit",
        "Searches the audit log",
        audit::search,
    )
    .query(&[
        "from",
        "to",
        "user",
        "host",
        "event",
        "text",
        "limit",
        "oldest_first",
        "cursor",
    ])
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
    .query(&[
        "format",
        "from",
        "to",
        "user",
        "host",
        "event",
        "text",
        "oldest_first",
    ])
    .text("application/octet-stream");
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
    .body::<api::JoinRequest>()
    .reply::<api::JoinReply>();
    t.get(
        path::BUNDLE,
        "bundle_file",
        "A file of the offline bundle",
        bundle::file,
    )
    .open()
    .text("application/octet-stream");
    t.post(
        path::HOST_JOIN,
        "join_host",
        "Lets an agent in that holds a token",
        agents::join,
    )
    .open()
    .body::<api::HostJoinRequest>()
    .reply::<api::HostJoinReply>();
    t.post(
        path::HOST_RENEW,
        "renew_host",
        "New certificates for an agent",
        agents::renew,
    )
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
    .none();
    t.post(
        path::TRANSFER,
        "transfer",
        "Hands leadership over",
        cluster::transfer,
    )
    .body::<api::Transfer>()
    .none();
    t.post(
        path::REPLACE,
        "replace_node",
        "Has one node take another's place",
        cluster::replace,
    )
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
    .reply::<api::RecoveryCodes>();
    t.post(
        path::TOTP_BEGIN,
        "begin_totp",
        "Begins with a new authenticator",
        mfa::totp_begin,
    )
    .reply::<api::TotpChallenge>();
    t.post(
        path::TOTP_FINISH,
        "finish_totp",
        "Takes a new authenticator; the older and its recovery codes are void",
        mfa::totp_finish,
    )
    .body::<api::NewTotp>()
    .reply::<api::RecoveryCodes>();
    t.post(
        path::APPROVALS,
        "ask_approval",
        "A program asks to be let in by its user's browser",
        approvals::begin,
    )
    .open()
    .body::<api::ApprovalRequest>()
    .reply::<api::ApprovalTicket>();
    t.post(
        path::APPROVAL_TAKE,
        "take_approval",
        "What the program was answered; waits for some seconds",
        approvals::take,
    )
    .open()
    .body::<api::ApprovalTake>()
    .reply::<api::ApprovalReply>();
    t.get(
        path::WEB_APPROVAL,
        "approval",
        "A program that asks to be let in",
        approvals::view,
    )
    .reply::<api::ApprovalView>();
    t.post(
        path::WEB_APPROVAL,
        "answer_approval",
        "Lets a program in, or turns it away",
        approvals::answer,
    )
    .body::<api::ApprovalAnswer>()
    .none();
}

struct Table {
    router: Router<App>,
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

/// A route that was just added, to be described further.
struct Entry<'a> {
    operation: &'a mut Value,
    schemas: &'a mut Map<String, Value>,
}

fn schema_of<T: ToSchema>(schemas: &mut Map<String, Value>) -> Value {
    let mut all = Vec::new();
    T::schemas(&mut all);
    all.push((T::name().into_owned(), T::schema()));
    for (name, schema) in all {
        // Schemas are plain data.
        schemas.insert(
            name,
            serde_json::to_value(schema).expect("a schema is plain data"),
        );
    }
    json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
}

impl Table {
    fn new() -> Self {
        let mut table = Table {
            router: Router::new(),
            paths: Map::new(),
            schemas: Map::new(),
        };
        schema_of::<api::ApiError>(&mut table.schemas);
        table
    }

    fn get<H: Handler<T, App>, T: 'static>(
        &mut self,
        path: &str,
        id: &str,
        summary: &str,
        handler: H,
    ) -> Entry<'_> {
        self.add("get", path, id, summary, routing::get(handler))
    }

    fn post<H: Handler<T, App>, T: 'static>(
        &mut self,
        path: &str,
        id: &str,
        summary: &str,
        handler: H,
    ) -> Entry<'_> {
        self.add("post", path, id, summary, routing::post(handler))
    }

    fn put<H: Handler<T, App>, T: 'static>(
        &mut self,
        path: &str,
        id: &str,
        summary: &str,
        handler: H,
    ) -> Entry<'_> {
        self.add("put", path, id, summary, routing::put(handler))
    }

    fn delete<H: Handler<T, App>, T: 'static>(
        &mut self,
        path: &str,
        id: &str,
        summary: &str,
        handler: H,
    ) -> Entry<'_> {
        self.add("delete", path, id, summary, routing::delete(handler))
    }

    fn add(
        &mut self,
        method: &str,
        path: &str,
        id: &str,
        summary: &str,
        handler: MethodRouter<App>,
    ) -> Entry<'_> {
        self.router = std::mem::take(&mut self.router).route(path, handler);
        let names = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<Value> = names
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let operation = json!({
            "operationId": id,
            "summary": summary,
            "parameters": parameters,
            "security": [{"clientCertificate": []}, {"browser": []}],
            "responses": {"default": {
                "description": "Not done, and why",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ApiError"}}},
            }},
        });
        let item = self.paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
        Entry {
            operation: &mut item[method],
            schemas: &mut self.schemas,
        }
    }

    fn document(self) -> Value {
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Palisade",
                "version": cluster::VERSION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
                "description": "A request that changes something may carry an x-request-id (a UUID): repeated with the same id, it has no second effect.",
            },
            "paths": self.paths,
            "components": {
                "schemas": self.schemas,
                "securitySchemes": {
                    "clientCertificate": {
                        "type": "mutualTLS",
                        "description": "The certificate that a login gave. Or no credential at all, at the node's own control socket.",
                    },
                    "browser": {
                        "type": "apiKey",
                        "in": "cookie",
                        "name": "__Host-palisade",
                        "description": "The cookie that /v1/web/login sets. What is not a GET needs the header x-palisade-csrf beside it.",
                    },
                },
            },
        })
    }
}

impl Entry<'_> {
    /// Needs no credential.
    fn open(self) -> Self {
        self.operation["security"] = json!([]);
        self
    }

    fn query(self, names: &[&str]) -> Self {
        for name in names {
            let parameter =
                json!({"name": name, "in": "query", "required": false, "schema": {"type": "string"}});
            if let Some(all) = self.operation["parameters"].as_array_mut() {
                all.push(parameter);
            }
        }
        self
    }

    fn body<T: ToSchema>(self) -> Self {
        let schema = schema_of::<T>(self.schemas);
        self.operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
        self
    }

    fn reply<T: ToSchema>(self) {
        let schema = schema_of::<T>(self.schemas);
        self.answers(StatusCode::OK, "application/json", schema);
    }

    fn none(self) {
        self.operation["responses"]["204"] = json!({"description": "Done"});
    }

    fn text(self, media_type: &str) {
        self.answers(StatusCode::OK, media_type, json!({"type": "string"}));
    }

    /// 200 or 503, with one line that says why.
    fn probe(self, names: &[&str]) {
        let entry = self.query(names);
        let text = json!({"text/plain": {"schema": {"type": "string"}}});
        entry.operation["responses"] = json!({
            "200": {"description": "Yes", "content": text},
            "503": {"description": "No, and why", "content": text},
        });
    }

    fn lines<T: ToSchema>(self) {
        let schema = schema_of::<T>(self.schemas);
        self.answers(StatusCode::OK, "application/x-ndjson", schema);
    }

    /// A WebSocket, with the text frames of either side.
    fn socket<In: ToSchema, Out: ToSchema>(self) {
        let (asks, says) = (schema_of::<In>(self.schemas), schema_of::<Out>(self.schemas));
        self.operation["responses"]["101"] = json!({"description": "The socket is open"});
        self.operation["x-websocket"] = json!({"receives": asks, "sends": says});
    }

    fn bytes_body(self) -> Self {
        self.operation["requestBody"] = json!({"required": true, "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        }});
        self
    }

    fn record_body(self) -> Self {
        let schema = record_schema(self.schemas);
        self.operation["requestBody"] = json!({"required": true, "content": {
            "application/json": {"schema": schema},
            "application/yaml": {"schema": schema},
        }});
        self
    }

    fn record_reply(self, status: u16) {
        let schema = record_schema(self.schemas);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        self.answers(status, "application/json", schema);
    }

    fn answers(self, status: StatusCode, media_type: &str, schema: Value) {
        self.operation["responses"][status.as_str()] =
            json!({"description": "Done", "content": {media_type: {"schema": schema}}});
    }
}

/// A record of any kind: what its `spec` is depends on its `kind`.
fn record_schema(schemas: &mut Map<String, Value>) -> Value {
    let specs = [
        schema_of::<record::UserSpec>(schemas),
        schema_of::<record::RoleSpec>(schemas),
        schema_of::<record::TokenSpec>(schemas),
        schema_of::<record::HostSpec>(schemas),
        schema_of::<record::LockSpec>(schemas),
        schema_of::<record::CertAuthoritySpec>(schemas),
        schema_of::<record::AuthPreferenceSpec>(schemas),
        schema_of::<record::RecordingConfigSpec>(schemas),
        schema_of::<record::RecordingSpec>(schemas),
        schema_of::<record::NodeSpec>(schemas),
        schema_of::<record::MaintenanceConfigSpec>(schemas),
    ];
    let kind = schema_of::<record::Kind>(schemas);
    let metadata = schema_of::<record::Metadata>(schemas);
    let version = schema_of::<record::Version>(schemas);
    schema_of::<event::Event>(schemas);
    let any = json!({
        "type": "object",
        "required": ["kind", "metadata", "spec"],
        "properties": {"kind": kind, "version": version, "metadata": metadata, "spec": {"oneOf": specs}},
    });
    schemas.insert("AnyRecord".into(), any);
    json!({"$ref": "#/components/schemas/AnyRecord"})
}
