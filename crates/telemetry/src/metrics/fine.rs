//! The last ten minutes, second by second, in memory: as long as they fit into their bound.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{point::Point, series::Key};

/// How many seconds are kept.
pub(super) const SECONDS: u64 = 600;
/// How many seconds calls may come late.
pub(super) const LATE: u64 = 3;

/// What each series adds up to in each of the last seconds.
pub(super) struct Fine {
    /// The bound, in bytes.
    most: usize,
    bytes: usize,
    /// Seconds that calls may still come for.
    open: BTreeMap<u64, HashMap<Key, Point>>,
    /// Seconds that are over, the oldest first.
    sealed: VecDeque<Sealed>,
    /// The first second that is not known because the node was not there, or had no room for it.
    pub(super) since: u64,
    /// How many seconds were forgotten before their time.
    pub(super) forgotten: u64,
}

/// A second that is over.
struct Sealed {
    second: u64,
    /// Each series, and where its point ends.
    rows: Box<[(Key, u32)]>,
    bytes: Box<[u8]>,
}

// === impl Fine ===

impl Fine {
    pub(super) fn new(most: usize, since: u64) -> Self {
        Self { most, bytes: 0, open: BTreeMap::new(), sealed: VecDeque::new(), since, forgotten: 0 }
    }

    /// Adds what a series adds up to in a second that is no more than [`LATE`] ago.
    pub(super) fn add(&mut self, second: u64, key: &Key, point: &Point) {
        let points = self.open.entry(second).or_default();
        match points.get_mut(key) {
            Some(sum) => sum.add(point),
            None => {
                points.insert(key.clone(), point.clone());
            }
        }
    }

    /// Closes seconds for which no call comes any more, and forgets those that are too old or too much.
    pub(super) fn pass(&mut self, now: u64) {
        while let Some(first) = self.open.first_entry().filter(|first| *first.key() + LATE < now) {
            let sealed = Sealed::new(*first.key(), first.get());
            first.remove();
            self.bytes += sealed.size();
            self.sealed.push_back(sealed);
        }
        while let Some(oldest) = self.sealed.front()
            && (oldest.second + SECONDS < now || self.bytes > self.most)
        {
            let second = oldest.second;
            self.forgotten += u64::from(second + SECONDS >= now);
            self.bytes -= oldest.size();
            self.sealed.pop_front();
            self.since = self.since.max(second + 1);
        }
        self.since = self.since.max(now.saturating_sub(SECONDS));
    }

    /// Each series in each second from `from` on and before `until`.
    pub(super) fn each(&self, from: u64, until: u64, mut see: impl FnMut(u64, &Key, &Point)) {
        let first = self.sealed.partition_point(|sealed| sealed.second < from);
        for sealed in self.sealed.range(first..).take_while(|sealed| sealed.second < until) {
            sealed.each(|key, point| see(sealed.second, key, &point));
        }
        for (&second, points) in self.open.range(from..until.max(from)) {
            points.iter().for_each(|(key, point)| see(second, key, point));
        }
    }

    /// Forgets everything: the clock was put back.
    pub(super) fn clear(&mut self, now: u64) {
        *self = Self { forgotten: self.forgotten, ..Self::new(self.most, now) };
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.bytes
    }
}

// === impl Sealed ===

impl Sealed {
    fn new(second: u64, points: &HashMap<Key, Point>) -> Self {
        let mut bytes = Vec::new();
        let row = |(key, point): (&Key, &Point)| {
            point.encode(&mut bytes);
            (key.clone(), u32::try_from(bytes.len()).unwrap_or(u32::MAX))
        };
        let rows = points.iter().map(row).collect();
        Self { second, rows, bytes: bytes.into() }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.rows) + self.bytes.len()
    }

    fn each(&self, mut see: impl FnMut(&Key, Point)) {
        let mut start = 0;
        for (key, end) in &self.rows {
            if let Some(point) = self.bytes.get(start..*end as usize).and_then(Point::decode) {
                see(key, point);
            }
            start = *end as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::record;

    fn key(service: &str) -> Key {
        Key { caller: "gateway".into(), service: Some(service.into()), release: None, route: None }
    }

    fn point(calls: u64) -> Point {
        let mut point = Point::default();
        (0..calls).for_each(|_| point.count(&record(), 0));
        point
    }

    fn seen(fine: &Fine, from: u64, until: u64) -> Vec<(u64, u64)> {
        let mut seen = Vec::new();
        fine.each(from, until, |second, _, point| seen.push((second, point.requests())));
        seen
    }

    #[test]
    fn a_second_is_whole_whenever_its_calls_come_and_is_forgotten_after_ten_minutes() {
        let mut fine = Fine::new(1 << 20, 1000);
        fine.add(1000, &key("users"), &point(2));
        fine.pass(1003);
        fine.add(1000, &key("users"), &point(1));
        fine.pass(1004);
        fine.add(1002, &key("users"), &point(5));
        assert_eq!(seen(&fine, 0, 2000), [(1000, 3), (1002, 5)]);
        assert_eq!(seen(&fine, 1001, 1002), []);
        fine.pass(1600);
        assert_eq!(seen(&fine, 0, 2000), [(1000, 3), (1002, 5)]);
        fine.pass(1601);
        assert_eq!(seen(&fine, 0, 2000), [(1002, 5)]);
        assert_eq!((fine.since, fine.forgotten), (1001, 0));
    }

    #[test]
    fn what_is_too_much_is_forgotten_from_its_oldest_end_and_counted() {
        let mut fine = Fine::new(64 * 1024, 0);
        for second in 0..500 {
            (0..20).for_each(|n| fine.add(second, &key(&format!("s{n}")), &point(1)));
            fine.pass(second);
            assert!(fine.size() <= 64 * 1024, "{}", fine.size());
        }
        let kept = seen(&fine, 0, 500);
        assert!(fine.forgotten > 300 && fine.since == kept[0].0, "{} {}", fine.forgotten, fine.since);
        assert_eq!(kept.last(), Some(&(499, 1)));
    }
}
