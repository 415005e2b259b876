//! The HTTPS API, one request at one node: what came of it, and whether that is known.

use palisade_client::tls::{self, ClientCertificate, Trust};
use palisade_core::api::REQUEST_ID_HEADER;
use palisade_testkit::Person;
use reqwest::{Client, Method};
use serde_json::Value;
use std::fs;
use std::time::Duration;

/// How long one node may take to answer.
const ATTEMPT: Duration = Duration::from_secs(4);

/// One user at all nodes.
#[derive(Debug)]
pub struct Api {
    runtime: tokio::runtime::Runtime,
    client: Client,
    web: Vec<String>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// An answer: its status and body.
    Said(u16, Value),
    /// No node was reached: nothing happened.
    NotReached,
    /// The request went out, and no answer came.
    Lost,
}

impl Reply {
    /// The word for programs in a refusal.
    pub fn code(&self) -> &str {
        match self {
            Reply::Said(_, body) => body["code"].as_str().unwrap_or_default(),
            _ => "",
        }
    }

    /// Whether it is sure that nothing happened and nothing will.
    pub fn did_nothing(&self) -> bool {
        match self {
            Reply::NotReached => true,
            Reply::Said(429 | 401, _) => true,
            Reply::Said(503, _) => self.code() == "unavailable",
            _ => false,
        }
    }
}

impl Api {
    /// With the certificates of somebody's login.
    pub fn of(person: &Person, web: &[String]) -> Self {
        let read = |ending: &str| fs::read_to_string(person.saved(ending)).expect("a login leaves it");
        let own = ClientCertificate {
            certificate: read("-tls.pem"),
            key: read("-tls.key"),
        };
        let trust = Trust::pem(read("ca.pem").as_bytes()).expect("a login leaves an authority");
        let config = tls::config(trust, Some(&own)).expect("a login leaves a working identity");
        let client = Client::builder()
            .no_proxy()
            .http1_only()
            .connect_timeout(Duration::from_secs(2))
            .timeout(ATTEMPT)
            .tls_backend_preconfigured(config)
            .build()
            .expect("a client can be made");
        Api {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made"),
            client,
            web: web.to_vec(),
        }
    }

    /// One request at one node, under an id.
    pub fn ask(&self, node: usize, method: &Method, path: &str, body: Option<&Value>, id: &str) -> Reply {
        let url = format!("https://{}{path}", self.web[node]);
        let mut request = self
            .client
            .request(method.clone(), url)
            .header(REQUEST_ID_HEADER, id);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.runtime.block_on(async {
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) if error.is_connect() => return Reply::NotReached,
                Err(_) => return Reply::Lost,
            };
            let status = response.status().as_u16();
            match response.bytes().await {
                Ok(bytes) => Reply::Said(status, serde_json::from_slice(&bytes).unwrap_or_default()),
                Err(_) => Reply::Lost,
            }
        })
    }

    /// A request without effect.
    pub fn get(&self, node: usize, path: &str) -> Reply {
        self.ask(node, &Method::GET, path, None, &new_id())
    }

    /// A text, such as a recording.
    pub fn text(&self, node: usize, path: &str) -> Result<String, String> {
        let url = format!("https://{}{path}", self.web[node]);
        let request = self.client.get(url).timeout(Duration::from_secs(60));
        self.runtime.block_on(async {
            let response = request.send().await.map_err(|e| e.to_string())?;
            let status = response.status();
            let text = response.text().await.map_err(|e| e.to_string())?;
            match status.is_success() {
                true => Ok(text),
                false => Err(format!("{status}: {text}")),
            }
        })
    }
}

/// An id for one request and its repetitions.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
