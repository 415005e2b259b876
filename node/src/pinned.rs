//! TLS to a member that is known by nothing but the pin of its cluster's authority.

use palisade_ca::check_pin;
use palisade_raft::server_verifier;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, Error, RootCertStore};
use std::sync::Arc;

/// A client configuration that believes exactly the authority with this pin, for the name that is dialled.
pub(crate) fn client_config(pin: &str) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (pin, inner) = (pin.to_owned(), provider.clone());
    let verifier = server_verifier(provider.clone(), move |(own, more), name, now| {
        let chain: Vec<_> = std::iter::once(own).chain(more).cloned().collect();
        let authority = check_pin(&chain, &pin, now.as_secs()).map_err(|e| {
            Error::General(format!(
                "the member is not of the cluster that the token names: {e}"
            ))
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), inner.clone())
            .build()
            .map_err(|e| Error::General(e.to_string()))?;
        verifier.verify_server_cert(own, more, name, &[], now).map(drop)
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}
