//! A node that answers what a test tells it to, over TLS like a real one.
#![allow(dead_code, reason = "each test binary uses its part")]

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade_client::tls::CaPin;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An authority of a test's cluster.
pub(crate) struct Authority {
    pub(crate) pem: String,
    pub(crate) pin: CaPin,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).expect("a certificate");
        Authority {
            pem: cert.pem(),
            pin: CaPin::of_certificate(cert.der()).expect("a pin"),
            der: cert.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn server(&self) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("params");
        let leaf = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate")
            .der()
            .clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(palisade_client::tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf, self.der.clone()], key)
            .expect("a server");
        Arc::new(config)
    }
}

/// What a request was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) body: String,
}

type Answer = dyn Fn(&Asked) -> Option<(u16, String)> + Send + Sync;

/// A running stub. It stops with the test's runtime.
pub(crate) struct Stub {
    pub(crate) addr: String,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Answers with status and body; `None` never answers.
    pub(crate) async fn start(
        authority: &Authority,
        answer: impl Fn(&Asked) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address").to_string();
        let acceptor = TlsAcceptor::from(authority.server());
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, answer): (_, Arc<Answer>) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, answer, kept) = (acceptor.clone(), answer.clone(), kept.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    serve(TokioIo::new(tls), answer, kept).await;
                });
            }
        });
        Stub { addr, seen }
    }

    /// The requests so far, pings left out.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        let seen = self.seen.lock().expect("no test panics while it holds this");
        seen.iter()
            .filter(|asked| asked.path != "/v1/ping")
            .cloned()
            .collect()
    }
}

/// A stub on a control socket.
pub(crate) fn on_socket(
    path: &std::path::Path,
    answer: impl Fn(&Asked) -> Option<(u16, String)> + Send + Sync + 'static,
) {
    let listener = tokio::net::UnixListener::bind(path).expect("a socket");
    let answer: Arc<Answer> = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(TokioIo::new(stream), answer.clone(), Arc::default()));
        }
    });
}

async fn serve<IO>(io: IO, answer: Arc<Answer>, seen: Arc<Mutex<Vec<Asked>>>)
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (answer, seen) = (answer.clone(), seen.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
            let id = head
                .headers
                .get("x-request-id")
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default();
            let asked = Asked {
                method: head.method.to_string(),
                path: head
                    .uri
                    .path_and_query()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                id: id.to_owned(),
                body: String::from_utf8_lossy(&body).into_owned(),
            };
            seen.lock()
                .expect("no test panics while it holds this")
                .push(asked.clone());
            let Some((status, text)) = answer(&asked) else {
                return std::future::pending().await;
            };
            let response = Response::builder()
                .status(status)
                .body(Full::new(hyper::body::Bytes::from(text)));
            Ok::<_, Infallible>(response.expect("a response"))
        }
    });
    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection(io, service)
        .await;
}

/// A port where nobody listens.
pub(crate) async fn dead_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// What a node in trouble answers.
pub(crate) fn error(code: &str) -> String {
    format!(r#"{{"code":"{code}","message":"for the test"}}"#)
}
