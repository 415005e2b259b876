//! What is left of a body when its request was refused. An answer that comes before the body was read ends the connection,
//! and a client that is still sending then may never read why: so some of the rest is taken first, and thrown away.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Of a body that was refused so much is taken, for so long.
const SPENT_MAX: usize = 16 << 20;
const SPEND_FOR: Duration = Duration::from_secs(3);

/// Takes what a handler that refused a request left of its body, as far as that is little.
pub(crate) async fn spent(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let rest = Arc::new(Mutex::new(None));
    let lent = Lent {
        body: Some(body),
        rest: Arc::clone(&rest),
    };
    let response = next.run(Request::from_parts(parts, Body::new(lent))).await;
    let rest = rest.lock().take();
    if let (Some(rest), false) = (rest, response.status().is_success()) {
        let _ = tokio::time::timeout(SPEND_FOR, spend(rest)).await;
    }
    response
}

async fn spend(mut body: Body) {
    let mut left = SPENT_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        let Some(less) = left.checked_sub(size) else {
            return;
        };
        left = less;
    }
}

/// A body that comes back from whoever drops it before its end.
struct Lent {
    body: Option<Body>,
    rest: Arc<Mutex<Option<Body>>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.rest.lock() = self.body.take().filter(|body| !body.is_end_stream());
    }
}
