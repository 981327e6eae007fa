//! Which lines are written: those that `RUST_LOG` lets through, with the fields of all spans that they are in.

use tracing::{Level, Metadata, subscriber::Interest};
use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    layer::{Context, Filter},
};

/// The lines that a filter lets through. Spans that matter by default are there whatever it says, since the ids of a
/// request are in them.
pub(crate) struct Lines(Targets);

impl Lines {
    /// What `RUST_LOG` says, as in `warn,shop=debug`: levels, for the targets that begin so. A part that says nothing is
    /// passed over, and given too; where nothing is said, it is `info`.
    pub(crate) fn of(said: &str) -> (Self, Vec<String>) {
        let mut targets = Targets::new();
        let (mut some, mut unread) = (false, Vec::new());
        for part in said.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.parse::<Targets>() {
                Ok(read) => (targets, some) = (targets.with_targets(read.iter()), true),
                Err(_) => unread.push(part.to_owned()),
            }
            if let Ok(level) = part.parse::<LevelFilter>() {
                targets = targets.with_default(level);
            }
        }
        (Self(if some { targets } else { targets.with_default(LevelFilter::INFO) }), unread)
    }

    fn lets_through(&self, metadata: &Metadata<'_>) -> bool {
        let always = metadata.is_span() && *metadata.level() <= Level::INFO;
        always || self.0.would_enable(metadata.target(), metadata.level())
    }
}

impl<S> Filter<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.lets_through(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.lets_through(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<Registry>::max_level_hint(&self.0).map(|level| level.max(LevelFilter::INFO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_target_holds_for_it_and_what_is_below() {
        for (said, target, most) in [
            ("", "shop", Some(Level::INFO)),
            ("debug", "shop", Some(Level::DEBUG)),
            ("warn,shop=debug", "shop::orders", Some(Level::DEBUG)),
            ("warn,shop=debug", "hyper", Some(Level::WARN)),
            ("shop=debug", "hyper", None),
            ("shop=off, info", "shop", None),
            ("shop", "shop", Some(Level::TRACE)),
            ("what=ever", "shop", Some(Level::INFO)),
            ("what=ever,error", "shop", Some(Level::ERROR)),
        ] {
            let (lines, _) = Lines::of(said);
            let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
            let found = levels.into_iter().find(|level| lines.0.would_enable(target, level));
            assert_eq!(found, most, "{said:?} of {target}");
        }
        assert_eq!(Lines::of("info, what=ever,shop=").1, ["what=ever"]);
    }
}
