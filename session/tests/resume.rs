//! The resumable stream between a client and an agent, over links that die in every way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use aws_lc_rs::digest;
use palisade_session::resume::{
    Accepted, Acceptor, Config, Dial, DialError, Error, Event, Id, Link, Refusal, ResumeStream, connect,
};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};

/// A network between one client and one agent, and what it does to the links.
#[derive(Clone)]
struct Net {
    agent: Acceptor<&'static str>,
    streams: mpsc::Sender<ResumeStream>,
    refused: Arc<Mutex<Vec<Error>>>,
    /// Raised to kill every link; lowered bits of it are of no meaning.
    kill: watch::Sender<u64>,
    /// While set, links carry nothing and do not say so.
    silent: watch::Sender<bool>,
    down: Arc<Mutex<Option<&'static str>>>,
    dials: Arc<AtomicU32>,
    /// Links that the agent has taken.
    taken: Arc<AtomicU32>,
    user: &'static str,
    /// What the client said on each link.
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    /// How many bytes of the answer the first links let through.
    answer: Arc<AtomicUsize>,
}

impl Net {
    fn new(config: Config) -> (Self, mpsc::Receiver<ResumeStream>) {
        let (streams, incoming) = mpsc::channel(16);
        let net = Net {
            agent: Acceptor::new(config, 100, None),
            streams,
            refused: Arc::default(),
            kill: watch::channel(0).0,
            silent: watch::channel(false).0,
            down: Arc::default(),
            dials: Arc::default(),
            taken: Arc::default(),
            user: "alice",
            heard: Arc::default(),
            answer: Arc::new(AtomicUsize::new(usize::MAX)),
        };
        (net, incoming)
    }

    fn kill(&self) {
        self.kill.send_modify(|n| *n += 1);
    }

    /// Hands a link to the agent.
    fn serve(&self, link: impl Link, user: &'static str) -> tokio::task::JoinHandle<()> {
        let net = self.clone();
        tokio::spawn(async move {
            let accepted = net.agent.accept(Box::new(link), user, |a, b| a == b).await;
            if accepted.is_ok() {
                net.taken.fetch_add(1, Ordering::SeqCst);
            }
            match accepted {
                Ok(Accepted::New { stream, .. }) => net.streams.send(stream).await.unwrap(),
                Ok(Accepted::Resumed { .. }) => {}
                Err(refused) => net.refused.lock().unwrap().push(refused.error),
            }
        })
    }

    /// A link that the next kill reaches, whoever has run by then.
    fn link(&self) -> DuplexStream {
        let mut kill = self.kill.subscribe();
        let (client, near) = duplex(64 << 10);
        let (far, agent) = duplex(64 << 10);
        self.serve(agent, self.user);
        let number = {
            let mut heard = self.heard.lock().unwrap();
            heard.push(Vec::new());
            heard.len() - 1
        };
        let net = self.clone();
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(far);
        tokio::spawn(async move {
            let up = pump(near_read, far_write, &net, usize::MAX, Some(number));
            let answer = net.answer.load(Ordering::SeqCst);
            let down = pump(far_read, near_write, &net, answer, None);
            tokio::select! {
                _ = kill.changed() => {}
                () = async { tokio::join!(up, down); } => {}
            }
        });
        client
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    net: &Net,
    most: usize,
    record: Option<usize>,
) {
    let mut silent = net.silent.subscribe();
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        silent.wait_for(|silent| !silent).await.unwrap();
        if let Some(number) = record {
            let mut heard = net.heard.lock().unwrap();
            if heard[number].len() < 4096 {
                heard[number].extend_from_slice(&buffer[..count]);
            }
        }
        let count = count.min(most - passed);
        passed += count;
        if to.write_all(&buffer[..count]).await.is_err() || passed == most {
            break;
        }
    }
    let _ = to.shutdown().await;
}

struct Dialler(Net);

impl Dial for Dialler {
    async fn dial(&mut self, _: u32) -> Result<Box<dyn Link>, DialError> {
        self.0.dials.fetch_add(1, Ordering::SeqCst);
        if let Some(reason) = *self.0.down.lock().unwrap() {
            return Err(match reason.strip_prefix("never: ") {
                Some(reason) => DialError::Never(reason.to_owned()),
                None => io::Error::other(reason).into(),
            });
        }
        Ok(Box::new(self.0.link()))
    }
}

async fn pair(config: Config) -> (Net, ResumeStream, ResumeStream) {
    let (net, mut incoming) = Net::new(config);
    let client = connect(Dialler(net.clone()), config, None).await.unwrap();
    let agent = incoming.recv().await.unwrap();
    (net, client, agent)
}

/// Both directions carry.
async fn works(client: &mut ResumeStream, agent: &mut ResumeStream) {
    let mut buffer = [0; 5];
    client.write_all(b"there").await.unwrap();
    agent.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"there");
    agent.write_all(b"again").await.unwrap();
    client.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"again");
}

/// Bytes that do not repeat, and their hash as they are made.
struct Source {
    state: u64,
    hash: digest::Context,
}

impl Source {
    fn new(seed: u64) -> Self {
        Source {
            state: seed,
            hash: digest::Context::new(&digest::SHA256),
        }
    }

    fn next(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            self.state = self
                .state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&self.state.to_be_bytes());
        }
        bytes.truncate(len);
        self.hash.update(&bytes);
        bytes
    }
}

async fn send(mut to: impl AsyncWriteExt + Unpin, seed: u64, total: usize) -> Vec<u8> {
    let mut source = Source::new(seed);
    let mut left = total;
    while left > 0 {
        let bytes = source.next(left.min(50_000));
        left -= bytes.len();
        to.write_all(&bytes).await.unwrap();
    }
    to.shutdown().await.unwrap();
    source.hash.finish().as_ref().to_vec()
}

async fn receive(mut from: impl AsyncReadExt + Unpin, count: &AtomicUsize) -> Vec<u8> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = from.read(&mut buffer).await.unwrap();
        if n == 0 {
            return hash.finish().as_ref().to_vec();
        }
        count.fetch_add(n, Ordering::SeqCst);
        hash.update(&buffer[..n]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_are_identical_across_fifty_dead_links() {
    const DOWN: usize = 90_000_000;
    const UP: usize = 10_000_000;
    const KILLS: usize = 50;
    let (net, client, agent) = pair(Config::default()).await;
    let (client_read, client_write) = tokio::io::split(client);
    let (agent_read, agent_write) = tokio::io::split(agent);
    let count = Arc::new(AtomicUsize::new(0));
    let killer = {
        let (net, count) = (net.clone(), Arc::clone(&count));
        tokio::spawn(async move {
            for kill in 1..=KILLS {
                // Spread over the transfer, each in the middle of it, and each of another link: one that is in use.
                // A kill of one that is only dialled would hit nothing, and there would never be so many.
                let from = (UP + DOWN) / (KILLS + 1) * kill;
                until(|| {
                    count.load(Ordering::SeqCst) >= from && net.taken.load(Ordering::SeqCst) as usize >= kill
                })
                .await;
                net.kill();
            }
        })
    };
    let up = tokio::spawn(send(client_write, 1, UP));
    let down = tokio::spawn(send(agent_write, 2, DOWN));
    let at_agent = {
        let count = Arc::clone(&count);
        tokio::spawn(async move { receive(agent_read, &count).await })
    };
    let at_client = receive(client_read, &count).await;
    assert_eq!(at_client, down.await.unwrap());
    assert_eq!(at_agent.await.unwrap(), up.await.unwrap());
    assert_eq!(count.load(Ordering::SeqCst), UP + DOWN);
    killer.await.unwrap();
    assert!(net.dials.load(Ordering::SeqCst) as usize >= KILLS);
    assert_eq!(*net.refused.lock().unwrap(), []);
}

#[tokio::test]
async fn a_silent_link_is_replaced_within_two_seconds_of_writing() {
    let (net, mut client, mut agent) = pair(Config::default()).await;
    works(&mut client, &mut agent).await;
    // What is on its way now is never delivered, and nobody is told.
    net.silent.send_replace(true);
    let begun = Instant::now();
    client.write_all(b"x").await.unwrap();
    let dials = net.dials.load(Ordering::SeqCst);
    while net.dials.load(Ordering::SeqCst) == dials {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    net.kill();
    net.silent.send_replace(false);
    let mut one = [0; 1];
    agent.read_exact(&mut one).await.unwrap();
    works(&mut client, &mut agent).await;
}

#[tokio::test]
async fn a_link_that_still_seems_to_live_is_replaced_by_a_valid_resumption() {
    let (net, mut client, mut agent) = pair(Config::default()).await;
    works(&mut client, &mut agent).await;
    // The client's end of the link is gone; the agent's hangs in the network.
    net.silent.send_replace(true);
    client.write_all(b"there").await.unwrap();
    while net.dials.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    net.silent.send_replace(false);
    let mut buffer = [0; 5];
    agent.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"there");
    works(&mut client, &mut agent).await;
    assert_eq!(net.agent.len(), 1);
}

#[tokio::test]
async fn an_attempt_by_a_stranger_is_refused_and_named_and_the_session_goes_on() {
    let (net, mut client, mut agent) = pair(Config::default()).await;
    works(&mut client, &mut agent).await;
    net.kill();
    works(&mut client, &mut agent).await;

    let heard = net.heard.lock().unwrap().clone();
    let resumption = &heard[1][..5 + 66];
    let mut altered = resumption.to_vec();
    altered[5 + 18 + 7] ^= 0x40;
    let mut unknown = resumption.to_vec();
    unknown[5 + 2] ^= 1;
    let mut other_version = resumption.to_vec();
    other_version[5] = 9;
    let cases: [(&[u8], Option<Refusal>, &str); 8] = [
        // What a node on the way could replay, alter or guess.
        (
            resumption,
            Some(Refusal::Denied),
            "the attempt to resume was replayed",
        ),
        (
            &heard[0][..5 + 54],
            Some(Refusal::Denied),
            "a connection with this id lives already",
        ),
        (
            &altered,
            Some(Refusal::Denied),
            "the token does not prove the connection",
        ),
        (&unknown, Some(Refusal::Unknown), "no such connection"),
        (
            &other_version,
            Some(Refusal::Protocol),
            "version 9 of the resumable stream is not known here",
        ),
        (b"SSH-2.0-scanner\r\n", None, "frame of unknown type 83"),
        (&[4, 0, 1, 0, 9], None, "frame of type 4 with 65545 bytes"),
        (
            &[5, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
            Some(Refusal::Denied),
            "a frame before the greeting where none belongs",
        ),
    ];
    for (greeting, answer, named) in cases {
        let (mut stranger, link) = duplex(4096);
        stranger.write_all(greeting).await.unwrap();
        net.serve(link, "alice").await.unwrap();
        let mut said = Vec::new();
        stranger.read_to_end(&mut said).await.unwrap();
        let expected = answer.map_or(Vec::new(), |refusal| vec![3, 0, 0, 0, 1, refusal as u8]);
        assert_eq!(said, expected, "{named}");
        let error = net.refused.lock().unwrap().pop().unwrap();
        assert_eq!(error.to_string(), named);
        works(&mut client, &mut agent).await;
    }
    assert_eq!(net.dials.load(Ordering::SeqCst), 2, "the link was never touched");
}

#[tokio::test]
async fn a_valid_token_on_a_link_of_another_user_is_refused() {
    let (mut net, mut incoming) = Net::new(Config::default());
    let mut client = connect(Dialler(net.clone()), Config::default(), None)
        .await
        .unwrap();
    let mut agent = incoming.recv().await.unwrap();
    works(&mut client, &mut agent).await;
    drop(client);

    net.user = "alice";
    let mut client = connect(
        Dialler(Net {
            user: "mallory",
            ..net.clone()
        }),
        Config::default(),
        None,
    )
    .await
    .unwrap();
    let mut agent = incoming.recv().await.unwrap();
    works(&mut client, &mut agent).await;
    // From now on the links of this client carry someone else's pass.
    struct Turncoat(Net, bool);
    impl Dial for Turncoat {
        async fn dial(&mut self, _: u32) -> Result<Box<dyn Link>, DialError> {
            self.0.user = if self.1 { "alice" } else { "mallory" };
            self.1 = false;
            Ok(Box::new(self.0.link()))
        }
    }
    let mut stolen = connect(Turncoat(net.clone(), true), Config::default(), None)
        .await
        .unwrap();
    let mut victim = incoming.recv().await.unwrap();
    works(&mut stolen, &mut victim).await;
    net.kill();
    let error = stolen.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(*net.refused.lock().unwrap(), [Error::Owner]);
    assert!(victim.read_u8().now_or_never_is_pending().await);
}

trait Pending {
    async fn now_or_never_is_pending(self) -> bool;
}

impl<F: Future> Pending for F {
    async fn now_or_never_is_pending(self) -> bool {
        tokio::time::timeout(Duration::from_millis(20), self)
            .await
            .is_err()
    }
}

#[tokio::test]
async fn reads_fail_with_the_cause_when_the_grace_is_over() {
    let config = Config {
        grace: Duration::from_millis(300),
        ..Config::default()
    };
    let (net, mut client, mut agent) = pair(config).await;
    works(&mut client, &mut agent).await;
    *net.down.lock().unwrap() = Some("no route to any node");
    let begun = Instant::now();
    net.kill();
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("grace"), "{error}");
    assert!(error.to_string().contains("no route to any node"), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let error = agent.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(client.write_all(b"x").await.is_err());
    until(|| net.agent.is_empty()).await;
}

async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never came true");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_dialler_that_is_refused_access_ends_the_connection_at_once() {
    let (net, mut client, mut agent) = pair(Config::default()).await;
    works(&mut client, &mut agent).await;
    *net.down.lock().unwrap() = Some("never: alice is locked");
    net.kill();
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("alice is locked"), "{error}");
}

#[tokio::test]
async fn a_client_whose_first_link_dies_during_the_greeting_begins_anew_and_nothing_is_read_twice() {
    let (net, mut incoming) = Net::new(Config::default());
    // The agent's welcome is cut off after 10 bytes.
    net.answer.store(10, Ordering::SeqCst);
    let mut client = connect(Dialler(net.clone()), Config::default(), None)
        .await
        .unwrap();
    client.write_all(b"there").await.unwrap();
    let mut orphan = incoming.recv().await.unwrap();
    net.answer.store(usize::MAX, Ordering::SeqCst);
    net.kill();
    let mut agent = incoming.recv().await.unwrap();
    let mut buffer = [0; 5];
    agent.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"there");
    assert!(orphan.read_u8().now_or_never_is_pending().await);
    works(&mut client, &mut agent).await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_still_delivers_and_leaves_nothing_behind() {
    let (net, mut client, mut agent) = pair(Config::default()).await;
    client.write_all(&[7; 300_000]).await.unwrap();
    net.kill();
    drop(client);
    let mut all = Vec::new();
    agent.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), 300_000);
    drop(agent);
    until(|| net.agent.is_empty()).await;
}

#[tokio::test]
async fn half_close_carries_the_other_direction_and_drained_waits_for_the_reader() {
    let (net, mut client, mut agent) = pair(Config::default()).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert!(client.write_all(b"x").await.is_err());
    assert!(client.drained().now_or_never_is_pending().await);
    let mut all = Vec::new();
    agent.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"question");
    client.drained().await.unwrap();
    net.kill();
    agent.write_all(b"answer").await.unwrap();
    agent.shutdown().await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"answer");
    agent.drained().await.unwrap();
}

#[tokio::test]
async fn a_reset_fails_the_other_end() {
    let (_net, client, mut agent) = pair(Config::default()).await;
    until(|| client.is_linked()).await;
    client.reset();
    let error = agent.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn more_connections_than_stated_are_refused_and_the_others_stay() {
    let (mut net, mut incoming) = Net::new(Config::default());
    net.agent = Acceptor::new(Config::default(), 2, None);
    let mut first = Vec::new();
    for _ in 0..2 {
        let client = connect(Dialler(net.clone()), Config::default(), None)
            .await
            .unwrap();
        first.push((client, incoming.recv().await.unwrap()));
    }
    let mut third = connect(Dialler(net.clone()), Config::default(), None)
        .await
        .unwrap();
    let error = third.read_u8().await.unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    assert_eq!(*net.refused.lock().unwrap(), [Error::Full]);
    for (client, agent) in &mut first {
        works(client, agent).await;
    }
}

#[tokio::test]
async fn a_reader_that_stalls_keeps_its_link_and_the_writer_waits() {
    let (net, mut client, mut agent) = pair(Config::default()).await;
    works(&mut client, &mut agent).await;
    let mut sent = 0;
    let chunk = [1; 65536];
    while let Ok(n) = tokio::time::timeout(Duration::from_millis(300), client.write(&chunk)).await {
        sent += n.unwrap();
    }
    assert_eq!(sent, 2 << 20, "one buffer, and then it waits");
    // Longer than a dead link would be suffered.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(net.dials.load(Ordering::SeqCst), 1);
    let mut all = vec![0; sent];
    agent.read_exact(&mut all).await.unwrap();
    works(&mut client, &mut agent).await;
}

#[tokio::test]
async fn whoever_watches_is_told_what_happens_to_the_links() {
    let config = Config::default();
    let (net, mut incoming) = Net::new(config);
    let events: Arc<Mutex<Vec<(Id, Event)>>> = Arc::default();
    let observer = {
        let events = Arc::clone(&events);
        Arc::new(move |id, event| events.lock().unwrap().push((id, event)))
    };
    let mut client = connect(Dialler(net.clone()), config, Some(observer))
        .await
        .unwrap();
    let mut agent = incoming.recv().await.unwrap();
    works(&mut client, &mut agent).await;
    net.kill();
    works(&mut client, &mut agent).await;
    let id = client.id();
    assert_eq!(id, agent.id());
    drop(client);
    drop(agent);
    until(|| events.lock().unwrap().len() >= 3).await;
    assert_eq!(
        *events.lock().unwrap(),
        [
            (id, Event::Lost(Error::LinkEnded)),
            (id, Event::Resumed),
            (id, Event::Ended)
        ]
    );
}
