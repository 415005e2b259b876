//! Bodies, queries and paths, read strictly: every refusal is JSON, says where, and is cheap.

use crate::error::Failure;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The largest JSON body.
pub(crate) const BODY_MAX: usize = 1024 * 1024;
/// The largest body of records.
const RECORD_BODY_MAX: usize = 256 * 1024;

/// A body that is not whole by then is given up, however steadily it trickles in.
const WHOLE: Duration = Duration::from_secs(30);

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        // Browsers send other types across sites without asking first: those must not reach a handler.
        if media_type(request.headers()) != Some("application/json") {
            return Err(Failure::media_type("application/json"));
        }
        let bytes = read(request.into_body(), BODY_MAX).await?;
        serde_json::from_slice(&bytes)
            .map(Json)
            .map_err(|e| Failure::invalid(format!("the body: {e}")))
    }
}

/// A body of records, in YAML or JSON, not yet read further.
pub(crate) struct RecordText(pub(crate) String);

impl<S: Sync> FromRequest<S> for RecordText {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        match media_type(request.headers()) {
            Some("application/json" | "application/yaml" | "application/x-yaml" | "text/yaml") => {}
            Some(_) | None => return Err(Failure::media_type("application/yaml or application/json")),
        }
        let bytes = read(request.into_body(), RECORD_BODY_MAX).await?;
        String::from_utf8(bytes.into()).map(RecordText).map_err(|e| {
            Failure::invalid(format!(
                "the body is not UTF-8 at byte {}",
                e.utf8_error().valid_up_to()
            ))
        })
    }
}

/// A record's text that came inside of something else is bounded as one that came by itself.
pub(crate) fn bounded(text: &str) -> Result<(), Failure> {
    if text.len() > RECORD_BODY_MAX {
        return Err(too_long(RECORD_BODY_MAX));
    }
    Ok(())
}

fn too_long(most: usize) -> Failure {
    Failure::too_large(format!("the body is longer than {} KiB", most / 1024))
}

async fn read(body: Body, most: usize) -> Result<axum::body::Bytes, Failure> {
    let late = || {
        Failure::invalid(format!(
            "the body did not arrive whole within {} s",
            WHOLE.as_secs()
        ))
    };
    let whole = tokio::time::timeout(WHOLE, to_bytes(body, most)).await;
    whole.map_err(|_| late())?.map_err(|error| {
        let error = axum::Error::into_inner(error);
        if error.is::<http_body_util::LengthLimitError>() {
            too_long(most)
        } else {
            Failure::invalid("the body did not arrive whole")
        }
    })
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim())
}

/// The query, with unknown fields refused by the type.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Query(query.0))
            .map_err(|e| Failure::invalid(format!("the query: {}", e.body_text())))
    }
}

/// Parts of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|path| Path(path.0))
            .map_err(|_| Failure::invalid("the path is not well-formed"))
    }
}
