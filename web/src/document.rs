//! The table that both the router and the OpenAPI document are made of, and what a route is said to answer.
//!
//! A route names the types that its handler takes and gives, and beside the statuses that nearly every route answers with
//! those of its own: nothing is left to a `default`, so that a test can hold each answer against the document.

use crate::api::App;
use crate::cluster;
use axum::Router;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::routing::{self, MethodRouter};
use palisade_core::api::{ApiError, CSRF_HEADER, REQUEST_ID_HEADER};
use palisade_core::name::{Name, RequestId, SessionId};
use palisade_core::record::{AnyRecord, AuthorityType, Kind};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::path::ParameterIn;
use utoipa::{IntoParams, ToSchema};

/// Every status of an error: its name among the document's responses, and what it says.
const ERRORS: &[(u16, &str, &str)] = &[
    (400, "Invalid", "The request makes no sense"),
    (401, "Unauthenticated", "No usable credential"),
    (
        403,
        "Refused",
        "Not allowed, locked out, or not without proving again who asks",
    ),
    (404, "NotFound", "Not there, or not to be seen"),
    (
        409,
        "Conflict",
        "Somebody was faster, or the cluster cannot do this as it is",
    ),
    (413, "TooLarge", "More than is taken"),
    (415, "MediaType", "The body is of another type than is taken"),
    (
        429,
        "TooMany",
        "Too many tries: logins, uses of tokens and refusals are counted",
    ),
    (500, "Fault", "The node failed: its log says why"),
    (
        503,
        "Unavailable",
        "Nothing happened, or it is not known yet: `code` tells which",
    ),
];

/// What any route may answer that knows who asks.
const USUAL: &[u16] = &[400, 401, 403, 429, 500, 503];
/// What any route may answer that asks for no credential.
const USUAL_OPEN: &[u16] = &[400, 403, 500, 503];

/// The routes, while the table is written.
pub(crate) struct Table {
    pub(crate) router: Router<App>,
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

/// A route that was just added, to be described further.
pub(crate) struct Entry<'a> {
    operation: &'a mut Value,
    schemas: &'a mut Map<String, Value>,
    changes: bool,
}

/// A part of the document as JSON, with formats by the names of the OpenAPI format registry.
fn plain(part: impl Serialize) -> Value {
    let mut value = serde_json::to_value(part).expect("parts of the document are plain data");
    name_formats(&mut value);
    value
}

fn name_formats(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(format)) = fields.get_mut("format") {
                // The library writes `u-int64`.
                *format = format.replace("u-int", "uint");
            }
            fields.values_mut().for_each(name_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(name_formats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn schema_of<T: ToSchema>(schemas: &mut Map<String, Value>) -> Value {
    let mut all = Vec::new();
    T::schemas(&mut all);
    all.push((T::name().into_owned(), T::schema()));
    for (name, schema) in all {
        schemas.insert(name, plain(schema));
    }
    json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
}

/// What stands at a name in a path.
fn path_schema(path: &str, name: &str, schemas: &mut Map<String, Value>) -> Value {
    match name {
        "kind" => schema_of::<Kind>(schemas),
        "type" => schema_of::<AuthorityType>(schemas),
        "name" => schema_of::<Name>(schemas),
        "id" if path.starts_with("/v1/sessions/") || path.starts_with("/v1/recordings/") => {
            schema_of::<SessionId>(schemas)
        }
        _ => json!({"type": "string"}),
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        let mut table = Table {
            router: Router::new(),
            paths: Map::new(),
            schemas: Map::new(),
        };
        schema_of::<ApiError>(&mut table.schemas);
        table
    }

    pub(crate) fn get<H: Handler<T, App>, T: 'static>(
        &mut self,
        path: &str,
        id: &str,
        summary: &str,
        handler: H,
    ) -> Entry<'_> {
        self.add("get", path, id, summary, routing::get(handler))
    }

    pub(crate) fn post<H: Handler<T, App>, T: 'static>(
        &mut self,
        path: &str,
        id: &str,
        summary: &str,
        handler: H,
    ) -> Entry<'_> {
        self.add("post", path, id, summary, routing::post(handler))
    }

    pub(crate) fn put<H: Handler<T, App>, T: 'static>(
        &mut self,
        path: &str,
        id: &str,
        summary: &str,
        handler: H,
    ) -> Entry<'_> {
        self.add("put", path, id, summary, routing::put(handler))
    }

    pub(crate) fn delete<H: Handler<T, App>, T: 'static>(
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
        let mut parameters: Vec<Value> = names
            .map(|name| {
                let schema = path_schema(path, name, &mut self.schemas);
                json!({"name": name, "in": "path", "required": true, "schema": schema})
            })
            .collect();
        let within = !parameters.is_empty();
        let changes = method != "get";
        if changes {
            let schema = schema_of::<RequestId>(&mut self.schemas);
            parameters.push(
                json!({"name": REQUEST_ID_HEADER, "in": "header", "required": false, "schema": schema}),
            );
        }
        let browser = match changes {
            true => json!({"browser": [], "page": []}),
            false => json!({"browser": []}),
        };
        let operation = json!({
            "operationId": id,
            "summary": summary,
            "parameters": parameters,
            "security": [{"clientCertificate": []}, browser],
            "responses": {},
        });
        let item = self.paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
        let entry = Entry {
            operation: &mut item[method],
            schemas: &mut self.schemas,
            changes,
        };
        let entry = entry.may(USUAL);
        if within { entry.may(&[404]) } else { entry }
    }

    /// The OpenAPI document.
    pub(crate) fn document(mut self) -> Value {
        for operation in self.paths.values_mut().filter_map(Value::as_object_mut) {
            operation.values_mut().for_each(in_order);
        }
        let errors: Map<String, Value> = ERRORS
            .iter()
            .map(|(status, name, says)| ((*name).to_owned(), error(*status, says)))
            .collect();
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Palisade",
                "version": cluster::VERSION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
                "description": "A request that changes something may carry an x-request-id (a UUID): repeated with the same id, it has no second effect. Requests that a browser makes for pages of other sites are refused.",
            },
            "paths": self.paths,
            "components": {
                "schemas": self.schemas,
                "responses": errors,
                "securitySchemes": {
                    "clientCertificate": {
                        "type": "mutualTLS",
                        "description": "The certificate that a login gave. Or no credential at all, at the node's own control socket.",
                    },
                    "agentCertificate": {
                        "type": "mutualTLS",
                        "description": "The certificate that a join gave to a host's agent.",
                    },
                    "browser": {
                        "type": "apiKey",
                        "in": "cookie",
                        "name": "__Host-palisade",
                        "description": "The cookie that /v1/web/login sets.",
                    },
                    "page": {
                        "type": "apiKey",
                        "in": "header",
                        "name": CSRF_HEADER,
                        "description": "What /v1/web/session tells its own page as `csrf`: beside the cookie, where a request can change something.",
                    },
                },
            },
        })
    }
}

/// Sorts the answers by their status.
fn in_order(operation: &mut Value) {
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    let mut all: Vec<(String, Value)> = std::mem::take(responses).into_iter().collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    responses.extend(all);
}

fn error(status: u16, says: &str) -> Value {
    let mut response = json!({
        "description": says,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ApiError"}}},
    });
    if matches!(status, 429 | 503) {
        response["headers"] = json!({"Retry-After": {
            "description": "Seconds after which trying again makes sense, where it does at all",
            "schema": {"type": "integer", "minimum": 0},
        }});
    }
    response
}

impl Entry<'_> {
    /// Needs no credential.
    pub(crate) fn open(self) -> Self {
        self.operation["security"] = json!([]);
        self.operation["responses"] = json!({});
        let within = self.operation["parameters"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["in"] == "path"));
        let entry = self.may(USUAL_OPEN);
        if within { entry.may(&[404]) } else { entry }
    }

    /// Is for a browser's session alone.
    pub(crate) fn browser(self) -> Self {
        self.operation["security"] = match self.changes {
            true => json!([{"browser": [], "page": []}]),
            false => json!([{"browser": []}]),
        };
        self
    }

    /// Is for agents alone.
    pub(crate) fn agent(self) -> Self {
        self.operation["security"] = json!([{"agentCertificate": []}]);
        self
    }

    /// Answers with these statuses as well.
    pub(crate) fn may(self, statuses: &[u16]) -> Self {
        for status in statuses {
            let known = ERRORS.iter().find(|(known, ..)| known == status);
            let (_, name, _) = known.expect("every status that a route names is in the list of errors");
            self.operation["responses"][status.to_string()] =
                json!({"$ref": format!("#/components/responses/{name}")});
        }
        self
    }

    /// Takes this query.
    pub(crate) fn query<T: IntoParams>(self) -> Self {
        for parameter in T::into_params(|| Some(ParameterIn::Query)) {
            push(&mut self.operation["parameters"], plain(parameter));
        }
        self
    }

    pub(crate) fn body<T: ToSchema>(self) -> Self {
        let schema = schema_of::<T>(self.schemas);
        self.operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
        self.may(&[413, 415])
    }

    pub(crate) fn reply<T: ToSchema>(self) {
        let schema = schema_of::<T>(self.schemas);
        self.answers(StatusCode::OK, &[("application/json", schema)]);
    }

    /// Answers with a JSON object that no type describes.
    pub(crate) fn object(self) {
        self.answers(StatusCode::OK, &[("application/json", json!({"type": "object"}))]);
    }

    pub(crate) fn none(self) {
        self.operation["responses"]["204"] = json!({"description": "Done"});
    }

    /// Answers with text or bytes of one of these types.
    pub(crate) fn text(self, media_types: &[&str]) {
        let text = || json!({"type": "string"});
        let all: Vec<(&str, Value)> = media_types.iter().map(|kind| (*kind, text())).collect();
        self.answers(StatusCode::OK, &all);
    }

    /// 200 or 503, with one line that says why. With a query, 400 for one that is not known.
    pub(crate) fn probe(self, query: Option<Value>) {
        let text = json!({"text/plain": {"schema": {"type": "string"}}});
        let mut responses = json!({
            "200": {"description": "Yes", "content": text},
            "503": {"description": "No, and why", "content": text},
        });
        if let Some(query) = query {
            let mut content = text.clone();
            content["application/json"] = json!({"schema": {"$ref": "#/components/schemas/ApiError"}});
            responses["400"] = json!({"description": "The question makes no sense", "content": content});
            push(&mut self.operation["parameters"], query);
        }
        self.operation["responses"] = responses;
    }

    /// Answers with lines, each of them one value as JSON.
    pub(crate) fn lines<T: ToSchema>(self) {
        let line = schema_of::<T>(self.schemas);
        let content = json!({"application/x-ndjson": {
            "schema": {"type": "string", "description": "One JSON value a line"},
            // What OpenAPI 3.2 calls `itemSchema`.
            "x-line": line,
        }});
        self.operation["responses"]["200"] = json!({"description": "Done", "content": content});
    }

    /// A WebSocket, with the text frames of either side.
    pub(crate) fn socket<In: ToSchema, Out: ToSchema>(self) {
        let (asks, says) = (schema_of::<In>(self.schemas), schema_of::<Out>(self.schemas));
        self.operation["responses"]["101"] = json!({"description": "The socket is open"});
        self.operation["x-websocket"] = json!({"receives": asks, "sends": says});
    }

    pub(crate) fn bytes_body(self) -> Self {
        self.operation["requestBody"] = json!({"required": true, "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        }});
        self
    }

    pub(crate) fn record_body(self) -> Self {
        let schema = schema_of::<AnyRecord>(self.schemas);
        self.operation["requestBody"] = json!({"required": true, "content": {
            "application/json": {"schema": schema},
            "application/yaml": {"schema": schema},
        }});
        self.may(&[413, 415])
    }

    pub(crate) fn record_reply(self, status: StatusCode) {
        let schema = schema_of::<AnyRecord>(self.schemas);
        self.answers(status, &[("application/json", schema)]);
    }

    fn answers(self, status: StatusCode, all: &[(&str, Value)]) {
        let content: Map<String, Value> = all
            .iter()
            .map(|(media_type, schema)| ((*media_type).to_owned(), json!({ "schema": schema })))
            .collect();
        self.operation["responses"][status.as_str()] = json!({"description": "Done", "content": content});
    }
}

fn push(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}
