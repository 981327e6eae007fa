//! Rate limits: how many requests are taken of whom.
//!
//! A limit counts where it was given: that of the gateway over all routes, that of a service over all routes to it. What
//! it counted outlives every change of the manifest that leaves it as it is. Those that are [`shared`] are counted together
//! with other gateways.

pub(crate) mod shared;
pub(crate) mod table;

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use madang_model::{
    Scope,
    edge::{Per, RateLimit, WhenDown},
};
use madang_wire::principal::FROM_KEY;
use tokio::time::Instant;

use self::{
    shared::Store,
    table::{Account, Counted, Left, Pace, Spent, Table},
};
use crate::{
    auth::who::Who,
    written::{digits, field},
};

/// One limit of one scope.
pub(crate) struct Limiter {
    /// Its scope with its name, by which it is found again after a change.
    pub(crate) id: String,
    pub(crate) limit: RateLimit,
    pace: Pace,
    header: Option<HeaderName>,
    /// Found or made when the manifest that has it comes into force.
    table: OnceLock<Arc<Table>>,
    /// Where it is shared, if it is.
    store: OnceLock<Arc<Store>>,
    /// Requests refused because it could not be shared.
    blind: AtomicU64,
}

/// The limits that hold over a route: all of them do.
pub(crate) struct Limits {
    limiters: Box<[Arc<Limiter>]>,
    /// What `RateLimit-Policy` says.
    policy: HeaderValue,
}

/// Of whom a request is counted.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) address: IpAddr,
    pub(crate) who: Option<&'a Who>,
    pub(crate) headers: &'a HeaderMap,
}

/// The same, as one limit counts.
#[derive(Hash, PartialEq, Eq, Debug, Clone, Copy)]
pub(crate) enum Whose<'a> {
    Network(u64),
    Known(&'a str, &'a str),
    Sent(&'a [u8]),
    All,
}

/// That a request is one too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("more than {burst} requests at once, or more than {rate}, per {per}")]
pub(crate) struct TooMany {
    burst: u32,
    rate: String,
    per: String,
    pub(crate) retry_after: Duration,
    /// What `RateLimit` says.
    pub(crate) left: HeaderValue,
}

/// Why a request does not pass the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stopped {
    TooMany(TooMany),
    /// A limit that must be shared cannot be.
    Blind(Blind),
}

/// That a limit is not counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the limit \"{0}\" is counted together with other gateways, and they cannot be asked")]
pub(crate) struct Blind(String);

/// What a limit did since it began to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitStats {
    /// The scope that gives it, with its name: `gateway address`, `service orders hourly`.
    pub limit: String,
    /// Requests refused.
    pub refused: u64,
    /// Requests that were counted together with others, because more clients owed at once than can be told apart.
    pub crowded: u64,
    /// Requests refused because the limit is shared and its store could not be asked.
    pub blind: u64,
}

// === impl Limiter ===

impl Limiter {
    /// A limit of a scope; `of` says whose it is, where there are several of the scope.
    pub(crate) fn new(scope: Scope, of: &str, limit: &RateLimit) -> Self {
        let each = u64::try_from(limit.rate.each().as_nanos()).unwrap_or(u64::MAX).max(1);
        let header = match &limit.per {
            Per::Header(name) => name.parse().ok(),
            _ => None,
        };
        let of = if of.is_empty() { String::new() } else { format!(" {of}") };
        Self {
            id: format!("{scope}{of} {}", limit.name),
            limit: limit.clone(),
            pace: Pace { each, burst: limit.burst },
            header,
            table: OnceLock::new(),
            store: OnceLock::new(),
            blind: AtomicU64::new(0),
        }
    }

    /// Goes on with what was counted before.
    pub(crate) fn adopt(&self, before: Option<&Self>) {
        let before = before.filter(|before| before.limit == self.limit);
        let kept = before.and_then(|before| before.table.get().cloned());
        self.table.get_or_init(|| kept.unwrap_or_else(|| self.new_table()));
        self.blind.fetch_max(before.map_or(0, |before| before.blind.load(Relaxed)), Relaxed);
    }

    /// From now on it is shared there, if the manifest wants that.
    pub(crate) fn share(&self, store: &Arc<Store>) {
        if self.limit.shared.is_some() {
            self.store.get_or_init(|| store.clone());
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.store.get().is_some()
    }

    pub(crate) fn stats(&self) -> LimitStats {
        let Counted { refused, crowded } = self.table.get().map(|table| table.counted()).unwrap_or_default();
        LimitStats { limit: self.id.clone(), refused, crowded, blind: self.blind.load(Relaxed) }
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| self.new_table())
    }

    fn new_table(&self) -> Arc<Table> {
        Arc::new(Table::new(self.limit.shared.is_some()))
    }

    /// Whether nobody passes because others cannot be asked.
    fn is_blind(&self) -> bool {
        self.limit.shared == Some(WhenDown::Refuse) && self.store.get().is_some_and(|store| store.is_down())
    }

    /// Whoever is not known, or sends no such header, is counted by address: nobody escapes by leaving it out.
    fn whose<'a>(&self, asking: Asking<'a>) -> Whose<'a> {
        let known = match self.limit.per {
            Per::All => Some(Whose::All),
            Per::Principal => asking.who.map(|who| Whose::Known(&who.from, &who.subject)),
            Per::Key => {
                let by_key = asking.who.filter(|who| who.from == FROM_KEY);
                by_key.map(|who| Whose::Known(&who.from, &who.subject))
            }
            Per::Header(_) => {
                let sent = self.header.as_ref().and_then(|name| asking.headers.get(name));
                sent.map(|value| Whose::Sent(value.as_bytes()))
            }
            Per::Address => None,
        };
        known.unwrap_or_else(|| Whose::Network(network(asking.address)))
    }

    fn too_many(&self, retry_after: Duration, left: HeaderValue) -> TooMany {
        TooMany {
            burst: self.limit.burst,
            rate: self.limit.rate.to_string(),
            per: self.limit.per.to_string(),
            retry_after,
            left,
        }
    }

    /// An item of `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11, section 4).
    fn tell(&self, left: Left, told: &mut Vec<u8>) {
        if !told.is_empty() {
            told.extend_from_slice(b", ");
        }
        // Whole seconds, and never so few that all would not be there yet.
        let seconds = left.whole_in.as_secs() + u64::from(left.whole_in.subsec_nanos() > 0);
        told.push(b'"');
        told.extend_from_slice(self.limit.name.as_bytes());
        told.extend_from_slice(b"\";r=");
        digits(left.count.into(), told);
        told.extend_from_slice(b";t=");
        digits(seconds, told);
    }
}

/// A client of IPv6 has a whole network of addresses.
pub(crate) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

// === what a store is told and tells ===

impl Limiter {
    /// The limit's part of a key, the same for all gateways that have it.
    pub(crate) fn key(&self) -> String {
        format!("{:016x}", shared::short(self.id.as_bytes()))
    }

    /// What was taken and not told yet, of so many clients at most.
    pub(crate) fn spent(&self, most: usize) -> Vec<Spent> {
        self.table().spent(most)
    }

    /// In how long that is paid.
    pub(crate) fn amount(&self, spent: &Spent) -> Duration {
        Duration::from_nanos(self.pace.each.saturating_mul(spent.count))
    }

    /// The longest debt that is believed: so many bursts.
    pub(crate) fn most_owed(&self, bursts: u64) -> Duration {
        let burst = self.pace.each.saturating_mul(self.pace.burst.into());
        // What a double holds to the microsecond, added to the time since 1970.
        Duration::from_nanos(burst.saturating_mul(bursts)).min(Duration::from_secs(1_000_000_000))
    }

    /// What is owed altogether, as of this moment.
    pub(crate) fn settle(&self, spent: &Spent, at: Instant, owed: Duration, bursts: u64) {
        let owed = owed.min(self.most_owed(bursts)).as_nanos();
        let table = self.table();
        table.settle(spent, table.at(at).saturating_add(u64::try_from(owed).unwrap_or(u64::MAX)), self.pace);
    }

    /// Nobody is to be told of it any more; how many requests that are.
    pub(crate) fn forget(&self, spent: &Spent) -> u64 {
        self.table().forget(spent);
        spent.count
    }
}

// === impl Limits ===

impl Limits {
    /// Nothing if there is no limit.
    pub(crate) fn new(limiters: impl IntoIterator<Item = Arc<Limiter>>) -> Option<Self> {
        let limiters: Box<[_]> = limiters.into_iter().collect();
        // Section 3 of the draft: the quota is what may come at once, the window the time in which that comes back.
        let item = |limiter: &Arc<Limiter>| {
            let window = Duration::from_nanos(limiter.pace.each.saturating_mul(limiter.pace.burst.into()));
            let seconds = window.as_millis().div_ceil(1000);
            format!("\"{}\";q={};w={seconds}", limiter.limit.name, limiter.limit.burst)
        };
        let policy = limiters.iter().map(item).collect::<Vec<_>>().join(", ");
        let policy = HeaderValue::try_from(policy).ok()?;
        (!limiters.is_empty()).then_some(Self { limiters, policy })
    }

    pub(crate) fn policy(&self) -> &HeaderValue {
        &self.policy
    }

    /// Counts a request with all limits, or with none if it is too many for one; says what is left.
    pub(crate) fn take(&self, asking: Asking<'_>) -> Result<HeaderValue, Stopped> {
        if let Some(blind) = self.limiters.iter().find(|limiter| limiter.is_blind()) {
            blind.blind.fetch_add(1, Relaxed);
            return Err(Stopped::Blind(Blind(blind.limit.name.clone())));
        }
        let mut taken: Vec<(Account<'_>, Pace)> = Vec::new();
        let mut told = Vec::with_capacity(48 * self.limiters.len());
        let time = Instant::now();
        for limiter in &self.limiters {
            let table = limiter.table();
            let now = table.at(time);
            let whose = limiter.whose(asking);
            let account = table.account(whose, now, || shared::name(whose));
            match account.take(now, limiter.pace) {
                Ok(left) => {
                    limiter.tell(left, &mut told);
                    match self.limiters.len() {
                        // There is nobody after it who could refuse.
                        1 => account.tell(),
                        _ => taken.push((account, limiter.pace)),
                    }
                }
                Err(wait) => {
                    taken.into_iter().for_each(|(account, pace)| account.give_back(pace));
                    table.refuse();
                    told.clear();
                    limiter.tell(Left { count: 0, whole_in: wait }, &mut told);
                    return Err(Stopped::TooMany(limiter.too_many(wait, field(told))));
                }
            }
        }
        taken.into_iter().for_each(|(account, _)| account.tell());
        Ok(field(told))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn limiter(rate: &str, burst: u32, per: &str) -> Arc<Limiter> {
        let per: Per = per.parse().unwrap();
        let name = per.to_string().replace(':', "-");
        let limit = RateLimit { name, rate: rate.parse().unwrap(), burst, per, shared: None };
        Arc::new(Limiter::new(Scope::Gateway, "", &limit))
    }

    fn limits<const N: usize>(limiters: [&Arc<Limiter>; N]) -> Limits {
        Limits::new(limiters.map(Arc::clone)).unwrap()
    }

    fn ask(limits: &Limits, address: &str, tenant: &str) -> Result<String, Duration> {
        let mut headers = HeaderMap::new();
        if !tenant.is_empty() {
            headers.insert("x-tenant", tenant.parse().unwrap());
        }
        let asking = Asking { address: address.parse().unwrap(), who: None, headers: &headers };
        let told = limits.take(asking).map_err(|stopped| match stopped {
            Stopped::TooMany(too_many) => too_many.retry_after,
            Stopped::Blind(blind) => panic!("{blind}"),
        })?;
        Ok(told.to_str().unwrap().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_told_what_is_left_in_the_form_of_the_draft() {
        let limits = limits([&limiter("100/m", 100, "address"), &limiter("5/s", 10, "all")]);
        assert_eq!(limits.policy(), "\"address\";q=100;w=60, \"all\";q=10;w=2");
        assert_eq!(ask(&limits, "192.0.2.1", "").unwrap(), "\"address\";r=99;t=1, \"all\";r=9;t=1");
        assert_eq!(ask(&limits, "192.0.2.2", "").unwrap(), "\"address\";r=99;t=1, \"all\";r=8;t=1");
        assert_eq!(ask(&limits, "192.0.2.2", "").unwrap(), "\"address\";r=98;t=2, \"all\";r=7;t=1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_one_limit_refuses_costs_nothing_of_the_others() {
        let (wide, narrow) = (limiter("100/m", 100, "all"), limiter("1/s", 1, "address"));
        let both = limits([&wide, &narrow]);
        ask(&both, "192.0.2.1", "").unwrap();
        for _ in 0..10 {
            assert_eq!(ask(&both, "192.0.2.1", ""), Err(Duration::from_secs(1)));
        }
        assert_eq!(ask(&limits([&wide]), "192.0.2.1", "").unwrap(), "\"all\";r=98;t=2");
        assert_eq!((narrow.stats().refused, wide.stats().refused), (10, 0));
        advance(Duration::from_secs(1)).await;
        ask(&both, "192.0.2.1", "").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_client() {
        let limits = limits([&limiter("1/h", 1, "address")]);
        ask(&limits, "2001:db8::1", "").unwrap();
        assert!(ask(&limits, "2001:db8::ffff:2", "").is_err());
        ask(&limits, "2001:db8:0:1::1", "").unwrap();
        ask(&limits, "::ffff:192.0.2.1", "").unwrap();
        assert!(ask(&limits, "192.0.2.1", "").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_the_header_out_is_counted_by_address() {
        let limits = limits([&limiter("1/h", 1, "header:x-tenant")]);
        ask(&limits, "192.0.2.1", "acme").unwrap();
        assert!(ask(&limits, "192.0.2.2", "acme").is_err());
        ask(&limits, "192.0.2.1", "other").unwrap();
        ask(&limits, "192.0.2.1", "").unwrap();
        assert!(ask(&limits, "192.0.2.1", "").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_the_manifest_forgets_nothing_of_a_limit_that_stays() {
        let (before, after, other) =
            (limiter("1/h", 1, "all"), limiter("1/h", 1, "all"), limiter("2/h", 1, "all"));
        before.adopt(None);
        ask(&limits([&before]), "192.0.2.1", "").unwrap();
        after.adopt(Some(&before));
        assert!(ask(&limits([&after]), "192.0.2.1", "").is_err());
        other.adopt(Some(&before));
        ask(&limits([&other]), "192.0.2.1", "").unwrap();
    }
}
