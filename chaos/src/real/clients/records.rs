//! Writers and readers of records: registers, compare-and-set, locks, and tokens that work once. A request whose answer
//! was lost is made again at the next node under the same id, as our own programs do; some that were answered are made
//! again as well, and must be answered the same.

use super::Shared;
use super::api::{Api, Reply, new_id};
use crate::real::history::{Answer, Ask, Op};
use crate::real::rng::Rng;
use palisade_core::api::path;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two operations of one client.
const PACE: Duration = Duration::from_millis(40);
/// Between two beats of a pulse.
const BEAT: Duration = Duration::from_millis(100);
/// How often one operation is tried.
const TRIES: usize = 4;
/// Keys of each kind that are used at a time.
const KEYS: usize = 2;
/// Operations of one client in one era: histories that are longer take long to check.
const MOST: usize = 250;

/// A token that waits to be used: the era it is of, and its text.
pub type Tokens = Mutex<Option<(usize, String)>>;

/// One client: it prefers one node and goes through the others as well.
pub struct Client<'a> {
    api: Api,
    shared: &'a Shared,
    home: usize,
    tokens: &'a Tokens,
    value: u64,
    seen: [u64; KEYS],
}

impl<'a> Client<'a> {
    /// The client with this number.
    pub fn new(api: Api, shared: &'a Shared, home: usize, tokens: &'a Tokens) -> Self {
        Client {
            api,
            shared,
            home,
            tokens,
            // Values differ between clients, so that a read tells whose write it saw.
            value: (home as u64 + 1) << 32,
            seen: [0; KEYS],
        }
    }

    /// Writes at its own node alone, without pause and without a second try: how long nobody could write is seen by it.
    pub fn beat(&mut self) {
        while self.shared.goes_on() {
            self.value += 1;
            let era = self.shared.era.load(Ordering::SeqCst);
            let key = format!("pulse-{era}-{}", self.home);
            let ask = Ask::Put(self.value);
            let (method, path, body) = request("host", &key, &ask);
            let began = self.shared.history.now();
            let answer = meant(
                &ask,
                &self.api.ask(self.home, &method, &path, body.as_ref(), &new_id()),
            );
            let ended = self.shared.history.now();
            if matches!(answer, Answer::Done(_)) {
                self.shared.history.pulse(ended);
            }
            self.shared.history.note(Op {
                key: format!("host/{key}"),
                ask,
                answer,
                began,
                ended,
                node: self.home,
            });
            self.shared.pause(BEAT);
        }
    }

    /// Works until told to stop.
    pub fn run(&mut self, rng: &mut Rng) {
        let mut era = usize::MAX;
        let mut done = 0;
        while self.shared.goes_on() {
            let now = self.shared.era.load(Ordering::SeqCst);
            if now != era {
                (era, done) = (now, 0);
                self.seen = [0; KEYS];
                self.shared.at[self.home].store(era, Ordering::SeqCst);
                if self.home == 0 {
                    self.make_token(era);
                }
            }
            if done < MOST {
                self.one(era, rng);
                done += 1;
            }
            self.shared.pause(PACE);
        }
        self.shared.at[self.home].store(usize::MAX, Ordering::SeqCst);
    }

    fn one(&mut self, era: usize, rng: &mut Rng) {
        let k = rng.below(KEYS);
        let register = format!("reg-{era}-{k}");
        match rng.below(20) {
            0..=5 => {
                self.value += 1;
                self.host(&register, Ask::Put(self.value), rng);
            }
            6..=9 if self.seen[k] != 0 => {
                self.value += 1;
                let swap = Ask::Swap {
                    at: self.seen[k],
                    to: self.value,
                };
                if let Answer::Done(at) = self.host(&register, swap, rng) {
                    self.seen[k] = at;
                }
            }
            10..=12 => self.lock(&format!("lock-{era}"), rng),
            13 => self.use_token(era, rng),
            _ => {
                if let Answer::Is { at, .. } = self.host(&register, Ask::Read, rng) {
                    self.seen[k] = at;
                }
            }
        }
    }

    fn host(&mut self, key: &str, ask: Ask, rng: &mut Rng) -> Answer {
        self.record("host", key, ask, rng)
    }

    fn lock(&mut self, key: &str, rng: &mut Rng) {
        self.value += 1;
        if let Answer::Done(at) = self.record("lock", key, Ask::Create(self.value), rng) {
            self.shared.pause(PACE);
            self.record("lock", key, Ask::Delete { at }, rng);
        }
    }

    /// One operation to its end, noted.
    fn record(&mut self, kind: &str, key: &str, ask: Ask, rng: &mut Rng) -> Answer {
        let (method, path, body) = request(kind, key, &ask);
        let id = new_id();
        let mut node = match rng.below(3) {
            0 => rng.below(self.shared.web.len()),
            _ => self.home % self.shared.web.len(),
        };
        let began = self.shared.history.now();
        let mut perhaps = false;
        let mut answer = Answer::Nothing;
        for _ in 0..TRIES {
            answer = meant(&ask, &self.api.ask(node, &method, &path, body.as_ref(), &id));
            perhaps |= answer == Answer::Unknown;
            if !matches!(answer, Answer::Unknown | Answer::Nothing) || !self.shared.goes_on() {
                break;
            }
            node = (node + 1) % self.shared.web.len();
            std::thread::sleep(PACE);
        }
        if answer == Answer::Nothing && perhaps {
            answer = Answer::Unknown;
        }
        let ended = self.shared.history.now();
        self.shared.history.note(Op {
            key: format!("{kind}/{key}"),
            ask: ask.clone(),
            answer: answer.clone(),
            began,
            ended,
            node,
        });
        let changed = matches!(answer, Answer::Done(_));
        if changed && ask != Ask::Read && rng.below(8) == 0 {
            let other = (node + 1) % self.shared.web.len();
            let again = meant(&ask, &self.api.ask(other, &method, &path, body.as_ref(), &id));
            let known = !matches!(again, Answer::Unknown | Answer::Nothing);
            self.shared
                .history
                .count("repetition", known, again == Answer::Unknown);
            if known && again != answer {
                self.shared.history.violation(format!(
                    "exactly once: {ask:?} of {kind}/{key} was answered {answer:?}, and {again:?} when it was made again under the same id {id}"
                ));
            }
        }
        answer
    }

    fn make_token(&self, era: usize) {
        // Any name is free for it: each use asks for a host of its own.
        let body = json!({ "ttl_secs": 3600, "host": {} });
        let reply = (0..TRIES).find_map(|n| {
            let node = n % self.shared.web.len();
            match self
                .api
                .ask(node, &Method::POST, path::TOKENS, Some(&body), &new_id())
            {
                Reply::Said(200 | 201, made) => made["token"].as_str().map(str::to_owned),
                _ => None,
            }
        });
        if let Some(token) = reply {
            let secret = token.rsplit('.').next().unwrap_or_default();
            self.shared.history.secret("a join token", secret);
            *self.tokens.lock().expect("nobody panics while holding it") = Some((era, token));
        }
    }

    fn use_token(&mut self, era: usize, rng: &mut Rng) {
        let token = self
            .tokens
            .lock()
            .expect("nobody panics while holding it")
            .clone();
        let Some((_, token)) = token.filter(|(of, _)| *of == era) else {
            return;
        };
        let words: Vec<&str> = token.split('.').collect();
        let [_, cluster, _, name, secret] = words[..] else {
            return;
        };
        self.value += 1;
        let host = format!("once-{}", self.value);
        let body = json!({
            "token": name, "secret": secret, "cluster_id": cluster, "name": host,
            "ssh_public_key": SSH_KEY, "tls_public_key": TLS_KEY,
            "now": now(), "version": "chaos",
        });
        let node = rng.below(self.shared.web.len());
        let began = self.shared.history.now();
        // Once: there is no id that would make a second try harmless.
        let reply = self
            .api
            .ask(node, &Method::POST, path::HOST_JOIN, Some(&body), &new_id());
        let answer = match &reply {
            Reply::Said(200, made) => Answer::Done(made["agent"].as_u64().unwrap_or_default()),
            Reply::Said(403, _) => Answer::Conflict,
            reply if reply.did_nothing() => Answer::Nothing,
            _ => Answer::Unknown,
        };
        self.shared.history.note(Op {
            key: format!("token/{era}"),
            ask: Ask::Use,
            answer,
            began,
            ended: self.shared.history.now(),
            node,
        });
    }
}

/// What is sent for an operation.
fn request(kind: &str, key: &str, ask: &Ask) -> (Method, String, Option<Value>) {
    let one = format!("/v1/records/{kind}/{key}");
    let body = |value: u64, revision: u64| {
        let spec = match kind {
            "lock" => json!({ "target": { "host": "no-such-host" }, "message": value.to_string() }),
            _ => json!({ "addr": "127.0.0.1:22" }),
        };
        let mut metadata = json!({ "name": key, "labels": { "v": value.to_string() } });
        if revision != 0 {
            metadata["revision"] = revision.into();
        }
        Some(json!({ "kind": kind, "version": "v1", "metadata": metadata, "spec": spec }))
    };
    match ask {
        Ask::Create(value) => (Method::POST, format!("/v1/records/{kind}"), body(*value, 0)),
        Ask::Put(value) => (Method::PUT, format!("{one}?upsert=true"), body(*value, 0)),
        Ask::Swap { at, to } => (Method::PUT, one, body(*to, *at)),
        Ask::Delete { at } => (Method::DELETE, format!("{one}?revision={at}"), None),
        Ask::Read | Ask::Use => (Method::GET, one, None),
    }
}

/// What an answer means for an operation.
fn meant(ask: &Ask, reply: &Reply) -> Answer {
    let at = |body: &Value| body["metadata"]["revision"].as_u64();
    match (ask, reply) {
        (Ask::Read, Reply::Said(200, body)) => {
            let value = body["metadata"]["labels"]["v"]
                .as_str()
                .and_then(|v| v.parse().ok());
            match (at(body), value) {
                (Some(at), Some(value)) => Answer::Is { at, value },
                _ => Answer::Unknown,
            }
        }
        (Ask::Delete { .. }, Reply::Said(204, _)) => Answer::Done(0),
        (_, Reply::Said(200 | 201, body)) => at(body).map_or(Answer::Unknown, Answer::Done),
        (_, Reply::Said(404, _)) => Answer::Absent,
        (_, Reply::Said(409, _)) => Answer::Conflict,
        (_, reply) if reply.did_nothing() => Answer::Nothing,
        _ => Answer::Unknown,
    }
}

fn now() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let now = u64::try_from(now.as_millis()).expect("milliseconds fit");
    palisade_core::time::Timestamp::from_ms(now).to_string()
}

/// Public keys of hosts that nobody serves.
const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHEwhcklBJ23+pCTvs09+BCd28+6NRQ3tJKjMj4trwXx";
const TLS_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMK4t3ucwxgJQKUVflcBEtWlMNkG9
Hh0Y4piYy/EJqSbNyT2TXtnJjm+DqbJqwxasaOAZpXcQnqoQq4PlycmY/g==
-----END PUBLIC KEY-----
";
