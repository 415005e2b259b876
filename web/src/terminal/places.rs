//! How many terminals there may be. A socket is no connection of the listener any more, so that they are counted here.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Places, some of them for each key.
#[derive(Debug)]
pub(crate) struct Places<K> {
    most: usize,
    most_each: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// One place; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Hash + Eq>(Arc<Places<K>>, K);

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// All of the key's are taken.
    Each,
    /// All are taken.
    All,
}

impl<K: Hash + Eq + Clone> Places<K> {
    pub(crate) fn new(most: usize, most_each: usize) -> Arc<Self> {
        Arc::new(Places {
            most,
            most_each,
            taken: Mutex::default(),
        })
    }

    /// A place, unless there is none.
    pub(crate) fn take(self: &Arc<Self>, key: K) -> Result<Place<K>, Full> {
        let mut taken = self.taken.lock();
        let here = taken.get(&key).copied().unwrap_or(0);
        if here >= self.most_each {
            return Err(Full::Each);
        }
        if taken.values().sum::<usize>() >= self.most {
            return Err(Full::All);
        }
        taken.insert(key.clone(), here + 1);
        Ok(Place(Arc::clone(self), key))
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock();
        if let Some(here) = taken.get_mut(&self.1) {
            *here -= 1;
            if *here == 0 {
                taken.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let places = Places::new(3, 2);
        let one = places.take("a").expect("a place");
        let _two = places.take("a").expect("a place");
        assert_eq!(places.take("a").err(), Some(Full::Each));
        let _three = places.take("b").expect("a place");
        assert_eq!(places.take("c").err(), Some(Full::All));
        drop(one);
        assert!(places.take("c").is_ok());
        assert_eq!(places.taken.lock().len(), 2);
    }
}
