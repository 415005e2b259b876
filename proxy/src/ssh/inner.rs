//! The user's connection to a host, ended by the node under the host's name.

use crate::ssh::auth::Door;
use crate::ssh::link::Link;
use crate::ssh::listener;
use crate::ssh::live::Stop;
use crate::ssh::node::{Node, Refused, Who};
use crate::ssh::outer::{ChannelPlace, prohibited};
use crate::ssh::session;
use palisade_core::access::Ability;
use palisade_core::event::EventKind;
use palisade_core::name::Login;
use palisade_core::record::{HostSpec, Record};
use palisade_session::ssh::config;
use palisade_session::ssh::keys::ssh_key::Certificate;
use palisade_session::ssh::relay::End;
use palisade_session::ssh::russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session};
use palisade_session::ssh::russh::{Channel, ChannelOpenFailure, Error};
use palisade_session::ssh::stream::{Egress, Transport};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long a host may take to set up or give up a listener for `-R`.
const FORWARD_REPLY: Duration = Duration::from_secs(10);

/// Serves the user's connection to `host` over `stream`.
pub(crate) async fn serve<S>(node: Arc<Node>, who: Who, host: Record<HostSpec>, stream: S, node_stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The user found the host by one of these, so the certificate holds the name that they typed.
    let mut names = vec![host.metadata.name.to_string()];
    names.extend(host.spec.addr.as_ref().map(|addr| addr.host().to_owned()));
    let (key, certificate) = match node.host_identity(&names).await {
        Ok(identity) => identity,
        Err(error) => {
            tracing::error!(host = %host.metadata.name, error = %error, "no host certificate for a target");
            return;
        }
    };
    let transport = Transport::new(stream);
    let egress = transport.egress();
    let stop = Stop::default();
    let door = Door::new(Arc::clone(&node), who.peer, None);
    let passed = door.passed();
    let link = Arc::new(OnceLock::new());
    let handler = Inner {
        node: Arc::clone(&node),
        door,
        outer: who,
        host,
        egress: Arc::clone(&egress),
        stop: stop.clone(),
        link: Arc::clone(&link),
        refusal: None,
    };
    let grace = node.config.login_grace;
    let run = listener::run(
        config::server(key, certificate),
        transport,
        handler,
        egress,
        passed,
        grace,
        &stop,
    );
    let watch = async {
        loop {
            tokio::select! {
                reason = node_stop.stopped() => return reason,
                // Nothing to watch until somebody has logged in.
                () = tokio::time::sleep(Duration::from_millis(100)), if link.get().is_none() => {}
                reason = watch_link(&link), if link.get().is_some() => return reason,
            }
        }
    };
    tokio::pin!(run, watch);
    tokio::select! {
        () = &mut run => {}
        reason = &mut watch => {
            stop.stop(&reason);
            run.await;
        }
    }
    if let Some(link) = link.get() {
        link.end("the user's connection is gone");
    }
}

async fn watch_link(link: &OnceLock<Arc<Link>>) -> String {
    match link.get() {
        Some(link) => link.watch().await,
        None => std::future::pending().await,
    }
}

struct Inner {
    node: Arc<Node>,
    door: Door,
    outer: Who,
    host: Record<HostSpec>,
    egress: Arc<Egress>,
    stop: Stop,
    link: Arc<OnceLock<Arc<Link>>>,
    /// Who they are is proved, but they may not be here: every channel is answered with this.
    refusal: Option<String>,
}

impl Inner {
    /// The link, or the reason why there is none.
    fn link(&self) -> Result<Arc<Link>, String> {
        match (&self.refusal, self.link.get()) {
            (None, Some(link)) => Ok(Arc::clone(link)),
            (Some(reason), _) => Err(reason.clone()),
            (None, None) => Err("not logged in".into()),
        }
    }

    /// The link and a place for one more channel; otherwise the channel is refused.
    async fn open(&self, reply: ChannelOpenHandle) -> Option<(Arc<Link>, ChannelPlace, ChannelOpenHandle)> {
        let link = match self.link() {
            Ok(link) => link,
            Err(reason) => {
                reply.reject(prohibited(&reason)).await;
                return None;
            }
        };
        link.touch();
        match ChannelPlace::take(&link.channels) {
            Some(place) => Some((link, place, reply)),
            None => {
                let other = ChannelOpenFailure::Other {
                    code: 4,
                    reason: format!("more than {} channels on one connection", config::MAX_CHANNELS),
                };
                reply.reject(other).await;
                None
            }
        }
    }
}

impl Handler for Inner {
    type Error = Error;

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Error> {
        let Ok(login) = Login::parse(user) else {
            self.door
                .refuse(certificate.key_id(), user, "the login is malformed")
                .await;
            return Ok(Auth::reject());
        };
        let Some(who) = self.door.knock(certificate, user).await else {
            return Ok(Auth::reject());
        };
        if who.holder.user != self.outer.holder.user {
            self.door
                .refuse(
                    certificate.key_id(),
                    user,
                    "another user than on the outer connection",
                )
                .await;
            return Ok(Auth::reject());
        }
        self.refusal = None;
        let link = Link::new(
            Arc::clone(&self.node),
            who,
            login,
            self.host.clone(),
            Arc::clone(&self.egress),
            self.stop.clone(),
        );
        if self.link.set(link).is_err() {
            return Ok(Auth::reject());
        }
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Error> {
        let Some(link) = self.link.get() else {
            return Ok(());
        };
        match self
            .node
            .decide(&link.who, &link.login, &link.host, Ability::Connect)
        {
            Ok(permit) => link.begin(permit, session.handle()),
            Err(refused) => {
                let reason = refused.to_string();
                let event = link.event(EventKind::SessionRefused).message(&*reason);
                self.node.audit_refusal(&link.who, event).await;
                self.refusal = Some(reason);
            }
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        if let Some((link, place, reply)) = self.open(reply).await {
            self.node.tasks.spawn(async move {
                session::carry(link, channel, reply).await;
                drop(place);
            });
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        origin: &str,
        origin_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        let Some((link, place, reply)) = self.open(reply).await else {
            return Ok(());
        };
        let (target, origin) = ((host.to_owned(), port), (origin.to_owned(), origin_port));
        self.node.tasks.spawn(async move {
            let shown = format!("{}:{}", target.0.escape_debug(), target.1);
            if let Err(reason) = permit_forward(&link, Ability::LocalForward, &shown).await {
                reply.reject(prohibited(&reason)).await;
                return;
            }
            let opened = match link.host().await {
                Ok(host) => {
                    let opened = host
                        .handle()
                        .channel_open_direct_tcpip(target.0, target.1, origin.0, origin.1)
                        .await;
                    opened
                        .map(|channel| End {
                            channel,
                            egress: host.egress(),
                        })
                        .map_err(|e| open_failure(&e))
                }
                Err(reason) => Err(prohibited(&reason)),
            };
            couple(&link, channel, reply, opened).await;
            drop(place);
        });
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        let Some((link, place, reply)) = self.open(reply).await else {
            return Ok(());
        };
        let path = path.to_owned();
        self.node.tasks.spawn(async move {
            let shown = path.escape_debug().to_string();
            if let Err(reason) = permit_forward(&link, Ability::StreamLocal, &shown).await {
                reply.reject(prohibited(&reason)).await;
                return;
            }
            let opened = match link.host().await {
                Ok(host) => {
                    let opened = host.handle().channel_open_direct_streamlocal(path).await;
                    opened
                        .map(|channel| End {
                            channel,
                            egress: host.egress(),
                        })
                        .map_err(|e| open_failure(&e))
                }
                Err(reason) => Err(prohibited(&reason)),
            };
            couple(&link, channel, reply, opened).await;
            drop(place);
        });
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        refuse_kind(self.link(), "x11", reply).await
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        refuse_kind(self.link(), "forwarded-tcpip", reply).await
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, _: &mut Session) -> Result<bool, Error> {
        let Ok(link) = self.link() else { return Ok(false) };
        link.touch();
        let shown = format!("{}:{port}", address.escape_debug());
        if permit_forward(&link, Ability::RemoteForward, &shown)
            .await
            .is_err()
        {
            return Ok(false);
        }
        let Ok(host) = link.host().await else {
            return Ok(false);
        };
        // A fixed port is entered before the host can use it.
        if *port != 0 {
            link.forwards().lock().insert((address.to_owned(), *port));
        }
        let asked = tokio::time::timeout(FORWARD_REPLY, host.handle().tcpip_forward(address, *port)).await;
        match asked {
            Ok(Ok(chosen)) => {
                if *port == 0 {
                    *port = chosen;
                    link.forwards().lock().insert((address.to_owned(), chosen));
                }
                Ok(true)
            }
            _ => {
                link.forwards().lock().remove(&(address.to_owned(), *port));
                Ok(false)
            }
        }
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _: &mut Session,
    ) -> Result<bool, Error> {
        let Ok(link) = self.link() else { return Ok(false) };
        if !link.forwards().lock().remove(&(address.to_owned(), port)) {
            return Ok(false);
        }
        let Ok(host) = link.host().await else {
            return Ok(false);
        };
        let asked =
            tokio::time::timeout(FORWARD_REPLY, host.handle().cancel_tcpip_forward(address, port)).await;
        Ok(matches!(asked, Ok(Ok(()))))
    }

    async fn streamlocal_forward(&mut self, path: &str, _: &mut Session) -> Result<bool, Error> {
        // Carried by nobody yet; the decision is asked so that the refusal says why and is audited.
        if let Ok(link) = self.link() {
            link.refused(
                "streamlocal-forward@openssh.com",
                path,
                "remote forwarding of sockets is not carried",
            )
            .await;
        }
        Ok(false)
    }
}

/// Decides about a forward and audits it; the error is the reason.
async fn permit_forward(link: &Link, ability: Ability, target: &str) -> Result<(), String> {
    link.ask(ability, target)
        .await
        .map_err(|refused| refused.to_string())?;
    let event = link
        .event(EventKind::Forward)
        .target(target)
        .with("kind", ability.as_str());
    // No forwarded byte without its event.
    link.node
        .audit(&link.who, event)
        .await
        .map_err(|refused: Refused| refused.to_string())
}

async fn refuse_kind(
    link: Result<Arc<Link>, String>,
    kind: &str,
    reply: ChannelOpenHandle,
) -> Result<(), Error> {
    let reason = match link {
        Ok(link) => {
            let reason = format!("{kind} channels are not carried");
            link.refused(kind, "", &reason).await;
            reason
        }
        Err(reason) => reason,
    };
    reply.reject(prohibited(&reason)).await;
    Ok(())
}

fn open_failure(error: &Error) -> ChannelOpenFailure {
    match error {
        Error::ChannelOpenFailure(failure) => ChannelOpenFailure::Other {
            code: failure.code(),
            reason: format!("the host says: {}", failure.description()),
        },
        _ => ChannelOpenFailure::Other {
            code: 2,
            reason: "the connection to the host was lost".into(),
        },
    }
}

async fn couple(
    link: &Link,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    opened: Result<End<palisade_session::ssh::russh::client::Msg>, ChannelOpenFailure>,
) {
    match opened {
        Ok(host) => {
            reply.accept().await;
            link.forward(
                End {
                    channel,
                    egress: Arc::clone(&link.egress),
                },
                host,
            )
            .await;
        }
        Err(failure) => reply.reject(failure).await,
    }
}
