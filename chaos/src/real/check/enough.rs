//! A run in which too little happened shows nothing: it fails.

use super::{Said, unless};
use crate::real::history::Count;
use std::collections::BTreeMap;

/// The kinds of operation that every run must have, and how many of them succeed at least for ten faults.
pub const LEAST: [(&str, u64); 14] = [
    ("write", 60),
    ("read", 60),
    ("compare-and-set", 20),
    ("lock", 20),
    ("unlock", 10),
    ("token", 5),
    ("repetition", 5),
    ("login", 8),
    ("shell at a host", 3),
    ("shell at an agent", 3),
    ("transfer", 6),
    ("forward at a host", 1),
    ("forward at an agent", 1),
    ("audit page", 20),
];

/// Checks that enough happened.
pub fn check(faults: usize, wanted: usize, counts: &BTreeMap<&'static str, Count>) -> Said {
    let mut wrong = Vec::new();
    if faults < wanted {
        wrong.push(format!("{faults} faults were made of {wanted}"));
    }
    for (kind, least) in LEAST {
        let ok = counts.get(kind).map_or(0, |count| count.ok);
        let least = (least * wanted as u64).div_ceil(10);
        if ok < least {
            wrong.push(format!("{kind}: {ok} succeeded, at least {least} should have"));
        }
    }
    let ok: u64 = counts.values().map(|count| count.ok).sum();
    unless(
        wrong,
        format!("{faults} faults, {ok} operations that succeeded, of every kind"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_faults_or_operations_of_a_kind_are_no_pass() {
        let many = Count {
            ok: 1000,
            ..Count::default()
        };
        let all: BTreeMap<_, _> = LEAST.iter().map(|(kind, _)| (*kind, many)).collect();
        check(20, 20, &all).expect("enough");
        check(19, 20, &all).expect_err("a fault is missing");
        for (kind, _) in LEAST {
            let mut few = all.clone();
            few.insert(
                kind,
                Count {
                    ok: 0,
                    failed: 1000,
                    unknown: 1000,
                },
            );
            check(20, 20, &few).expect_err(kind);
            few.remove(kind);
            check(20, 20, &few).expect_err(kind);
        }
    }
}
