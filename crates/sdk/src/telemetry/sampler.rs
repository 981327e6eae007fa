//! Which traces have spans of this process: the built-in samplers of OpenTelemetry's specification.

use madang_calls::TraceContext;

/// Which traces have spans of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// Whether a trace that came in is decided on by whoever began it.
    parent_based: bool,
    /// The share of the other traces.
    share: f64,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { parent_based: true, share: 1.0 }
    }
}

// === impl Sampler ===

impl Sampler {
    /// The sampler of this name.
    pub(crate) fn named(name: &str, argument: Option<&str>) -> Option<Self> {
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let share = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => argument.map_or(Some(1.0), |share| share.parse().ok())?,
            _ => return None,
        };
        (0.0..=1.0).contains(&share).then_some(Self { parent_based, share })
    }

    /// Whether spans of this trace are kept. It depends on nothing but the trace, so that it is asked anew.
    pub(crate) fn keeps(self, trace: &TraceContext) -> bool {
        match (self.parent_based, trace.parent_id) {
            (true, Some(_)) => trace.flags & 1 == 1,
            // The last 56 bits of an id are random (W3C Trace Context, level 2).
            _ => ((trace.trace_id as u64 & RANDOM) as f64) < self.share * (RANDOM + 1) as f64,
        }
    }
}

const RANDOM: u64 = (1 << 56) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(trace_id: u128, parent_id: Option<u64>, flags: u8) -> TraceContext {
        TraceContext { trace_id, span_id: 1, parent_id, flags, state: None }
    }

    #[test]
    fn whoever_began_a_trace_decides_unless_told_otherwise() {
        let (wanted, unwanted) = (trace(5, Some(2), 1), trace(5, Some(2), 0));
        let keeps =
            |name, argument, trace: &TraceContext| Sampler::named(name, argument).unwrap().keeps(trace);
        assert!(Sampler::default().keeps(&wanted) && !Sampler::default().keeps(&unwanted));
        assert!(keeps("always_on", None, &unwanted) && !keeps("always_off", None, &wanted));
        assert!(!keeps("parentbased_always_off", None, &trace(5, None, 1)));
        assert!(keeps("parentbased_traceidratio", Some("0"), &wanted));
        for share in ["0", "0.25", "1"] {
            let kept = (0..1000_u128)
                .filter(|number| keeps("traceidratio", Some(share), &trace(number << 46, Some(2), 0)));
            let kept = kept.count() as f64 / 1000.0;
            let share: f64 = share.parse().unwrap();
            assert!((kept - share).abs() < 0.03, "{kept} of {share}");
        }
        assert_eq!(Sampler::named("traceidratio", Some("2")), None);
        assert_eq!(Sampler::named("jaeger_remote", None), None);
    }
}
