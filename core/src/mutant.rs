//! Faults that are built in on purpose, so that each checker of `chaos` can be shown to catch one.
//!
//! A build without debug assertions, which is every build that ships, has none of them: [`active`] is then a constant
//! `false`, and what it guards is compiled away. In a debug build one of them can be switched on for the whole
//! process; nothing in the product does so, only `chaos` and the node's `PALISADE_MUTANT`, which exists in such a
//! build alone.

#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU8, Ordering};

/// One deliberate fault. Which checker caught it is written in `chaos/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// The log says that an append is durable before it was synced.
    ReplyBeforeSync = 1,
    /// A vote is granted and never written.
    SkipVote,
    /// An entry is applied without the audit event that belongs to it.
    DropAuditEvent,
    /// A leader answers from its lease after the lease has run out.
    StaleLease,
    /// An entry that was applied is applied once more after a restart.
    ApplyTwice,
    /// A request id is not looked up: a proposal that is made again has its effect again.
    ForgetRequests,
    /// A vote is given to whoever asks, however short the log.
    GrantAnyVote,
    /// Entries are taken without a look at the one before them.
    IgnorePrevious,
    /// A linearizable read asks no quorum whether this leader still leads.
    ReadWithoutQuorum,
    /// Of entries that are applied in one batch, one change is lost.
    LoseChange,
    /// An audit event is stored with other bytes than the tree hashes.
    TamperEvent,
    /// An outcome that is not known is told as done.
    AnswerUnknown,
    /// How far the state is applied is told from the end of a batch to its beginning.
    ApplyBackwards,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 13] = [
        Mutant::ReplyBeforeSync,
        Mutant::SkipVote,
        Mutant::DropAuditEvent,
        Mutant::StaleLease,
        Mutant::ApplyTwice,
        Mutant::ForgetRequests,
        Mutant::GrantAnyVote,
        Mutant::IgnorePrevious,
        Mutant::ReadWithoutQuorum,
        Mutant::LoseChange,
        Mutant::TamperEvent,
        Mutant::AnswerUnknown,
        Mutant::ApplyBackwards,
    ];

    /// The name it is switched on by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mutant::ReplyBeforeSync => "reply-before-sync",
            Mutant::SkipVote => "skip-vote",
            Mutant::DropAuditEvent => "drop-audit-event",
            Mutant::StaleLease => "stale-lease",
            Mutant::ApplyTwice => "apply-twice",
            Mutant::ForgetRequests => "forget-requests",
            Mutant::GrantAnyVote => "grant-any-vote",
            Mutant::IgnorePrevious => "ignore-previous",
            Mutant::ReadWithoutQuorum => "read-without-quorum",
            Mutant::LoseChange => "lose-change",
            Mutant::TamperEvent => "tamper-event",
            Mutant::AnswerUnknown => "answer-unknown",
            Mutant::ApplyBackwards => "apply-backwards",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Mutant> {
        Mutant::ALL.into_iter().find(|mutant| mutant.name() == name)
    }
}

#[cfg(debug_assertions)]
static ACTIVE: AtomicU8 = AtomicU8::new(0);

/// Switches one on for the whole process, for good. Only a debug build has this function.
#[cfg(debug_assertions)]
pub fn activate(mutant: Mutant) {
    ACTIVE.store(mutant as u8, Ordering::Relaxed);
}

/// Whether this fault is switched on: never, in a build that ships.
#[must_use]
#[inline]
pub fn active(mutant: Mutant) -> bool {
    #[cfg(debug_assertions)]
    let active = ACTIVE.load(Ordering::Relaxed) == mutant as u8;
    #[cfg(not(debug_assertions))]
    let active = {
        let _ = mutant;
        false
    };
    active
}
