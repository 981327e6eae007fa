//! The tokens and keys that one worker has verified. It is found by comparing the whole text, so that nobody can make one
//! that is taken for another's.
//!
//! Two segments: what came once and what came again. Whoever sends ever new tokens, good ones even, throws out what came
//! once only; of those that came again the one goes that was not used for longest, roughly (segmented LRU: Karedla, Love
//! and Wherry, "Caching strategies to improve disk system performance", 1994; with a clock in the second segment). Bad
//! ones are never in it.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use super::sealed::Sealed;

/// How many each segment holds.
const ONCE: usize = 1024;
const AGAIN: usize = 3072;

/// The longest text that is kept, in bytes.
const LONGEST: usize = 4096;

/// How many of its last bytes a text is found by: those of a signature, which differ.
const TAIL: usize = 32;

/// What a worker has verified.
#[derive(Default)]
pub(crate) struct Cache {
    hasher: RandomState,
    once: Segment,
    again: Segment,
}

#[derive(Default)]
struct Segment {
    entries: HashMap<u64, Entry>,
    /// What came first is in front; each is in it once.
    order: VecDeque<u64>,
}

struct Entry {
    text: Box<str>,
    sealed: Arc<Sealed>,
    used: bool,
}

// === impl Cache ===

impl Cache {
    /// What was verified of this text, if `good` says that it still holds.
    pub(crate) fn get(&mut self, text: &str, good: impl Fn(&Sealed) -> bool) -> Option<Arc<Sealed>> {
        let id = self.id(text);
        if let Some(entry) = self.again.entries.get_mut(&id) {
            if &*entry.text != text || !good(&entry.sealed) {
                return None;
            }
            entry.used = true;
            return Some(entry.sealed.clone());
        }
        let entry = self.once.entries.get(&id)?;
        if &*entry.text != text || !good(&entry.sealed) {
            return None;
        }
        let sealed = entry.sealed.clone();
        self.promote(id);
        Some(sealed)
    }

    /// Keeps what was verified, in place of what was before.
    pub(crate) fn put(&mut self, text: &str, sealed: Arc<Sealed>) {
        if text.len() > LONGEST {
            return;
        }
        let id = self.id(text);
        let entry = Entry { text: text.into(), sealed, used: false };
        if let Some(before) = self.again.entries.get_mut(&id) {
            *before = entry;
            return;
        }
        self.once.insert(id, entry);
        self.once.evict(ONCE);
    }

    fn promote(&mut self, id: u64) {
        let Some(entry) = self.once.remove(id) else { return };
        self.again.insert(id, entry);
        if let Some((id, entry)) = self.again.evict(AGAIN) {
            // It gets another chance among those that came once.
            self.once.insert(id, entry);
            self.once.evict(ONCE);
        }
    }

    fn id(&self, text: &str) -> u64 {
        let bytes = text.as_bytes();
        self.hasher.hash_one(&bytes[bytes.len().saturating_sub(TAIL)..])
    }
}

// === impl Segment ===

impl Segment {
    fn insert(&mut self, id: u64, entry: Entry) {
        if self.entries.insert(id, entry).is_none() {
            self.order.push_back(id);
        }
    }

    /// Looks through the order for it, which happens to a text once: when it comes again.
    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Some(at) = self.order.iter().position(|other| *other == id) {
            self.order.remove(at);
        }
        Some(entry)
    }

    /// Takes one out if there are more than so many: the first that was not used since it was last looked at.
    fn evict(&mut self, most: usize) -> Option<(u64, Entry)> {
        while self.entries.len() > most {
            let id = self.order.pop_front()?;
            match self.entries.get_mut(&id) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.order.push_back(id);
                }
                _ => return Some((id, self.entries.remove(&id)?)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::sealed;

    fn known(cache: &mut Cache, text: &str) -> bool {
        cache.get(text, |_| true).is_some()
    }

    #[test]
    fn a_flood_of_tokens_throws_out_none_that_came_again() {
        let mut cache = Cache::default();
        let good: Vec<String> = (0..AGAIN).map(|n| format!("good-{n}")).collect();
        for text in &good {
            cache.put(text, sealed(text));
            assert!(known(&mut cache, text));
        }
        for n in 0..10_000 {
            cache.put(&format!("flood-{n}"), sealed("flood"));
        }
        assert_eq!(good.iter().filter(|text| known(&mut cache, text)).count(), AGAIN);
        let flood = (0..10_000).filter(|n| cache.once.entries.contains_key(&cache.id(&format!("flood-{n}"))));
        assert_eq!(
            flood.count(),
            ONCE,
            "as many of the flood stay as there is room for those that came once"
        );
    }

    #[test]
    fn nothing_grows() {
        let mut cache = Cache::default();
        for n in 0..10_000 {
            let text = format!("token-{n}");
            cache.put(&text, sealed(&text));
            known(&mut cache, &text);
        }
        for (segment, most) in [(&cache.once, ONCE), (&cache.again, AGAIN)] {
            assert!(segment.entries.len() <= most && segment.order.len() == segment.entries.len());
        }
        let long = "x".repeat(LONGEST + 1);
        cache.put(&long, sealed("x"));
        assert!(!known(&mut cache, &long));
    }

    #[test]
    fn those_in_use_stay_before_those_that_came_twice() {
        let mut cache = Cache::default();
        cache.put("alice", sealed("alice"));
        for n in 0..4 * AGAIN {
            let text = format!("twice-{n}");
            cache.put(&text, sealed(&text));
            known(&mut cache, &text);
            if n % 1000 == 0 {
                assert!(known(&mut cache, "alice"), "after {n}");
            }
        }
    }

    #[test]
    fn a_text_with_the_same_end_is_another() {
        let mut cache = Cache::default();
        let end = "e".repeat(TAIL);
        cache.put(&format!("alice{end}"), sealed("alice"));
        assert!(!known(&mut cache, &format!("mallory{end}")) && !known(&mut cache, &end));
        assert!(cache.get(&format!("alice{end}"), |_| false).is_none(), "what does not hold any more");
        cache.put(&format!("bob{end}"), sealed("bob"));
        assert_eq!(cache.get(&format!("bob{end}"), |_| true).unwrap().who.subject, "bob");
    }
}
