//! Settings, one by one: how each is laid over a [`Policy`], and what a policy says of each.

use std::time::Duration;

use serde_json::{Value, json};

use super::Scope;
use crate::{
    Policy, format_duration,
    policy::{
        Backoff, Breaker, Concurrency, Ejection, Fallback, Fault, FaultEffect, Hedge, HedgeAfter, Holder,
        Limit, Priority, RetryBudget,
    },
};

/// The name of a setting: the table that it is in, empty for none, and its key; `("breaker", "")` is whether
/// there is a breaker.
pub(crate) type Name = (&'static str, &'static str);

/// The value of a setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Off,
    /// With what wider scopes say, or else as it is built in.
    On,
    Time(Duration),
    Number(u32),
    Hedge(HedgeAfter),
    Adaptive,
    Priority(Priority),
    Fallback(Fallback),
    Faults(Vec<Fault>),
}

pub(crate) const TIMEOUT: Name = ("", "timeout");
pub(crate) const ATTEMPT_TIMEOUT: Name = ("", "attempt_timeout");

/// Lays a setting over a policy. What does not fit is left out: the list of keys has refused it.
pub(super) fn lay(policy: &mut Policy, name: Name, said: &Said, scope: Scope) {
    match (name.0, name.1, said) {
        ("", "timeout", Said::Time(time)) => policy.timeout = *time,
        ("", "attempt_timeout", Said::Time(time)) => policy.attempt_timeout = *time,
        ("", "connect_timeout", Said::Time(time)) => policy.connect_timeout = *time,
        ("", "idle_timeout", Said::Time(time)) => policy.idle_timeout = *time,
        ("", "retries", Said::Number(retries)) => policy.attempts = retries + 1,
        ("backoff", "base", Said::Time(time)) => policy.backoff.base = *time,
        ("backoff", "cap", Said::Time(time)) => policy.backoff.cap = *time,
        ("retry_budget", "percent", Said::Number(percent)) => policy.retry_budget.percent = *percent,
        ("retry_budget", "floor", Said::Number(floor)) => policy.retry_budget.floor = *floor,
        ("", "parked", Said::Number(parked)) => policy.parked = *parked,
        ("", "hedge", Said::Off) => policy.hedge = None,
        ("", "hedge", Said::Hedge(after)) => policy.hedge = Some(Hedge { after: *after }),
        ("ejection", key, said) => lay_ejection(&mut policy.ejection, key, said),
        ("breaker", key, said) => lay_breaker(&mut policy.breaker, key, said, scope.holder()),
        ("concurrency", key, said) => lay_concurrency(&mut policy.concurrency, key, said),
        ("per_caller", key, said) => lay_concurrency(&mut policy.share, key, said),
        ("", "priority", Said::Priority(priority)) => policy.priority = *priority,
        ("", "fallback", Said::Off) => policy.fallback = None,
        ("", "fallback", Said::Fallback(fallback)) => policy.fallback = Some(fallback.clone()),
        ("", "faults", Said::Faults(faults)) => policy.faults.clone_from(faults),
        _ => {}
    }
}

fn lay_ejection(slot: &mut Option<Ejection>, key: &str, said: &Said) {
    if *said == Said::Off {
        *slot = None;
        return;
    }
    let ejection = slot.get_or_insert_default();
    match (key, said) {
        ("failures", Said::Number(failures)) => ejection.failures = *failures,
        ("success_rate", Said::Number(percent)) => ejection.success_rate = share(*percent),
        ("slow_rate", Said::Number(percent)) => ejection.slow_rate = share(*percent),
        ("slow", Said::Time(time)) => ejection.slow = *time,
        ("window", Said::Time(time)) => ejection.window = *time,
        ("minimum", Said::Number(minimum)) => ejection.minimum = *minimum,
        ("base", Said::Time(time)) => ejection.base = *time,
        ("cap", Said::Time(time)) => ejection.cap = *time,
        ("at_most", Said::Number(percent)) => ejection.at_most = share(*percent),
        ("panic", Said::Number(percent)) => ejection.panic = share(*percent),
        _ => {}
    }
}

fn lay_breaker(slot: &mut Option<Breaker>, key: &str, said: &Said, holder: Holder) {
    if *said == Said::Off {
        *slot = None;
        return;
    }
    let breaker = slot.get_or_insert_default();
    breaker.holder = holder;
    match (key, said) {
        ("failures", Said::Number(failures)) => breaker.failures = *failures,
        ("failure_rate", Said::Number(percent)) => breaker.failure_rate = share(*percent),
        ("slow_rate", Said::Number(percent)) => breaker.slow_rate = share(*percent),
        ("slow", Said::Time(time)) => breaker.slow = *time,
        ("window", Said::Time(time)) => breaker.window = *time,
        ("minimum", Said::Number(minimum)) => breaker.minimum = *minimum,
        ("open", Said::Time(time)) => breaker.open = *time,
        ("cap", Said::Time(time)) => breaker.cap = *time,
        ("probes", Said::Number(probes)) => breaker.probes = *probes,
        _ => {}
    }
}

fn lay_concurrency(slot: &mut Option<Concurrency>, key: &str, said: &Said) {
    if *said == Said::Off {
        *slot = None;
        return;
    }
    let concurrency = slot.get_or_insert_default();
    match (key, said, &mut concurrency.limit) {
        ("limit", Said::Number(limit), _) => concurrency.limit = Limit::Fixed(*limit),
        ("limit", Said::Adaptive, Limit::Fixed(_)) => concurrency.limit = Concurrency::default().limit,
        ("least", Said::Number(number), Limit::Adaptive { least, .. }) => *least = *number,
        ("most", Said::Number(number), Limit::Adaptive { most, .. }) => *most = *number,
        ("queue", Said::Number(queue), _) => concurrency.queue = *queue,
        ("wait", Said::Time(time), _) => concurrency.wait = *time,
        _ => {}
    }
}

/// A share in percent.
fn share(percent: u32) -> u8 {
    percent.min(100) as u8
}

/// Every setting of a policy: laid over any other, they make it this one.
pub(crate) fn shown(policy: &Policy) -> Vec<(Name, Said)> {
    use Said::{Fallback, Faults, Number, Off, On, Priority, Time};
    let Policy {
        timeout,
        attempt_timeout,
        connect_timeout,
        idle_timeout,
        attempts,
        backoff: Backoff { base, cap },
        retry_budget: RetryBudget { percent, floor },
        parked,
        hedge,
        ejection,
        breaker,
        concurrency,
        share,
        priority,
        fallback,
        faults,
    } = policy;
    let mut all = vec![
        (TIMEOUT, Time(*timeout)),
        (ATTEMPT_TIMEOUT, Time(*attempt_timeout)),
        (("", "connect_timeout"), Time(*connect_timeout)),
        (("", "idle_timeout"), Time(*idle_timeout)),
        (("", "retries"), Number(attempts.saturating_sub(1))),
        (("backoff", "base"), Time(*base)),
        (("backoff", "cap"), Time(*cap)),
        (("retry_budget", "percent"), Number(*percent)),
        (("retry_budget", "floor"), Number(*floor)),
        (("", "parked"), Number(*parked)),
        (("", "hedge"), hedge.map_or(Off, |hedge| Said::Hedge(hedge.after))),
        (("ejection", ""), if ejection.is_some() { On } else { Off }),
    ];
    if let Some(ejection) = ejection {
        let rate = |percent: u8| Number(percent.into());
        all.extend([
            (("ejection", "failures"), Number(ejection.failures)),
            (("ejection", "success_rate"), rate(ejection.success_rate)),
            (("ejection", "slow"), Time(ejection.slow)),
            (("ejection", "slow_rate"), rate(ejection.slow_rate)),
            (("ejection", "window"), Time(ejection.window)),
            (("ejection", "minimum"), Number(ejection.minimum)),
            (("ejection", "base"), Time(ejection.base)),
            (("ejection", "cap"), Time(ejection.cap)),
            (("ejection", "at_most"), rate(ejection.at_most)),
            (("ejection", "panic"), rate(ejection.panic)),
        ]);
    }
    all.push((("breaker", ""), if breaker.is_some() { On } else { Off }));
    if let Some(breaker) = breaker {
        let rate = |percent: u8| Number(percent.into());
        all.extend([
            (("breaker", "failures"), Number(breaker.failures)),
            (("breaker", "failure_rate"), rate(breaker.failure_rate)),
            (("breaker", "slow"), Time(breaker.slow)),
            (("breaker", "slow_rate"), rate(breaker.slow_rate)),
            (("breaker", "window"), Time(breaker.window)),
            (("breaker", "minimum"), Number(breaker.minimum)),
            (("breaker", "open"), Time(breaker.open)),
            (("breaker", "cap"), Time(breaker.cap)),
            (("breaker", "probes"), Number(breaker.probes)),
        ]);
    }
    for (group, limit) in [("concurrency", concurrency), ("per_caller", share)] {
        all.push(((group, ""), if limit.is_some() { On } else { Off }));
        let Some(Concurrency { limit, queue, wait }) = limit else { continue };
        match limit {
            Limit::Fixed(limit) => all.push(((group, "limit"), Number(*limit))),
            Limit::Adaptive { least, most } => all.extend([
                ((group, "limit"), Said::Adaptive),
                ((group, "least"), Number(*least)),
                ((group, "most"), Number(*most)),
            ]),
        }
        all.extend([((group, "queue"), Number(*queue)), ((group, "wait"), Time(*wait))]);
    }
    all.push((("", "priority"), Priority(*priority)));
    all.push((("", "fallback"), fallback.clone().map_or(Off, Fallback)));
    all.push((("", "faults"), Faults(faults.clone())));
    all
}

// === impl Said ===

impl Said {
    /// As a manifest says it.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Off => false.into(),
            Self::On => true.into(),
            Self::Time(time) => format_duration(*time).into(),
            Self::Number(number) => (*number).into(),
            Self::Hedge(after) => after.to_string().into(),
            Self::Adaptive => "adaptive".into(),
            Self::Priority(priority) => json!(priority),
            Self::Fallback(Fallback::Static { status, content_type, body }) => {
                json!({ "status": status, "content_type": content_type, "body": body })
            }
            Self::Fallback(Fallback::LastGood(age)) => json!({ "last_good": format_duration(*age) }),
            Self::Faults(faults) => faults.iter().map(fault).collect(),
        }
    }
}

fn fault(fault: &Fault) -> Value {
    use FaultEffect::{Delay, Hang, Kill, LoseReply, Status};
    let (effect, value) = match fault.effect {
        Delay(time) => ("delay", json!(format_duration(time))),
        Status(status) => ("status", json!(status)),
        Hang => ("hang", json!(true)),
        LoseReply => ("lose_reply", json!(true)),
        Kill => ("kill", json!(true)),
    };
    let mut shown = json!({ effect: value, "percent": fault.percent });
    let on: Vec<&str> = fault.method.iter().chain(&fault.path).map(String::as_str).collect();
    if !on.is_empty() {
        shown["on"] = on.join(" ").into();
    }
    shown
}
