//! `/metrics`, as Prometheus reads it: on the admin API, and on a listener of its own where the manifest wants one.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;
use madang_telemetry::{Exposition, LimitStoreGauges, NodeGauges, Scrape, render};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{StartError, gauges::of_service, holder, http::serve, node::Shared};

/// Opens the listener that the manifest wants, if it wants one.
pub(crate) async fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(source) => Err(match holder::taken_at(address, &source) {
            Some(taken) => StartError::PortTaken(taken),
            None => StartError::Metrics { address, source },
        }),
    }
}

/// Serves nothing but the metrics until told to stop.
pub(crate) async fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let router = Router::new().route("/metrics", get(metrics)).with_state(shared);
    serve::<SocketAddr, _>(listener, router, shutdown).await
}

/// Everything that is measured, in Prometheus' text format or as OpenMetrics, as the header `Accept` asks for.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4; charset=utf-8")))]
pub(crate) async fn metrics(State(node): State<Arc<Shared>>, request: Request) -> Response {
    let accept = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let exposition = Exposition::wanted(&accept.collect::<Vec<_>>().join(","));
    let scrape = node.scrape();
    let text = render(&scrape, exposition);
    ([(header::CONTENT_TYPE, exposition.content_type())], text).into_response()
}

impl Shared {
    /// What there is to tell.
    pub(crate) fn scrape(&self) -> Scrape {
        self.drain_records();
        let health = self.directory.health();
        let instances = self.gauges.of(self.instances(), &health);
        let system = self.system.borrow().clone();
        let services =
            system.services.keys().map(|name| of_service(name.as_str(), &instances, &health)).collect();
        let view = self.system_view();
        let (stats, reloads, orders) =
            (self.gateway.stats(), self.certificates.counts(), self.certificates.orders());
        let limits =
            self.gateway.limits().into_iter().map(|it| (it.limit, [it.refused, it.crowded, it.blind]));
        let mirrors = self.gateway.mirrors().into_iter().map(|it| (it.to, [it.sent, it.left_out]));
        let counts = self.identity.counts();
        Scrape {
            calls: self.metrics.totals(),
            services,
            instances,
            external: self.external.list(None, None, false),
            node: NodeGauges {
                system: view.name,
                version: view.version,
                started_at: view.started_at,
                ready: view.ready,
                manifest_in_force: view.manifest_error.is_none(),
                connections: stats.connections,
                tunnels: [stats.tunnels, stats.tunnels_asked, stats.tunnels_refused, stats.tunnels_silent],
                handshakes: [stats.handshakes, stats.handshakes_failed, stats.handshakes_dropped],
                certificates: self.certificates.ends().into_iter().map(|end| (end.name, end.at)).collect(),
                certificate_reloads: [reloads.reloaded, reloads.failed],
                certificate_orders: [orders.issued, orders.failed],
                limits: limits.collect(),
                limit_store: self.gateway.limit_store().map(|store| LimitStoreGauges {
                    up: store.down.is_none(),
                    exchanged: [store.exchanged, store.failed],
                    untold: store.untold,
                }),
                mirrors: mirrors.collect(),
                cache: self.gateway.cache(),
                refused: counts.refused,
                keys_fetched: [counts.keys_fetched, counts.keys_failed],
            },
            missing: self.missing(),
        }
    }
}
