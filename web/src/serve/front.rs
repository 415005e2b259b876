//! Which router answers: a node that is in no cluster yet knows how to begin, and nothing else.

use crate::api::Api;
use crate::body::Json;
use crate::caller::Caller;
use crate::cluster::VERSION;
use crate::error::Failure;
use crate::health;
use crate::routes::{self, HEALTHZ, LIVEZ, READYZ};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use palisade_core::api::{ClusterStatus, InitReply, InitRequest, JoinOrder, Ping, path};
use palisade_core::ports::{Bootstrap, Pending};
use palisade_core::tunnel::{ALPN_CONNECT, ALPN_TUNNEL};
use parking_lot::RwLock;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

/// A connection to the HTTPS port that asked, by ALPN, for something else than HTTP.
pub struct Guest {
    /// The connection; its handshake is done.
    pub stream: TlsStream<TcpStream>,
    /// Who TLS says they are.
    pub caller: Caller,
    /// Where they come from.
    pub addr: SocketAddr,
}

/// What takes guests. The connection has ended when the future has.
pub type Door = Arc<dyn Fn(Guest) -> Pending<'static, ()> + Send + Sync>;

/// What both listeners serve, before and after the node is in a cluster.
pub struct Front {
    api: RwLock<Option<Router>>,
    doors: RwLock<Vec<(&'static [u8], Door)>>,
    /// For the TLS listener of a node that is in no cluster.
    waiting: Router,
    /// For the control socket: how a cluster begins.
    local: Router,
}

/// The protocols beside HTTP that the HTTPS port offers.
pub const GUEST_PROTOCOLS: [&[u8]; 2] = [ALPN_CONNECT, ALPN_TUNNEL];

/// Which listener a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Tls,
    Control,
}

impl Front {
    /// A front without a cluster behind it.
    pub fn new(bootstrap: Arc<dyn Bootstrap>) -> Arc<Front> {
        let common = || {
            Router::new()
                .route(LIVEZ, get(health::livez))
                .route(HEALTHZ, get(health::livez))
                .route(READYZ, get(async || health::answer(Err(NOT_YET.into()))))
                .route(path::PING, get(ping))
                .fallback(async || -> Failure { no_cluster() })
        };
        let local = common()
            .route(path::STATUS, get(status))
            .route(path::INIT, post(init))
            .route(path::JOIN_ORDER, post(join))
            .with_state(bootstrap.clone());
        Arc::new(Front {
            api: RwLock::new(None),
            doors: RwLock::default(),
            waiting: common().with_state(bootstrap),
            local,
        })
    }

    /// The node is in a cluster: from now on everything is served.
    pub fn set_api(&self, api: Api) {
        *self.api.write() = Some(routes::router(api));
    }

    /// From now on connections with this ALPN are given to `door`. It must be one of [`GUEST_PROTOCOLS`].
    pub fn set_door(&self, alpn: &'static [u8], door: Door) {
        self.doors.write().push((alpn, door));
    }

    /// Who takes connections with this ALPN.
    pub(crate) fn door(&self, alpn: &[u8]) -> Option<Door> {
        let doors = self.doors.read();
        doors
            .iter()
            .find(|(name, _)| *name == alpn)
            .map(|(_, door)| door.clone())
    }

    pub(crate) async fn answer(&self, side: Side, request: Request) -> Response {
        let begins = matches!(request.uri().path(), path::INIT | path::JOIN_ORDER);
        let api = self.api.read().clone();
        let router = match (side, api) {
            (Side::Control, _) if begins => self.local.clone(),
            (Side::Tls | Side::Control, Some(api)) => api,
            (Side::Control, None) => self.local.clone(),
            (Side::Tls, None) => self.waiting.clone(),
        };
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// A probe cannot know more than that nothing is served.
const NOT_YET: &str = "this node does not serve yet: it is starting, or in no cluster (`palctl cluster init`, `palctl cluster join`)";

const NO_CLUSTER: &str =
    "this node is in no cluster yet: run `palctl cluster init` or `palctl cluster join` on it";

fn no_cluster() -> Failure {
    Failure::unavailable(NO_CLUSTER)
}

async fn ping() -> axum::Json<Ping> {
    axum::Json(Ping {
        cluster: String::new(),
        version: VERSION.to_owned(),
        ca_pin: String::new(),
        web_addrs: Vec::new(),
        ssh_addrs: Vec::new(),
        second_factor: false,
    })
}

async fn status() -> axum::Json<ClusterStatus> {
    axum::Json(ClusterStatus {
        version: VERSION.to_owned(),
        advice: vec![
            "this node is in no cluster yet: `palctl cluster init` makes one, `palctl cluster join` joins one".into(),
        ],
        ..ClusterStatus::default()
    })
}

type Beginning = State<Arc<dyn Bootstrap>>;

async fn init(
    State(bootstrap): Beginning,
    Json(request): Json<InitRequest>,
) -> Result<axum::Json<InitReply>, Failure> {
    palisade_core::name::Name::parse(&request.cluster)?;
    Ok(axum::Json(bootstrap.init(request).await?))
}

async fn join(
    State(bootstrap): Beginning,
    Json(order): Json<JoinOrder>,
) -> Result<axum::Json<ClusterStatus>, Failure> {
    Ok(axum::Json(bootstrap.join(order).await?))
}
