use super::*;
use proptest::prelude::*;

/// The byte at an offset of a direction: a byte that is lost, doubled or moved shows.
fn byte(salt: u8, at: u64) -> u8 {
    (at ^ (at >> 7) ^ (at >> 15)) as u8 ^ salt
}

const TO_AGENT: u8 = 0x5a;
const TO_CLIENT: u8 = 0xc3;

#[derive(Default)]
struct Reader {
    read: u64,
    ended: bool,
}

impl Reader {
    fn read(&mut self, machine: &mut Machine, most: usize, salt: u8, now: Instant) -> usize {
        let mut total = 0;
        while total < most && machine.readable() == Readable::Data {
            let front = machine.front();
            let count = front.len().min(most - total);
            for (n, got) in front[..count].iter().enumerate() {
                assert_eq!(*got, byte(salt, self.read + n as u64), "at {}", self.read);
            }
            self.read += count as u64;
            total += count;
            machine.consume(count);
            machine.consumed(now);
        }
        self.ended |= machine.readable() == Readable::End;
        total
    }
}

fn write(machine: &mut Machine, written: &mut u64, count: usize, salt: u8) {
    let bytes: Vec<u8> = (0..count as u64).map(|n| byte(salt, *written + n)).collect();
    *written += machine.write(&bytes) as u64;
}

/// Two ends, and a link that loses whatever it is told to.
struct World {
    config: Config,
    now: Instant,
    client: Machine,
    agent: Option<Machine>,
    up: bool,
    /// Bytes on their way, and bytes that arrived and are not yet a frame.
    to_agent: BytesMut,
    to_client: BytesMut,
    at_agent: BytesMut,
    at_client: BytesMut,
    greeted: bool,
    hellos: Vec<Hello>,
    client_wrote: u64,
    agent_wrote: u64,
    at_client_reader: Reader,
    at_agent_reader: Reader,
    next_id: u8,
}

fn config() -> Config {
    Config {
        buffer: MIN_WINDOW,
        ack_bytes: 8 << 10,
        ..Config::default()
    }
}

impl World {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        World {
            config,
            now,
            client: Machine::client(config, Id([0; 16]), Ephemeral::random().unwrap(), now),
            agent: None,
            up: false,
            to_agent: BytesMut::new(),
            to_client: BytesMut::new(),
            at_agent: BytesMut::new(),
            at_client: BytesMut::new(),
            greeted: false,
            hellos: Vec::new(),
            client_wrote: 0,
            agent_wrote: 0,
            at_client_reader: Reader::default(),
            at_agent_reader: Reader::default(),
            next_id: 0,
        }
    }

    fn cut(&mut self) {
        self.up = false;
        for buffer in [
            &mut self.to_agent,
            &mut self.to_client,
            &mut self.at_agent,
            &mut self.at_client,
        ] {
            buffer.clear();
        }
        self.client.lost(self.now);
        if let Some(agent) = &mut self.agent {
            agent.lost(self.now);
        }
    }

    fn connect(&mut self) {
        self.cut();
        if self.client.wants_restart() {
            self.next_id += 1;
            self.client
                .restart(Id([self.next_id; 16]), Ephemeral::random().unwrap());
        }
        self.client.connect(self.now);
        self.up = true;
        self.greeted = false;
    }

    fn transmit(&mut self) {
        let mut batch = Batch::default();
        self.client.transmit(&mut batch, self.now);
        self.to_agent.extend_from_slice(&batch.gather());
        if let Some(agent) = &mut self.agent
            && self.greeted
        {
            let mut batch = Batch::default();
            agent.transmit(&mut batch, self.now);
            self.to_client.extend_from_slice(&batch.gather());
        }
        if !self.up {
            self.to_agent.clear();
            self.to_client.clear();
        }
    }

    fn deliver(&mut self, to_agent: usize, to_client: usize) {
        self.transmit();
        let count = to_agent.min(self.to_agent.len());
        let arrived = self.to_agent.split_to(count);
        self.at_agent.extend_from_slice(&arrived);
        if !self.greeted
            && let Some(frame) = decode(&mut self.at_agent).unwrap()
        {
            let Frame::Hello(hello) = frame else {
                panic!("{frame:?}")
            };
            self.hello(&hello);
        }
        if self.greeted
            && let Some(agent) = &mut self.agent
        {
            if count > 0 {
                agent.heard(self.now);
            }
            agent.handle(&mut self.at_agent, self.now).unwrap();
        }
        let count = to_client.min(self.to_client.len());
        let arrived = self.to_client.split_to(count);
        self.at_client.extend_from_slice(&arrived);
        if count > 0 {
            self.client.heard(self.now);
        }
        self.client.handle(&mut self.at_client, self.now).unwrap();
    }

    fn hello(&mut self, hello: &Hello) {
        self.hellos.push(hello.clone());
        self.greeted = true;
        match (hello, &mut self.agent) {
            (Hello::Resume { .. }, Some(agent)) => agent.resume(hello, self.now).unwrap(),
            (Hello::Resume { .. }, None) => panic!("resumes what never began"),
            (Hello::New { .. }, old) => {
                // The client began again: whoever has the older one must not have read anything.
                assert_eq!(self.at_agent_reader.read, 0);
                self.agent_wrote = 0;
                *old =
                    Some(Machine::agent(self.config, hello, Ephemeral::random().unwrap(), self.now).unwrap());
            }
        }
    }

    fn tick(&mut self, by: Duration) {
        self.now += by;
        let dead = self.client.handle_timeout(self.now).is_err();
        let dead = dead
            || self
                .agent
                .as_mut()
                .is_some_and(|agent| agent.handle_timeout(self.now).is_err());
        if dead {
            self.cut();
        }
    }

    fn settle(&mut self) {
        for _ in 0..2000 {
            if !self.up || !self.client.linked() {
                self.connect();
            }
            self.deliver(usize::MAX, usize::MAX);
            self.at_client_reader
                .read(&mut self.client, usize::MAX, TO_CLIENT, self.now);
            if let Some(agent) = &mut self.agent {
                self.at_agent_reader.read(agent, usize::MAX, TO_AGENT, self.now);
            }
            self.tick(Duration::from_millis(60));
            if self.client.complete() && self.agent.as_ref().is_some_and(Machine::complete) {
                return;
            }
        }
        panic!("never settled");
    }
}

#[derive(Debug, Clone)]
enum Step {
    ClientWrites(usize),
    AgentWrites(usize),
    ClientReads(usize),
    AgentReads(usize),
    Deliver(usize, usize),
    Cut,
    Connect,
    Tick(u64),
    OldHello(usize),
    Guess(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![0usize..40, 0usize..5000, 0usize..90_000];
    prop_oneof![
        3 => size().prop_map(Step::ClientWrites),
        3 => size().prop_map(Step::AgentWrites),
        3 => size().prop_map(Step::ClientReads),
        3 => size().prop_map(Step::AgentReads),
        8 => (size(), size()).prop_map(|(a, c)| Step::Deliver(a, c)),
        1 => Just(Step::Cut),
        2 => Just(Step::Connect),
        2 => (0u64..900).prop_map(Step::Tick),
        1 => any::<usize>().prop_map(Step::OldHello),
        1 => (0u64..20, any::<u64>()).prop_map(|(n, offset)| Step::Guess(n, offset)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_links_every_byte_is_read_once_and_in_order(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(config());
        for step in steps {
            match step {
                Step::ClientWrites(n) => {
                    write(&mut world.client, &mut world.client_wrote, n, TO_AGENT);
                }
                Step::AgentWrites(n) => {
                    if let Some(agent) = &mut world.agent {
                        write(agent, &mut world.agent_wrote, n, TO_CLIENT);
                    }
                }
                Step::ClientReads(n) => {
                    world.at_client_reader.read(&mut world.client, n, TO_CLIENT, world.now);
                }
                Step::AgentReads(n) => {
                    if let Some(agent) = &mut world.agent {
                        world.at_agent_reader.read(agent, n, TO_AGENT, world.now);
                    }
                }
                Step::Deliver(a, c) => world.deliver(a, c),
                Step::Cut => world.cut(),
                Step::Connect => world.connect(),
                Step::Tick(ms) => world.tick(Duration::from_millis(ms)),
                Step::OldHello(which) if !world.hellos.is_empty() => {
                    let hello = world.hellos[which % world.hellos.len()].clone();
                    if let Some(agent) = &mut world.agent {
                        // What was used once is good for nothing.
                        prop_assert!(agent.resume(&hello, world.now).is_err());
                    }
                }
                Step::OldHello(_) => {}
                Step::Guess(attempt, received) => {
                    if let Some(agent) = &mut world.agent {
                        let hello = Hello::Resume {
                            id: agent.id(),
                            attempt,
                            received,
                            token: [attempt as u8; 32],
                        };
                        prop_assert_eq!(agent.resume(&hello, world.now), Err(Error::Token));
                    }
                }
            }
            let bound = 2 * (MIN_WINDOW + MAX_DATA + 8192);
            prop_assert!(world.client.footprint() < bound);
        }
        prop_assert!(world.client.failure().is_none());
        world.client.finish();
        // The agent may have to begin first.
        while world.agent.is_none() || !world.client.is_open() {
            if !world.up || !world.client.linked() {
                world.connect();
            }
            world.deliver(usize::MAX, usize::MAX);
        }
        world.agent.as_mut().unwrap().finish();
        world.settle();
        prop_assert_eq!(world.at_agent_reader.read, world.client_wrote);
        prop_assert_eq!(world.at_client_reader.read, world.agent_wrote);
        prop_assert!(world.at_agent_reader.ended && world.at_client_reader.ended);
    }

    #[test]
    fn hostile_bytes_never_panic_and_never_fill_the_memory(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        cut in 0usize..2000,
    ) {
        let mut world = running();
        // Real frames, one of them altered somewhere, then noise.
        write(&mut world.client, &mut world.client_wrote, 500, TO_AGENT);
        world.transmit();
        let mut input = world.to_agent.split();
        let at = cut % input.len();
        input[at] ^= 1 + (cut as u8 & 0x7f);
        input.extend_from_slice(&bytes);
        let agent = world.agent.as_mut().unwrap();
        let _ = agent.handle(&mut input, world.now);
        prop_assert!(agent.footprint() < 2 * MIN_WINDOW);
    }
}

/// A connection that both ends know of.
fn running() -> World {
    let mut world = World::new(config());
    world.connect();
    for _ in 0..3 {
        world.deliver(usize::MAX, usize::MAX);
    }
    assert!(world.client.is_open() && world.agent.as_ref().unwrap().is_open());
    world
}

fn resume(world: &World, attempt: u64, received: u64) -> Hello {
    let secret = world.client.secret.as_ref().unwrap();
    let id = world.client.id();
    Hello::Resume {
        id,
        attempt,
        received,
        token: secret.token(Side::Client, id, attempt, received),
    }
}

fn feed(machine: &mut Machine, frame: &Frame, now: Instant) -> Result<(), Error> {
    let mut input = BytesMut::new();
    super::super::frame::encode(&mut input, frame);
    machine.handle(&mut input, now)
}

#[test]
fn an_attempt_that_is_wrong_is_named_and_harms_nothing() {
    let mut world = running();
    let now = world.now;
    let agent = world.agent.as_mut().unwrap();
    write(agent, &mut world.agent_wrote, 5000, TO_CLIENT);
    world.deliver(usize::MAX, usize::MAX);
    world
        .at_client_reader
        .read(&mut world.client, 3000, TO_CLIENT, now);
    world.tick(Duration::from_millis(60));
    world.deliver(usize::MAX, usize::MAX);
    world.deliver(usize::MAX, usize::MAX);

    let mut wrong_token = resume(&world, 5, 5000);
    if let Hello::Resume { token, .. } = &mut wrong_token {
        token[31] ^= 1;
    }
    let mut other_offset = resume(&world, 5, 5000);
    if let Hello::Resume { received, .. } = &mut other_offset {
        *received = 4000;
    }
    let mut other_attempt = resume(&world, 5, 5000);
    if let Hello::Resume { attempt, .. } = &mut other_attempt {
        *attempt = 6;
    }
    let mut other_id = resume(&world, 5, 5000);
    if let Hello::Resume { id, .. } = &mut other_id {
        *id = Id([9; 16]);
    }
    let cases = [
        (wrong_token, Error::Token),
        (other_offset, Error::Token),
        (other_attempt, Error::Token),
        (other_id, Error::Token),
        (resume(&world, 0, 5000), Error::AttemptReplayed),
        (resume(&world, 5, 5001), Error::OffsetFuture),
        (resume(&world, 5, u64::MAX), Error::OffsetFuture),
        (resume(&world, 5, 2999), Error::OffsetPast),
        (world.hellos[0].clone(), Error::Unexpected("a new connection")),
    ];
    let agent = world.agent.as_mut().unwrap();
    for (hello, error) in cases {
        assert_eq!(agent.resume(&hello, now), Err(error), "{hello:?}");
    }
    // The link that was there goes on, and so does the connection.
    assert!(agent.is_open());
    write(agent, &mut world.agent_wrote, 5000, TO_CLIENT);
    write(&mut world.client, &mut world.client_wrote, 70_000, TO_AGENT);
    world.client.finish();
    world.agent.as_mut().unwrap().finish();
    world.settle();
    assert_eq!(world.at_client_reader.read, 10_000);
    assert_eq!(world.at_agent_reader.read, world.client_wrote);
}

#[test]
fn a_right_attempt_counts_once() {
    let mut world = running();
    let hello = resume(&world, 7, 0);
    let agent = world.agent.as_mut().unwrap();
    agent.resume(&hello, world.now).unwrap();
    assert_eq!(agent.resume(&hello, world.now), Err(Error::AttemptReplayed));
    let older = resume(&world, 6, 0);
    let agent = world.agent.as_mut().unwrap();
    assert_eq!(agent.resume(&older, world.now), Err(Error::AttemptReplayed));
}

#[test]
fn a_client_does_not_go_on_with_an_agent_that_does_not_prove_itself() {
    let mut world = running();
    world.connect();
    let mut batch = Batch::default();
    world.client.transmit(&mut batch, world.now);
    let welcome = |token| Frame::Welcome(Welcome::Resume { received: 0, token });
    let secret = world.client.secret.as_ref().unwrap();
    let (id, attempt) = (world.client.id(), world.client.attempt);
    let mirrored = welcome(secret.token(Side::Client, id, attempt, 0));
    let stale = welcome(secret.token(Side::Agent, id, attempt - 1, 0));
    let right = welcome(secret.token(Side::Agent, id, attempt, 0));
    assert_eq!(feed(&mut world.client, &mirrored, world.now), Err(Error::Token));
    assert_eq!(feed(&mut world.client, &stale, world.now), Err(Error::Token));
    assert_eq!(feed(&mut world.client, &right, world.now), Ok(()));
}

#[test]
fn frames_that_do_not_fit_are_named() {
    let data = |offset, n: usize| Frame::Data {
        offset,
        bytes: vec![byte(TO_AGENT, 0); n].into(),
    };
    let case = |frames: &[Frame], error: Error| {
        let mut world = running();
        write(
            world.agent.as_mut().unwrap(),
            &mut world.agent_wrote,
            1000,
            TO_CLIENT,
        );
        world.deliver(usize::MAX, usize::MAX);
        let agent = world.agent.as_mut().unwrap();
        let (last, before) = frames.split_last().unwrap();
        for frame in before {
            feed(agent, frame, world.now).unwrap();
        }
        assert_eq!(feed(agent, last, world.now), Err(error), "{frames:?}");
        // The connection itself goes on, over another link.
        agent.lost(world.now);
        assert_eq!(agent.failure(), None);
    };
    case(&[data(0, 10), data(0, 10)], Error::DataReplayed);
    case(&[data(0, 10), data(9, 10)], Error::DataReplayed);
    case(&[data(0, 10), data(11, 10)], Error::DataMissing);
    case(&[data(u64::MAX, 10)], Error::DataMissing);
    case(&[data(0, MAX_DATA), data(MAX_DATA as u64, 1)], Error::Window);
    case(&[data(0, 10), Frame::Fin(10), data(10, 1)], Error::AfterEnd);
    case(&[data(0, 10), Frame::Fin(9)], Error::AfterEnd);
    case(&[Frame::Fin(u64::MAX)], Error::AfterEnd);
    case(&[Frame::Ack(1001)], Error::AckFuture);
    case(&[Frame::Ack(u64::MAX)], Error::AckFuture);
    case(&[Frame::Ack(500), Frame::Ack(499)], Error::AckPast);
    case(
        &[Frame::Refuse(Refusal::Unknown)],
        Error::Unexpected("a second greeting"),
    );
}

#[test]
fn writing_waits_for_a_peer_that_does_not_acknowledge_and_memory_is_bounded() {
    let mut world = World::new(Config::default());
    world.connect();
    let mut taken = 0;
    let bytes = vec![7u8; 100_000];
    for round in 0..10_000 {
        taken += world.client.write(&bytes[..1 + round * 7 % bytes.len()]);
        world.transmit();
        world.to_agent.clear();
    }
    assert_eq!(taken, 2 << 20);
    assert_eq!(world.client.room(), 0);
    assert!(world.client.footprint() < (2 << 20) + (128 << 10));
}

#[test]
fn an_idle_end_owns_no_buffers() {
    let mut world = running();
    write(&mut world.client, &mut world.client_wrote, 60_000, TO_AGENT);
    for _ in 0..3 {
        world.deliver(usize::MAX, usize::MAX);
        let agent = world.agent.as_mut().unwrap();
        world.at_agent_reader.read(agent, usize::MAX, TO_AGENT, world.now);
        world.tick(Duration::from_millis(60));
    }
    world.deliver(usize::MAX, usize::MAX);
    assert_eq!(world.at_agent_reader.read, 60_000);
    assert_eq!(world.client.footprint(), 0);
    assert_eq!(world.agent.as_ref().unwrap().footprint(), 0);
    assert!(size_of::<Machine>() < 1024, "{}", size_of::<Machine>());
}

/// How long it takes until an end calls its link dead, driven by its own timeouts and nothing else.
fn death(machine: &mut Machine, from: Instant) -> Duration {
    let mut now = from;
    loop {
        let mut batch = Batch::default();
        machine.transmit(&mut batch, now);
        now = now.max(machine.timeout(now).unwrap());
        if machine.handle_timeout(now) == Err(Error::Silent) {
            return now - from;
        }
    }
}

#[test]
fn a_dead_link_is_noticed_in_two_seconds_while_something_is_under_way() {
    // Recent traffic.
    let mut world = running();
    assert!(death(&mut world.client, world.now) < Duration::from_secs(2));
    let mut agent = running().agent.unwrap();
    assert!(death(&mut agent, world.now) < Duration::from_millis(2500));

    // Quiet for long, then something is written.
    let mut world = running();
    for _ in 0..1000 {
        world.tick(Duration::from_millis(100));
        world.deliver(usize::MAX, usize::MAX);
    }
    assert!(world.client.is_open(), "an idle link lives");
    write(&mut world.client, &mut world.client_wrote, 1, TO_AGENT);
    let noticed = death(&mut world.client, world.now);
    assert!(noticed < Duration::from_secs(2), "{noticed:?}");

    // Nothing under way: it takes longer, but is noticed.
    let mut world = running();
    for _ in 0..1000 {
        world.tick(Duration::from_millis(100));
        world.deliver(usize::MAX, usize::MAX);
    }
    let noticed = death(&mut world.client, world.now);
    assert!(noticed < Duration::from_secs(8), "{noticed:?}");
}

#[test]
fn an_idle_link_carries_one_question_and_one_answer_in_five_seconds() {
    let mut world = running();
    let mut bytes = 0;
    for tick in 0..1200 {
        world.tick(Duration::from_millis(50));
        world.transmit();
        // The first seconds after traffic ask more often.
        if tick >= 200 {
            bytes += world.to_agent.len() + world.to_client.len();
        }
        world.deliver(usize::MAX, usize::MAX);
    }
    // 50 seconds, 10 pings and 10 pongs of 13 bytes.
    assert!((200..=300).contains(&bytes), "{bytes}");
}

#[test]
fn a_process_that_was_stopped_asks_before_it_calls_a_link_dead() {
    let mut world = running();
    world.now += Duration::from_secs(30);
    assert_eq!(world.client.handle_timeout(world.now), Ok(()));
    world.deliver(usize::MAX, usize::MAX);
    world.deliver(usize::MAX, usize::MAX);
    world.now += Duration::from_secs(4);
    assert_eq!(world.client.handle_timeout(world.now), Ok(()));
    let mut batch = Batch::default();
    world.client.transmit(&mut batch, world.now);
    assert!(batch.is_empty(), "the answer was heard");
}

#[test]
fn a_connection_without_a_link_ends_after_its_grace() {
    let mut world = running();
    world.cut();
    let almost = world.now + Duration::from_millis(59_999);
    world.client.handle_timeout(almost).unwrap();
    assert_eq!(world.client.failure(), None);
    let over = world.now + Duration::from_secs(60);
    world.client.handle_timeout(over).unwrap();
    assert_eq!(world.client.failure(), Some(Error::Grace));
    assert_eq!(world.client.timeout(over), None);
}

#[test]
fn each_direction_ends_by_itself() {
    let mut world = running();
    write(&mut world.client, &mut world.client_wrote, 10, TO_AGENT);
    world.client.finish();
    for _ in 0..3 {
        world.deliver(usize::MAX, usize::MAX);
        let agent = world.agent.as_mut().unwrap();
        world.at_agent_reader.read(agent, 100, TO_AGENT, world.now);
        world.tick(Duration::from_millis(60));
    }
    assert!(world.at_agent_reader.ended);
    assert!(world.client.drained());
    assert_eq!(world.client.readable(), Readable::Wait);
    // The other direction still carries, across another link.
    write(
        world.agent.as_mut().unwrap(),
        &mut world.agent_wrote,
        10,
        TO_CLIENT,
    );
    world.connect();
    world.agent.as_mut().unwrap().finish();
    world.settle();
    assert_eq!(world.at_client_reader.read, 10);
}

#[test]
fn a_reset_is_seen_at_the_other_end() {
    let mut world = running();
    world.client.abort(Error::Ended);
    assert!(world.client.has_last_words());
    world.deliver(usize::MAX, usize::MAX);
    assert_eq!(world.agent.as_ref().unwrap().failure(), Some(Error::Reset));
}

#[test]
fn a_link_on_which_bytes_trickle_is_not_dead() {
    let mut world = running();
    write(&mut world.client, &mut world.client_wrote, MAX_DATA, TO_AGENT);
    // 10 KB/s: the one frame takes more than six seconds.
    for _ in 0..700 {
        world.now += Duration::from_millis(10);
        world.client.handle_timeout(world.now).unwrap();
        let agent = world.agent.as_mut().unwrap();
        agent.handle_timeout(world.now).unwrap();
        world.deliver(100, usize::MAX);
        let agent = world.agent.as_mut().unwrap();
        world.at_agent_reader.read(agent, usize::MAX, TO_AGENT, world.now);
    }
    assert_eq!(world.at_agent_reader.read, MAX_DATA as u64);
}

#[test]
fn what_arrived_before_a_failure_is_read_before_the_error() {
    let mut world = running();
    write(&mut world.client, &mut world.client_wrote, 5000, TO_AGENT);
    world.client.finish();
    write(
        world.agent.as_mut().unwrap(),
        &mut world.agent_wrote,
        10,
        TO_CLIENT,
    );
    world.deliver(usize::MAX, usize::MAX);
    world.cut();
    let agent = world.agent.as_mut().unwrap();
    agent.handle_timeout(world.now + Duration::from_secs(60)).unwrap();
    assert_eq!(agent.failure(), Some(Error::Grace));
    world.at_agent_reader.read(agent, usize::MAX, TO_AGENT, world.now);
    assert_eq!(world.at_agent_reader.read, 5000);
}

#[test]
fn an_end_that_is_not_read_any_more_still_sends_what_it_has() {
    let mut world = running();
    write(&mut world.client, &mut world.client_wrote, 5000, TO_AGENT);
    write(
        world.agent.as_mut().unwrap(),
        &mut world.agent_wrote,
        60_000,
        TO_CLIENT,
    );
    world.client.finish();
    world.client.discard(world.now);
    for _ in 0..4 {
        world.deliver(usize::MAX, usize::MAX);
        let agent = world.agent.as_mut().unwrap();
        world.at_agent_reader.read(agent, usize::MAX, TO_AGENT, world.now);
        world.tick(Duration::from_millis(60));
    }
    assert_eq!(world.at_agent_reader.read, 5000);
    assert!(world.at_agent_reader.ended && world.client.drained());
    // Whoever goes on writing to it is told.
    let agent = world.agent.as_mut().unwrap();
    write(agent, &mut world.agent_wrote, 10, TO_CLIENT);
    for _ in 0..2 {
        world.deliver(usize::MAX, usize::MAX);
    }
    assert_eq!(world.agent.as_ref().unwrap().failure(), Some(Error::Reset));
}
