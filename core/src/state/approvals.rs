//! Programs that ask to be let in by somebody at a browser (after RFC 8628, the device authorization grant): the program
//! shows a code, the person looks at what it wants in a session of theirs, and says yes or no. Any node hears the question,
//! takes the answer and gives it to the program.

use super::apply::{Run, Verdict};
use super::{NOTIFY_POLICY, keys, read};
use crate::command::{ApprovalWanted, CertPurpose, CertTerms, NewApproval, RefusedCommand};
use crate::event::{Event, EventKind};
use crate::kv::{Kv, KvFault, prefix_end};
use crate::name::Name;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a program may wait for its answer.
pub const APPROVAL_MS: u64 = 10 * 60_000;
/// Programs that may wait at a time: nobody fills the state by asking.
pub const APPROVALS_MAX: usize = 1000;

/// A program that asked, as it is kept until its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What it said.
    pub asked: NewApproval,
    /// Where it asked from.
    pub addr: String,
    /// When.
    pub created: Timestamp,
    /// What it was answered; `None` as long as it waits.
    pub outcome: Option<Outcome>,
}

/// What a program was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// No.
    Refused,
    /// Certificates.
    Granted {
        /// The index of the entry that granted them: their serial.
        serial: u64,
        /// What they say.
        terms: CertTerms,
    },
}

/// The program with this code, also one whose time is over: whoever asks looks at that.
pub fn approval(kv: &dyn Kv, code: &str) -> Result<Option<Approval>, KvFault> {
    read(kv, "approval", &keys::approval(code))
}

fn wanted_word(wanted: &ApprovalWanted) -> &'static str {
    match wanted {
        ApprovalWanted::Login => "login",
        ApprovalWanted::Headless { .. } => "headless",
    }
}

impl Run<'_> {
    /// Forgets programs whose time is over; how many wait.
    fn sweep_approvals(&mut self) -> Result<usize, KvFault> {
        let end = prefix_end(keys::APPROVALS);
        let kept = self
            .state
            .scan(keys::APPROVALS, end.as_deref(), usize::MAX, false)?;
        let mut wait = 0;
        for (key, _) in kept {
            let found: Option<Approval> = read(&self.state, "approval", &key)?;
            if found.is_some_and(|found| found.asked.expires > self.now) {
                wait += 1;
            } else {
                self.state.delete(key);
            }
        }
        Ok(wait)
    }

    pub(super) fn ask_approval(&mut self, asked: NewApproval) -> Result<Verdict, KvFault> {
        if self.sweep_approvals()? >= APPROVALS_MAX {
            let why = "too many programs wait to be let in: try again in some minutes";
            return Ok(Err(RefusedCommand::Invalid(why.into())));
        }
        let late = asked.expires <= self.now || asked.expires.since_ms(self.now) > APPROVAL_MS;
        if late || approval(&self.state, &asked.code)?.is_some() {
            let why = "this question cannot be asked: try again";
            return Ok(Err(RefusedCommand::Invalid(why.into())));
        }
        let kept = Approval {
            addr: self.actor_addr().to_owned(),
            created: self.now,
            outcome: None,
            asked,
        };
        self.put(keys::approval(&kept.asked.code), &kept);
        Ok(Ok(()))
    }

    pub(super) fn answer_approval(
        &mut self,
        user: &Name,
        session: &str,
        code: &str,
        terms: Option<CertTerms>,
    ) -> Result<Verdict, KvFault> {
        // To turn a program away takes a session, to let it in one that was confirmed a short time ago.
        let sits = match &terms {
            Some(_) => self.confirmed(user, session)?,
            None => self.browser(user, session)?,
        };
        if let Err(why) = sits {
            return Ok(Err(why));
        }
        let waits = approval(&self.state, code)?
            .filter(|found| found.asked.expires > self.now && found.outcome.is_none());
        let Some(mut found) = waits else {
            let why = "nothing waits under this code (any more)";
            return Ok(Err(RefusedCommand::Invalid(why.into())));
        };
        if let Some(terms) = terms {
            if terms.subject != *user
                || terms.purpose != CertPurpose::Login
                || terms.key_fingerprint != found.asked.ssh_key
            {
                let why = "the certificates are not those that were asked for";
                return Ok(Err(RefusedCommand::Invalid(why.into())));
            }
            if let Err(why) = self.check_terms(&terms)? {
                return Ok(self.audited(Err(why), EventKind::CertRefused, user.as_str()));
            }
            self.answered(user, EventKind::ApprovalGrant, &found);
            self.issued(&terms);
            let serial = self.index;
            found.outcome = Some(Outcome::Granted { serial, terms });
        } else {
            self.answered(user, EventKind::ApprovalRefuse, &found);
            found.outcome = Some(Outcome::Refused);
        }
        self.put(keys::approval(code), &found);
        // The node where the program waits looks again.
        self.notify |= NOTIFY_POLICY;
        Ok(Ok(()))
    }

    fn answered(&mut self, user: &Name, kind: EventKind, found: &Approval) {
        let mut event = Event::new(kind)
            .user(user.as_str())
            .target(wanted_word(&found.asked.wanted))
            .with("asked_from", &found.addr)
            .with("client", &found.asked.client);
        if let ApprovalWanted::Headless { host, login } = &found.asked.wanted {
            event = event.login(login.as_str()).host(host.as_str());
        }
        self.event(event);
    }
}
