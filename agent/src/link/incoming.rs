//! Streams that nodes open: connections of users, and orders.

use super::Link;
use palisade_core::pass::Pass;
use palisade_core::tunnel::{MESSAGE_BYTES_MAX, Opened, Order, ToAgent};
use palisade_session::resume::{Accepted, Error, Id, Link as AnyLink, Refused};
use palisade_session::tunnel::wire::{read_message, write_message};
use palisade_session::tunnel::{Tunnel, TunnelStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

/// How long a stream may take to say what it is.
const FIRST_WORDS: Duration = Duration::from_secs(5);
/// A pass begins nothing new when it is older than this, clocks being as they are.
const PASS_FRESH_MS: u64 = 5 * 60_000;

impl Link {
    /// Serves streams until the tunnel ends; why it did.
    pub(super) async fn incoming(self: &Arc<Self>, tunnel: &Tunnel) -> String {
        loop {
            match tunnel.accept().await {
                Ok(stream) => {
                    tokio::spawn(Arc::clone(self).stream(stream));
                }
                Err(error) => return error.to_string(),
            }
        }
    }

    async fn stream(self: Arc<Self>, mut stream: TunnelStream) {
        let message = read_message::<ToAgent>(&mut stream, MESSAGE_BYTES_MAX);
        match tokio::time::timeout(FIRST_WORDS, message).await {
            Ok(Ok(Some(ToAgent::Connect { pass, plain }))) => self.connect(stream, *pass, plain).await,
            Ok(Ok(Some(ToAgent::Order(order)))) => {
                self.order(order);
                let _ = stream.shutdown().await;
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "a stream of a node began with nonsense"),
            Err(_) => {}
        }
    }

    fn order(&self, order: Order) {
        let Some(server) = self.server() else { return };
        match order {
            Order::End { session, why } => {
                server.end(&session, &why);
            }
            Order::Revise { connection, pass } => {
                if let Some(kept) = self.passes.lock().get_mut(&connection) {
                    *kept = (*pass).clone();
                }
                server.revise(&connection, &Ok(*pass));
            }
            Order::Refuse { connection, why } => server.revise(&connection, &Err(why)),
        }
    }

    /// Why a pass is not for us.
    fn refusal(&self, pass: &Pass) -> Option<String> {
        let claims = pass.claims();
        let now = (self.config.clock)();
        if claims.host != self.config.host || claims.agent != self.config.agent {
            return Some("this host is another one: its agent joined anew".into());
        }
        let age = now.since_ms(claims.issued).max(claims.issued.since_ms(now));
        (age > PASS_FRESH_MS).then(|| {
            format!(
                "the clocks of this host and of the node differ by {} s: set them by NTP",
                age / 1000
            )
        })
    }

    async fn connect(self: Arc<Self>, mut stream: TunnelStream, pass: Pass, plain: bool) {
        let Some(server) = self.server() else { return };
        let answer = match self.refusal(&pass) {
            Some(why) => Opened::No(why),
            None => Opened::Yes,
        };
        let told = write_message(&mut stream, &answer, MESSAGE_BYTES_MAX).await;
        if told.is_err() || answer != Opened::Yes {
            return;
        }
        let id = pass.claims().connection.clone();
        if plain {
            let _served = self.serving(&id, &pass);
            return server.serve(stream, pass).await;
        }
        let link: Box<dyn AnyLink> = Box::new(stream);
        // A connection is resumed by whom it began with, also when their new link has a new pass.
        let same = |before: &Pass, now: &Pass| {
            let (before, now) = (before.claims(), now.claims());
            // Nor does a connection become another kind of connection.
            before.user == now.user && before.connection == now.connection && before.join == now.join
        };
        match self.acceptor.accept(link, pass.clone(), same).await {
            Ok(Accepted::New { stream, .. }) => {
                let _served = self.serving(&id, &pass);
                let (tell, linked) = watch::channel(true);
                self.links.lock().insert(stream.id(), tell);
                let _kept = Kept(&self, stream.id());
                server.serve_linked(stream, pass, linked).await;
            }
            Ok(Accepted::Resumed { fresh, .. }) => {
                // What was decided now holds for what runs.
                if let Some(kept) = self.passes.lock().get_mut(&id) {
                    *kept = fresh.clone();
                }
                server.revise(&id, &Ok(fresh));
                self.changed();
            }
            // Gone before it said anything: nobody was refused.
            Err(Refused {
                error: Error::LinkEnded,
                ..
            }) => {}
            Err(refused) => {
                tracing::warn!(user = %pass.claims().user, client.addr = %pass.claims().client_addr, why = %refused, "a link was refused");
                self.audit_refusal(&pass, &refused.to_string()).await;
            }
        }
    }

    async fn audit_refusal(&self, pass: &Pass, why: &str) {
        use crate::uplink::Uplink as _;
        use palisade_core::event::{Event, EventKind};
        let event = Event::new(EventKind::SessionRefused)
            .target("resume")
            .message(why)
            .with("connection", &pass.claims().connection);
        if let Err(error) = self.audit(pass.proof(), vec![event]).await {
            tracing::warn!(error = %error, "a refusal could not be audited");
        }
    }

    /// Lists a connection for as long as it is served.
    fn serving<'a>(&'a self, id: &str, pass: &Pass) -> Served<'a> {
        self.passes.lock().insert(id.to_owned(), pass.clone());
        self.changed();
        Served {
            link: self,
            id: id.to_owned(),
        }
    }
}

/// Forgets about a resumable stream that is not served any more.
struct Kept<'a>(&'a Link, Id);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.links.lock().remove(&self.1);
    }
}

struct Served<'a> {
    link: &'a Link,
    id: String,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.link.passes.lock().remove(&self.id);
        self.link.changed();
    }
}
