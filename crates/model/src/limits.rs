//! What the scopes of a manifest say of calls, laid over each other into one [`Policy`].

mod settings;

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};
use serde_json::Value;

use self::settings::lay;
pub(crate) use self::settings::{ATTEMPT_TIMEOUT, Name, Said, TIMEOUT, shown};
use crate::{Place, Policy, policy::Holder};

/// How much of a system what is said holds for. A narrower scope replaces what a wider one says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Every call.
    Default,
    /// Every request from outside.
    Gateway,
    /// Every call to one service.
    Service,
    /// The requests over one route.
    Route,
    /// The calls of one service to another.
    Call,
}

/// What one scope says of calls, each setting with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits<P = Place>(Vec<Setting<P>>);

/// A setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting<P> {
    pub name: Name,
    pub said: Said,
    pub place: P,
}

/// The scopes that hold for some calls, the widest first.
pub(crate) struct Layers<'a, P = Place>(pub Vec<(Scope, &'a Limits<P>)>);

/// A setting in force and who says so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedLimit {
    /// Its name, as `breaker.failures`.
    pub setting: String,
    /// Its value, as a manifest says it.
    pub value: Value,
    /// The scope that says so; if none, it is built in.
    pub scope: Option<Scope>,
    /// The line that says so.
    #[serde(serialize_with = "as_text")]
    pub place: Option<Place>,
}

fn as_text<S: Serializer>(place: &Option<Place>, to: S) -> Result<S::Ok, S::Error> {
    match place {
        Some(place) => to.collect_str(place),
        None => to.serialize_none(),
    }
}

/// A value as a manifest says it: `{ last_good = "5m" }`.
pub fn inline(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}

// === impl Scope ===

impl Scope {
    /// Whether it is about one caller, or one route, alone.
    pub(crate) fn is_narrow(self) -> bool {
        matches!(self, Self::Route | Self::Call)
    }

    fn holder(self) -> Holder {
        if self.is_narrow() { Holder::Caller } else { Holder::Service }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Default => "default",
            Self::Gateway => "gateway",
            Self::Service => "service",
            Self::Route => "route",
            Self::Call => "call",
        })
    }
}

// === impl Limits ===

impl Limits {
    /// A total time and nothing else.
    pub fn timeout(time: Duration, place: Place) -> Self {
        Self(vec![Setting { name: ("", "timeout"), said: Said::Time(time), place }])
    }
}

impl<P> Limits<P> {
    pub(crate) fn new(mut settings: Vec<Setting<P>>) -> Self {
        // The bounds of an adaptive limit are said of a limit that is adaptive.
        settings.sort_by_key(|setting| setting.name.1 != "limit");
        Self(settings)
    }

    pub(crate) fn settings(&self) -> &[Setting<P>] {
        &self.0
    }

    pub(crate) fn get(&self, name: Name) -> Option<&Setting<P>> {
        self.0.iter().find(|setting| setting.name == name)
    }

    pub(crate) fn placed<Q>(&self, place: impl Fn(&P) -> Q) -> Limits<Q> {
        let moved = |setting: &Setting<P>| Setting {
            name: setting.name,
            said: setting.said.clone(),
            place: place(&setting.place),
        };
        Limits(self.0.iter().map(moved).collect())
    }

    fn is_off(&self, group: &str) -> bool {
        self.0.iter().any(|setting| setting.name == (group, "") && setting.said == Said::Off)
    }
}

impl<P> Default for Limits<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// As a table from names to values.
impl<P> Serialize for Limits<P> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|setting| (named(setting.name), setting.said.value())))
    }
}

/// A name as it is written: `breaker.failures`.
pub(crate) fn named((group, key): Name) -> String {
    match (group, key) {
        ("", name) | (name, "") => name.to_owned(),
        (group, key) => format!("{group}.{key}"),
    }
}

// === impl Layers ===

impl<'a, P> Layers<'a, P> {
    /// What holds after all.
    pub(crate) fn policy(&self) -> Policy {
        // An attempt may take all of the time unless something else is said, and never more.
        let mut policy = Policy { attempt_timeout: Duration::MAX, ..Policy::default() };
        for (scope, limits) in &self.0 {
            limits.0.iter().for_each(|setting| lay(&mut policy, setting.name, &setting.said, *scope));
        }
        policy.attempt_timeout = policy.attempt_timeout.min(policy.timeout);
        policy
    }

    /// Who says what holds of a setting; nobody if it is built in.
    pub(crate) fn origin(&self, name: Name) -> Option<(Scope, &'a Setting<P>)> {
        for (scope, limits) in self.0.iter().rev() {
            let said = match name {
                // Whether there is one is said by whoever says anything of it.
                (group @ ("ejection" | "breaker" | "concurrency" | "per_caller"), "") => {
                    limits.0.iter().find(|setting| setting.name.0 == group)
                }
                name => limits.get(name),
            };
            if let Some(said) = said {
                return Some((*scope, said));
            }
            // What wider scopes said of it is gone.
            if limits.is_off(name.0) {
                return None;
            }
        }
        None
    }
}

impl Layers<'_> {
    /// Every setting in force, with who says so.
    pub(crate) fn explain(&self) -> Vec<ExplainedLimit> {
        let policy = self.policy();
        let explained = |(name, said): (Name, Said)| {
            let mut origin = self.origin(name);
            let cut = |(_, setting): &(Scope, &Setting<Place>)| matches!(setting.said, Said::Time(time) if time > policy.timeout);
            if name == ATTEMPT_TIMEOUT && origin.as_ref().is_none_or(cut) {
                origin = self.origin(TIMEOUT);
            }
            ExplainedLimit {
                setting: named(name),
                value: said.value(),
                scope: origin.map(|(scope, _)| scope),
                place: origin.map(|(_, setting)| setting.place.clone()),
            }
        };
        shown(&policy).into_iter().map(explained).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Backoff, Breaker, Concurrency, Ejection, Fallback, Fault, FaultEffect, Hedge, HedgeAfter, Limit,
        Priority, RetryBudget,
    };

    /// A policy of which every setting is another than the one that is built in.
    fn unusual() -> Policy {
        let time = Duration::from_secs;
        Policy {
            timeout: time(14),
            attempt_timeout: time(13),
            connect_timeout: time(12),
            idle_timeout: time(11),
            attempts: 7,
            backoff: Backoff { base: time(1), cap: time(2) },
            retry_budget: RetryBudget { percent: 30, floor: 1 },
            parked: 3,
            hedge: Some(Hedge { after: HedgeAfter::Percentile(90) }),
            ejection: Some(Ejection {
                failures: 1,
                success_rate: 2,
                slow_rate: 3,
                slow: time(4),
                window: time(5),
                minimum: 6,
                base: time(7),
                cap: time(8),
                at_most: 9,
                panic: 10,
            }),
            breaker: Some(Breaker {
                failures: 1,
                failure_rate: 2,
                slow_rate: 3,
                slow: time(4),
                window: time(5),
                minimum: 6,
                open: time(7),
                cap: time(8),
                probes: 9,
                holder: Holder::Caller,
            }),
            concurrency: Some(Concurrency { limit: Limit::Fixed(1), queue: 2, wait: time(3) }),
            share: Some(Concurrency {
                limit: Limit::Adaptive { least: 1, most: 2 },
                queue: 3,
                wait: time(4),
            }),
            priority: Priority::Critical,
            fallback: Some(Fallback::LastGood(time(5))),
            faults: vec![Fault {
                id: String::new(),
                method: Some("GET".into()),
                path: None,
                effect: FaultEffect::Hang,
                percent: 5,
                until: None,
            }],
        }
    }

    fn limits(settings: impl IntoIterator<Item = (Name, Said)>) -> Limits {
        let place = Place { file: "madang.toml".into(), line: 1 };
        let setting = |(name, said)| Setting { name, said, place: place.clone() };
        Limits::new(settings.into_iter().map(setting).collect())
    }

    #[test]
    fn what_is_shown_of_a_policy_makes_it() {
        for policy in [Policy::default(), unusual()] {
            for under in [Policy::default(), unusual()] {
                let (under, over) = (limits(shown(&under)), limits(shown(&policy)));
                let layers = Layers(vec![(Scope::Default, &under), (Scope::Call, &over)]);
                assert_eq!(layers.policy(), policy);
                let origins = shown(&policy).into_iter().map(|(name, _)| layers.origin(name).unwrap().0);
                assert!(origins.eq(layers.explain().iter().map(|_| Scope::Call)));
            }
        }
    }

    #[test]
    fn a_table_is_laid_over_the_wider_one_key_by_key() {
        let system =
            limits([(("breaker", "failures"), Said::Number(3)), (("breaker", "probes"), Said::Number(2))]);
        let call = limits([(("breaker", "failures"), Said::Number(9))]);
        let layers = Layers(vec![(Scope::Default, &system), (Scope::Call, &call)]);
        let expected = Breaker { failures: 9, probes: 2, holder: Holder::Caller, ..Breaker::default() };
        assert_eq!(layers.policy().breaker, Some(expected));
        assert_eq!(layers.origin(("breaker", "probes")).unwrap().0, Scope::Default);
        assert_eq!(layers.origin(("breaker", "")).unwrap().0, Scope::Call, "whose state it is");
        assert!(layers.origin(("breaker", "open")).is_none());
    }

    #[test]
    fn what_is_off_forgets_what_wider_scopes_said() {
        let system = limits([(("breaker", "failures"), Said::Number(3))]);
        let (off, on) = (limits([(("breaker", ""), Said::Off)]), limits([(("breaker", ""), Said::On)]));
        let mut layers = Layers(vec![(Scope::Default, &system), (Scope::Service, &off)]);
        assert_eq!(layers.policy().breaker, None);
        assert_eq!(layers.origin(("breaker", "")).unwrap().0, Scope::Service);
        layers.0.push((Scope::Call, &on));
        assert_eq!(layers.policy().breaker, Some(Breaker { holder: Holder::Caller, ..Breaker::default() }));
        assert!(layers.origin(("breaker", "failures")).is_none(), "it is the built-in one");
    }

    #[test]
    fn an_attempt_has_all_of_the_time_and_never_more() {
        let time = |name, seconds| limits([(name, Said::Time(Duration::from_secs(seconds)))]);
        let (attempt, total) = (time(ATTEMPT_TIMEOUT, 5), time(TIMEOUT, 3));
        let place = |layers: &Layers| layers.explain()[1].scope;
        let layers = Layers(vec![(Scope::Default, &attempt), (Scope::Call, &total)]);
        assert_eq!(layers.policy().attempt_timeout, Duration::from_secs(3));
        assert_eq!(place(&layers), Some(Scope::Call));
        let layers = Layers(vec![(Scope::Service, &total)]);
        assert_eq!(layers.policy().attempt_timeout, Duration::from_secs(3));
        assert_eq!(place(&layers), Some(Scope::Service));
    }

    #[test]
    fn bounds_are_those_of_an_adaptive_limit() {
        let fixed = limits([(("concurrency", "limit"), Said::Number(7))]);
        let bounds =
            limits([(("concurrency", "least"), Said::Number(2)), (("concurrency", "limit"), Said::Adaptive)]);
        let policy = Layers(vec![(Scope::Default, &fixed), (Scope::Service, &bounds)]).policy();
        assert_eq!(policy.concurrency.unwrap().limit, Limit::Adaptive { least: 2, most: 1024 });
    }
}
