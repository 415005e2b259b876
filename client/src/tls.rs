//! Which servers are believed: by the pin of the cluster's TLS authority at first contact, by the saved authority
//! afterwards, or by an authority that the operator chose.

use crate::errors::Failure;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// SHA-256 of a public key (SubjectPublicKeyInfo), written `sha256:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CaPin([u8; 32]);

impl CaPin {
    /// Reads `sha256:<64 hex digits>`.
    pub fn parse(text: &str) -> Result<Self, BadPin> {
        let digits = text.trim().strip_prefix("sha256:").ok_or(BadPin)?;
        let bytes = hex::decode(digits).map_err(|_| BadPin)?;
        bytes.try_into().map(CaPin).map_err(|_| BadPin)
    }

    /// The pin of a certificate's key.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(der).ok()?;
        Some(CaPin(Sha256::digest(cert.public_key().raw).into()))
    }
}

impl fmt::Display for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for CaPin {
    type Err = BadPin;
    fn from_str(text: &str) -> Result<Self, BadPin> {
        CaPin::parse(text)
    }
}

/// A text that is not a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pin is written sha256: and 64 hex digits; `palctl status` on a node shows it")]
pub struct BadPin;

/// The server's chain holds no authority with the pinned key. It must be findable in a chain of errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server has no certificate of the authority with pin {wanted}")]
pub struct PinMismatch {
    /// What was asked for.
    pub wanted: String,
}

/// What is trusted.
#[derive(Debug, Clone)]
pub enum Trust {
    /// An authority certificate in the server's own chain that has this pin.
    Pin(CaPin),
    /// These authorities.
    Roots(RootCertStore),
}

impl Trust {
    /// What the operating system trusts.
    pub fn system() -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        Ok(Trust::Roots(roots))
    }

    /// Authority certificates in PEM.
    pub fn pem(pem: &[u8]) -> Result<Self, BadPem> {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(pem) {
            roots.add(cert.map_err(|_| BadPem)?).map_err(|_| BadPem)?;
        }
        if roots.is_empty() {
            Err(BadPem)
        } else {
            Ok(Trust::Roots(roots))
        }
    }

    /// Trusts what both trust. A pin stays alone: it is for first contact only.
    pub fn and(self, other: Trust) -> Trust {
        match (self, other) {
            (Trust::Roots(mut a), Trust::Roots(b)) => {
                a.extend(b.roots);
                Trust::Roots(a)
            }
            (pin @ Trust::Pin(_), _) | (_, pin @ Trust::Pin(_)) => pin,
        }
    }
}

/// A file without a usable certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it holds no usable certificate in PEM form")]
pub struct BadPem;

/// The client's certificate chain and its key.
pub struct ClientCertificate {
    /// Certificates in PEM.
    pub certificate: String,
    /// Key in PEM.
    pub key: String,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate { .. }")
    }
}

/// The provider that all of us use; sets it as the process's default once.
pub fn provider() -> Arc<CryptoProvider> {
    // Fails only if there is one already, which then is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The TLS side of a connection to the API.
pub fn config(trust: Trust, identity: Option<&ClientCertificate>) -> Result<rustls::ClientConfig, Failure> {
    let provider = provider();
    let broken = |e: rustls::Error| Failure::new(format!("cannot set up TLS: {e}"), "run `pal login` again");
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(broken)?;
    let builder = match trust {
        Trust::Roots(roots) => builder.with_root_certificates(roots),
        Trust::Pin(pin) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinVerifier { pin, provider })),
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let bad = |_| {
                Failure::new(
                    "the saved TLS certificate or key is damaged",
                    "run `pal login` again",
                )
            };
            let chain: Vec<_> = CertificateDer::pem_slice_iter(own.certificate.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(bad)?;
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(bad)?;
            builder.with_client_auth_cert(chain, key).map_err(broken)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Believes a server whose own chain holds the pinned authority, and whose leaf that authority signed for the name.
#[derive(Debug)]
struct PinVerifier {
    pin: CaPin,
    provider: Arc<CryptoProvider>,
}

/// Whether a certificate may sign others. Without this, a leaf whose own key is pinned could sign for any name.
fn is_authority(der: &[u8]) -> bool {
    let Ok((_, cert)) = X509Certificate::from_der(der) else {
        return false;
    };
    matches!(cert.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca)
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned =
            |der: &&CertificateDer<'_>| CaPin::of_certificate(der) == Some(self.pin) && is_authority(der);
        let Some(anchor) = intermediates.iter().find(pinned) else {
            let mismatch = PinMismatch {
                wanted: self.pin.to_string(),
            };
            return Err(CertificateError::Other(rustls::OtherError(Arc::new(mismatch))).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone().into_owned())?;
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    struct Authority {
        der: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority(ca: bool) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("params");
        params.is_ca = if ca {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        let cert = params.self_signed(&key).expect("a certificate");
        Authority {
            der: cert.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn leaf(by: &Authority, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("params");
        params
            .signed_by(&key, &by.issuer)
            .expect("a certificate")
            .der()
            .clone()
    }

    fn check(
        pin: CaPin,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &str,
    ) -> Result<(), String> {
        let verifier = PinVerifier {
            pin,
            provider: provider(),
        };
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        verifier
            .verify_server_cert(leaf, chain, &name, &[], UnixTime::now())
            .map(|_| ())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_pinned_authority_is_believed_for_what_it_signed() {
        let ca = authority(true);
        let pin = CaPin::of_certificate(&ca.der).expect("a pin");
        let leaf = leaf(&ca, "127.0.0.1");
        assert_eq!(
            check(pin, &leaf, std::slice::from_ref(&ca.der), "127.0.0.1"),
            Ok(())
        );
        assert!(
            check(pin, &leaf, std::slice::from_ref(&ca.der), "node2.example").is_err(),
            "another name passed"
        );
        assert!(
            check(pin, &leaf, &[], "127.0.0.1").is_err(),
            "no authority in the chain, but it passed"
        );
    }

    #[test]
    fn a_pinned_authority_beside_a_leaf_it_did_not_sign_is_refused() {
        let (ca, other) = (authority(true), authority(true));
        let pin = CaPin::of_certificate(&ca.der).expect("a pin");
        let leaf = leaf(&other, "127.0.0.1");
        assert!(check(pin, &leaf, &[ca.der.clone(), other.der.clone()], "127.0.0.1").is_err());
        let wrong =
            check(pin, &leaf, std::slice::from_ref(&other.der), "127.0.0.1").expect_err("another authority");
        assert!(wrong.contains("PinMismatch"), "{wrong}");
    }

    #[test]
    fn a_pinned_key_that_is_no_authority_is_refused() {
        let not_ca = authority(false);
        let pin = CaPin::of_certificate(&not_ca.der).expect("a pin");
        let leaf = leaf(&not_ca, "127.0.0.1");
        assert!(check(pin, &leaf, std::slice::from_ref(&not_ca.der), "127.0.0.1").is_err());
    }

    #[test]
    fn pins_read_what_they_write() {
        let pin = CaPin([7; 32]);
        assert_eq!(CaPin::parse(&pin.to_string()), Ok(pin));
        for bad in [
            "",
            "sha256:",
            "sha256:zz",
            "07",
            &format!("sha1:{}", "07".repeat(32)),
            &format!("sha256:{}", "07".repeat(31)),
        ] {
            assert!(CaPin::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
