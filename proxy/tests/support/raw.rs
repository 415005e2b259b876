//! An SSH client that does what no SSH client does: every packet is the test's own.
//!
//! It speaks curve25519-sha256 (RFC 8731) and aes128-gcm@openssh.com (RFC 5647 with OpenSSH's framing), and checks
//! nothing that the server says.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use palisade_session::ssh::client::Identity;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const DISCONNECT: u8 = 1;
pub const IGNORE: u8 = 2;
pub const KEXINIT: u8 = 20;
pub const NEWKEYS: u8 = 21;
pub const USERAUTH_FAILURE: u8 = 51;
pub const USERAUTH_SUCCESS: u8 = 52;
pub const CHANNEL_OPEN: u8 = 90;
pub const CHANNEL_WINDOW_ADJUST: u8 = 93;

/// The reason of a [`DISCONNECT`] (RFC 4253 section 11.1).
pub const PROTOCOL_ERROR: u32 = 2;

const WITHIN: Duration = Duration::from_secs(10);

/// What a client proposes.
#[derive(Clone)]
pub struct Proposal {
    pub kex: &'static str,
    pub host_key: &'static str,
    pub cipher: &'static str,
    pub mac: &'static str,
    pub compression: &'static str,
}

impl Default for Proposal {
    fn default() -> Self {
        Proposal {
            kex: "curve25519-sha256,kex-strict-c-v00@openssh.com",
            host_key: "ssh-ed25519-cert-v01@openssh.com,ssh-ed25519",
            cipher: "aes128-gcm@openssh.com",
            mac: "hmac-sha2-256-etm@openssh.com",
            compression: "none",
        }
    }
}

/// Writes the types of RFC 4251.
#[derive(Default)]
pub struct Packet(pub Vec<u8>);

impl Packet {
    pub fn new(kind: u8) -> Self {
        Packet(vec![kind])
    }
    pub fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }
    pub fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }
    pub fn string(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut written = self.u32(bytes.len() as u32);
        written.0.extend(bytes);
        written
    }
    fn mpint(self, bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        let mut number = bytes[start..].to_vec();
        if number.first().is_some_and(|b| *b & 0x80 != 0) {
            number.insert(0, 0);
        }
        self.string(number)
    }
}

struct Direction {
    key: LessSafeKey,
    nonce: [u8; 12],
}

impl Direction {
    fn next(&mut self) -> Nonce {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let counter = u64::from_be_bytes(self.nonce[4..].try_into().unwrap()).wrapping_add(1);
        self.nonce[4..].copy_from_slice(&counter.to_be_bytes());
        nonce
    }
}

pub struct RawClient {
    stream: TcpStream,
    version: String,
    ours: Vec<u8>,
    pub theirs: Vec<u8>,
    keys: Option<(Direction, Direction)>,
    /// The session identifier: the hash of the first key exchange.
    session: Vec<u8>,
}

fn string(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let len = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    (&bytes[at + 4..at + 4 + len], at + 4 + len)
}

impl RawClient {
    /// Greetings and both lists of algorithms.
    pub async fn connect(addr: SocketAddr, proposal: &Proposal) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"SSH-2.0-raw\r\n").await.unwrap();
        let mut version = Vec::new();
        while !version.ends_with(b"\r\n") {
            version.push(stream.read_u8().await.unwrap());
        }
        let mut ours = Packet::new(KEXINIT);
        ours.0.extend([7; 16]);
        for list in [
            proposal.kex,
            proposal.host_key,
            proposal.cipher,
            proposal.cipher,
            proposal.mac,
            proposal.mac,
            proposal.compression,
            proposal.compression,
            "",
            "",
        ] {
            ours = ours.string(list);
        }
        let ours = ours.byte(0).u32(0).0;
        let mut client = RawClient {
            stream,
            version: String::from_utf8(version).unwrap().trim_end().to_owned(),
            ours: ours.clone(),
            theirs: Vec::new(),
            keys: None,
            session: Vec::new(),
        };
        client.send(&ours).await;
        client.theirs = client.receive().await.expect("its algorithms");
        client
    }

    /// The key exchange, with a public key of the test's choice or an honest one. `None` if the server ended it.
    pub async fn exchange(&mut self, chosen: Option<Vec<u8>>) -> Option<()> {
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).unwrap();
        let public = chosen.unwrap_or_else(|| private.compute_public_key().unwrap().as_ref().to_vec());
        self.send(&Packet::new(30).string(&public).0).await;
        let reply = self.receive().await.filter(|reply| reply[0] == 31)?;
        let (host_key, at) = string(&reply, 1);
        let (theirs, _) = string(&reply, at);
        let theirs_key = UnparsedPublicKey::new(&X25519, theirs.to_vec());
        let secret =
            agree_ephemeral(private, &theirs_key, (), |secret| Ok::<_, ()>(secret.to_vec())).unwrap();
        let text = Packet::default()
            .string("SSH-2.0-raw")
            .string(&self.version)
            .string(&self.ours)
            .string(&self.theirs)
            .string(host_key)
            .string(&public)
            .string(theirs)
            .mpint(&secret);
        let hash = digest(&SHA256, &text.0).as_ref().to_vec();
        if self.session.is_empty() {
            self.session = hash.clone();
        }
        let session = self.session.clone();
        let derive = |letter: u8| {
            let mut text = Packet::default().mpint(&secret).0;
            text.extend(&hash);
            text.push(letter);
            text.extend(&session);
            digest(&SHA256, &text).as_ref().to_vec()
        };
        let direction = |iv: u8, key: u8| Direction {
            key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &derive(key)[..16]).unwrap()),
            nonce: derive(iv)[..12].try_into().unwrap(),
        };
        self.send(&[NEWKEYS]).await;
        self.receive().await.filter(|packet| packet[0] == NEWKEYS)?;
        self.keys = Some((direction(b'A', b'C'), direction(b'B', b'D')));
        Some(())
    }

    /// Another key exchange, to its end. `None` if the server ended the connection instead; what it says of other
    /// things meanwhile is passed over.
    pub async fn exchange_again(&mut self) -> Option<()> {
        let ours = self.ours.clone();
        self.send(&ours).await;
        self.theirs = loop {
            let packet = self.receive().await?;
            match packet[0] {
                KEXINIT => break packet,
                DISCONNECT => return None,
                _ => {}
            }
        };
        self.exchange(None).await
    }

    /// Up to the end of the first key exchange.
    pub async fn unserved(addr: SocketAddr) -> Self {
        let mut client = Self::connect(addr, &Proposal::default()).await;
        client.exchange(None).await.expect("the key exchange");
        client
    }

    /// Up to where a client may authenticate.
    pub async fn ready(addr: SocketAddr) -> Self {
        let mut client = Self::unserved(addr).await;
        client.send(&Packet::new(5).string("ssh-userauth").0).await;
        client.receive().await.expect("the service is accepted");
        client
    }

    /// A client that has authenticated.
    pub async fn authenticated(addr: SocketAddr, user: &str, identity: &Identity) -> Self {
        let mut client = Self::ready(addr).await;
        client.send(&client.auth(user, identity, Some(identity))).await;
        let said = client.receive().await.expect("an answer");
        assert_eq!(said[0], USERAUTH_SUCCESS, "{said:?}");
        client
    }

    /// A request to authenticate with a certificate, signed by `signer` or only asked about.
    pub fn auth(&self, user: &str, identity: &Identity, signer: Option<&Identity>) -> Vec<u8> {
        let algorithm = "ssh-ed25519-cert-v01@openssh.com";
        let blob = identity.certificate.to_bytes().unwrap();
        let request = Packet::new(50)
            .string(user)
            .string("ssh-connection")
            .string("publickey")
            .byte(u8::from(signer.is_some()))
            .string(algorithm)
            .string(blob);
        let Some(signer) = signer else { return request.0 };
        let mut signed = Packet::default().string(&self.session).0;
        signed.extend(&request.0);
        let seed = signer.key.key_data().ed25519().unwrap().private.to_bytes();
        let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let signature = Packet::default().string("ssh-ed25519").string(pair.sign(&signed));
        request.string(signature.0).0
    }

    /// Sends bytes as they are.
    pub async fn throw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends a packet. The server may have hung up already.
    pub async fn send(&mut self, payload: &[u8]) {
        let block = if self.keys.is_some() { 16 } else { 8 };
        let length_counts = if self.keys.is_some() { 0 } else { 4 };
        let mut padding = block - (length_counts + 1 + payload.len()) % block;
        if padding < 4 {
            padding += block;
        }
        let length = ((1 + payload.len() + padding) as u32).to_be_bytes();
        let mut body = vec![padding as u8];
        body.extend(payload);
        body.resize(body.len() + padding, 0);
        if let Some((out, _)) = &mut self.keys {
            let nonce = out.next();
            out.key
                .seal_in_place_append_tag(nonce, Aad::from(length), &mut body)
                .unwrap();
        }
        let whole = [&length[..], &body].concat();
        self.throw(&whole).await;
    }

    /// The next packet; `None` when the server has hung up.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        tokio::time::timeout(WITHIN, self.receive_one())
            .await
            .expect("the server neither answers nor hangs up")
    }

    async fn receive_one(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await.ok()?;
        let tag = if self.keys.is_some() { 16 } else { 0 };
        let mut body = vec![0; u32::from_be_bytes(length) as usize + tag];
        self.stream.read_exact(&mut body).await.ok()?;
        if let Some((_, back)) = &mut self.keys {
            let nonce = back.next();
            back.key
                .open_in_place(nonce, Aad::from(length), &mut body)
                .unwrap();
            body.truncate(body.len() - tag);
        }
        let padding = usize::from(body[0]);
        Some(body[1..body.len() - padding].to_vec())
    }

    /// Everything the server says until it hangs up, by the number of each message.
    pub async fn last_words(&mut self) -> Vec<u8> {
        let mut kinds = Vec::new();
        while let Some(packet) = self.receive().await {
            kinds.push(packet[0]);
        }
        kinds
    }
}
