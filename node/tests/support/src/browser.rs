//! What a page does in somebody's browser: a terminal over a WebSocket, and files over HTTP.

use crate::cluster::NodeHandle;
use crate::person::Person;
use crate::run::{Ran, run};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

/// How long one look at the socket lasts.
const LOOK: Duration = Duration::from_millis(20);

/// A page's terminal.
pub struct Terminal {
    socket: WebSocket<StreamOwned<ClientConnection, TcpStream>>,
    /// Everything that was shown.
    pub output: Vec<u8>,
    /// Every text frame that came, but for pongs.
    pub said: Vec<Value>,
    /// Whether what is shown is acked.
    pub acks: bool,
    /// Bytes that came and were not acked.
    pub unacked: u64,
    /// Numbers of pongs that came.
    pub pongs: Vec<u64>,
    /// The socket is closed.
    pub is_over: bool,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal")
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}

fn tls(person: &Person, addr: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let read = |ending: &str| std::fs::read(person.saved(ending)).expect("a login leaves it");
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&read("ca.pem")) {
        roots.add(authority.expect("PEM")).expect("an authority");
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read("-tls.pem"))
        .map(|certificate| certificate.expect("PEM"))
        .collect();
    let key = PrivateKeyDer::from_pem_slice(&read("-tls.key")).expect("PEM");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("a certificate and its key");
    let (host, _) = addr.rsplit_once(':').expect("host:port");
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a configuration");
    let tcp = TcpStream::connect(addr).expect("the node listens");
    tcp.set_nodelay(true).expect("a socket");
    StreamOwned::new(connection, tcp)
}

impl Terminal {
    /// Opens a shell at a host.
    #[track_caller]
    pub fn open(person: &Person, node: &NodeHandle, host: &str, login: &str) -> Self {
        let open = json!({"host": host, "login": login, "cols": 80, "rows": 24});
        let mut terminal = Terminal::asks(person, node, &open);
        terminal.expect_opened();
        terminal
    }

    /// Sends a first frame and waits for nothing.
    pub fn asks(person: &Person, node: &NodeHandle, open: &Value) -> Self {
        let addr = node.web_addr();
        let mut request = format!("wss://{addr}/v1/terminal")
            .into_client_request()
            .expect("an address");
        let origin = format!("https://{addr}").parse().expect("a header");
        request.headers_mut().insert("origin", origin);
        let (mut socket, _) = client(request, tls(person, &addr)).expect("a WebSocket");
        let tcp = &socket.get_ref().sock;
        tcp.set_read_timeout(Some(LOOK)).expect("a socket");
        let first = Message::text(json!({ "open": open }).to_string());
        socket.send(first).expect("the socket is open");
        Terminal {
            socket,
            output: Vec::new(),
            said: Vec::new(),
            acks: true,
            unacked: 0,
            pongs: Vec::new(),
            is_over: false,
        }
    }

    /// Waits until it is open; what the node says of it.
    #[track_caller]
    pub fn expect_opened(&mut self) -> Value {
        let opened = self.expect("opened", Duration::from_secs(60));
        assert!(opened["session"].is_string(), "{opened}");
        opened
    }

    /// The session.
    pub fn session(&self) -> String {
        let opened = self.said.iter().find(|frame| frame["opened"].is_object());
        let opened = opened.expect("it is open");
        opened["opened"]["session"].as_str().expect("an id").to_owned()
    }

    /// Looks once at what has come.
    pub fn look(&mut self) {
        if self.is_over {
            return;
        }
        match self.socket.read() {
            Ok(Message::Binary(bytes)) => {
                self.output.extend_from_slice(&bytes);
                self.unacked += bytes.len() as u64;
                if self.acks && self.unacked >= 64 << 10 {
                    self.ack(self.unacked);
                }
            }
            Ok(Message::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                match frame["pong"].as_u64() {
                    Some(number) => self.pongs.push(number),
                    None => self.said.push(frame),
                }
            }
            Ok(_) => {}
            Err(Error::Io(error))
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => self.is_over = true,
        }
    }

    /// Says that so much is on the screen.
    pub fn ack(&mut self, bytes: u64) {
        self.unacked -= bytes;
        self.say(&json!({ "ack": bytes }));
    }

    /// Types.
    pub fn send(&mut self, bytes: &[u8]) {
        let frame = Message::binary(bytes.to_vec());
        if self.socket.send(frame).is_err() {
            self.is_over = true;
        }
    }

    /// Sends a text frame.
    pub fn say(&mut self, frame: &Value) {
        if self.socket.send(Message::text(frame.to_string())).is_err() {
            self.is_over = true;
        }
    }

    /// What was shown, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Whether this is in the last of what was shown: looked for where there is too much to look at all of it.
    pub fn lately_showed(&self, text: &str) -> bool {
        let last = &self.output[self.output.len().saturating_sub(256)..];
        String::from_utf8_lossy(last).contains(text)
    }

    /// Waits until something holds of what came.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, bound: Duration, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            let late = began.elapsed() > bound;
            assert!(
                !late && !self.is_over,
                "{what}: {}; it said {:?} and showed {}",
                if late {
                    "not in time"
                } else {
                    "the socket is closed"
                },
                self.said,
                self.text()
            );
            self.look();
        }
    }

    /// Waits until it has shown the text.
    #[track_caller]
    pub fn expect_output(&mut self, text: &str, bound: Duration) {
        self.wait(text, bound, |terminal| {
            terminal.text().contains(text).then_some(())
        });
    }

    /// Waits for a frame of this kind, and answers what is in it.
    #[track_caller]
    pub fn expect(&mut self, kind: &str, bound: Duration) -> Value {
        self.wait(kind, bound, |terminal| {
            let frames = &terminal.said;
            frames.iter().find_map(|frame| frame.get(kind).cloned())
        })
    }

    /// Waits for the round trip of a ping.
    #[track_caller]
    pub fn ping(&mut self, bound: Duration) -> Duration {
        let (number, began) = (self.pongs.len() as u64 + 1, Instant::now());
        self.say(&json!({ "ping": number }));
        self.wait("pong", bound, |terminal| {
            terminal.pongs.contains(&number).then_some(())
        });
        began.elapsed()
    }
}

/// `curl` for a file of a host, as a page of a node fetches or sends it. Prints the status code behind what was answered.
fn curl_file(person: &Person, node: &NodeHandle, host: &str, query: [&str; 2], words: &[&str]) -> Ran {
    let [login, path] = query.map(|text| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
        let escaped = text.bytes().map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        });
        escaped.collect::<String>()
    });
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "120", "-w", "\n%{http_code}"])
        .arg("--cacert")
        .arg(person.saved("ca.pem"))
        .arg("--cert")
        .arg(person.saved("-tls.pem"))
        .arg("--key")
        .arg(person.saved("-tls.key"))
        .args(words)
        .arg(format!(
            "https://{}/v1/hosts/{host}/file?login={login}&path={path}",
            node.web_addr()
        ));
    run(&mut curl)
}

/// Sends a file to a host.
pub fn upload(person: &Person, node: &NodeHandle, host: &str, query: [&str; 2], from: &Path) -> Ran {
    let from = from.display().to_string();
    curl_file(person, node, host, query, &["--upload-file", &from])
}

/// Fetches a file of a host.
pub fn download(person: &Person, node: &NodeHandle, host: &str, query: [&str; 2], to: &Path) -> Ran {
    let to = to.display().to_string();
    curl_file(person, node, host, query, &["--output", &to])
}
