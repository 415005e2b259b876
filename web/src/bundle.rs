//! The offline bundle: what a host needs to become one, from a node, where there is no internet.
//!
//! It needs no credential: packages are no secret, and a host that has none of our programs cannot check who it speaks to.
//! So the command that an operator gives it names the hash of what it fetches, and the token is shown to nobody before the
//! program that checks the cluster's pin is there.

use crate::ask::Ask;
use crate::body::Path;
use crate::error::Failure;
use crate::sessions::stream;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use palisade_core::api::bundle_name;

/// `GET /v1/bundle/{file}`.
pub(crate) async fn file(ask: Ask, Path(name): Path<String>) -> Result<Response, Failure> {
    if !ask.app.tokens.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    let none = || {
        Failure::not_found(
            "this node's offline bundle has no such file: `palctl bundle add` on the node loads one",
        )
    };
    if !bundle_name(&name) {
        return Err(none());
    }
    let found = ask.app.api.operations.bundle_file(&name).await?;
    let mut response = Response::new(stream(found.ok_or_else(none)?));
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, octets);
    Ok(response)
}
