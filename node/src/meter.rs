//! What is counted while the node works. Changes are counted where all of them pass: on their way into the log.

use palisade_core::command::{CertPurpose, Command, RefusedCommand, Reply};
use palisade_core::event::{Event, EventKind};
use palisade_core::ports::Unavailable;
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// From a fast disk to one that hangs.
const SYNC_BUCKETS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];
/// From a LAN to a failover.
const COMMIT_BUCKETS: [f64; 12] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// From a lookup to a login with its failures' floor.
const REQUEST_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// So many spans wait for their export; more are dropped, and counted.
const SPANS_MAX: usize = 4_096;

/// Something that took time, for an exporter.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: String,
    /// A request that was answered, or something inside the node.
    pub(crate) server: bool,
    pub(crate) ended: SystemTime,
    pub(crate) took: Duration,
    pub(crate) failed: bool,
    pub(crate) attributes: Vec<(&'static str, String)>,
}

#[derive(Debug, Default)]
struct Spans {
    kept: AtomicBool,
    waiting: Mutex<VecDeque<Span>>,
}

/// The counters of this process.
#[derive(Debug, Clone)]
pub struct Meter {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: Histogram,
    logins: IntCounterVec,
    certificates: IntCounterVec,
    sessions_started: IntCounter,
    sessions_refused: IntCounter,
    commit_seconds: Histogram,
    write_failures: IntCounterVec,
    log_sync_seconds: Histogram,
    ship_seconds: Histogram,
    ship_failures: IntCounter,
    spans_dropped: IntCounter,
    spans: Arc<Spans>,
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect("the names here are well formed")
}

/// With every label value that is known beforehand at 0: what is absent cannot be told from what never was.
fn counters<const N: usize>(name: &str, help: &str, labels: &[&str], known: [&[&str]; N]) -> IntCounterVec {
    let all = IntCounterVec::new(Opts::new(name, help), labels).expect("the names here are well formed");
    for values in known {
        all.with_label_values(values);
    }
    all
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    Histogram::with_opts(opts).expect("the names here are well formed")
}

impl Default for Meter {
    fn default() -> Self {
        Meter::new()
    }
}

impl Meter {
    /// Everything at 0.
    pub fn new() -> Self {
        let meter = Meter {
            registry: Registry::new(),
            requests: counters(
                "palisade_http_requests_total",
                "HTTP requests answered, by route and class of status",
                &["method", "route", "status"],
                [&["POST", "/v1/login", "2xx"], &["POST", "/v1/login", "5xx"]],
            ),
            request_seconds: histogram(
                "palisade_http_request_seconds",
                "Until an HTTP request was answered",
                &REQUEST_BUCKETS,
            ),
            logins: counters(
                "palisade_logins_total",
                "Logins that were decided here, by result",
                &["result"],
                [&["ok"], &["refused"], &["locked_out"]],
            ),
            certificates: counters(
                "palisade_certificates_issued_total",
                "Certificates issued here, by purpose",
                &["purpose"],
                [&["login"], &["renew"], &["host"], &["agent"]],
            ),
            sessions_started: counter(
                "palisade_sessions_started_total",
                "Sessions begun through this node",
            ),
            sessions_refused: counter("palisade_sessions_refused_total", "Sessions refused by this node"),
            commit_seconds: histogram(
                "palisade_commit_seconds",
                "Until a change of this node, with its audit event, was committed",
                &COMMIT_BUCKETS,
            ),
            write_failures: counters(
                "palisade_audit_write_failures_total",
                "Changes, and with them audit events, that this node could not commit",
                &["reason"],
                [&["no_quorum"], &["unknown"], &["overloaded"], &["fault"]],
            ),
            log_sync_seconds: histogram(
                "palisade_log_sync_seconds",
                "Syncs of the log to the disk",
                &SYNC_BUCKETS,
            ),
            ship_seconds: histogram(
                "palisade_recording_ship_seconds",
                "Until a chunk of a recording was on a majority of nodes",
                &COMMIT_BUCKETS,
            ),
            ship_failures: counter(
                "palisade_recording_ship_failures_total",
                "Chunks of recordings that did not reach a majority of nodes",
            ),
            spans_dropped: counter(
                "palisade_otlp_spans_dropped_total",
                "Spans that were not exported because too many waited",
            ),
            spans: Arc::default(),
        };
        let all: [Box<dyn Collector>; 12] = [
            Box::new(meter.requests.clone()),
            Box::new(meter.request_seconds.clone()),
            Box::new(meter.logins.clone()),
            Box::new(meter.certificates.clone()),
            Box::new(meter.sessions_started.clone()),
            Box::new(meter.sessions_refused.clone()),
            Box::new(meter.commit_seconds.clone()),
            Box::new(meter.write_failures.clone()),
            Box::new(meter.log_sync_seconds.clone()),
            Box::new(meter.ship_seconds.clone()),
            Box::new(meter.ship_failures.clone()),
            Box::new(meter.spans_dropped.clone()),
        ];
        for collector in all {
            meter
                .registry
                .register(collector)
                .expect("the names here are distinct");
        }
        meter
    }

    /// Everything that was counted.
    pub(crate) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// A request was answered. `route` is the table's, never a path: what it may hold is bounded, and no secret.
    pub(crate) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let class = match status / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        // Methods are what a client sends: only those that a route takes have a name of their own.
        let method = ["GET", "POST", "PUT", "DELETE", "HEAD"]
            .into_iter()
            .find(|known| *known == method)
            .unwrap_or("other");
        let route = if route.is_empty() { "other" } else { route };
        self.requests.with_label_values(&[method, route, class]).inc();
        self.request_seconds.observe(took.as_secs_f64());
        self.span(|| Span {
            name: format!("{method} {route}"),
            server: true,
            ended: SystemTime::now(),
            took,
            failed: status >= 500,
            attributes: vec![
                ("http.request.method", method.to_owned()),
                ("http.route", route.to_owned()),
                ("http.response.status_code", status.to_string()),
            ],
        });
    }

    /// Whether spans are kept for an exporter. Those that wait are dropped when they are not.
    pub(crate) fn keep_spans(&self, keep: bool) {
        self.spans.kept.store(keep, Ordering::Relaxed);
        if !keep {
            self.spans.waiting.lock().clear();
        }
    }

    /// Those that wait.
    pub(crate) fn take_spans(&self) -> Vec<Span> {
        self.spans.waiting.lock().drain(..).collect()
    }

    fn span(&self, make: impl FnOnce() -> Span) {
        if !self.spans.kept.load(Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.spans.waiting.lock();
        if waiting.len() < SPANS_MAX {
            waiting.push_back(make());
        } else {
            self.spans_dropped.inc();
        }
    }

    /// The log was synced.
    pub(crate) fn sync(&self, took: Duration) {
        self.log_sync_seconds.observe(took.as_secs_f64());
    }

    /// A chunk of a recording was shipped, or was not.
    pub(crate) fn shipped(&self, took: Duration, well: bool) {
        if well {
            self.ship_seconds.observe(took.as_secs_f64());
        } else {
            self.ship_failures.inc();
        }
    }

    /// What a command means, before it is given away.
    pub(crate) fn mark(command: &Command) -> Mark {
        match command {
            Command::Login { .. } | Command::BrowserLogin { .. } => Mark::Login,
            Command::LoginFailed { .. } => Mark::LoginFailed,
            Command::IssueCert { terms } => Mark::Certificate(match terms.purpose {
                CertPurpose::Login => "login",
                CertPurpose::Renew => "renew",
                CertPurpose::Host => "host",
            }),
            Command::AnswerApproval { terms: Some(_), .. } => Mark::Certificate("login"),
            Command::JoinHost { .. } | Command::RenewHost { .. } => Mark::Certificate("agent"),
            Command::StartSession { .. } => Mark::Session,
            Command::Audit { events } => {
                let refused = |event: &&Event| event.event == EventKind::SessionRefused;
                Mark::SessionsRefused(events.iter().filter(refused).count() as u64)
            }
            Command::Init { .. }
            | Command::PutRecord { .. }
            | Command::DeleteRecord { .. }
            | Command::CreateInvite { .. }
            | Command::AcceptInvite { .. }
            | Command::BrowserConfirm { .. }
            | Command::BrowserSeen { .. }
            | Command::BrowserLogout { .. }
            | Command::SetPassword { .. }
            | Command::AddPasskey { .. }
            | Command::RemovePasskey { .. }
            | Command::EndSession { .. }
            | Command::SignHead { .. }
            | Command::JoinNode { .. }
            | Command::RemoveNode { .. }
            | Command::SealAuditPage { .. }
            | Command::NewRecovery { .. }
            | Command::SetTotp { .. }
            | Command::AskApproval { .. }
            | Command::AnswerApproval { terms: None, .. }
            | Command::CreateShare { .. }
            | Command::OpenShare { .. }
            | Command::RevokeShare { .. } => Mark::Other,
        }
    }

    /// A proposal was answered. `word` is the command's.
    pub(crate) fn proposed(
        &self,
        word: &'static str,
        mark: Mark,
        reply: &Result<Reply, Unavailable>,
        took: Duration,
    ) {
        self.span(|| Span {
            name: format!("commit {word}"),
            server: false,
            ended: SystemTime::now(),
            took,
            failed: reply.is_err(),
            attributes: vec![("palisade.command", word.to_owned())],
        });
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                let reason = match error {
                    Unavailable::NoQuorum(_) => "no_quorum",
                    Unavailable::Unknown(_) => "unknown",
                    Unavailable::Overloaded(_) => "overloaded",
                    Unavailable::Fault(_) => "fault",
                };
                self.write_failures.with_label_values(&[reason]).inc();
                return;
            }
        };
        self.commit_seconds.observe(took.as_secs_f64());
        let refusal = match reply {
            Reply::Done { .. } => None,
            Reply::Refused(why) => Some(why),
        };
        match (mark, refusal) {
            (Mark::Login, None) => {
                self.logins.with_label_values(&["ok"]).inc();
                self.certificates.with_label_values(&["login"]).inc();
            }
            (Mark::Login | Mark::LoginFailed, Some(RefusedCommand::LockedOut { .. })) => {
                self.logins.with_label_values(&["locked_out"]).inc();
            }
            (Mark::Login, Some(_)) | (Mark::LoginFailed, _) => {
                self.logins.with_label_values(&["refused"]).inc();
            }
            (Mark::Certificate(purpose), None) => self.certificates.with_label_values(&[purpose]).inc(),
            (Mark::Session, None) => self.sessions_started.inc(),
            (Mark::Session, Some(_)) => self.sessions_refused.inc(),
            (Mark::SessionsRefused(n), _) => self.sessions_refused.inc_by(n),
            (Mark::Certificate(_), Some(_)) | (Mark::Other, _) => {}
        }
    }
}

/// What a proposal counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A login whose password and code were right.
    Login,
    /// One whose were not.
    LoginFailed,
    /// A certificate for this purpose.
    Certificate(&'static str),
    /// A session begins.
    Session,
    /// So many were refused.
    SessionsRefused(u64),
    /// Nothing in particular.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::time::Timestamp;

    #[test]
    fn every_answer_counts_as_what_it_is() {
        let done = || Ok(Reply::Done { index: 1 });
        let refused = |why| Ok(Reply::Refused(why));
        let locked = RefusedCommand::LockedOut {
            until: Timestamp::ZERO,
        };
        type Count = fn(&Meter) -> u64;
        let table: Vec<(Mark, Result<Reply, Unavailable>, Count)> = vec![
            (Mark::Login, done(), |m| m.logins.with_label_values(&["ok"]).get()),
            (Mark::Login, done(), |m| {
                m.certificates.with_label_values(&["login"]).get()
            }),
            (Mark::Login, refused(RefusedCommand::BadLogin), |m| {
                m.logins.with_label_values(&["refused"]).get()
            }),
            (Mark::Login, refused(locked), |m| {
                m.logins.with_label_values(&["locked_out"]).get()
            }),
            (Mark::LoginFailed, done(), |m| {
                m.logins.with_label_values(&["refused"]).get()
            }),
            (Mark::Certificate("renew"), done(), |m| {
                m.certificates.with_label_values(&["renew"]).get()
            }),
            (Mark::Session, done(), |m| m.sessions_started.get()),
            (
                Mark::Session,
                refused(RefusedCommand::TooManySessions { now: 1, most: 1 }),
                |m| m.sessions_refused.get(),
            ),
            (Mark::SessionsRefused(1), done(), |m| m.sessions_refused.get()),
            (Mark::Other, done(), |m| m.commit_seconds.get_sample_count()),
            (Mark::Other, Err(Unavailable::NoQuorum(String::new())), |m| {
                m.write_failures.with_label_values(&["no_quorum"]).get()
            }),
            (Mark::Login, Err(Unavailable::Unknown(String::new())), |m| {
                m.write_failures.with_label_values(&["unknown"]).get()
            }),
        ];
        for (mark, reply, count) in table {
            let meter = Meter::new();
            assert_eq!(count(&meter), 0);
            meter.proposed("word", mark, &reply, Duration::from_millis(3));
            assert_eq!(count(&meter), 1, "{mark:?} {reply:?}");
            assert_eq!(
                reply.is_err(),
                meter.commit_seconds.get_sample_count() == 0,
                "{mark:?}"
            );
        }
    }

    #[test]
    fn spans_are_kept_only_for_somebody_and_never_without_end() {
        let meter = Meter::new();
        let ask = || meter.request("GET", "/v1/ping", 200, Duration::ZERO);
        ask();
        assert!(meter.take_spans().is_empty());
        meter.keep_spans(true);
        for _ in 0..SPANS_MAX + 5 {
            ask();
        }
        assert_eq!(meter.spans_dropped.get(), 5);
        let spans = meter.take_spans();
        assert_eq!((spans.len(), spans[0].name.as_str()), (SPANS_MAX, "GET /v1/ping"));
        ask();
        meter.keep_spans(false);
        assert!(meter.take_spans().is_empty());
    }

    #[test]
    fn what_a_client_sends_makes_no_new_series() {
        let meter = Meter::new();
        for n in 0..100 {
            meter.request(&format!("M{n}"), "", 404, Duration::ZERO);
        }
        assert_eq!(
            meter.requests.with_label_values(&["other", "other", "4xx"]).get(),
            100
        );
    }
}
