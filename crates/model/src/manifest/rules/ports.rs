//! Each port is one listener's.

use std::{collections::HashMap, net::IpAddr};

use crate::{
    AdminListener, PortRule, ServiceName, UnitName,
    manifest::{
        DEFAULT_LISTEN, Placeholder,
        error::{Code, Found, ManifestError},
        plan::{self, Planned},
        raw::RawSystem,
        source::{At, Spot},
    },
};

/// Somebody who wants a port.
struct Listener<'a> {
    who: String,
    /// The address, or nothing for a program, of which only the port is known.
    ip: Option<IpAddr>,
    spot: Option<&'a Spot>,
    /// The unit that it belongs to and whether it is that unit's program.
    unit: Option<(usize, bool)>,
}

impl Listener<'_> {
    fn clashes(&self, other: &Self) -> bool {
        match (self.ip, other.ip) {
            (Some(a), Some(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            _ => true,
        }
    }

    /// Whether these are a unit's program and Madang's listener for a service in it.
    fn of_one_unit(&self, other: &Self) -> bool {
        matches!((self.unit, other.unit), (Some((a, mine)), Some((b, theirs))) if a == b && mine != theirs)
    }
}

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    let units = plan::units(raw);
    for unit in &units {
        replicas(unit, found);
    }
    workers(raw, &units, found);
    let mut taken: HashMap<u16, Vec<Listener>> = HashMap::new();
    for (port, listener) in listeners(raw, &units) {
        let earlier = taken.entry(port).or_default();
        if let Some(other) = earlier.iter().find(|other| other.clashes(&listener)) {
            found.push(clash(port, other, &listener));
        }
        earlier.push(listener);
    }
}

/// Everybody who wants a port other than 0, which stands for any that is free.
fn listeners<'a>(raw: &'a RawSystem, units: &[Planned<'a>]) -> Vec<(u16, Listener<'a>)> {
    let listen = raw.listen.as_ref();
    let address = listen.map_or(DEFAULT_LISTEN, |at| at.value);
    let gateway = Listener {
        who: "the gateway".into(),
        ip: Some(address.ip()),
        spot: listen.map(|at| &at.spot),
        unit: None,
    };
    let mut all = vec![(address.port(), gateway)];
    if let Some(At { value: address, spot }) = raw.tls.as_ref().and_then(|tls| tls.redirect.as_ref()) {
        let who = "the gateway's redirect to https".into();
        all.push((address.port(), Listener { who, ip: Some(address.ip()), spot: Some(spot), unit: None }));
    }
    if let Some(At { value: address, spot }) = &raw.telemetry.metrics {
        let who = "Madang's listener for metrics".into();
        all.push((address.port(), Listener { who, ip: Some(address.ip()), spot: Some(spot), unit: None }));
    }
    if let Some(issuer) = &raw.issuer {
        let address = issuer.in_force().listen;
        let (who, spot) =
            ("the issuer".to_owned(), issuer.listen.as_ref().map_or(&issuer.spot, |at| &at.spot));
        all.push((address.port(), Listener { who, ip: Some(address.ip()), spot: Some(spot), unit: None }));
    }
    for (index, unit) in units.iter().enumerate() {
        if let Some(At { value: PortRule::Fixed(port), spot }) = &unit.program.port {
            let who = format!("the program of {}", unit.name);
            all.push((*port, Listener { who, ip: None, spot: Some(spot), unit: Some((index, true)) }));
        }
        for service in &unit.services {
            if let Some(At { value: address, spot }) = &service.listen {
                let who = format!("Madang's listener for {}", service.name.value);
                let unit = Some((index, false));
                all.push((address.port(), Listener { who, ip: Some(address.ip()), spot: Some(spot), unit }));
            }
        }
    }
    for service in plan::services(raw).into_values().filter(|service| service.has_url || service.joins) {
        if let Some(At { value: address, spot }) = &service.listen {
            let who = format!("Madang's listener for {}", service.name.value);
            let ip = Some(address.ip());
            all.push((address.port(), Listener { who, ip, spot: Some(spot), unit: None }));
        }
    }
    if let Some(At { value: AdminListener::At(address), spot }) = &raw.admin {
        let (who, ip) = ("the dashboard".to_owned(), Some(address.ip()));
        all.push((address.port(), Listener { who, ip, spot: Some(spot), unit: None }));
    }
    all.retain(|(port, _)| *port != 0);
    all
}

fn clash(port: u16, earlier: &Listener, later: &Listener) -> ManifestError {
    // Only the gateway's default has no place, and it comes first.
    let spot = later.spot.or(earlier.spot);
    let (code, message, help) = if earlier.of_one_unit(later) {
        (
            Code::LISTEN_IS_PORT,
            format!("`listen` and `port` are both {port}, but two processes cannot share a port"),
            "`listen` is Madang's port, `port` the program's: keep `listen` and remove `port` if the program reads PORT, else keep `port` alone".to_owned(),
        )
    } else {
        let default = match (earlier.spot, later.unit) {
            (Some(_), _) => "",
            (None, Some((_, false))) => {
                "; if this `listen` was meant for the gateway, move it under [gateway]: in TOML a key belongs to the last table header above it"
            }
            (None, _) => ": the gateway has it unless [gateway] `listen` says otherwise",
        };
        (
            Code::PORT_TAKEN,
            format!("port {port} is wanted by {} and by {}", earlier.who, later.who),
            format!("give one of them another port{default}"),
        )
    };
    let mut error = ManifestError::new(code, message).hint(help);
    if let Some(spot) = spot {
        error = error.at(spot, format!("wanted by {}", later.who));
    }
    match earlier.spot {
        Some(first) => error.also(first, format!("wanted by {}", earlier.who)),
        None => error,
    }
}

/// A fixed port is one instance's.
fn replicas(unit: &Planned, found: &mut Found) {
    let (Some(At { value: PortRule::Fixed(port), spot }), Some(replicas)) =
        (&unit.program.port, &unit.program.replicas)
    else {
        return;
    };
    if replicas.value > 1 {
        found.push(
            ManifestError::new(
                Code::FIXED_PORT_REPLICAS,
                format!("{} replicas of \"{}\" cannot all listen on port {port}", replicas.value, unit.name),
            )
            .at(&replicas.spot, "more than one instance")
            .also(spot, "one port for all of them")
            .hint(format!("write `listen = {port}` instead of `port = {port}` and let the program read PORT, or keep one replica")),
        );
    }
}

/// Nothing is sent to a worker, which has no port.
fn workers(raw: &RawSystem, units: &[Planned], found: &mut Found) {
    let mut workers: HashMap<&ServiceName, (&UnitName, &Spot)> = HashMap::new();
    for unit in units {
        let Some(At { value: PortRule::None, spot }) = &unit.program.port else { continue };
        if let Some(health) = &unit.program.health {
            found.push(no_port("`health` is asked over HTTP", &health.spot, &unit.name, spot));
        }
        for (key, _, at) in unit.placeholders().iter().filter(|(_, one, _)| *one == Placeholder::Own("port"))
        {
            found.push(no_port(&format!("{key} has a port in it"), at, &unit.name, spot));
        }
        workers.extend(unit.services.iter().map(|service| (&service.name.value, (&unit.name, spot))));
    }
    let mut refuse = |what: &str, to: &ServiceName, at: &Spot| {
        if let Some((unit, port)) = workers.get(to) {
            found.push(no_port(&format!("{what} {to}"), at, unit, port));
        }
    };
    for service in &raw.services {
        if let Some(listen) = &service.listen {
            refuse("requests to `listen` go to", &service.name.value, &listen.spot);
        }
        for call in &service.calls {
            refuse("calls go to", &call.to.value, &call.to.spot);
        }
    }
    for target in plan::routes(raw).into_iter().flat_map(|route| &route.to) {
        refuse("a route leads to", &target.service.value, &target.service.spot);
    }
}

fn no_port(what: &str, at: &Spot, unit: &UnitName, port: &Spot) -> ManifestError {
    ManifestError::new(Code::NO_PORT, format!("{what}, but \"{unit}\" has no port"))
        .at(at, "nothing listens there")
        .also(port, "a worker without a port")
        .hint("remove `port = false` if the program serves HTTP, or remove this")
}
