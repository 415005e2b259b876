//! The connection that a client makes to the node itself: it says who they are and opens streams to hosts, no more.

use crate::ssh::auth::Door;
use crate::ssh::inner;
use crate::ssh::live::Stop;
use crate::ssh::node::{Node, Refused, Who};
use crate::tunnels::{Spliced, splice};
use palisade_core::event::EventKind;
use palisade_core::pass::Pass;
use palisade_core::record::{HostSpec, Record, RecordingSite};
use palisade_session::ssh::channel_io::ChannelIo;
use palisade_session::ssh::client::{WAY_OPEN, WAY_ORIGIN};
use palisade_session::ssh::config::MAX_CHANNELS;
use palisade_session::ssh::keys::ssh_key::Certificate;
use palisade_session::ssh::russh::server::{Auth, ChannelOpenHandle, Handle, Handler, Msg, Session};
use palisade_session::ssh::russh::{Channel, ChannelOpenFailure, Disconnect, Error};
use palisade_session::ssh::stream::Egress;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the connection itself leads once its SSH session is over, if the client asked for that.
pub(crate) type Way = Arc<Mutex<Option<(Who, Record<HostSpec>)>>>;

pub(crate) struct Outer {
    node: Arc<Node>,
    door: Door,
    egress: Arc<Egress>,
    stop: Stop,
    who: Option<Who>,
    channels: Arc<AtomicUsize>,
    way: Way,
}

impl Outer {
    pub(crate) fn new(node: Arc<Node>, door: Door, egress: Arc<Egress>, stop: Stop) -> Self {
        Outer {
            node,
            door,
            egress,
            stop,
            who: None,
            channels: Arc::default(),
            way: Way::default(),
        }
    }

    /// Where the connection leads when this session is over.
    pub(crate) fn way(&self) -> Way {
        Arc::clone(&self.way)
    }

    async fn refuse(&self, kind: &str, reply: ChannelOpenHandle) -> Result<(), Error> {
        let reason =
            format!("this is a Palisade node: {kind} is not served here, go through it to a host (ssh -J)");
        if let Some(who) = &self.who {
            self.node
                .audit_refusal(
                    who,
                    who.event(EventKind::ChannelRefused)
                        .target(kind)
                        .message(&*reason),
                )
                .await;
        }
        reply.reject(prohibited(&reason)).await;
        Ok(())
    }
}

impl Outer {
    /// To a host with an agent: the user's SSH ends there, and this node passes on what it cannot read.
    async fn to_agent(
        &self,
        who: Who,
        record: Record<HostSpec>,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        place: ChannelPlace,
        outer: Handle,
    ) -> Result<(), Error> {
        let Some(tunnels) = self.node.tunnels() else {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        let connection = uuid::Uuid::new_v4().simple().to_string();
        let pass = match tunnels.pass(&who, &record, &connection) {
            Ok(pass) => pass,
            Err(refused) => {
                let port = 22;
                refuse_host(&self.node, &who, record.metadata.name.as_str(), port, &refused).await;
                reply.reject(prohibited(&refused.to_string())).await;
                return Ok(());
            }
        };
        let (egress, stop) = (Arc::clone(&self.egress), self.stop.clone());
        let channels = Arc::clone(&self.channels);
        let back = way_back(&pass, record.metadata.name.as_str());
        self.node.tasks.spawn(async move {
            match tunnels.open_for(&who, &record, pass, true).await {
                Ok(agent) => {
                    reply.accept().await;
                    let mut client = ChannelIo::new(channel, egress);
                    let lost = tokio::select! {
                        ended = splice(&mut client, agent) => ended == Spliced::Lost,
                        _ = stop.stopped() => true,
                    };
                    // A node that stops closes its tunnels as well, and what ends first is chance.
                    let why = match (lost, stop.reason().is_some() || tunnels.stopping()) {
                        (false, _) => None,
                        (true, true) => Some("this node is stopping".to_owned()),
                        (true, false) => Some(format!("the agent of {} was lost", record.metadata.name)),
                    };
                    // The user's SSH does not end here, so only the end of this connection can carry a word that
                    // they see, and it has to come before the end of the channel.
                    if let Some(why) = why
                        && channels.load(Ordering::Relaxed) == 1
                    {
                        let _ = outer
                            .disconnect(Disconnect::ByApplication, format!("{why}: {back}"), "en".into())
                            .await;
                    }
                    drop(client);
                }
                Err(why) => reply.reject(prohibited(&why.to_string())).await,
            }
            drop(place);
        });
        Ok(())
    }
}

/// How somebody comes back to a host with an agent after plain `ssh -J` lost it. The login that they used is for the
/// agent's eyes alone; where they have only one it is that.
fn way_back(pass: &Pass, host: &str) -> String {
    let login = match pass.logins() {
        [only] => only.login.as_str(),
        _ => "LOGIN",
    };
    format!("come back with `pal ssh {login}@{host}`")
}

/// A refusal whose reason the user reads.
pub(crate) fn prohibited(reason: &str) -> ChannelOpenFailure {
    // Code 1 is "administratively prohibited"; the library has no other way to give a text of our own.
    ChannelOpenFailure::Other {
        code: 1,
        reason: reason.to_owned(),
    }
}

/// Holds a place among a connection's channels.
pub(crate) struct ChannelPlace(Arc<AtomicUsize>);

impl ChannelPlace {
    pub(crate) fn take(count: &Arc<AtomicUsize>) -> Option<Self> {
        let taken = count.fetch_add(1, Ordering::Relaxed);
        let place = ChannelPlace(Arc::clone(count));
        (taken < MAX_CHANNELS).then_some(place)
    }
}

impl Drop for ChannelPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Handler for Outer {
    type Error = Error;

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Error> {
        self.who = self.door.knock(certificate, user).await;
        Ok(if self.who.is_some() {
            Auth::Accept
        } else {
            Auth::reject()
        })
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        origin: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        let Some(who) = self.who.clone() else {
            return Ok(());
        };
        let Some(place) = ChannelPlace::take(&self.channels) else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let record = match self.node.find_host(&who, host, port) {
            Ok(record) => record,
            Err(refused) => {
                refuse_host(&self.node, &who, host, port, &refused).await;
                reply.reject(prohibited(&refused.to_string())).await;
                return Ok(());
            }
        };
        let site = match self.node.site(&record.spec) {
            Ok(site) => site,
            Err(refused) => {
                reply.reject(prohibited(&refused.to_string())).await;
                return Ok(());
            }
        };
        if site == RecordingSite::Node {
            if origin == WAY_ORIGIN {
                let why = "this host is reached over the nodes' HTTPS port, and that does not answer you";
                reply.reject(prohibited(why)).await;
                return Ok(());
            }
            let outer = session.handle();
            return self.to_agent(who, record, channel, reply, place, outer).await;
        }
        if origin == WAY_ORIGIN {
            if self.channels.load(Ordering::Relaxed) > 1 {
                reply
                    .reject(prohibited("this connection carries channels already"))
                    .await;
                return Ok(());
            }
            *self.way.lock() = Some((who, record));
            // The end of the session is the answer; the next byte is the host's.
            self.egress.hand_over();
            return session.disconnect(Disconnect::ByApplication, WAY_OPEN, "");
        }
        reply.accept().await;
        let (node, stop) = (Arc::clone(&self.node), self.stop.clone());
        let stream = ChannelIo::new(channel, Arc::clone(&self.egress));
        self.node.tasks.spawn(async move {
            inner::serve(node, who, record, stream, stop).await;
            drop(place);
        });
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse("a shell", reply).await
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse("X11", reply).await
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
        self.refuse("a forwarded connection", reply).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse("a socket", reply).await
    }
}

async fn refuse_host(node: &Node, who: &Who, host: &str, port: u32, refused: &Refused) {
    let shown: String = host
        .chars()
        .take(128)
        .collect::<String>()
        .escape_debug()
        .to_string();
    let event = who
        .event(EventKind::SessionRefused)
        .host(format!("{shown}:{port}"))
        .message(refused.to_string());
    node.audit_refusal(who, event).await;
}
