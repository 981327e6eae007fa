//! What the gateway itself does can be done, and lets in nobody by accident.

use std::collections::BTreeMap;

use crate::{
    EdgeRules, Protocol, Require, Scope, ServiceName,
    edge::{Cache, EdgeLayers, HeaderEdits, Origins, Said},
    format_size,
    manifest::{
        error::{Code, Found, ManifestError},
        plan,
        raw::{RawRoute, RawSystem},
        source::Spot,
    },
};

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    front(raw, found);
    for rules in all(raw) {
        unknown(raw, rules, found);
        for rule in &rules.0 {
            if let Some(said) = &rule.said {
                alone(raw, said, &rule.place, found);
            }
        }
    }
    for route in plan::routes(raw) {
        redirect(route, found);
        sticky(route, found);
        secrets(raw, route, found);
        mirror(raw, route, found);
        cache(raw, route, found);
    }
}

/// Whoever is believed is somebody, and whoever logs in has something to prove it by.
fn front(raw: &RawSystem, found: &mut Found) {
    if let Some(proxies) = raw.proxies.as_ref().filter(|proxies| proxies.sound) {
        if proxies.networks.is_empty() {
            found.push(
                ManifestError::new(Code::BAD_VALUE, "`trusted_proxies` trusts nobody")
                    .at(&proxies.spot, "no network")
                    .hint("name where the proxies are: [\"10.0.0.0/8\"]; or leave it out, and nobody is believed"),
            );
        }
        if let Some(at) = proxies.networks.iter().find(|at| at.value.is_everything()) {
            found.push(
                ManifestError::new(Code::BAD_VALUE, "`trusted_proxies` trusts everybody")
                    .at(&at.spot, "every client could say that it is another")
                    .hint("name the networks of the proxies alone, such as \"10.0.0.0/8\""),
            );
        }
    }
    let store = raw.limit_store.as_ref();
    if let Some((user, None)) = store.and_then(|store| Some((store.user.as_ref()?, &store.password))) {
        found.push(
            ManifestError::new(Code::CONTRADICTION, "`limit_store` names a user and no password")
                .at(&user.spot, "nobody is let in by a name alone")
                .hint("add password = \"${secret.NAME}\"; or leave `user` out, if the store asks for none"),
        );
    }
}

/// What each scope says.
fn all(raw: &RawSystem) -> impl Iterator<Item = &EdgeRules<Spot>> {
    let services = raw.services.iter().map(|service| &service.edge);
    let routes = plan::routes(raw).into_iter().map(|route| &route.edge);
    [&raw.gateway_edge].into_iter().chain(services).chain(routes)
}

/// The scopes that hold over a route to one of its targets.
fn layers<'a>(raw: &'a RawSystem, route: &'a RawRoute, service: &ServiceName) -> EdgeLayers<'a, Spot> {
    let mut layers = vec![(Scope::Gateway, &raw.gateway_edge)];
    let service = raw.services.iter().find(|it| it.name.value == *service);
    layers.extend(service.map(|service| (Scope::Service, &service.edge)));
    layers.push((Scope::Route, &route.edge));
    EdgeLayers(layers)
}

/// What a rule says holds by itself.
fn alone(raw: &RawSystem, said: &Said, spot: &Spot, found: &mut Found) {
    match said {
        Said::RateLimits(limits) => {
            let mut names = BTreeMap::new();
            for limit in limits {
                if names.insert(&limit.name, ()).is_some() {
                    found.push(
                        ManifestError::new(
                            Code::SAID_TWICE,
                            format!("two rate limits are called \"{}\"", limit.name),
                        )
                        .at(spot, "clients could not tell them apart")
                        .hint("give each a name: { rate = \"1000/h\", name = \"hourly\" }"),
                    );
                }
                if limit.shared.is_some() && !raw.has_limit_store {
                    found.push(
                        ManifestError::new(
                            Code::NO_LIMIT_STORE,
                            format!("the rate limit \"{}\" is shared, and nothing says where", limit.name),
                        )
                        .at(spot, "needs [gateway.limit_store]")
                        .hint("add to madang.toml: [gateway.limit_store] with url = \"redis://limits.internal:6379\"; or leave `shared` out, and each gateway counts alone"),
                    );
                }
                if limit.per.is_known() && !raw.has_auth {
                    found.push(
                        ManifestError::new(
                            Code::NOBODY_KNOWS,
                            format!(
                                "requests are counted per {}, and nobody can tell whose they are",
                                limit.per
                            ),
                        )
                        .at(spot, "needs [gateway.auth]")
                        .hint("add [gateway.auth] with issuers or keys = true, or count per = \"address\""),
                    );
                }
            }
        }
        Said::Cors(cors) => match &cors.origins {
            Origins::Any(_) if cors.credentials => found.push(
                ManifestError::new(Code::OPEN_CORS, "`cors` lets every page act for whoever is logged in")
                    .at(spot, "all origins, with credentials")
                    .hint(
                        "name the origins: origins = [\"https://shop.example\"]; or leave `credentials` out",
                    ),
            ),
            Origins::These(these) if these.is_empty() => found.push(
                ManifestError::new(Code::BAD_VALUE, "`origins` cannot be empty")
                    .at(spot, "nobody's pages")
                    .hint("name an origin (\"https://shop.example\"), or write cors = false"),
            ),
            _ => {}
        },
        Said::Path(edit) if edit.strip.is_none() && edit.add.is_none() => found.push(
            ManifestError::new(Code::BAD_VALUE, "`path` changes nothing")
                .at(spot, "neither `strip` nor `add`")
                .hint("write path = { strip = \"/api\" }, or path = false"),
        ),
        Said::Headers(edits) => twice(edits, spot, found),
        Said::Cache(cache) => room(raw, cache, spot, found),
        _ => {}
    }
}

/// A field is changed in one way.
fn twice(edits: &HeaderEdits, spot: &Spot, found: &mut Found) {
    if let Some(name) = edits.remove.iter().find(|name| edits.set.contains_key(*name)) {
        found.push(
            ManifestError::new(Code::CONTRADICTION, format!("the header `{name}` is both removed and set"))
                .at(spot, "one of them means nothing")
                .hint("`set` replaces whatever there was: leave it out of `remove`"),
        );
    }
}

/// A redirect asks no service, and has a status that means going elsewhere.
fn redirect(route: &RawRoute, found: &mut Found) {
    let Some(redirect) = &route.redirect else { return };
    let status = redirect.value.status;
    if !matches!(status, 301 | 302 | 307 | 308) {
        found.push(
            ManifestError::new(Code::BAD_REDIRECT, format!("`status` of a redirect cannot be {status}"))
                .at(&redirect.spot.narrowed(&status.to_string()), "sends nobody elsewhere")
                .hint("write 308 (for good) or 307 (for now), which keep the method; 301 and 302 make a GET of a POST in most clients"),
        );
    }
    if route.has_to {
        found.push(
            ManifestError::new(
                Code::CONTRADICTION,
                format!("the route {} both leads and redirects", route.path),
            )
            .at(&redirect.spot, "no service is asked")
            .also(&route.spot, "this route has a `to`")
            .hint("remove `to` or `redirect`"),
        );
    }
    let uses_rest = redirect.value.to.parts.contains(&crate::edge::RedirectPart::Rest);
    if uses_rest && !route.path.ends_with("/**") {
        found.push(
            ManifestError::new(Code::BAD_REDIRECT, format!("the route {} has no rest", route.path))
                .at(&redirect.spot.narrowed("{rest}"), "what `**` stands for")
                .hint("end the path with `/**`, or write {path}"),
        );
    }
}

/// There is a choice to keep.
fn sticky(route: &RawRoute, found: &mut Found) {
    let Some(sticky) = &route.sticky else { return };
    if route.to.iter().filter(|to| to.weight.value > 0).count() < 2 {
        found.push(
            ManifestError::new(Code::NO_CHOICE, format!("the route {} has no choice to keep", route.path))
                .at(&sticky.spot, "of which targets?")
                .hint("divide the requests: to = { legacy = 95, cart = 5 }; which instance of a service answers is not chosen by this"),
        );
    }
}

/// Answers to somebody who is known hold secrets; compressed beside what an attacker chooses they can be guessed.
fn secrets(raw: &RawSystem, route: &RawRoute, found: &mut Found) {
    for to in &route.to {
        let layers = layers(raw, route, &to.service.value);
        let Some((_, rule)) = layers.origin("compress") else { continue };
        let Some(Said::Compress(compress)) = &rule.said else { continue };
        let of_service = raw.services.iter().find(|it| it.name.value == to.service.value);
        let required = route.require.as_ref().or_else(|| of_service?.require.as_ref());
        let asks = match required.map(|it| &it.value) {
            Some(required) => *required != Require::None,
            None => raw.has_auth,
        };
        if asks && !compress.beside_secrets {
            found.push(
                ManifestError::new(
                    Code::COMPRESSED_SECRETS,
                    format!("answers over {} are somebody's own, and would be compressed", route.path),
                )
                .at(&rule.place, "their length can tell what is in them (BREACH)")
                .also(&route.spot, "asks who the client is")
                .hint("write compress = false there; or, if no answer holds a secret beside what a request chooses, compress = { beside_secrets = true }"),
            );
            return;
        }
    }
}

/// A copy goes to another service, which there is.
fn mirror(raw: &RawSystem, route: &RawRoute, found: &mut Found) {
    for to in &route.to {
        let layers = layers(raw, route, &to.service.value);
        let Some((_, rule)) = layers.origin("mirror") else { continue };
        let Some(Said::Mirror(mirror)) = &rule.said else { continue };
        if mirror.to == to.service.value {
            found.push(
                ManifestError::new(
                    Code::BAD_MIRROR,
                    format!("requests to \"{}\" are copied to itself", mirror.to),
                )
                .at(&rule.place, "it would get each of them twice")
                .hint("name another service, such as the next version of this one"),
            );
            return;
        }
    }
}

/// What is to be kept fits.
fn room(raw: &RawSystem, cache: &Cache, spot: &Spot, found: &mut Found) {
    let size = raw.cache_size.as_ref().map_or(Cache::SIZE, |at| at.value);
    // What is on its way needs room too, and the others are to stay.
    if cache.max_body <= size / 4 {
        return;
    }
    let (body, all) = (format_size(cache.max_body), format_size(size));
    let mut error = ManifestError::new(
        Code::CACHE_TOO_SMALL,
        format!("a body of {body} does not fit into a quarter of the cache, which has {all}"),
    )
    .at(spot, "one answer would push out the others");
    if let Some(at) = &raw.cache_size {
        error = error.also(&at.spot, "all answers together");
    }
    found.push(error.hint("lower `max_body` here, or give [gateway] a larger `cache_size`"));
}

/// Streams of gRPC are answered to nobody twice.
fn cache(raw: &RawSystem, route: &RawRoute, found: &mut Found) {
    for to in &route.to {
        let layers = layers(raw, route, &to.service.value);
        let Some((scope, rule)) = layers.origin("cache") else { continue };
        let of_service = raw.services.iter().find(|it| it.name.value == to.service.value);
        let protocol = of_service.and_then(|it| it.protocol.as_ref());
        // What the gateway says holds for the others.
        if scope == Scope::Gateway || rule.said.is_none() {
            continue;
        }
        if let Some(protocol) = protocol.filter(|protocol| protocol.value == Protocol::Grpc) {
            found.push(
                ManifestError::new(
                    Code::NEVER_KEPT,
                    format!("\"{}\" speaks gRPC, of which nothing is kept", to.service.value),
                )
                .at(&rule.place, "keeps nothing")
                .also(&protocol.spot, "all of its requests are POST")
                .hint("leave `cache` out"),
            );
            return;
        }
    }
}

fn unknown(raw: &RawSystem, rules: &EdgeRules<Spot>, found: &mut Found) {
    let Some(rule) = rules.get("mirror") else { return };
    let Some(Said::Mirror(mirror)) = &rule.said else { return };
    let known: Vec<&str> = raw.services.iter().map(|service| service.name.value.as_str()).collect();
    if raw.incomplete || known.contains(&mirror.to.as_str()) {
        return;
    }
    let near = crate::nearest(mirror.to.as_str(), known.iter().copied());
    let help = match near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("declare [services.{}]", mirror.to),
    };
    found.push(
        ManifestError::new(Code::UNKNOWN_SERVICE, format!("there is no service \"{}\"", mirror.to))
            .at(&rule.place, "copies are for nobody")
            .hint(help),
    );
}
