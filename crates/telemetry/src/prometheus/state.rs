//! What is measured of services, instances and the node, and what was dropped.

use madang_wire::{
    admin::{BreakerState, State},
    cache::{CacheView, CachedRoute},
    metrics::{InstanceGauges, ServiceFlow},
    telemetry::Missing,
};

use super::{
    NodeGauges,
    writer::{Kind, Writer},
};

pub(super) fn services(writer: &mut Writer, services: &[ServiceFlow]) {
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&ServiceFlow) -> Option<f64>| {
        let mut family = writer.family(name, Kind::Gauge, help);
        for service in services {
            if let Some(value) = value(service) {
                family.add(&[("service", &service.service)], value);
            }
        }
    };
    gauge("madang_service_instances", "Instances of a service.", &|one| Some(one.instances.into()));
    gauge("madang_service_ready_instances", "Instances of a service that are in rotation.", &|one| {
        Some(one.ready.into())
    });
    gauge("madang_service_in_flight", "Calls that an instance has not answered to the end.", &|one| {
        Some(one.in_flight.into())
    });
    gauge("madang_service_parked", "Calls that wait for an instance.", &|one| Some(one.parked.into()));
    gauge(
        "madang_service_breaker",
        "The worst state of a service's breakers: 0 closed, 1 half open, 2 open.",
        &|one| {
            Some(match one.breaker? {
                BreakerState::Closed => 0.0,
                BreakerState::HalfOpen => 1.0,
                BreakerState::Open => 2.0,
            })
        },
    );
}

pub(super) fn instances(writer: &mut Writer, instances: &[InstanceGauges]) {
    // What is not there yet or any more has no number of its own.
    let there: Vec<_> =
        instances.iter().filter(|one| one.cpu_us.is_some() || one.state == State::Ready).collect();
    let mut family = |name: &str, kind: Kind, help: &str, value: &dyn Fn(&InstanceGauges) -> Option<f64>| {
        let mut family = writer.family(name, kind, help);
        for one in &there {
            let Some(value) = value(one) else { continue };
            let release = one.release.as_deref().unwrap_or_default();
            family.add(&[("instance_id", &one.instance), ("unit", &one.unit), ("release", release)], value);
        }
    };
    family("madang_instance_ready", Kind::Gauge, "Whether an instance is in rotation.", &|one| {
        Some(f64::from(u8::from(one.state == State::Ready)))
    });
    family("madang_instance_cpu_seconds", Kind::Counter, "Processor time of an instance.", &|one| {
        Some(one.cpu_us? as f64 / 1e6)
    });
    family("madang_instance_memory_bytes", Kind::Gauge, "Resident memory of an instance.", &|one| {
        Some(one.memory? as f64)
    });
    let help = "Calls that an instance has not answered to the end.";
    family("madang_instance_in_flight", Kind::Gauge, help, &|one| Some(one.in_flight.into()));
    let help = "Whether an instance is out of use because of its answers.";
    family("madang_instance_ejected", Kind::Gauge, help, &|one| Some(f64::from(u8::from(one.ejected))));

    let units: std::collections::BTreeMap<_, _> =
        instances.iter().map(|one| (&one.unit, one.restarts)).collect();
    let help = "How often instances of a unit were started again after they exited.";
    let mut family = writer.family("madang_unit_restarts", Kind::Counter, help);
    units.into_iter().for_each(|(unit, restarts)| family.add(&[("unit", unit)], restarts.into()));
}

pub(super) fn node(writer: &mut Writer, node: &NodeGauges) {
    let help = "The node that runs the system.";
    let labels = [("system", &*node.system), ("version", &*node.version)];
    writer.family("madang_node_info", Kind::Gauge, help).add(&labels, 1.0);
    let mut gauge =
        |name: &str, help: &str, value: f64| writer.family(name, Kind::Gauge, help).add(&[], value);
    gauge(
        "madang_node_start_time_seconds",
        "When the node started, since 1970.",
        node.started_at as f64 / 1000.0,
    );
    let flag = |flag: bool| f64::from(u8::from(flag));
    gauge("madang_node_ready", "Whether every unit is ready.", flag(node.ready));
    let help = "Whether the manifest as it is on disk is in force.";
    gauge("madang_node_manifest_in_force", help, flag(node.manifest_in_force));
    let help = "Connections that are open at the gateway and at the listeners of services.";
    gauge("madang_gateway_connections", help, node.connections as f64);
    let [open, asked, refused, silent] = node.tunnels;
    let help = "Connections that speak another protocol than HTTP, such as WebSocket.";
    gauge("madang_gateway_tunnels", help, open as f64);
    let help = "Requests to speak another protocol: all, those for which there was no room, and those that ended for silence.";
    let mut family = writer.family("madang_gateway_tunnel_requests", Kind::Counter, help);
    for (what, count) in [("asked", asked), ("refused", refused), ("silent", silent)] {
        family.add(&[("what", what)], count as f64);
    }
    edge(writer, node);
    cache(writer, &node.cache);
    if !node.certificates.is_empty() || node.certificate_orders != [0, 0] {
        tls(writer, node);
    }
    if !node.refused.is_empty() {
        identity(writer, node);
    }
}

fn identity(writer: &mut Writer, node: &NodeGauges) {
    let help = "Requests that were not let in, by the code of the answer.";
    let mut family = writer.family("madang_identity_refused", Kind::Counter, help);
    node.refused.iter().for_each(|(code, count)| family.add(&[("code", code)], *count as f64));
    let help = "Fetches of issuers' keys.";
    let mut family = writer.family("madang_identity_key_fetches", Kind::Counter, help);
    for (outcome, count) in ["fetched", "failed"].iter().zip(node.keys_fetched) {
        family.add(&[("outcome", outcome)], count as f64);
    }
}

fn tls(writer: &mut Writer, node: &NodeGauges) {
    let help = "When a certificate of the gateway has ended, since 1970.";
    let mut family = writer.family("madang_gateway_certificate_end_seconds", Kind::Gauge, help);
    for (index, (name, end)) in node.certificates.iter().enumerate() {
        // Several may be for one host.
        family.add(&[("certificate", &index.to_string()), ("host", name)], *end as f64);
    }
    let help = "How often the gateway's certificates were read again: in force, or what was in force stays.";
    let mut family = writer.family("madang_gateway_certificate_reloads", Kind::Counter, help);
    for (result, count) in ["applied", "failed"].iter().zip(node.certificate_reloads) {
        family.add(&[("result", result)], count as f64);
    }
    let help = "How often an authority on the network was asked for a certificate, by what came of it.";
    let mut family = writer.family("madang_gateway_certificate_orders", Kind::Counter, help);
    for (result, count) in ["issued", "failed"].iter().zip(node.certificate_orders) {
        family.add(&[("result", result)], count as f64);
    }
    let help = "Connections by whether TLS was agreed on; those that were dropped made room for others, and are among the failed.";
    let mut family = writer.family("madang_gateway_tls_handshakes", Kind::Counter, help);
    for (result, count) in ["agreed", "failed", "dropped"].iter().zip(node.handshakes) {
        family.add(&[("result", result)], count as f64);
    }
}

/// What the gateway itself did with requests.
fn edge(writer: &mut Writer, node: &NodeGauges) {
    counted(writer, node);
    limit_store(writer, node);
}

/// What was counted, by limit or by service.
fn counted(writer: &mut Writer, node: &NodeGauges) {
    fn family<const N: usize>(
        writer: &mut Writer,
        (name, help): (&str, &str),
        label: &str,
        all: &[(String, [u64; N])],
        at: usize,
    ) {
        if all.is_empty() {
            return;
        }
        let mut family = writer.family(name, Kind::Counter, help);
        all.iter().for_each(|(of, counts)| family.add(&[(label, of)], counts[at] as f64));
    }
    let help = "Requests that a rate limit refused.";
    family(writer, ("madang_gateway_rate_limited", help), "limit", &node.limits, 0);
    let help =
        "Requests that a rate limit counted with others', because more clients owed than are told apart.";
    family(writer, ("madang_gateway_rate_limit_crowded", help), "limit", &node.limits, 1);
    let help = "Requests refused because the limit is shared and its store could not be asked.";
    family(writer, ("madang_gateway_rate_limit_blind", help), "limit", &node.limits, 2);
    let help = "Copies of requests that were sent.";
    family(writer, ("madang_gateway_mirrored", help), "service", &node.mirrors, 0);
    let help = "Requests that were not copied: too many copies under way, or too large a body.";
    family(writer, ("madang_gateway_mirror_left_out", help), "service", &node.mirrors, 1);
}

/// Where limits are shared.
fn limit_store(writer: &mut Writer, node: &NodeGauges) {
    let Some(store) = node.limit_store else { return };
    let help = "Whether the store of shared rate limits answers.";
    writer.family("madang_gateway_limit_store_up", Kind::Gauge, help).add(&[], f64::from(u8::from(store.up)));
    let help = "How often the store of shared rate limits was told what was spent, by whether it answered.";
    let mut family = writer.family("madang_gateway_limit_store_exchanges", Kind::Counter, help);
    for (result, count) in ["answered", "failed"].iter().zip(store.exchanged) {
        family.add(&[("result", result)], count as f64);
    }
    let help = "Requests under shared rate limits that the store could not be told of.";
    writer.family("madang_gateway_limit_store_untold", Kind::Counter, help).add(&[], store.untold as f64);
}

/// What it did with the answers that it keeps.
fn cache(writer: &mut Writer, CacheView { used, size, routes }: &CacheView) {
    if *size == 0 {
        return;
    }
    for (name, help, bytes) in [
        ("madang_gateway_cache_bytes", "What the answers take that are kept.", used),
        ("madang_gateway_cache_size_bytes", "What they may take.", size),
    ] {
        writer.family(name, Kind::Gauge, help).add(&[], *bytes as f64);
    }
    let help = "Answers that are kept.";
    let mut family = writer.family("madang_gateway_cache_entries", Kind::Gauge, help);
    for CachedRoute { route, service, entries, .. } in routes {
        family.add(&[("route", route), ("service", service)], *entries as f64);
    }
    let help = "Requests by what the cache did for them.";
    let mut family = writer.family("madang_gateway_cache_requests", Kind::Counter, help);
    for CachedRoute { route, service, hits, stale, revalidated, misses, .. } in routes {
        for (result, count) in
            [("hit", hits), ("stale", stale), ("revalidated", revalidated), ("miss", misses)]
        {
            family.add(&[("route", route), ("service", service), ("result", result)], *count as f64);
        }
    }
    let help = "Answers that are not kept, or not any more: they made room, were purged, or found no room.";
    let mut family = writer.family("madang_gateway_cache_dropped", Kind::Counter, help);
    for CachedRoute { route, service, evicted, purged, left_out, .. } in routes {
        for (reason, count) in [("evicted", evicted), ("purged", purged), ("left_out", left_out)] {
            family.add(&[("route", route), ("service", service), ("reason", reason)], *count as f64);
        }
    }
}

pub(super) fn missing(writer: &mut Writer, missing: &[Missing]) {
    let help =
        "What was dropped or not kept apart of telemetry, so that nobody trusts a number that is wrong.";
    let mut family = writer.family("madang_telemetry_dropped", Kind::Counter, help);
    for Missing { kind, reason, unit, count, .. } in missing {
        let own = [("kind", kind.name()), ("reason", reason)];
        let unit = unit.as_deref().map(|unit| ("unit", unit));
        let labels: Vec<_> = own.into_iter().chain(unit).collect();
        family.add(&labels, *count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::text::Exposition;

    #[test]
    fn ends_of_certificates_and_what_became_of_new_ones_are_there_once_there_are_any() {
        let written = |node: &NodeGauges| {
            let mut writer = Writer::text(Exposition::Text);
            super::node(&mut writer, node);
            writer.into_text()
        };
        let mut gauges = NodeGauges::default();
        assert!(!written(&gauges).contains("certificate"), "nobody speaks TLS");
        gauges.certificate_orders = [0, 2];
        assert!(written(&gauges).contains("madang_gateway_certificate_orders_total{result=\"failed\"} 2"));
        gauges.certificates = vec![("shop.example".to_owned(), 1_800_000_000), (String::new(), 5)];
        (gauges.certificate_reloads, gauges.handshakes) = ([3, 1], [7, 2, 1]);
        let written = written(&gauges);
        for line in [
            r#"madang_gateway_certificate_end_seconds{certificate="0",host="shop.example"} 1800000000"#,
            r#"madang_gateway_certificate_reloads_total{result="applied"} 3"#,
            r#"madang_gateway_certificate_reloads_total{result="failed"} 1"#,
            r#"madang_gateway_certificate_orders_total{result="issued"} 0"#,
            r#"madang_gateway_tls_handshakes_total{result="agreed"} 7"#,
        ] {
            assert!(written.lines().any(|found| found == line), "{line} in {written}");
        }
    }
}
