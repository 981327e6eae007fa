//! `madang cache`: what the gateway keeps of answers.

use madang_wire::cache::{CacheView, CachedRoute, PurgeSpec, Purged};

use crate::{
    args::{Cache, Purge},
    client::Client,
    failure::Failure,
    output::Output,
    table::{Cell, Table},
    units,
};

/// Shows or forgets what is kept.
pub async fn run(client: &Client, output: &Output, cache: Cache) -> Result<(), Failure> {
    match cache {
        Cache::Show => {
            let view: CacheView = client.get("/v1/cache").await?;
            if output.is_json() {
                return output.json(&view);
            }
            if view.routes.is_empty() {
                return output.line("no route keeps answers: write edge = { cache = true } in the manifest");
            }
            output.table(&table(&view.routes))?;
            output.line(&format!("{} of {} are used", units::bytes(view.used), units::bytes(view.size)))
        }
        Cache::Purge(purge) => {
            let purged: Purged = client.put_in("/v1/cache/purge", &spec(purge)).await?;
            if output.is_json() {
                return output.json(&purged);
            }
            output.line(&match purged.entries {
                0 => "nothing of that was kept".to_owned(),
                1 => "1 answer is forgotten".to_owned(),
                count => format!("{count} answers are forgotten"),
            })
        }
    }
}

fn spec(purge: Purge) -> PurgeSpec {
    let Purge { path, route, service, tag, all: _ } = purge;
    PurgeSpec { path, route, service: service.map(|name| name.to_string()), tag }
}

fn table(routes: &[CachedRoute]) -> Table {
    let mut table = Table::new(&[
        "ROUTE",
        "SERVICE",
        "KEPT",
        "SIZE",
        "HITS",
        "STALE",
        "REVALIDATED",
        "MISSES",
        "EVICTED",
        "LEFT OUT",
    ]);
    for view in routes {
        let number = |number: u64| Cell::new(number.to_string());
        table.row([
            Cell::new(&view.route),
            Cell::new(&view.service),
            number(view.entries),
            Cell::new(units::bytes(view.bytes)),
            number(view.hits),
            number(view.stale),
            number(view.revalidated),
            number(view.misses),
            number(view.evicted),
            number(view.left_out),
        ]);
    }
    table
}
