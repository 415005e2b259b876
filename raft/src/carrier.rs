//! How requests get to other nodes: over mutual TLS, or over the network of a simulation, which then stands where the
//! certificates do and says who is asking.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either};
use futures::{FutureExt as _, TryFutureExt as _};
use palisade_core::peer::PeerIdentity;
use tonic::body::Body;
use tonic::codegen::{Service, StdError, http};
use tonic::transport::Channel;
use tower::util::BoxCloneSyncService;

use crate::tls::TlsState;

/// A request between nodes, encoded.
pub type CarriedRequest = http::Request<Body>;
/// Its answer.
pub type CarriedResponse = http::Response<Body>;
/// What answers the requests that reach a node. It asks the request's extensions for the [`PeerIdentity`] of the
/// sender, and believes it.
pub type CarriedService = BoxCloneSyncService<CarriedRequest, CarriedResponse, std::convert::Infallible>;
/// What sends them.
pub type CarriedChannel = BoxCloneSyncService<CarriedRequest, CarriedResponse, StdError>;

/// The network of a simulation.
pub trait Carrier: Send + Sync {
    /// From now on requests for this address go to this service, until the node's tasks end.
    fn serve(&self, node: &PeerIdentity, addr: &str, service: CarriedService);
    /// A channel to a node, as a new connection would be; what is sent through it comes from `node`.
    fn channel(&self, node: &PeerIdentity, to: u64, addr: &str) -> CarriedChannel;
    /// Tries to connect: an error of the kind `ConnectionRefused` if nobody listens there, and no answer at all if
    /// nothing gets through.
    fn knock(&self, node: &PeerIdentity, addr: &str) -> BoxFuture<'static, io::Result<()>>;
}

/// What a node has of the two.
pub(crate) enum Way {
    Tls(TlsState),
    Carried(Arc<dyn Carrier>),
}

impl Way {
    pub(crate) fn tls(&self) -> io::Result<&TlsState> {
        match self {
            Way::Tls(tls) => Ok(tls),
            Way::Carried(_) => Err(io::Error::other("this node has no certificate")),
        }
    }
}

/// A connection to another node, made when it is needed.
#[derive(Clone)]
pub(crate) enum PeerChannel {
    Tls(Channel),
    Carried(CarriedChannel),
}

impl Service<CarriedRequest> for PeerChannel {
    type Response = CarriedResponse;
    type Error = StdError;
    type Future = Either<
        futures::future::ErrInto<<Channel as Service<CarriedRequest>>::Future, StdError>,
        BoxFuture<'static, Result<CarriedResponse, StdError>>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        match self {
            PeerChannel::Tls(channel) => channel.poll_ready(cx).map_err(Into::into),
            PeerChannel::Carried(channel) => channel.poll_ready(cx),
        }
    }

    fn call(&mut self, request: CarriedRequest) -> Self::Future {
        match self {
            PeerChannel::Tls(channel) => Either::Left(channel.call(request).err_into()),
            PeerChannel::Carried(channel) => Either::Right(channel.call(request).boxed()),
        }
    }
}
