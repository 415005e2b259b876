//! Algorithms and limits of every SSH connection, in one place.
//!
//! Post-quantum key exchange first, strict key exchange on, AES-GCM before ChaCha, no SHA-1, no CBC, no compression.

use russh::keys::PrivateKey;
use russh::keys::ssh_key::{Algorithm, Certificate, EcdsaCurve, HashAlg};
use russh::{Preferred, SshId, cipher, client, compression, kex, mac, server};
use std::borrow::Cow;
use std::time::Duration;

/// How much one channel may hold that its reader has not taken: the bound on memory, and over the round-trip time
/// the ceiling of a channel's speed.
pub const WINDOW: u32 = 2 << 20;

/// The largest packet we ask for. OpenSSH never sends more than this.
pub const MAX_PACKET: u32 = 32 << 10;

/// Channels that one connection may have open.
pub const MAX_CHANNELS: usize = 256;

/// How long a connection may take to authenticate.
pub const LOGIN_GRACE: Duration = Duration::from_secs(30);

/// How long a network silence lasts before we ask the peer whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(30);

const SERVER_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const CLIENT_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

/// GCM costs half the processor time of ChaCha where the processor knows AES.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_128_CTR,
];

/// Encrypt-then-MAC only.
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];

/// What a person's or host's key may be; our own host keys are Ed25519.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

fn preferred(kex: &'static [kex::Name]) -> Preferred {
    Preferred {
        kex: Cow::Borrowed(kex),
        key: Cow::Borrowed(KEYS),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// A connection that we serve, under this host key and its certificate.
pub fn server(host_key: PrivateKey, certificate: Certificate) -> server::Config {
    server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Palisade")),
        methods: (&[russh::MethodKind::PublicKey][..]).into(),
        // Only signatures are checked, and a client may offer several keys first: no delay protects anything here.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 20,
        keys: vec![host_key],
        certificates: vec![certificate],
        window_size: WINDOW,
        maximum_packet_size: MAX_PACKET,
        channel_buffer_size: 64,
        event_buffer_size: 64,
        preferred: preferred(SERVER_KEX),
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        nodelay: true,
        relay: true,
        ..server::Config::default()
    }
}

/// A connection that we make. With `host_certificates` the other end may prove itself by a certificate.
pub fn client(host_certificates: bool) -> client::Config {
    client_within(host_certificates, WINDOW)
}

/// As [`client`], where a channel may hold no more than `window` that its reader has not taken.
pub fn client_within(host_certificates: bool, window: u32) -> client::Config {
    let mut preferred = preferred(CLIENT_KEX);
    if host_certificates {
        preferred.host_key_certificates = Cow::Borrowed(KEYS);
    }
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Palisade")),
        window_size: window,
        maximum_packet_size: MAX_PACKET,
        channel_buffer_size: 64,
        preferred,
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        nodelay: true,
        relay: true,
        ..client::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_old_is_offered() {
        for names in [SERVER_KEX, CLIENT_KEX] {
            assert_eq!(names[0], kex::MLKEM768X25519_SHA256);
            assert!(
                names.iter().any(|n| n.as_ref().starts_with("kex-strict-")),
                "strict key exchange"
            );
        }
        let all = SERVER_KEX.iter().chain(CLIENT_KEX).map(AsRef::<str>::as_ref);
        let all = all
            .chain(CIPHERS.iter().map(AsRef::as_ref))
            .chain(MACS.iter().map(AsRef::as_ref));
        for name in all {
            assert!(
                !name.contains("sha1") && !name.contains("cbc") && !name.contains("group"),
                "{name}"
            );
        }
        assert!(
            KEYS.iter()
                .all(|k| !matches!(k, Algorithm::Rsa { hash: None } | Algorithm::Dsa))
        );
    }
}
