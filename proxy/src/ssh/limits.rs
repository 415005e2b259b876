//! How many connections there may be, before and after authentication.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct Limits {
    per_address_max: usize,
    waiting_max: usize,
    connections_max: usize,
    waiting: Mutex<(usize, HashMap<IpAddr, usize>)>,
    connections: AtomicUsize,
}

impl Limits {
    pub(crate) fn new(per_address_max: usize, waiting_max: usize, connections_max: usize) -> Arc<Self> {
        Arc::new(Limits {
            per_address_max,
            waiting_max,
            connections_max,
            waiting: Mutex::default(),
            connections: AtomicUsize::new(0),
        })
    }

    /// A place for one connection, unless there is none.
    pub(crate) fn connection(self: &Arc<Self>) -> Option<Place> {
        let taken = self.connections.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (taken < self.connections_max).then_some(place)
    }

    /// A place among those who have not authenticated yet.
    pub(crate) fn unauthenticated(self: &Arc<Self>, address: IpAddr) -> Option<Waiting> {
        let address = address.to_canonical();
        let mut waiting = self.waiting.lock();
        let (all, by_address) = &mut *waiting;
        let here = by_address.get(&address).copied().unwrap_or(0);
        if *all >= self.waiting_max || here >= self.per_address_max {
            return None;
        }
        *all += 1;
        by_address.insert(address, here + 1);
        Some(Waiting {
            limits: Arc::clone(self),
            address,
        })
    }
}

/// One connection; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Limits>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One unauthenticated connection; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    limits: Arc<Limits>,
    address: IpAddr,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.limits.waiting.lock();
        waiting.0 -= 1;
        if let Some(here) = waiting.1.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                waiting.1.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_open_connections_are_capped_and_given_back() {
        let limits = Limits::new(2, 3, 10);
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = limits.unauthenticated(a).expect("free");
        let _second = limits.unauthenticated(a).expect("free");
        assert!(limits.unauthenticated(a).is_none(), "the third from one address");
        let _other = limits.unauthenticated(b).expect("another address is served");
        assert!(limits.unauthenticated(b).is_none(), "the fourth in all");
        drop(first);
        assert!(limits.unauthenticated(b).is_some());
        assert_eq!(limits.waiting.lock().1.len(), 2);
    }

    #[test]
    fn an_address_in_either_form_is_one_address() {
        let limits = Limits::new(1, 9, 9);
        let _place = limits
            .unauthenticated("10.0.0.1".parse().expect("v4"))
            .expect("free");
        assert!(
            limits
                .unauthenticated("::ffff:10.0.0.1".parse().expect("v6"))
                .is_none()
        );
    }
}
