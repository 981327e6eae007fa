//! What is missing in what a list shows, in words: nobody should take a list for the whole that is not.

use madang_wire::telemetry::{Missing, MissingKind, TelemetryView};

use crate::{
    client::Client,
    style::{Paint, Style},
};

/// Says on stderr what is missing of a kind, of some units or of all; beside the list, which goes on to other programs.
pub async fn note(client: &Client, kind: MissingKind, units: &[String]) {
    // A list is no worse for a node that cannot say this.
    let Ok(view) = client.get::<TelemetryView>("/v1/telemetry").await else { return };
    let mut of_kind = view.missing;
    of_kind.retain(|missing| missing.kind == kind);
    // A name may be that of a service, whose unit is not known here.
    let known = of_kind.iter().any(|missing| missing.unit.as_ref().is_some_and(|unit| units.contains(unit)));
    let about = |missing: &&Missing| missing.unit.as_ref().is_none_or(|unit| !known || units.contains(unit));
    if let Some(said) = in_words(of_kind.iter().filter(about)) {
        let style = Style::of(&std::io::stderr());
        eprintln!("{}", style.paint(Paint::Faint, &said));
    }
}

/// What is missing, if anything is: how much of what, and why.
pub fn in_words<'a>(missing: impl IntoIterator<Item = &'a Missing>) -> Option<String> {
    let of = |Missing { kind, unit, count, why, .. }: &Missing| {
        let unit = unit.as_ref().map(|unit| format!(" of {unit}")).unwrap_or_default();
        format!("{count} {}{unit} ({why})", name(*kind))
    };
    let said: Vec<String> = missing.into_iter().filter(|missing| missing.count > 0).map(of).collect();
    (!said.is_empty()).then(|| format!("not kept since the start: {}", said.join(", ")))
}

fn name(kind: MissingKind) -> &'static str {
    match kind {
        MissingKind::External => "metrics of services",
        MissingKind::Forwarded => "spans, lines or points not forwarded",
        kind => kind.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(kind: MissingKind, unit: Option<&str>, count: u64) -> Missing {
        Missing { kind, reason: "r".into(), unit: unit.map(str::to_owned), count, why: "why".into() }
    }

    #[test]
    fn what_is_missing_is_said_with_its_reason_and_nothing_else_is() {
        let all = [
            missing(MissingKind::Lines, Some("orders"), 12),
            missing(MissingKind::Lines, Some("users"), 0),
            missing(MissingKind::Events, None, 3),
        ];
        let said = "not kept since the start: 12 lines of orders (why), 3 events (why)";
        assert_eq!(in_words(&all).as_deref(), Some(said));
        assert_eq!(in_words(&all[1..2]), None);
    }
}
