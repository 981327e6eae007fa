//! `madang audit`: who asked for what that changes something.

use jiff::tz::TimeZone;
use madang_wire::audit::AuditEntry;

use crate::{
    client::Client,
    failure::Failure,
    output::Output,
    style::Paint,
    table::{Cell, Table},
    units,
};

/// Lists the latest, newest first.
pub async fn run(client: &Client, output: &Output, limit: u32) -> Result<(), Failure> {
    let entries: Vec<AuditEntry> = client.get(&format!("/v1/audit?n={limit}")).await?;
    if output.is_json() {
        return output.json(&entries);
    }
    if entries.is_empty() {
        return output.line("nothing was asked yet");
    }
    output.table(&table(&entries, &TimeZone::system()))
}

fn table(entries: &[AuditEntry], zone: &TimeZone) -> Table {
    let mut table = Table::new(&["TIME", "WHO", "WHAT", "OUTCOME"]);
    for entry in entries {
        let outcome = match entry.status {
            0..400 => Cell::new("done").paint(Paint::Good),
            status => Cell::new(format!("refused: {status}")).paint(Paint::Bad),
        };
        table.row([
            Cell::new(units::moment(entry.at, zone)).paint(Paint::Faint),
            Cell::new(&entry.by),
            Cell::new(&entry.what),
            outcome,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::style::Style;

    #[test]
    fn an_entry_has_a_line() {
        let entry = |by: &str, status| AuditEntry {
            at: 1_767_225_603_004,
            by: by.to_owned(),
            what: "restart users".to_owned(),
            request: "POST /v1/restart/users".to_owned(),
            status,
        };
        let entries = [entry("user 0, process 7", 202), entry("session 1a2b3c from 127.0.0.1:50000", 404)];
        expect![[r#"
            TIME                     WHO                                  WHAT           OUTCOME
            2026-01-01 00:00:03.004  user 0, process 7                    restart users  done
            2026-01-01 00:00:03.004  session 1a2b3c from 127.0.0.1:50000  restart users  refused: 404
        "#]]
        .assert_eq(&table(&entries, &TimeZone::UTC).render(Style::PLAIN));
    }
}
