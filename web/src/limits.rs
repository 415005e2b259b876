//! How often something may be tried: token buckets by address or by name, bounded in number.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// So many at once, and so many a second after that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// At once.
    pub burst: f64,
    /// A second, in the long run.
    pub per_second: f64,
}

/// Buckets kept at most; beyond that, those that are full again are forgotten.
const BUCKETS_MAX: usize = 20_000;

/// How long after looking for full buckets in vain it is not done again: a flood of sources must not cost more.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// One bucket a key.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<Kept<K>>,
}

#[derive(Debug)]
struct Kept<K> {
    levels: HashMap<K, (f64, Instant)>,
    swept: Option<Instant>,
}

impl<K: Hash + Eq> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Buckets {
            rate,
            buckets: Mutex::new(Kept {
                levels: HashMap::new(),
                swept: None,
            }),
        }
    }

    /// Takes one from the key's bucket; false if it is empty.
    pub(crate) fn take(&self, key: K) -> bool {
        self.take_at(key, Instant::now())
    }

    fn take_at(&self, key: K, now: Instant) -> bool {
        let Rate { burst, per_second } = self.rate;
        let level = |(left, at): (f64, Instant)| {
            (left + now.saturating_duration_since(at).as_secs_f64() * per_second).min(burst)
        };
        let mut kept = self.buckets.lock();
        if kept.levels.len() >= BUCKETS_MAX && !kept.levels.contains_key(&key) {
            if kept
                .swept
                .is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_EVERY)
            {
                kept.levels.retain(|_, bucket| level(*bucket) < burst);
                kept.swept = Some(now);
            }
            if kept.levels.len() >= BUCKETS_MAX {
                // Thousands of sources at once: refusing new ones keeps memory bounded.
                return false;
            }
        }
        let bucket = kept.levels.entry(key).or_insert((burst, now));
        let left = level(*bucket);
        let takes = left >= 1.0;
        *bucket = (if takes { left - 1.0 } else { left }, now);
        takes
    }
}

/// The source that a limit counts: an IPv4 address, or the /64 that one IPv6 customer holds.
pub(crate) fn source(addr: Option<IpAddr>) -> IpAddr {
    match addr.map(|a| a.to_canonical()) {
        Some(IpAddr::V6(v6)) => {
            let bits = v6.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        Some(v4) => v4,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let buckets = Buckets::new(Rate {
            burst: 3.0,
            per_second: 1.0,
        });
        let start = Instant::now();
        let passed = (0..10).filter(|_| buckets.take_at("a", start)).count();
        assert_eq!(passed, 3);
        assert!(buckets.take_at("b", start));
        assert!(buckets.take_at("a", start + Duration::from_secs(1)));
        assert!(!buckets.take_at("a", start + Duration::from_secs(1)));
    }

    #[test]
    fn memory_stays_bounded_under_many_sources() {
        let buckets = Buckets::new(Rate {
            burst: 2.0,
            per_second: 0.0,
        });
        for key in 0..BUCKETS_MAX * 2 {
            buckets.take(key);
        }
        assert!(buckets.buckets.lock().levels.len() <= BUCKETS_MAX);
    }

    #[test]
    fn one_ipv6_customer_is_one_source() {
        let of = |text: &str| source(Some(text.parse().expect("an address")));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
