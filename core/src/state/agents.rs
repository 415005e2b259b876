//! Agents: how a host comes to be served by one, and how it keeps its certificates.

use super::apply::{NOTIFY_POLICY, Run, Verdict, not_found};
use super::keys;
use crate::command::{AgentTerms, RefusedCommand};
use crate::event::{Event, EventKind};
use crate::kv::KvFault;
use crate::name::Name;
use crate::record::{AnyRecord, HostAgent, HostSpec, Kind, Labels, Record, TokenSpec};

impl Run<'_> {
    pub(super) fn join_host(
        &mut self,
        token: &Name,
        secret_sha256: &str,
        host: &Name,
        terms: &AgentTerms,
    ) -> Result<Verdict, KvFault> {
        let verdict = self.try_join_host(token, secret_sha256, host, terms)?;
        Ok(self.audited(verdict, EventKind::HostJoinRefused, &format!("host/{host}")))
    }

    fn try_join_host(
        &mut self,
        token: &Name,
        secret_sha256: &str,
        host: &Name,
        terms: &AgentTerms,
    ) -> Result<Verdict, KvFault> {
        let found = super::record::<TokenSpec>(&self.state, token)?;
        let good = found.filter(|t| !t.expired(self.now) && t.spec.secret_sha256 == secret_sha256);
        let Some(allowed) = good.and_then(|t| t.spec.host) else {
            return Ok(Err(RefusedCommand::BadToken));
        };
        if allowed.name.as_ref().is_some_and(|named| named != host) {
            return Ok(Err(RefusedCommand::BadToken));
        }
        if let Err(why) = check_terms(terms) {
            return Ok(Err(why));
        }
        let before = super::record::<HostSpec>(&self.state, host)?;
        let replaces = allowed.name.is_some() && before.as_ref().is_some_and(|h| h.spec.agent.is_some());
        if before.is_some() && !replaces {
            return Ok(Err(RefusedCommand::Exists {
                kind: Kind::Host,
                name: host.to_string(),
            }));
        }
        let spec = HostSpec {
            addr: None,
            public_key: None,
            agent: Some(HostAgent {
                id: self.index,
                joined: self.now,
            }),
            // What an operator said of the host holds for its next agent as well.
            site: before.as_ref().and_then(|host| host.spec.site),
        };
        let mut record = before.unwrap_or_else(|| Record::new(host.clone(), spec.clone()));
        record.spec = spec;
        let given: Labels = allowed.labels;
        record.metadata.labels.extend(given);
        self.state.delete(keys::record_key(Kind::Token, token.as_str()));
        self.write_record(AnyRecord::Host(record));
        self.agent_event(EventKind::HostJoin, host, self.index, terms);
        self.notify |= NOTIFY_POLICY;
        Ok(Ok(()))
    }

    pub(super) fn renew_host(
        &mut self,
        host: &Name,
        agent: u64,
        terms: &AgentTerms,
    ) -> Result<Verdict, KvFault> {
        let record = super::record::<HostSpec>(&self.state, host)?;
        let in_force = record
            .filter(|h| !h.expired(self.now))
            .and_then(|h| h.spec.agent)
            .is_some_and(|now| now.id == agent);
        let verdict = if in_force {
            check_terms(terms)
        } else {
            Err(not_found(Kind::Host, host.as_str()))
        };
        if verdict.is_ok() {
            self.agent_event(EventKind::HostRenew, host, agent, terms);
        }
        Ok(self.audited(verdict, EventKind::AgentRefused, &format!("host/{host}")))
    }

    fn agent_event(&mut self, kind: EventKind, host: &Name, agent: u64, terms: &AgentTerms) {
        self.event(
            Event::new(kind)
                .target(format!("host/{host}"))
                .host(host.as_str())
                .with("agent", agent)
                .with("serial", self.index)
                .with("valid_before", terms.valid_before)
                .with("key", &terms.ssh_key)
                .with("tls_key", &terms.tls_key),
        );
    }
}

fn check_terms(terms: &AgentTerms) -> Verdict {
    if terms.valid_after >= terms.valid_before {
        return Err(RefusedCommand::Invalid(
            "the certificates would end before they begin".into(),
        ));
    }
    Ok(())
}
