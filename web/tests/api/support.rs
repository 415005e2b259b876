//! A client of the router, without a network between.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use base64::Engine;
use http_body_util::BodyExt;
use palisade_ca as ca;
use palisade_core::api::{Certificates, InviteLink, InviteView};
use palisade_core::name::Name;
use palisade_core::ports::Consensus;
use palisade_core::time::Timestamp;
use palisade_web::testing::{MemoryCluster, totp_code};
use palisade_web::{Caller, Certified, Peer, router};
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct World {
    pub(crate) cluster: MemoryCluster,
    pub(crate) router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self) -> T {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.code().as_str()),
            (status, code),
            "{}",
            self.text()
        );
    }
}

pub(crate) fn nobody() -> Peer {
    Peer::nobody(Some("192.0.2.7".parse().expect("an address")))
}

pub(crate) fn operator() -> Peer {
    Peer {
        caller: Caller::LocalOperator,
        addr: None,
    }
}

pub(crate) struct Keys {
    pub(crate) ssh: String,
    pub(crate) tls: String,
}

pub(crate) fn keys() -> Keys {
    let ssh = ca::generate_ssh_key().expect("a key");
    let tls = ca::generate_tls_key().expect("a key");
    let base64 = base64::engine::general_purpose::STANDARD.encode(&tls.spki_der);
    Keys {
        ssh: ssh.public_key().to_openssh().expect("a line"),
        tls: format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n"),
    }
}

impl World {
    pub(crate) fn new() -> World {
        World::of(MemoryCluster::new())
    }

    pub(crate) fn of(cluster: MemoryCluster) -> World {
        let router = router(cluster.api());
        World { cluster, router }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cluster.node.now()
    }

    /// Somebody with a valid client certificate.
    pub(crate) fn user(&self, name: &str) -> Peer {
        Peer {
            caller: Caller::User(Certified {
                name: Name::parse(name).expect("a name"),
                // Newer than every record of these tests.
                serial: 1 << 40,
                not_before: self.now().minus_ms(60_000),
                not_after: self.now().plus_ms(3_600_000),
            }),
            addr: nobody().addr,
        }
    }

    /// An agent with a valid certificate.
    pub(crate) fn agent(&self, host: &str) -> Peer {
        Peer {
            caller: Caller::Agent(ca::AgentIdentity {
                cluster_id: String::new(),
                host: Name::parse(host).expect("a name"),
                agent: 7,
            }),
            addr: nobody().addr,
        }
    }

    pub(crate) async fn send(&self, peer: &Peer, request: Request<Body>) -> Answer {
        let mut request = request;
        request.extensions_mut().insert(peer.clone());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body
            .collect()
            .await
            .map(|b| b.to_bytes().to_vec())
            .unwrap_or_default();
        crate::document::hold(&method, &path, parts.status.as_u16(), &parts.headers, &bytes);
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes,
        }
    }

    pub(crate) async fn call(&self, peer: &Peer, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_as(peer, method, path, body, None).await
    }

    pub(crate) async fn call_as(
        &self,
        peer: &Peer,
        method: &str,
        path: &str,
        body: Option<Value>,
        id: Option<&str>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method.parse::<Method>().expect("a method"))
            .uri(path);
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let body = match body {
            None => Body::empty(),
            Some(json) => {
                request = request.header("content-type", "application/json");
                Body::from(json.to_string())
            }
        };
        self.send(peer, request.body(body).expect("a request")).await
    }

    pub(crate) async fn yaml(&self, peer: &Peer, method: &str, path: &str, yaml: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/yaml")
            .body(Body::from(yaml.to_owned()))
            .expect("a request");
        self.send(peer, request).await
    }

    /// A user with a role, made by the node itself.
    pub(crate) fn add_user(&self, name: &str, role: &str, login: &str) {
        self.cluster.node.write(&format!(
            "kind: user\nmetadata: {{name: {name}}}\nspec: {{roles: [{role}], traits: {{logins: [{login}]}}}}\n"
        ));
    }

    /// Invites a user and accepts; answers the TOTP secret.
    pub(crate) async fn enrol(&self, name: &str) -> String {
        let link: InviteLink = self
            .call(
                &operator(),
                "POST",
                &format!("/v1/users/{name}/invites"),
                Some(json!({})),
            )
            .await
            .read();
        let path = format!("/v1/invites/{}", link.token);
        let view: InviteView = self.call(&nobody(), "GET", &path, None).await.read();
        assert_eq!((view.user.as_str(), view.cluster.as_str()), (name, "demo"));
        let code = totp_code(&view.totp_secret, self.now());
        let accepted = self
            .call(
                &nobody(),
                "POST",
                &path,
                Some(json!({"password": PASSWORD, "code": code})),
            )
            .await;
        assert_eq!(accepted.status, 204, "{}", accepted.text());
        // The code of the invite is used up.
        self.cluster.node.pass(Duration::from_secs(30));
        view.totp_secret
    }

    pub(crate) fn code(&self, secret: &str) -> String {
        totp_code(secret, self.now())
    }

    pub(crate) fn login_body(&self, user: &str, password: &str, code: &str) -> Value {
        let keys = keys();
        json!({
            "user": user, "password": password, "code": code,
            "ssh_public_key": keys.ssh, "tls_public_key": keys.tls,
        })
    }

    pub(crate) async fn login(&self, user: &str, password: &str, code: &str) -> Answer {
        let body = self.login_body(user, password, code);
        self.call(&nobody(), "POST", "/v1/login", Some(body)).await
    }

    /// Logs in for good, and is then who the certificate says.
    pub(crate) async fn logged_in(&self, user: &str, secret: &str) -> (Certificates, Peer) {
        let certificates: Certificates = self.login(user, PASSWORD, &self.code(secret)).await.read();
        let peer = peer_of(&certificates);
        (certificates, peer)
    }

    pub(crate) fn events(&self, name: &str) -> Vec<palisade_core::event::Event> {
        let mut all = self.cluster.node.events();
        all.retain(|event| event.event.name() == name);
        all
    }
}

/// Who shows the X.509 certificate.
pub(crate) fn peer_of(certificates: &Certificates) -> Peer {
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificates.tls_certificate.as_bytes()).expect("PEM");
    let certificate = pem.parse_x509().expect("X.509");
    let secs = |time: x509_parser::time::ASN1Time| Timestamp::from_secs(time.timestamp().unsigned_abs());
    Peer {
        caller: Caller::User(Certified {
            name: Name::parse(&ca::client_cert_user(&pem.contents).expect("a user")).expect("a name"),
            serial: certificate.serial.to_str_radix(10).parse().expect("a number"),
            not_before: secs(certificate.validity().not_before),
            not_after: secs(certificate.validity().not_after),
        }),
        addr: nobody().addr,
    }
}
