//! What came of a load, for people and for programs.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::{
    args::{Options, Scenario},
    client::Failure,
    judge::{Judgement, Seen},
    tally::{Latencies, Tally},
};

/// What came of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    scenario: &'static str,
    gateway: String,
    rate: f64,
    /// Gives the same customers again.
    pub seed: u64,
    seconds: f64,
    /// Whether it was stopped before its time was over.
    pub interrupted: bool,
    /// What was measured, by kind of request.
    pub requests: BTreeMap<&'static str, Latencies>,
    /// What failed, by class.
    pub failures: BTreeMap<String, u64>,
    /// Customers who came when too many were under way.
    pub refused: u64,
    /// How often somebody got no good answer and asked again with the same key.
    pub asked_again: u64,
    /// Whether what must hold does.
    pub verdict: Verdict,
    /// What must hold; absent if the services did not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invariants: Option<Judgement>,
    /// Why the services did not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
}

/// Whether what must hold does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All of it.
    Holds,
    /// Not all of it.
    Broken,
    /// A service did not answer, or an order is not over.
    Unknown,
}

impl Verdict {
    /// The exit code that says so.
    pub fn code(self) -> u8 {
        match self {
            Self::Holds => 0,
            Self::Broken => 1,
            Self::Unknown => 3,
        }
    }
}

impl Report {
    pub(crate) fn new(
        options: &Options,
        seed: u64,
        lasted: Duration,
        interrupted: bool,
        tally: &Tally,
        judged: Result<Judgement, Failure>,
    ) -> Self {
        let (refused, asked_again) = tally.refusals();
        let verdict = match &judged {
            Ok(judged) if !judged.holds() => Verdict::Broken,
            Ok(judged) if judged.unfinished == 0 => Verdict::Holds,
            _ => Verdict::Unknown,
        };
        let unknown = judged.as_ref().err().map(ToString::to_string);
        Self {
            scenario: match options.scenario {
                Scenario::Browse => "browse",
                Scenario::Checkout => "checkout",
                Scenario::FlashSale => "flash-sale",
            },
            gateway: format!("http://{}:{}", options.gateway.host, options.gateway.port),
            rate: options.rate.0,
            seed,
            seconds: lasted.as_secs_f64(),
            interrupted,
            requests: tally.latencies(),
            failures: tally.failures(),
            refused,
            asked_again,
            verdict,
            invariants: judged.ok(),
            unknown,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, gateway, rate, seed, seconds, .. } = self;
        let stopped = if self.interrupted { ", stopped early" } else { "" };
        writeln!(f, "{scenario} at {gateway}: {rate}/s for {seconds:.1} s{stopped}, --seed {seed}\n")?;
        self.show_requests(f)?;
        for (class, count) in &self.failures {
            writeln!(f, "  {count:>6} failed: {class}")?;
        }
        if self.refused > 0 {
            writeln!(f, "  {:>6} sent away: too many were under way (--in-flight)", self.refused)?;
        }
        if self.asked_again > 0 {
            writeln!(f, "  {:>6} times somebody asked again with the same key", self.asked_again)?;
        }
        writeln!(f)?;
        match &self.invariants {
            Some(judged) => show(judged, f)?,
            None => {
                writeln!(f, "what must hold is not known: {}", self.unknown.as_deref().unwrap_or_default())?
            }
        }
        let verdict = match self.verdict {
            Verdict::Holds => "All of it holds.",
            Verdict::Broken => "BROKEN: not all of that is 0.",
            Verdict::Unknown => "NOT PROVEN: not everything could be found out.",
        };
        writeln!(f, "{verdict}")
    }
}

impl Report {
    fn show_requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["answered", "failed", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"];
        write!(f, "{:<14}", "")?;
        heads.iter().try_for_each(|head| write!(f, "{head:>10}"))?;
        writeln!(f)?;
        for (kind, Latencies { answered, failed, p50_us, p90_us, p99_us, p999_us, max_us, others }) in
            &self.requests
        {
            write!(f, "{kind:<14}{answered:>10}{failed:>10}")?;
            for micros in [p50_us, p90_us, p99_us, p999_us, max_us] {
                write!(f, "{:>10.1}", *micros as f64 / 1_000.0)?;
            }
            writeln!(f)?;
            for (what, count) in others {
                writeln!(f, "  {count:>6} of them: {what}")?;
            }
        }
        Ok(())
    }
}

fn show(judged: &Judgement, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Judgement { money, stock, double_charges, lost_orders, unfinished, seen } = judged;
    let Seen { orders, captured, paid_back, initial, sold, left, reserved } = seen;
    let list = |parts: Vec<String>| if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    let amounts = |amounts: &BTreeMap<String, i64>| {
        list(amounts.iter().map(|(currency, amount)| format!("{amount} {currency}")).collect())
    };
    let orders = list(orders.iter().map(|(status, count)| format!("{count} {status}")).collect());
    let captured = amounts(captured);
    let paid_back = amounts(paid_back);
    writeln!(
        f,
        "money Δ {money:<8}  {captured} captured (minor units), {paid_back} paid back: as the orders cost"
    )?;
    writeln!(f, "stock Δ {stock:<8}  {initial} before = {sold} sold + {left} left + {reserved} reserved")?;
    writeln!(f, "double charges {double_charges}")?;
    writeln!(f, "lost orders {lost_orders:<4}  orders: {orders}")?;
    if *unfinished > 0 {
        writeln!(f, "not over {unfinished}")?;
    }
    Ok(())
}
