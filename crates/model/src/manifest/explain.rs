//! Where each value in force came from.

use std::{fmt, path::Path, time::Duration};

use serde::{Serialize, Serializer};

use super::{
    DEFAULT_LISTEN,
    auth::{RawAuth, RawRequire},
    composition::RawComposition,
    front::{RawLimitStore, RawProxies},
    issuer::{RawClient, RawIssuerOptions, RawLogin},
    plan,
    raw::{RawProgram, RawRoute, RawService, RawSystem, RawTarget},
    rules,
    source::{At, Spot},
    telemetry::{RawForward, RawTelemetry},
    tls::{RawAcme, RawExternalAccount, RawTls},
};
use crate::{
    AdminListener, Auth, Challenge, ClaimPath, Database, EdgeRules, ForwardProtocol, Limits, Login,
    OwnIssuer, Place, PortRule, Protocol, Require, Scope, SystemName, Telemetry, TlsVersion,
    edge::ProxyHeader,
    format_duration, format_size,
    limits::{Layers, Said, named, shown},
};

/// A value in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The key, with dots: `services.orders.replicas`.
    pub key: String,
    /// The value as TOML. A value of `env` is shown as it is written, since it may hold a secret once
    /// variables are substituted; a URL without its password.
    pub value: String,
    /// Where it came from.
    pub place: Origin,
}

/// Where a value came from; shown as `orders/service.toml:7` or `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File(Place),
    /// Nobody wrote it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => place.fmt(f),
            Self::Default => f.pad("default"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Lists every value of a system that passed the rules.
pub(super) fn explain(raw: &RawSystem, name: &SystemName, root: &Path) -> Vec<Explained> {
    let mut list = List::default();
    list.or_default("system.name", raw.name.as_ref(), quoted, quoted(name));
    for include in &raw.include {
        list.given("system.include", &include.spot, quoted(&include.value));
    }
    list.option("system.postgres", raw.postgres.as_ref(), |url| quoted(&rules::masked(url)));
    list.or_default("gateway.listen", raw.listen.as_ref(), quoted, quoted(&DEFAULT_LISTEN));
    list.option("gateway.cache_size", raw.cache_size.as_ref(), |size| quoted(&crate::format_size(*size)));
    list.or_default("admin.listen", raw.admin.as_ref(), admin, admin(&AdminListener::Usual));
    list.auth(raw.auth.as_ref());
    list.tls(raw.tls.as_ref());
    list.login(raw.login.as_ref());
    list.front(raw);
    list.issuer(raw.issuer.as_ref());
    list.limits("gateway.policy", &raw.gateway_policy, Scope::Gateway);
    list.edge("gateway.edge", &raw.gateway_edge);
    list.telemetry(&raw.telemetry);
    list.defaults(&raw.policy);
    for service in plan::services(raw).into_values() {
        list.service(service, raw, name, root);
    }
    for unit in plan::units(raw) {
        list.unit(&unit);
    }
    for (index, route) in plan::routes(raw).into_iter().enumerate() {
        list.route(index, route);
    }
    for composition in &raw.compositions {
        list.composition(composition);
    }
    list.0
}

#[derive(Default)]
struct List(Vec<Explained>);

impl List {
    fn add(&mut self, key: impl Into<String>, value: String, place: Origin) {
        self.0.push(Explained { key: key.into(), value, place });
    }

    fn given(&mut self, key: impl Into<String>, spot: &Spot, value: String) {
        self.add(key, value, Origin::File(spot.place()));
    }

    /// A value that is absent unless it is given.
    fn option<T>(&mut self, key: impl Into<String>, at: Option<&At<T>>, show: impl Fn(&T) -> String) {
        if let Some(At { value, spot }) = at {
            self.given(key, spot, show(value));
        }
    }

    fn or_default<T>(
        &mut self,
        key: impl Into<String>,
        at: Option<&At<T>>,
        show: impl Fn(&T) -> String,
        or: String,
    ) {
        match at {
            Some(At { value, spot }) => self.given(key, spot, show(value)),
            None => self.add(key, or, Origin::Default),
        }
    }

    fn telemetry(&mut self, said: &RawTelemetry) {
        let default = Telemetry::default();
        let time = |time: &Duration| quoted(&format_duration(*time));
        let size = |size: &u64| quoted(&format_size(*size));
        let RawTelemetry {
            keep,
            size: largest,
            spans_per_second,
            slow,
            log_lines_per_second,
            metrics,
            forward,
        } = said;
        self.or_default("telemetry.keep", keep.as_ref(), time, time(&default.keep));
        self.or_default("telemetry.size", largest.as_ref(), size, size(&default.size));
        let (spans, lines) = (default.spans_per_second, default.log_lines_per_second);
        let key = "telemetry.spans_per_second";
        self.or_default(key, spans_per_second.as_ref(), u32::to_string, spans.to_string());
        self.or_default("telemetry.slow", slow.as_ref(), time, time(&default.slow));
        let key = "telemetry.log_lines_per_second";
        self.or_default(key, log_lines_per_second.as_ref(), u32::to_string, lines.to_string());
        self.option("telemetry.metrics", metrics.as_ref(), quoted);
        let Some(RawForward { url, protocol, headers }) = forward else { return };
        self.given("telemetry.forward.url", &url.spot, quoted(&url.value));
        let shown = |protocol: &ForwardProtocol| quoted(&protocol.as_str());
        let default = shown(&ForwardProtocol::default());
        self.or_default("telemetry.forward.protocol", protocol.as_ref(), shown, default);
        for (name, at) in headers {
            self.given(format!("telemetry.forward.headers.{name}"), &at.spot, at.spot.written().to_owned());
        }
    }

    fn auth(&mut self, auth: Option<&RawAuth>) {
        let Some(RawAuth { issuers, keys, certificates, leeway, built_in, .. }) = auth else { return };
        self.option("gateway.auth.built_in".to_owned(), built_in.as_ref(), bool::to_string);
        for (index, issuer) in issuers.iter().enumerate() {
            let key = |key: &str| format!("gateway.auth.issuers.{index}.{key}");
            self.option(key("issuer"), Some(&issuer.issuer), quoted);
            for audience in &issuer.audience {
                self.given(key("audience"), &audience.spot, quoted(&audience.value));
            }
            let discovered = issuer.discovery().map(|url| quoted(&url)).unwrap_or_default();
            self.or_default(key("jwks"), issuer.jwks.as_ref(), quoted, discovered);
            self.or_default(key("roles"), issuer.roles.as_ref(), quoted, quoted(&ClaimPath::roles().0));
            for claim in &issuer.claims {
                self.given(key("claims"), &claim.spot, quoted(&claim.value));
            }
        }
        let header = |header: &Option<String>| match header {
            Some(header) => format!("{{ header = {} }}", quoted(header)),
            None => "false".to_owned(),
        };
        self.or_default("gateway.auth.keys", keys.as_ref(), header, "false".to_owned());
        let key = "gateway.auth.certificates";
        self.or_default(key, certificates.as_ref(), bool::to_string, false.to_string());
        let time = |time: &Duration| quoted(&format_duration(*time));
        self.or_default("gateway.auth.leeway", leeway.as_ref(), time, time(&Auth::MOST_LEEWAY));
    }

    fn tls(&mut self, tls: Option<&RawTls>) {
        let Some(tls) = tls else { return };
        for (index, files) in tls.certificates.iter().enumerate() {
            let key = |key: &str| format!("gateway.tls.certificates.{index}.{key}");
            self.option(key("certificate"), Some(&files.certificate), quoted);
            self.option(key("key"), Some(&files.key), quoted);
        }
        let (development, default) = (tls.development.as_ref(), false.to_string());
        self.or_default("gateway.tls.development", development, bool::to_string, default);
        let version = |version: &TlsVersion| quoted(&version.as_str());
        let default = version(&TlsVersion::default());
        self.or_default("gateway.tls.min_version", tls.min_version.as_ref(), version, default);
        self.option("gateway.tls.redirect", tls.redirect.as_ref(), quoted);
        self.acme(tls.acme.as_ref());
        let Some(authorities) = &tls.client_ca else { return };
        self.given("gateway.tls.client_ca", &authorities.spot, quoted(&authorities.value));
        let clients = |required: &bool| quoted(&if *required { "required" } else { "optional" });
        self.or_default("gateway.tls.clients", tls.clients.as_ref(), clients, clients(&RawTls::REQUIRED));
        self.option("gateway.tls.client_crl", tls.client_crl.as_ref(), quoted);
    }

    fn acme(&mut self, acme: Option<&RawAcme>) {
        let Some(acme) = acme else { return };
        for domain in &acme.domains {
            self.option("gateway.tls.acme.domains", Some(domain), quoted);
        }
        self.option("gateway.tls.acme.terms", acme.terms.as_ref(), quoted);
        self.option("gateway.tls.acme.contact", acme.contact.as_ref(), quoted);
        let default = acme.directory().map(|url| quoted(&url)).unwrap_or_default();
        self.or_default("gateway.tls.acme.directory", acme.directory.as_ref(), quoted, default);
        let challenge = |challenge: &Challenge| quoted(&challenge.as_str());
        let default = challenge(&Challenge::default());
        self.or_default("gateway.tls.acme.challenge", acme.challenge.as_ref(), challenge, default);
        self.option("gateway.tls.acme.ca", acme.ca.as_ref(), quoted);
        if let Some(RawExternalAccount { id, key }) = &acme.external_account {
            self.given("gateway.tls.acme.external_account.id", &id.spot, quoted(&id.value));
            let written = key.spot.written().to_owned();
            self.given("gateway.tls.acme.external_account.key", &key.spot, written);
        }
    }

    fn login(&mut self, login: Option<&RawLogin>) {
        let Some(RawLogin { issuer, client, secret, url, scope, session, .. }) = login else { return };
        let key = |key: &str| format!("gateway.login.{key}");
        self.option(key("issuer"), issuer.as_ref(), quoted);
        self.option(key("client"), client.as_ref(), quoted);
        if let Some(at) = secret {
            self.given(key("secret"), &at.spot, at.spot.written().to_owned());
        }
        self.option(key("url"), url.as_ref(), quoted);
        for scope in scope {
            self.given(key("scope"), &scope.spot, quoted(&scope.value));
        }
        let time = |time: &Duration| quoted(&format_duration(*time));
        self.or_default(key("session"), session.as_ref(), time, time(&Login::SESSION));
    }

    /// Who stands before the gateway, and where limits are shared.
    fn front(&mut self, raw: &RawSystem) {
        if let Some(RawProxies { spot, networks, header, .. }) = &raw.proxies {
            let all = networks.iter().map(|at| toml::Value::String(at.value.to_string())).collect();
            self.given("gateway.trusted_proxies.networks", spot, toml::Value::Array(all).to_string());
            let shown = |header: &ProxyHeader| quoted(header.as_str());
            let key = "gateway.trusted_proxies.header";
            self.or_default(key, header.as_ref(), shown, shown(&ProxyHeader::default()));
        }
        if let Some(RawLimitStore { url, user, password }) = &raw.limit_store {
            self.given("gateway.limit_store.url", &url.spot, quoted(&url.value));
            self.option("gateway.limit_store.user", user.as_ref(), quoted);
            if let Some(at) = password {
                self.given("gateway.limit_store.password", &at.spot, at.spot.written().to_owned());
            }
        }
    }

    fn issuer(&mut self, issuer: Option<&RawIssuerOptions>) {
        let Some(RawIssuerOptions { listen, url, users, lifetime, origins, clients, .. }) = issuer else {
            return;
        };
        let key = |key: &str| format!("issuer.{key}");
        self.or_default(key("listen"), listen.as_ref(), quoted, quoted(&OwnIssuer::LISTEN));
        self.option(key("url"), url.as_ref(), quoted);
        self.option(key("users"), users.as_ref(), quoted);
        let time = |time: &Duration| quoted(&format_duration(*time));
        self.or_default(key("lifetime"), lifetime.as_ref(), time, time(&OwnIssuer::LIFETIME));
        for origin in origins {
            self.given(key("origins"), &origin.spot, quoted(&origin.value));
        }
        for client in clients {
            let key = |key: &str| format!("issuer.clients.{}.{key}", client.name.value);
            if let Some(at) = &client.secret {
                self.given(key("secret"), &at.spot, at.spot.written().to_owned());
            }
            let lists = [
                ("redirects", &client.redirects),
                ("after_logout", &client.after_logout),
                ("scopes", &client.scopes),
            ];
            for (name, list) in lists {
                for at in list {
                    self.given(key(name), &at.spot, quoted(&at.value));
                }
            }
            for grant in &client.grants {
                self.given(key("grants"), &grant.spot, quoted(&grant.value.as_str()));
            }
            if client.grants.is_empty() {
                let list = RawClient::GRANTS.map(|grant| quoted(&grant.as_str())).join(", ");
                self.or_default(key("grants"), None::<&At<String>>, quoted, format!("[{list}]"));
            }
        }
    }

    fn require(&mut self, key: &dyn Fn(&str) -> String, required: Option<&RawRequire>) {
        let Some(RawRequire { spot, value, said }) = required else { return };
        match value {
            Require::None => self.given(key("require"), spot, quoted("none")),
            Require::Optional => self.given(key("require"), spot, quoted("optional")),
            Require::Principal => self.given(key("require"), spot, quoted("principal")),
            Require::Of(_) => {
                for (name, word) in
                    said.iter().flat_map(|(name, words)| words.iter().map(move |it| (name, it)))
                {
                    self.given(key(&format!("require.{name}")), &word.spot, quoted(&word.value));
                }
            }
        }
    }

    fn service(&mut self, service: &RawService, raw: &RawSystem, system: &SystemName, root: &Path) {
        let name = &service.name.value;
        let key = |key: &str| format!("services.{name}.{key}");
        self.given(key("name"), &service.name.spot, quoted(name));
        self.option(key("owner"), service.owner.as_ref(), quoted);
        self.option(key("domain"), service.domain.as_ref(), quoted);
        self.option(key("url"), service.url.as_ref(), quoted);
        self.option(key("listen"), service.listen.as_ref(), quoted);
        self.or_default(key("protocol"), service.protocol.as_ref(), protocol, protocol(&Protocol::default()));
        self.limits(&key("policy"), &service.policy, Scope::Service);
        self.edge(&key("edge"), &service.edge);
        self.require(&key, service.require.as_ref());
        for call in &service.calls {
            let key = key(&format!("calls.{}", call.to.value));
            self.given(&key, &call.to.spot, "{}".into());
            self.limits(&key, &call.policy, Scope::Call);
        }
        let database = rules::database(service, raw, system.as_str(), root);
        if let (Some(database), Some(at)) = (database, &service.database) {
            let url = match &database {
                Database::Sqlite(_) => database.url(),
                Database::Postgres(url) => rules::masked(url),
            };
            self.given(key("database"), &at.spot, quoted(&url));
        }
    }

    fn unit(&mut self, unit: &plan::Planned) {
        let prefix = unit.key();
        let key = |key: &str| format!("{prefix}.{key}");
        for (service, spot) in unit.services.iter().zip(&unit.named) {
            self.given(key("services"), spot, quoted(&service.name.value));
        }
        self.program(&key, unit.program);
        for (name, at) in unit.env() {
            self.given(key(&format!("env.{name}")), &at.spot, at.spot.written().to_owned());
        }
        for service in unit.depends_on() {
            self.given(key("depends_on"), &service.spot, quoted(&service.value));
        }
        for program in unit.requires() {
            self.given(key("requires"), &program.spot, quoted(&program.value));
        }
    }

    fn program(&mut self, key: &dyn Fn(&str) -> String, program: &RawProgram) {
        self.option(key("run"), program.run.as_ref(), quoted);
        self.option(key("build"), program.build.as_ref(), quoted);
        self.option(key("health"), program.health.as_ref(), quoted);
        self.or_default(key("port"), program.port.as_ref(), port, port(&PortRule::Assigned));
        self.or_default(key("replicas"), program.replicas.as_ref(), u16::to_string, "1".into());
    }

    fn route(&mut self, index: usize, route: &RawRoute) {
        let key = |key: &str| format!("routes.{index}.{key}");
        self.given(key("path"), &route.spot, quoted(&route.path));
        self.option(key("host"), route.host.as_ref(), quoted);
        for method in &route.methods {
            self.given(key("methods"), &method.spot, quoted(&method.value));
        }
        for (name, value) in &route.headers {
            self.given(key(&format!("headers.{name}")), &value.spot, quoted(&value.value));
        }
        for RawTarget { service, weight } in &route.to {
            self.given(key(&format!("to.{}", service.value)), &service.spot, weight.value.to_string());
        }
        if let Some(At { value, spot }) = &route.redirect {
            self.given(key("redirect"), spot, crate::inline(&serde_json::json!(value)));
        }
        if let Some(At { value, spot }) = &route.sticky {
            self.given(key("sticky"), spot, crate::inline(&serde_json::json!(value)));
        }
        self.limits(&key("policy"), &route.policy, Scope::Route);
        self.edge(&key("edge"), &route.edge);
        self.require(&key, route.require.as_ref());
    }

    /// Whom it asks and what it answers; the rest of it is said of its route.
    fn composition(&mut self, composition: &RawComposition) {
        let key = |key: &str| format!("compositions.{}.{key}", composition.name.value);
        self.given(key("name"), &composition.name.spot, quoted(&composition.name.value));
        for header in &composition.pass {
            self.given(key("pass"), &header.spot, quoted(&header.value));
        }
        for call in &composition.calls {
            let key = |key: &str| {
                format!("compositions.{}.calls.{}.{key}", composition.name.value, call.name.value)
            };
            self.given(key("to"), &call.to.spot, quoted(&call.to.value));
            self.given(key("path"), &call.path.spot, quoted(&call.path.value));
            for (name, at) in &call.query {
                self.given(key(&format!("query.{name}")), &at.spot, quoted(&at.value));
            }
            self.option(key("optional"), call.optional.as_ref(), bool::to_string);
            self.option(key("timeout"), call.timeout.as_ref(), |time| quoted(&format_duration(*time)));
        }
        for answer in &composition.answers {
            for (name, value) in &answer.headers {
                self.given(key(&format!("answer.headers.{name}")), &value.spot, quoted(&value.value));
            }
            self.given(key("answer"), &answer.shape.spot, quoted(&answer.shape.value));
        }
    }

    /// What a scope says of what the gateway itself does.
    fn edge(&mut self, prefix: &str, rules: &EdgeRules<Spot>) {
        for rule in &rules.0 {
            self.given(format!("{prefix}.{}", rule.name), &rule.place, crate::inline(&rule.value()));
        }
    }

    /// What a scope says of calls.
    fn limits(&mut self, prefix: &str, limits: &Limits<Spot>, scope: Scope) {
        for setting in limits.settings() {
            let (group, key) = setting.name;
            let tells_more = limits.settings().iter().any(|s| s.name.0 == group && !s.name.1.is_empty());
            if setting.said == Said::On && tells_more {
                continue;
            }
            let name = named((as_written(group, scope), key));
            self.given(format!("{prefix}.{name}"), &setting.place, inline(&setting.said));
        }
    }

    /// What holds for every call, also where nothing is said.
    fn defaults(&mut self, limits: &Limits<Spot>) {
        let layers = Layers(vec![(Scope::Default, limits)]);
        for (name, said) in shown(&layers.policy()) {
            let place = match layers.origin(name) {
                Some((_, setting)) => Origin::File(setting.place.place()),
                None => Origin::Default,
            };
            self.add(format!("policy.{}", named(name)), inline(&said), place);
        }
    }
}

fn admin(listener: &AdminListener) -> String {
    match listener {
        AdminListener::Usual => quoted(&AdminListener::USUAL),
        AdminListener::At(address) => quoted(address),
        AdminListener::Off => "false".to_owned(),
    }
}

fn quoted<T: fmt::Display + ?Sized>(text: &T) -> String {
    toml::Value::String(text.to_string()).to_string()
}

/// The table in which a scope says something: what a route or a call says of its share it says of its concurrency.
fn as_written(group: &'static str, scope: Scope) -> &'static str {
    if scope.is_narrow() && group == "per_caller" { "concurrency" } else { group }
}

fn inline(said: &Said) -> String {
    crate::inline(&said.value())
}

fn protocol(protocol: &Protocol) -> String {
    quoted(match protocol {
        Protocol::Http => "http",
        Protocol::H2c => "h2c",
        Protocol::Grpc => "grpc",
    })
}

/// As the manifest would say it; an assigned port has no such form.
fn port(port: &PortRule) -> String {
    match port {
        PortRule::Assigned => "assigned".into(),
        PortRule::Fixed(port) => port.to_string(),
        PortRule::None => "false".into(),
    }
}
