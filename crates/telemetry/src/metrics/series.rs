//! Which calls are counted apart, and a bound on how many such series there are.

use std::{collections::HashMap, sync::Arc};

use madang_wire::{
    Hop, RequestRecord,
    metrics::{GATEWAY, LISTENER, OTHER},
};

/// What sets calls apart. All of it comes from the manifest, but releases: those come with each edit and build.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) caller: Arc<str>,
    pub(crate) service: Option<Arc<str>>,
    pub(crate) release: Option<Arc<str>>,
    /// Of requests from outside only: what a service calls is no route.
    pub(crate) route: Option<Arc<str>>,
}

/// The series that are counted apart, by numbers that are used again.
pub(super) struct Registry {
    most: usize,
    numbers: HashMap<Key, u32>,
    known: Vec<Known>,
    free: Vec<u32>,
    callers: [Arc<str>; 2],
}

struct Known {
    key: Key,
    /// The second of its last call.
    used: u64,
}

/// How long a series is kept apart after its last call, in seconds.
const IDLE: u64 = 3600;
/// The same if there is no room for others.
const CROWDED: u64 = 601;

// === impl Registry ===

impl Registry {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            numbers: HashMap::new(),
            known: Vec::new(),
            free: Vec::new(),
            callers: [GATEWAY.into(), LISTENER.into()],
        }
    }

    /// The number of the series of a call in this second, and whether it is its own.
    pub(super) fn number(&mut self, record: &RequestRecord, second: u64) -> (u32, bool) {
        let key = self.key(record);
        if let Some(&number) = self.numbers.get(&key) {
            let used = &mut self.known[number as usize].used;
            *used = second.max(*used);
            return (number, true);
        }
        if self.numbers.len() < self.most {
            return (self.add(key, second), true);
        }
        // What it is called is forgotten first, then by whom: what a service does as a whole is known to the last.
        let other = Some(Arc::from(OTHER));
        let other = Key { release: None, route: key.route.and(other), ..key };
        let crowd = Key { caller: OTHER.into(), service: None, release: None, route: None };
        // Twice as many at most, and one more for all that then is left.
        let key = if self.numbers.len() < 2 * self.most { other } else { crowd };
        match self.numbers.get(&key) {
            Some(&number) => {
                self.known[number as usize].used = second;
                (number, false)
            }
            None => (self.add(key, second), false),
        }
    }

    pub(super) fn key_of(&self, number: u32) -> &Key {
        &self.known[number as usize].key
    }

    /// Each series that is kept apart now.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Key)> {
        self.numbers.iter().map(|(key, &number)| (number, key))
    }

    /// Forgets those without a call for long, sooner if there is no room; and says which.
    pub(super) fn expire(&mut self, second: u64) -> Vec<u32> {
        let idle = if self.numbers.len() >= self.most { CROWDED } else { IDLE };
        let known = &self.known;
        let gone: Vec<u32> = self
            .numbers
            .values()
            .copied()
            .filter(|&number| known[number as usize].used + idle < second)
            .collect();
        for &number in &gone {
            self.numbers.remove(&self.known[number as usize].key);
        }
        self.free.extend(&gone);
        gone
    }

    fn add(&mut self, key: Key, used: u64) -> u32 {
        let known = Known { key: key.clone(), used };
        let number = match self.free.pop() {
            Some(number) => {
                self.known[number as usize] = known;
                number
            }
            None => {
                self.known.push(known);
                (self.known.len() - 1) as u32
            }
        };
        self.numbers.insert(key, number);
        number
    }

    fn key(&self, record: &RequestRecord) -> Key {
        let [gateway, listener] = &self.callers;
        let outside = record.hop == Hop::Gateway;
        Key {
            caller: if outside {
                gateway.clone()
            } else {
                record.caller.as_ref().unwrap_or(listener).clone()
            },
            service: record.service.clone(),
            release: record.release.clone(),
            route: record.route.clone().filter(|_| outside),
        }
    }
}

// === impl Key ===

impl Key {
    /// The number under which it is kept over restarts: a hash (FNV-1a) of all of it.
    pub(super) fn id(&self) -> i64 {
        let parts = [Some(&self.caller), self.service.as_ref(), self.release.as_ref(), self.route.as_ref()];
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        for part in parts {
            eat(u8::from(part.is_some()));
            part.into_iter().flat_map(|part| part.bytes()).for_each(&mut eat);
            eat(0xff);
        }
        hash.cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::record;

    fn to(service: &str) -> RequestRecord {
        RequestRecord { service: Some(service.into()), ..record() }
    }

    #[test]
    fn calls_are_apart_by_caller_service_release_and_route() {
        let mut registry = Registry::new(10);
        let (first, own) = registry.number(&to("users"), 1);
        assert!(own);
        assert_eq!(registry.number(&to("users"), 2), (first, true));
        let release = RequestRecord { release: Some("r2".into()), ..to("users") };
        assert_ne!(registry.number(&release, 1).0, first);
        let door = RequestRecord { hop: Hop::Door, caller: None, ..to("users") };
        let (number, _) = registry.number(&door, 1);
        let key = registry.key_of(number);
        assert_eq!((&*key.caller, &key.route), (LISTENER, &None), "no route inside");
        assert_eq!(registry.all().count(), 3);
    }

    #[test]
    fn too_many_are_added_up_and_said_to_be() {
        let mut registry = Registry::new(2);
        for n in 0..100 {
            let (_, own) = registry.number(&to(&format!("s{n}")), 1);
            assert_eq!(own, n < 2, "{n}");
        }
        assert_eq!(registry.all().count(), 5);
        assert!(registry.all().any(|(_, key)| &*key.caller == OTHER));
    }

    #[test]
    fn a_number_is_used_again_once_its_series_is_idle() {
        let mut registry = Registry::new(10);
        let (first, _) = registry.number(&to("users"), 1);
        registry.number(&to("orders"), IDLE);
        assert_eq!(registry.expire(IDLE + 1), [0; 0]);
        assert_eq!(registry.expire(IDLE + 2), [first]);
        assert_eq!(registry.number(&to("mail"), IDLE + 2), (first, true));
        assert_eq!(registry.number(&to("users"), IDLE + 2), (2, true));
    }

    #[test]
    fn an_id_depends_on_which_part_a_text_is() {
        let key = |release: Option<&str>, route: Option<&str>| Key {
            caller: GATEWAY.into(),
            service: Some("users".into()),
            release: release.map(Into::into),
            route: route.map(Into::into),
        };
        let ids = [key(None, Some("a")), key(Some("a"), None), key(Some(""), None), key(None, None)]
            .map(|key| key.id());
        let apart: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(apart.len(), 4);
    }
}
