//! Every host of a cluster in memory, ready to be searched: what a list of hosts is answered from.
//!
//! Reading and decoding fifty thousand rows for one search takes seconds; looking at as many that are read already takes a
//! hundredth of that. The table is a copy of the host records and nothing more: whoever keeps one says how new it is.

use crate::kv::{Kv, KvFault};
use crate::name::Name;
use crate::predicate::{Context, Predicate, SyntaxError};
use crate::record::{HostSpec, Kind, Labels, Record};
use crate::state;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRow {
    /// Its record; the description is left out.
    pub record: Record<HostSpec>,
    /// Name, address and labels in lower case, a line each.
    text: String,
}

impl HostRow {
    fn new(mut record: Record<HostSpec>) -> Self {
        record.metadata.description = String::new();
        let text = searched(&record);
        HostRow { record, text }
    }
}

fn searched(host: &Record<HostSpec>) -> String {
    let mut text = host.metadata.name.as_str().to_lowercase();
    text.push('\n');
    text.push_str(&host.spec.shown_addr());
    for (name, value) in &host.metadata.labels {
        text.push('\n');
        text.push_str(&name.to_lowercase());
        text.push('=');
        text.push_str(&value.to_lowercase());
    }
    text
}

/// All hosts, in order of name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<Arc<HostRow>>);

impl Hosts {
    /// Reads all of them.
    pub fn load(kv: &dyn Kv) -> Result<Self, KvFault> {
        const PART: usize = 1000;
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let from = Some(after.as_str()).filter(|name| !name.is_empty());
            let part = state::any_records(kv, Kind::Host, from, PART)?;
            let whole = part.len() < PART;
            if let Some(last) = part.last() {
                after = last.metadata().name.to_string();
            }
            let hosts = part
                .into_iter()
                .filter_map(<HostSpec as crate::record::Spec>::from_any);
            rows.extend(hosts.map(|host| Arc::new(HostRow::new(host))));
            if whole {
                return Ok(Hosts(rows));
            }
        }
    }

    /// Reads those again that may have changed.
    pub fn refresh<'a>(
        &mut self,
        kv: &dyn Kv,
        changed: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), KvFault> {
        let mut now = BTreeMap::new();
        for name in changed {
            let found = state::any_record(kv, Kind::Host, name)?;
            let host = found.and_then(<HostSpec as crate::record::Spec>::from_any);
            now.insert(name, host.map(|host| Arc::new(HostRow::new(host))));
        }
        // What is there already is changed in place; new ones go in all at once.
        let mut new = Vec::new();
        for (name, row) in now {
            match (self.place(name), row) {
                (Ok(at), Some(row)) => self.0[at] = row,
                (Ok(at), None) => {
                    self.0.remove(at);
                }
                (Err(_), Some(row)) => new.push(row),
                (Err(_), None) => {}
            }
        }
        if !new.is_empty() {
            self.0.extend(new);
            // Two sorted runs: one pass.
            self.0
                .sort_by(|a, b| a.record.metadata.name.cmp(&b.record.metadata.name));
        }
        Ok(())
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0
            .binary_search_by(|row| row.record.metadata.name.as_str().cmp(name))
    }

    /// Those whose names come after this one; all for an empty text.
    pub fn after(&self, name: &str) -> &[Arc<HostRow>] {
        let from = match self.place(name) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        &self.0[from..]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is looked for among hosts.
#[derive(Debug, Default)]
pub struct HostSearch {
    words: Vec<String>,
    expression: Option<Predicate>,
}

/// Who asks, for expressions about users.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Their name.
    pub name: &'a str,
    /// Their roles.
    pub roles: &'a [Name],
    /// Their traits.
    pub traits: &'a BTreeMap<String, Vec<String>>,
}

impl HostSearch {
    /// Hosts with all of these words in their name, address or a label (`name=value`), in any case, and of which the
    /// expression holds; see [`Predicate`] for its language.
    ///
    /// # Errors
    /// The expression is none.
    pub fn parse(words: &str, expression: &str) -> Result<Self, SyntaxError> {
        Ok(HostSearch {
            words: words.split_whitespace().map(str::to_lowercase).collect(),
            expression: match expression.trim() {
                "" => None,
                expression => Some(Predicate::parse(expression)?),
            },
        })
    }

    /// Whether the host is one of them, by its record alone.
    pub fn finds(&self, row: &HostRow, asker: Asker<'_>) -> bool {
        self.in_text(&row.text) && self.holds(&row.record.metadata.name, &row.record.metadata.labels, asker)
    }

    /// The same for a host with other labels than its record's: its agent's as well.
    pub fn finds_with_labels(&self, host: &Record<HostSpec>, asker: Asker<'_>) -> bool {
        self.in_text(&searched(host)) && self.holds(&host.metadata.name, &host.metadata.labels, asker)
    }

    fn in_text(&self, text: &str) -> bool {
        // A word has no line break in it: it is found within one field.
        self.words.iter().all(|word| text.contains(word.as_str()))
    }

    fn holds(&self, name: &Name, labels: &Labels, asker: Asker<'_>) -> bool {
        let Some(expression) = &self.expression else {
            return true;
        };
        expression.evaluate(&Context {
            user_name: asker.name,
            user_roles: asker.roles,
            user_traits: asker.traits,
            resource_kind: Kind::Host.as_str(),
            resource_name: name.as_str(),
            resource_labels: labels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::HostAddr;

    fn row(name: &str, labels: &[(&str, &str)]) -> HostRow {
        let name = Name::parse(name).expect("a name");
        let addr = HostAddr::parse("10.0.0.7:22").expect("an address");
        let mut host = Record::new(name, HostSpec::at(addr));
        host.metadata.labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        HostRow::new(host)
    }

    #[test]
    fn hosts_are_found_by_text_by_label_and_by_expression() {
        let host = row("web1", &[("env", "Prod"), ("tier", "front")]);
        let traits = BTreeMap::from([("team".to_owned(), vec!["front".to_owned()])]);
        let asker = Asker {
            name: "alice",
            roles: &[],
            traits: &traits,
        };
        let found = |words: &str, expression: &str| {
            let search = HostSearch::parse(words, expression).expect("good");
            let finds = search.finds(&host, asker);
            assert_eq!(finds, search.finds_with_labels(&host.record, asker));
            finds
        };
        for (words, expression) in [
            ("", ""),
            ("WEB", ""),
            ("10.0.0", ""),
            ("env=prod", ""),
            ("front web env=pr", ""),
            ("", r#"equals(resource.labels["env"], "Prod")"#),
            (
                "web",
                r#"has_prefix(resource.name, "we") && !equals(resource.labels["tier"], "back")"#,
            ),
            ("", r#"contains(user.traits["team"], resource.labels["tier"])"#),
        ] {
            assert!(found(words, expression), "{words} {expression}");
        }
        for (words, expression) in [
            ("db", ""),
            ("web env=test", ""),
            // Not across two fields.
            ("web110.0", ""),
            ("", r#"equals(resource.labels["env"], "prod")"#),
            ("db", r#"equals(resource.labels["env"], "Prod")"#),
        ] {
            assert!(!found(words, expression), "{words} {expression}");
        }
        assert!(HostSearch::parse("", "resource.labels").is_err());
    }
}
