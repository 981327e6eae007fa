//! Who did what.

use madang_wire::audit::AuditEntry;
use maud::{Markup, html};

use crate::{
    api::{Answer, Asked},
    format,
    page::{Page, Place},
    query::Query,
};

pub(super) async fn page(api: &Asked, query: &Query) -> Answer<Page> {
    let n: u32 = query.parsed("n").unwrap_or(200);
    let entries: Vec<AuditEntry> = api.get(&format!("/v1/audit?n={n}")).await?;
    Ok(Page::new(Place::Audit, "Audit", "madang audit").part("audit", table(&entries)))
}

fn table(entries: &[AuditEntry]) -> Markup {
    html! {
        p.muted { "Everything that was asked of the node and changes something, from here, the command line or a script." }
        div.scroll {
            table {
                caption.hidden { "What was asked, newest first" }
                thead { tr {
                    th scope="col" { "Time" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "Outcome" }
                    th scope="col" { "Request" }
                } }
                tbody { @for entry in entries { tr {
                    td { (format::ago(entry.at)) }
                    td { (entry.by) }
                    th scope="row" { (entry.what) }
                    td { @if entry.status < 400 { span.badge.good { "done" } } @else { span.badge.bad { "refused " (entry.status) } } }
                    td.mono { (entry.request) }
                } } }
            }
        }
        @if entries.is_empty() { p { "Nothing was asked yet. What is done on the page of the " a href="/services" { "services" } " appears here, with who did it." } }
    }
}
