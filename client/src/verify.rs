//! Checking the audit log offline: that it holds together, and that what was signed was not changed since.
//!
//! Every event is a leaf of a Merkle tree (RFC 6962) whose roots the cluster signs from time to time. An export holds
//! the authority, every event as stored, and every signed head. The root over the first `size` events must be the one
//! that was signed; if it is not, the change is after the last head that still fits.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use palisade_core::api::AuditExportLine;
use palisade_core::event::Event;
use palisade_core::merkle::{Frontier, leaf_hash};
use palisade_core::time::Timestamp;
use ssh_key::{HashAlg, PublicKey};

/// A line longer than this is no line of an export.
const LINE_MAX: usize = 1024 * 1024;

/// No other signature of the cluster begins like this.
const DOMAIN: &[u8] = b"palisade audit head v1\0";

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line cannot be read.
    #[error("line {line} of the export cannot be read: {why}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// An entry is not there.
    #[error("entry {0} is missing: it is the first bad entry")]
    Missing(u64),
    /// Entries are on a page that no node could hand out.
    #[error(
        "entries {first} to {last} are lost with their page, file sha256:{file_sha256} ({why}): {first} is the first bad entry"
    )]
    Lost {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
        /// Hex SHA-256 of the page's file.
        file_sha256: String,
        /// What each node said.
        why: String,
    },
    /// An entry is there, and damaged.
    #[error("entry {seq} is damaged ({why}): it is the first bad entry")]
    Damaged {
        /// Which.
        seq: u64,
        /// Why.
        why: String,
    },
    /// A root is not the one that was signed.
    #[error("{}", changed(.from, .to, .signed))]
    Changed {
        /// The first entry that may be the bad one.
        from: u64,
        /// The last entry that may be the bad one.
        to: u64,
        /// When the root was signed.
        signed: Timestamp,
    },
    /// A head's signature does not verify.
    #[error("the head over the first {size} entries is not signed by the audit authority")]
    Forged {
        /// What it covers.
        size: u64,
    },
    /// There is no authority line, or it is not the expected one.
    #[error("the export's audit authority is not usable: {0}")]
    Authority(String),
    /// Nothing vouches for the entries.
    #[error("no signed head covers any of the {0} entries")]
    Unsigned(u64),
}

fn changed(from: &u64, to: &u64, signed: &Timestamp) -> String {
    if from == to {
        format!("entry {from} was changed after it was signed at {signed}: it is the first bad entry")
    } else {
        format!(
            "an entry was changed after it was signed at {signed}: the first bad entry is one of {from} to {to}"
        )
    }
}

impl Fault {
    /// The entries of which the first bad one is one, if it is known.
    pub fn first_bad(&self) -> Option<(u64, u64)> {
        match self {
            Fault::Missing(seq) | Fault::Damaged { seq, .. } | Fault::Lost { first: seq, .. } => {
                Some((*seq, *seq))
            }
            Fault::Changed { from, to, .. } => Some((*from, *to)),
            _ => None,
        }
    }
}

/// A log that was found good.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The cluster.
    pub cluster_id: String,
    /// Fingerprint of the audit authority's key, which signed the heads.
    pub authority: String,
    /// Entries in the log.
    pub entries: u64,
    /// Signed heads that were checked.
    pub heads: u64,
    /// Entries that a signed head covers.
    pub covered: u64,
    /// When the last head was signed.
    pub signed: Timestamp,
}

struct Head {
    size: u64,
    root: [u8; 32],
    time: Timestamp,
}

/// Reads an export line by line.
#[derive(Default)]
pub struct Verifier {
    expected: Option<PublicKey>,
    authority: Option<(PublicKey, String)>,
    leaves: Vec<[u8; 32]>,
    /// The first page that is lost: entries from there on cannot be checked, those before it can.
    lost: Option<Fault>,
    heads: Vec<Head>,
    line: u64,
    partial: Vec<u8>,
}

impl Verifier {
    /// Accepts heads of this authority only; `None` for the one that the export itself names.
    pub fn new(expected: Option<PublicKey>) -> Self {
        Verifier {
            expected,
            ..Verifier::default()
        }
    }

    /// Takes the next piece of the export, cut anywhere.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            self.partial.extend_from_slice(&bytes[..at]);
            bytes = &bytes[at + 1..];
            let line = std::mem::take(&mut self.partial);
            self.take(&line)?;
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > LINE_MAX {
            return Err(Fault::Line {
                line: self.line + 1,
                why: "it is too long".into(),
            });
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.line += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let number = self.line;
        let bad = |why: String| Fault::Line { line: number, why };
        match serde_json::from_slice(line).map_err(|e| bad(e.to_string()))? {
            AuditExportLine::Authority {
                ssh_public_key,
                cluster_id,
            } => self.authority(&ssh_public_key, cluster_id),
            AuditExportLine::Event { seq, bytes } => self.event(seq, &bytes),
            AuditExportLine::Lost {
                first,
                count,
                file_sha256,
                why,
            } => self.lost_page(first, count, file_sha256, why),
            AuditExportLine::Head {
                size,
                root,
                time,
                signature,
            } => {
                let root = hex::decode(&root).ok().and_then(|r| <[u8; 32]>::try_from(r).ok());
                let root = root.ok_or_else(|| bad("its root is no hash".into()))?;
                let signature =
                    hex::decode(&signature).map_err(|_| bad("its signature is not hex".into()))?;
                self.head(Head { size, root, time }, &signature)
            }
        }
    }

    fn authority(&mut self, line: &str, cluster_id: String) -> Result<(), Fault> {
        let key = PublicKey::from_openssh(line).map_err(|e| Fault::Authority(e.to_string()))?;
        if key.key_data().ed25519().is_none() {
            return Err(Fault::Authority("it is no Ed25519 key".into()));
        }
        if self
            .expected
            .as_ref()
            .is_some_and(|expected| expected.key_data() != key.key_data())
        {
            return Err(Fault::Authority("it is not the one that was given".into()));
        }
        if self.authority.is_some() {
            return Err(Fault::Authority("there are two of them".into()));
        }
        self.authority = Some((key, cluster_id));
        Ok(())
    }

    fn lost_page(&mut self, first: u64, count: u32, file_sha256: String, why: String) -> Result<(), Fault> {
        if self.lost.is_some() {
            return Ok(());
        }
        if first != self.leaves.len() as u64 || count == 0 {
            return Err(Fault::Missing(self.leaves.len() as u64));
        }
        let last = first.saturating_add(u64::from(count) - 1);
        self.lost = Some(Fault::Lost {
            first,
            last,
            file_sha256: palisade_core::shown::Shown(&file_sha256).to_string(),
            why: palisade_core::shown::Shown(&why).to_string(),
        });
        Ok(())
    }

    fn event(&mut self, seq: u64, bytes: &str) -> Result<(), Fault> {
        if self.lost.is_some() {
            return Ok(());
        }
        let wanted = self.leaves.len() as u64;
        if seq != wanted {
            // A higher number leaves a gap; a lower one stands where the wanted one should.
            return Err(Fault::Missing(wanted));
        }
        let damaged = |why: &str| Fault::Damaged {
            seq,
            why: why.to_owned(),
        };
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(bytes)
            .map_err(|_| damaged("not base64"))?;
        // An event that reads, but would be written otherwise, was not written by the cluster.
        let event = Event::from_bytes(&bytes).map_err(|e| damaged(&e.to_string()))?;
        if event.to_bytes() != bytes {
            return Err(damaged("not in the form in which events are stored"));
        }
        self.leaves.push(leaf_hash(&bytes));
        Ok(())
    }

    fn head(&mut self, head: Head, signature: &[u8]) -> Result<(), Fault> {
        let Some((key, cluster_id)) = &self.authority else {
            return Err(Fault::Authority("there is none before the first head".into()));
        };
        let key = key
            .key_data()
            .ed25519()
            .ok_or_else(|| Fault::Authority("it is no Ed25519 key".into()))?;
        let message = canonical(cluster_id, head.size, &head.root, head.time.ms());
        UnparsedPublicKey::new(&ED25519, key.0)
            .verify(&message, signature)
            .map_err(|_| Fault::Forged { size: head.size })?;
        self.heads.push(head);
        Ok(())
    }

    /// Compares every signed root with the events.
    pub fn finish(mut self) -> Result<Report, Fault> {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.take(&rest)?;
        }
        let Some((key, cluster_id)) = &self.authority else {
            return Err(Fault::Authority("there is none".into()));
        };
        self.heads.sort_by_key(|head| head.size);
        let (heads, last_signed) = (self.heads.len() as u64, self.heads.last().map(|head| head.time));
        let (mut tree, mut good) = (Frontier::default(), 0);
        let entries = self.leaves.len() as u64;
        let mut leaves = self.leaves.iter();
        for head in std::mem::take(&mut self.heads) {
            while tree.size() < head.size {
                let Some(leaf) = leaves.next() else {
                    return Err(self.lost.take().unwrap_or(Fault::Missing(entries)));
                };
                tree.append(*leaf);
            }
            if tree.root() != head.root {
                let to = head.size.saturating_sub(1).max(good);
                return Err(Fault::Changed {
                    from: good,
                    to,
                    signed: head.time,
                });
            }
            good = head.size;
        }
        if let Some(lost) = self.lost.take() {
            return Err(lost);
        }
        let Some(signed) = last_signed.filter(|_| good > 0 || entries == 0) else {
            return Err(Fault::Unsigned(entries));
        };
        Ok(Report {
            cluster_id: cluster_id.clone(),
            authority: key.fingerprint(HashAlg::Sha256).to_string(),
            entries,
            heads,
            covered: good,
            signed,
        })
    }
}

/// What is signed: domain, length of the cluster's id, the id, size, root, time in milliseconds; numbers big-endian.
fn canonical(cluster_id: &str, size: u64, root: &[u8; 32], time_ms: u64) -> Vec<u8> {
    let length = u32::try_from(cluster_id.len()).unwrap_or(u32::MAX);
    [
        DOMAIN,
        &length.to_be_bytes(),
        cluster_id.as_bytes(),
        &size.to_be_bytes(),
        root,
        &time_ms.to_be_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use palisade_core::event::EventKind;
    use palisade_core::merkle::root_of;

    const CLUSTER: &str = "00000000-0000-4000-8000-000000000001";

    struct Log {
        pair: Ed25519KeyPair,
        events: Vec<Vec<u8>>,
        heads: Vec<u64>,
    }

    fn log(count: usize, heads: &[u64]) -> Log {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).expect("a seed");
        let event = |i: usize| Event::new(EventKind::Login).user(format!("user{i}")).to_bytes();
        Log {
            pair,
            events: (0..count).map(event).collect(),
            heads: heads.to_vec(),
        }
    }

    impl Log {
        fn key(&self) -> PublicKey {
            let bytes: [u8; 32] = self.pair.public_key().as_ref().try_into().expect("32 bytes");
            PublicKey::from(ssh_key::public::Ed25519PublicKey(bytes))
        }

        fn lines(&self) -> Vec<AuditExportLine> {
            let ssh_public_key = self.key().to_openssh().expect("a line");
            let mut lines = vec![AuditExportLine::Authority {
                ssh_public_key,
                cluster_id: CLUSTER.into(),
            }];
            for (seq, bytes) in (0..).zip(&self.events) {
                let bytes = base64::engine::general_purpose::STANDARD.encode(bytes);
                lines.push(AuditExportLine::Event { seq, bytes });
            }
            for size in &self.heads {
                let root = root_of(self.events.iter().take(*size as usize).map(|e| leaf_hash(e)));
                let time = Timestamp::from_ms(1_700_000_000_000 + size);
                let signature = self.pair.sign(&canonical(CLUSTER, *size, &root, time.ms()));
                let (root, signature) = (hex::encode(root), hex::encode(signature));
                lines.push(AuditExportLine::Head {
                    size: *size,
                    root,
                    time,
                    signature,
                });
            }
            lines
        }
    }

    fn check(lines: &[AuditExportLine]) -> Result<Report, Fault> {
        let text: String = lines
            .iter()
            .map(|l| serde_json::to_string(l).expect("json") + "\n")
            .collect();
        let mut verifier = Verifier::new(None);
        // Cut at awkward places, as a network does.
        for piece in text.as_bytes().chunks(7) {
            verifier.feed(piece)?;
        }
        verifier.finish()
    }

    fn swap_event(lines: &mut [AuditExportLine], at: usize) {
        let forged = Event::new(EventKind::Login).user("mallory").to_bytes();
        if let AuditExportLine::Event { bytes, .. } = &mut lines[at + 1] {
            *bytes = base64::engine::general_purpose::STANDARD.encode(forged);
        }
    }

    #[test]
    fn what_the_authority_signs_is_fixed_for_good() {
        let mut expected = b"palisade audit head v1\0\0\0\0\x02c1\0\0\0\0\0\0\0\x02".to_vec();
        expected.extend([3; 32]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 4]);
        assert_eq!(canonical("c1", 2, &[3; 32], 4), expected);
    }

    #[test]
    fn a_whole_log_is_good() {
        let report = check(&log(10, &[1, 4, 9]).lines()).expect("a good log");
        assert_eq!((report.entries, report.covered, report.heads), (10, 9, 3));
    }

    #[test]
    fn the_first_bad_entry_is_named() {
        let whole = log(10, &[1, 4, 5, 9]).lines();
        let fault = |change: &dyn Fn(&mut Vec<AuditExportLine>)| {
            let mut lines = whole.clone();
            change(&mut lines);
            check(&lines).expect_err("a bad log").first_bad()
        };
        assert_eq!(fault(&|l| swap_event(l, 0)), Some((0, 0)));
        assert_eq!(fault(&|l| swap_event(l, 2)), Some((1, 3)));
        assert_eq!(fault(&|l| swap_event(l, 4)), Some((4, 4)));
        assert_eq!(
            fault(&|l| {
                l.remove(3);
            }),
            Some((2, 2))
        );
        assert_eq!(
            fault(&|l| {
                l.drain(8..11);
            }),
            Some((7, 7))
        );
        assert_eq!(
            fault(&|l| {
                if let AuditExportLine::Event { bytes, .. } = &mut l[4] {
                    *bytes = "AQID".into();
                }
            }),
            Some((3, 3))
        );
    }

    #[test]
    fn a_lost_page_is_named_unless_an_earlier_entry_is_bad() {
        let whole = log(16, &[3, 9, 16]).lines();
        let lost = |lines: &mut Vec<AuditExportLine>| {
            let page = AuditExportLine::Lost {
                first: 4,
                count: 4,
                file_sha256: "ab".into(),
                why: "node 2: no such segment".into(),
            };
            lines.splice(5..9, [page]);
        };
        let mut lines = whole.clone();
        lost(&mut lines);
        let fault = check(&lines).expect_err("a page is lost");
        assert_eq!(fault.first_bad(), Some((4, 4)));
        let said = fault.to_string();
        assert!(said.contains("4 to 7") && said.contains("node 2"), "{said}");
        swap_event(&mut lines, 1);
        assert_eq!(check(&lines).expect_err("two faults").first_bad(), Some((0, 2)));
        let mut elsewhere = whole;
        lost(&mut elsewhere);
        elsewhere.swap(4, 5);
        assert_eq!(
            check(&elsewhere).expect_err("out of order").first_bad(),
            Some((3, 3))
        );
    }

    #[test]
    fn a_changed_entry_that_no_head_covers_yet_is_not_called_good() {
        let report = check(&log(10, &[4]).lines()).expect("a good log");
        assert_eq!(report.covered, 4, "the rest must be told apart");
        assert_eq!(check(&log(10, &[]).lines()), Err(Fault::Unsigned(10)));
        assert_eq!(check(&log(3, &[0]).lines()), Err(Fault::Unsigned(3)));
    }

    #[test]
    fn forged_heads_and_foreign_authorities_are_refused() {
        let mut lines = log(4, &[4]).lines();
        if let Some(AuditExportLine::Head { signature, .. }) = lines.last_mut() {
            signature.replace_range(0..2, if signature.starts_with("00") { "01" } else { "00" });
        }
        assert_eq!(check(&lines), Err(Fault::Forged { size: 4 }));
        let mut lines = log(4, &[4]).lines();
        if let AuditExportLine::Authority { cluster_id, .. } = &mut lines[0] {
            *cluster_id = "another".into();
        }
        assert_eq!(check(&lines), Err(Fault::Forged { size: 4 }));
        let other = PublicKey::from(ssh_key::public::Ed25519PublicKey([9; 32]));
        let mut verifier = Verifier::new(Some(other));
        let first = serde_json::to_vec(&log(1, &[1]).lines()[0]).expect("json");
        assert!(verifier.feed(&first).and_then(|()| verifier.feed(b"\n")).is_err());
    }

    #[test]
    fn garbage_is_refused_with_its_line() {
        let mut verifier = Verifier::new(None);
        assert!(matches!(
            verifier.feed(b"\n{\"event\":\n"),
            Err(Fault::Line { line: 2, .. })
        ));
        let mut verifier = Verifier::new(None);
        assert!(matches!(
            verifier.feed(&vec![b'x'; LINE_MAX + 1]),
            Err(Fault::Line { line: 1, .. })
        ));
        assert_eq!(
            Verifier::new(None).finish(),
            Err(Fault::Authority("there is none".into()))
        );
    }
}
