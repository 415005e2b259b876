//! The API, on whichever node answers.
//!
//! A node that does not answer costs 250 ms, not a timeout: before the first call all nodes are pinged in turn and the
//! first to answer is used until it fails. Every call carries a request id that its retries repeat, so that a change
//! whose outcome was lost with a node happens once. A call ends at its deadline at the latest.

use crate::errors::Failure;
use crate::profile::Profile;
use crate::race::{STAGGER, first_ok};
use crate::tls::{self, ClientCertificate, PinMismatch, Trust};
use palisade_core::api::{ApiError, BrowserSession, CSRF_HEADER, REQUEST_ID_HEADER, path};
use reqwest::header::{COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Where `palctl` finds the node it runs on.
pub const DEFAULT_SOCKET: &str = "/var/lib/palisade/control.sock";

/// How long one call may take, retries included.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long one node may take to begin its answer; password hashing queues and elections fit.
const ATTEMPT: Duration = Duration::from_secs(8);
/// How often all nodes may turn out unreachable before we say so.
const EMPTY_ROUNDS: u32 = 3;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No node could be reached.
    #[error("no node can be reached: {0}")]
    Unreachable(String),
    /// Nodes answer, but the cluster cannot do it now.
    #[error("the cluster cannot do it now: {0}")]
    Unavailable(String),
    /// The server is not who it should be.
    #[error("the server at {addr} is not trusted: {why}")]
    Untrusted {
        /// Where.
        addr: String,
        /// Why not.
        why: String,
        /// Whether it failed the pin.
        pin: bool,
    },
    /// The cluster answered, and its answer is no.
    #[error("{}", .error.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        error: ApiError,
    },
    /// The deadline passed and a change may or may not have happened.
    #[error("it is not known whether the change was made: {0}")]
    UnknownOutcome(String),
    /// The answer is none that we understand.
    #[error("the answer cannot be understood: {0}")]
    BadAnswer(String),
    /// The client could not be set up.
    #[error("{0}")]
    Setup(#[from] Failure),
}

impl CallError {
    /// The word for programs that a refusal carries.
    pub fn code(&self) -> Option<&str> {
        match self {
            CallError::Refused { error, .. } => Some(&error.code),
            _ => None,
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        let what = error.to_string();
        let todo = match &error {
            CallError::Setup(failure) => return failure.clone(),
            CallError::Unreachable(_) => "check the addresses with `pal status`, and that the nodes run",
            CallError::Unavailable(_) => {
                "check `palctl status`: it may have no quorum, or be starting or stopping"
            }
            CallError::Untrusted { pin: true, .. } => {
                "compare the pin with `palctl status` on a node; if it differs, somebody else answers at this address"
            }
            CallError::Untrusted { .. } => {
                "at first contact give --ca-pin with the pin from the invite or from `palctl status`, or --ca-file"
            }
            CallError::UnknownOutcome(_) => "look whether it happened before you do it again",
            CallError::BadAnswer(_) => {
                "check that the address is that of a Palisade node of the same version"
            }
            CallError::Refused { error, .. } => match error.code.as_str() {
                "unauthenticated" => "run `pal login`",
                "refused" => "ask an operator for a role that allows it",
                "conflict" => "fetch it again, repeat your change and try once more",
                "operation" => "`palctl status` shows the cluster, and what to do next",
                "not_found" => "check the name in the list",
                "rate_limited" => "wait a minute and try again",
                "locked" => "ask an operator to remove the lock",
                "unavailable" => "check `palctl status`: the cluster has no quorum or is shutting down",
                "unknown_outcome" => "look whether it happened before you do it again",
                _ => "correct what it says and try again",
            },
        };
        Failure::new(what, todo)
    }
}

/// The nodes of one cluster.
#[derive(Debug)]
pub struct Nodes {
    client: reqwest::Client,
    bases: Vec<Url>,
    preferred: AtomicUsize,
    chosen: std::sync::atomic::AtomicBool,
    deadline: Duration,
    /// What a session of a browser's kind shows with every call. Secrets: never printed.
    session: Session,
}

/// The two headers of a session.
#[derive(Clone, Default)]
struct Session(Vec<(HeaderName, HeaderValue)>);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.0.len())
    }
}

impl Nodes {
    /// Over TLS, at any of these addresses.
    pub fn over_tls(
        addrs: &[String],
        trust: Trust,
        identity: Option<&ClientCertificate>,
    ) -> Result<Self, Failure> {
        let config = tls::config(trust, identity)?;
        let builder = builder().tls_backend_preconfigured(config).https_only(true);
        let bases = addrs
            .iter()
            .map(|addr| base(&format!("https://{addr}")))
            .collect::<Result<Vec<_>, _>>()?;
        if bases.is_empty() {
            return Err(Failure::usage(
                "there is no address to connect to",
                "give --proxy ADDRESS",
            ));
        }
        Ok(Nodes::new(build(builder)?, bases))
    }

    /// As the profile's user.
    pub fn of_profile(profile: &Profile) -> Result<Self, Failure> {
        profile.check_valid()?;
        Nodes::over_tls(
            &profile.meta.web_addrs,
            profile.trust()?,
            Some(&profile.client_certificate()?),
        )
    }

    /// Over a node's control socket.
    pub fn over_socket(socket: &Path) -> Result<Self, Failure> {
        // The library wants a TLS set-up even where none is used.
        let config = tls::config(Trust::Roots(rustls::RootCertStore::empty()), None)?;
        let builder = builder()
            .tls_backend_preconfigured(config)
            .unix_socket(socket.to_path_buf());
        Ok(Nodes::new(build(builder)?, vec![base("http://node")?]))
    }

    fn new(client: reqwest::Client, bases: Vec<Url>) -> Self {
        let chosen = bases.len() == 1;
        Nodes {
            client,
            bases,
            preferred: AtomicUsize::new(0),
            chosen: chosen.into(),
            deadline: DEADLINE,
            session: Session::default(),
        }
    }

    /// The same nodes, in the session that this answer to [`path::WEB_LOGIN`] opened.
    pub async fn in_session(mut self, answer: Response) -> Result<Self, CallError> {
        let odd = || CallError::BadAnswer("it opens no session".into());
        let mut cookies = answer.headers().get_all(SET_COOKIE).iter();
        let cookie = cookies.find_map(|value| value.to_str().ok()?.split(';').next().map(str::to_owned));
        let cookie = cookie.ok_or_else(odd)?;
        let opened: BrowserSession = decode(answer).await?;
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| odd())?;
            value.set_sensitive(true);
            Ok::<_, CallError>(value)
        };
        self.session = Session(vec![
            (COOKIE, secret(&cookie)?),
            (HeaderName::from_static(CSRF_HEADER), secret(&opened.csrf)?),
        ]);
        Ok(self)
    }

    /// With another deadline for each call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// GET, decoded.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, CallError> {
        decode(self.call(Method::GET, path, query, None).await?).await
    }

    /// GET, as it comes.
    pub async fn stream(&self, path: &str, query: &[(&str, String)]) -> Result<Response, CallError> {
        self.call(Method::GET, path, query, None).await
    }

    /// POST, decoded.
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, CallError> {
        decode(self.change(Method::POST, path, body).await?).await
    }

    /// A change whose answer has no body, or none that matters.
    pub async fn change<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<Response, CallError> {
        let body = serde_json::to_vec(body).map_err(|e| CallError::BadAnswer(e.to_string()))?;
        self.call(method, path, &[], Some(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Result<(), CallError> {
        self.call(Method::DELETE, path, &[], None).await.map(|_| ())
    }

    /// One call, on as many nodes as it takes.
    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Vec<u8>>,
    ) -> Result<Response, CallError> {
        let until = Instant::now() + self.deadline;
        let id = uuid::Uuid::new_v4().to_string();
        let changes = method != Method::GET;
        let (mut empty_rounds, mut wait) = (0, Duration::from_millis(100));
        // Why it is not known what came of an attempt: that stays unknown, whatever is said to a later one.
        let mut unknown: Option<String> = None;
        // What a node answered to the attempt before, if it did: a last attempt that the deadline cut short says less.
        let mut answered: Option<String> = None;
        loop {
            let problem = match self.choose(until).await {
                Ok(node) => {
                    let request = self.request(node, &method, path, query, body.as_deref(), &id)?;
                    match self.attempt(node, request, until).await {
                        Ok(response) => return Ok(response),
                        Err(Attempt::Final(error)) => return Err(error),
                        Err(Attempt::Retry { why, reached }) => {
                            if changes && reached == Reached::Perhaps {
                                unknown.get_or_insert_with(|| why.clone());
                            }
                            self.next_node(node);
                            // With several nodes the next round finds out whether any can be reached.
                            empty_rounds += u32::from(reached == Reached::No && self.bases.len() == 1);
                            (why, reached)
                        }
                    }
                }
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Retry { why, reached }) => {
                    empty_rounds += u32::from(reached != Reached::Answered);
                    (why, reached)
                }
            };
            if empty_rounds >= EMPTY_ROUNDS || Instant::now() + wait >= until {
                return Err(match (unknown, problem, answered) {
                    (Some(why), _, _) => CallError::UnknownOutcome(why),
                    (None, (why, Reached::Answered), _) => CallError::Unavailable(why),
                    (None, (_, Reached::Perhaps), Some(why)) => CallError::Unavailable(why),
                    (None, (why, _), _) => CallError::Unreachable(why),
                });
            }
            answered = (problem.1 == Reached::Answered).then_some(problem.0);
            tokio::time::sleep(wait + Duration::from_millis(rand::random_range(0..50))).await;
            wait = (wait * 2).min(Duration::from_secs(1));
        }
    }

    fn request(
        &self,
        node: usize,
        method: &Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&[u8]>,
        id: &str,
    ) -> Result<reqwest::Request, CallError> {
        let mut url = self.bases[node].clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self
            .client
            .request(method.clone(), url)
            .header(REQUEST_ID_HEADER, id);
        for (name, value) in &self.session.0 {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_vec());
        }
        request.build().map_err(|e| CallError::BadAnswer(e.to_string()))
    }

    /// The node to use: the one that answered last, or the first to answer a ping now.
    async fn choose(&self, until: Instant) -> Result<usize, Attempt> {
        let first = self.preferred.load(Ordering::Relaxed) % self.bases.len();
        if self.chosen.load(Ordering::Relaxed) {
            return Ok(first);
        }
        let order: Vec<usize> = (0..self.bases.len())
            .map(|i| (first + i) % self.bases.len())
            .collect();
        let ping = |i: usize| {
            let node = order[i];
            async move {
                let mut url = self.bases[node].clone();
                url.set_path(path::PING);
                let request = self
                    .client
                    .get(url)
                    .build()
                    .map_err(|e| Attempt::Final(CallError::BadAnswer(e.to_string())))?;
                self.attempt(node, request, until).await
            }
        };
        match first_ok(order.len(), STAGGER, ping).await {
            Ok((i, _)) => {
                self.preferred.store(order[i], Ordering::Relaxed);
                self.chosen.store(true, Ordering::Relaxed);
                Ok(order[i])
            }
            Err(failed) => {
                let (mut reasons, mut reached) = (Vec::new(), Reached::No);
                for (_, attempt) in failed {
                    match attempt {
                        Attempt::Final(error) => return Err(Attempt::Final(error)),
                        Attempt::Retry { why, reached: one } => {
                            reasons.push(why);
                            if one == Reached::Answered {
                                reached = one;
                            }
                        }
                    }
                }
                Err(Attempt::Retry {
                    why: reasons.join("; "),
                    reached,
                })
            }
        }
    }

    fn next_node(&self, failed: usize) {
        self.preferred
            .store((failed + 1) % self.bases.len(), Ordering::Relaxed);
        self.chosen.store(self.bases.len() == 1, Ordering::Relaxed);
    }

    async fn attempt(
        &self,
        node: usize,
        request: reqwest::Request,
        until: Instant,
    ) -> Result<Response, Attempt> {
        let addr = self.bases[node].authority().to_owned();
        let limit = (Instant::now() + ATTEMPT).min(until);
        let response = match tokio::time::timeout_at(limit, self.client.execute(request)).await {
            Err(_) => {
                let why = format!("{addr} did not answer in time");
                return Err(Attempt::Retry {
                    why,
                    reached: Reached::Perhaps,
                });
            }
            Ok(Err(error)) => return Err(failed(&addr, &error)),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = body(response, 64 * 1024).await.unwrap_or_default();
        let error = serde_json::from_slice::<ApiError>(&text).unwrap_or_else(|_| ApiError {
            code: String::new(),
            message: format!(
                "{addr} answered {status}: {}",
                String::from_utf8_lossy(&text[..text.len().min(200)])
            ),
        });
        let retry = matches!(error.code.as_str(), "unavailable" | "unknown_outcome")
            || (error.code.is_empty()
                && matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE));
        if retry {
            return Err(if error.code == "unknown_outcome" {
                Attempt::Retry {
                    why: format!("{addr} got no answer from the cluster in time"),
                    reached: Reached::Perhaps,
                }
            } else {
                Attempt::Retry {
                    why: error.message,
                    reached: Reached::Answered,
                }
            });
        }
        Err(Attempt::Final(CallError::Refused {
            status: status.as_u16(),
            error,
        }))
    }
}

/// One attempt's failure.
enum Attempt {
    Final(CallError),
    Retry { why: String, reached: Reached },
}

/// How far a request came that may be repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Not to the node.
    No,
    /// To the node, which said that it did nothing.
    Answered,
    /// What it did is not known.
    Perhaps,
}

/// A connection's failure: one that another node or another moment may not have, or a server that is not trusted.
fn failed(addr: &str, error: &reqwest::Error) -> Attempt {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    let mut last = error.to_string();
    while let Some(one) = cause {
        last = one.to_string();
        if let Some(rustls::Error::InvalidCertificate(why)) = one.downcast_ref::<rustls::Error>() {
            let pin = match why {
                rustls::CertificateError::Other(other) => other.0.is::<PinMismatch>(),
                _ => false,
            };
            let why = match why {
                rustls::CertificateError::Other(other) => other.0.to_string(),
                rustls::CertificateError::UnknownIssuer => {
                    "its certificate is by an unknown authority".to_owned()
                }
                other => other.to_string(),
            };
            return Attempt::Final(CallError::Untrusted {
                addr: addr.to_owned(),
                why,
                pin,
            });
        }
        // An I/O error calls what it holds not its source but itself, and may hold another of its kind.
        let held = one
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match held {
            Some(inner) => Some(inner),
            None => one.source(),
        };
    }
    let reached = if error.is_connect() {
        Reached::No
    } else {
        Reached::Perhaps
    };
    Attempt::Retry {
        why: format!("{addr}: {last}"),
        reached,
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(3))
        .http1_only()
        .user_agent(concat!("pal/", env!("CARGO_PKG_VERSION")))
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
    builder
        .build()
        .map_err(|e| Failure::new(format!("cannot set up HTTP: {e}"), "report this as a fault"))
}

fn base(text: &str) -> Result<Url, Failure> {
    Url::parse(text).map_err(|e| {
        Failure::usage(
            format!("{text} is not an address: {e}"),
            "write it like node1:3080",
        )
    })
}

/// No answer that is kept in memory may be larger.
const MOST: usize = 64 * 1024 * 1024;

/// The body of an answer, if it is not longer than `most`.
async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|e| CallError::BadAnswer(e.to_string()))?
    {
        if bytes.len() + chunk.len() > most {
            return Err(CallError::BadAnswer(format!("it is longer than {most} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn decode<T: DeserializeOwned>(response: Response) -> Result<T, CallError> {
    let bytes = body(response, MOST).await?;
    serde_json::from_slice(&bytes).map_err(|e| CallError::BadAnswer(e.to_string()))
}

/// Puts values into a path of the API: `fill(path::RECORD, &["role", "ops"])`. They are escaped.
pub fn fill(template: &str, values: &[&str]) -> String {
    let mut values = values.iter();
    let segment = |part: &str, values: &mut std::slice::Iter<'_, &str>| match part.starts_with('{') {
        true => escape(values.next().copied().unwrap_or_default()),
        false => part.to_owned(),
    };
    template
        .split('/')
        .map(|part| segment(part, &mut values))
        .collect::<Vec<_>>()
        .join("/")
}

fn escape(segment: &str) -> String {
    let mut out = String::new();
    // A dot segment would climb in the path even when it is escaped.
    let dots = segment.bytes().all(|b| b == b'.');
    for b in segment.bytes() {
        if b.is_ascii_alphanumeric() || b"_@-".contains(&b) || (b == b'.' && !dots) {
            out.push(b.into());
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_filled_and_escaped() {
        assert_eq!(fill(path::RECORD, &["role", "ops"]), "/v1/records/role/ops");
        assert_eq!(
            fill(path::RECORD, &["role", "../x?y#z"]),
            "/v1/records/role/..%2Fx%3Fy%23z"
        );
        assert_eq!(fill(path::INVITES, &["a@b.c"]), "/v1/users/a@b.c/invites");
    }
}
