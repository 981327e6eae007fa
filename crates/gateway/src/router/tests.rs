use std::path::PathBuf;

use expect_test::{Expect, expect};
use madang_model::{HeaderMatch, Limits, Place};
use proptest::{prelude::*, sample::subsequence};

use super::*;

/// Reads `METHODS HOST/PATH [header=value…]`; `-` stands for any method.
fn route(text: &str) -> Route {
    let mut words = text.split_whitespace();
    let methods = match words.next() {
        None | Some("-") => Vec::new(),
        Some(methods) => methods.split(',').map(str::to_owned).collect(),
    };
    let address = words.next().expect("an address");
    let slash = address.find('/').expect("a path");
    Route {
        host: (slash > 0).then(|| address[..slash].to_owned()),
        path: address[slash..].to_owned(),
        methods,
        headers: words
            .map(|w| w.split_once('=').expect("name=value"))
            .map(|(name, value)| HeaderMatch { name: name.into(), value: value.into() })
            .collect(),
        to: Vec::new(),
        policy: Limits::default(),
        redirect: None,
        sticky: None,
        edge: Default::default(),
        require: None,
        place: Place { file: PathBuf::from("madang.toml"), line: 1 },
    }
}

#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    host: String,
    path: String,
    headers: HeaderMap,
}

impl Asked {
    fn new(text: &str) -> Self {
        let route = route(text);
        let headers = route.headers.iter().map(|h| (h.name.parse().unwrap(), h.value.parse().unwrap()));
        Self {
            method: route.methods[0].parse().unwrap(),
            host: route.host.unwrap_or_default(),
            path: route.path,
            headers: headers.collect(),
        }
    }

    fn target(&self) -> Target<'_> {
        Target { host: &self.host, path: &self.path, method: &self.method, headers: &self.headers }
    }
}

/// Shows which route each request takes.
fn check(routes: &[&str], requests: &[&str], expected: Expect) {
    let parsed: Vec<Route> = routes.iter().map(|text| route(text)).collect();
    let router = Router::compile(&parsed).unwrap();
    let mut shown = String::new();
    for request in requests {
        let found = match router.find(Asked::new(request).target()) {
            Found::Route(index) => routes[index].to_owned(),
            Found::OtherMethods(methods) => format!("405 {methods:?}"),
            Found::Nothing => "404".to_owned(),
        };
        shown.push_str(&format!("{request} => {found}\n"));
    }
    expected.assert_eq(&shown);
}

#[test]
fn the_more_specific_path_wins() {
    check(
        &["- /**", "- /users/**", "- /users/{id}", "- /users/me", "- /users/*/orders", "- /", "- /a/"],
        &[
            "GET /",
            "GET /users",
            "GET /users/",
            "GET /users/1",
            "GET /users/me",
            "GET /users/me/orders",
            "GET /users/1/orders/2",
            "GET /usersx",
            "GET /a",
            "GET /a/",
            "GET //users",
        ],
        expect![[r#"
            GET / => - /
            GET /users => - /users/**
            GET /users/ => - /users/**
            GET /users/1 => - /users/{id}
            GET /users/me => - /users/me
            GET /users/me/orders => - /users/*/orders
            GET /users/1/orders/2 => - /users/**
            GET /usersx => - /**
            GET /a => - /**
            GET /a/ => - /a/
            GET //users => - /**
        "#]],
    );
}

#[test]
fn hosts_fall_through_from_exact_to_none() {
    check(
        &["- /a", "- *.example/a", "- *.shop.example/a", "- x.shop.example/b", "- *.example/**"],
        &[
            "GET x.shop.example/b",
            "GET X.Shop.Example/a",
            "GET y.shop.example/a",
            "GET deep.y.shop.example/a",
            "GET shop.example/a",
            "GET x.shop.example/c",
            "GET example/a",
            "GET .example/a",
            "GET other/c",
        ],
        expect![[r#"
            GET x.shop.example/b => - x.shop.example/b
            GET X.Shop.Example/a => - *.shop.example/a
            GET y.shop.example/a => - *.shop.example/a
            GET deep.y.shop.example/a => - *.shop.example/a
            GET shop.example/a => - *.example/a
            GET x.shop.example/c => - *.example/**
            GET example/a => - /a
            GET .example/a => - /a
            GET other/c => 404
        "#]],
    );
}

#[test]
fn methods_and_headers_decide_between_equal_paths() {
    check(
        &[
            "- /a",
            "GET /a",
            "GET /a v=2",
            "- /a v=2 w=1",
            "HEAD,POST /b",
            "GET /b",
            "GET /c/{x}",
            "PUT /c/**",
        ],
        &[
            "GET /a",
            "GET /a v=2",
            "GET /a v=2 w=1",
            "POST /a v=2 w=1",
            "POST /a v=2",
            "HEAD /a",
            "HEAD /b",
            "GET /b",
            "DELETE /b",
            "PUT /c/1",
            "POST /c/1",
            "HEAD /c/1",
            "PURGE /c/1",
        ],
        expect![[r#"
            GET /a => GET /a
            GET /a v=2 => GET /a v=2
            GET /a v=2 w=1 => GET /a v=2
            POST /a v=2 w=1 => - /a v=2 w=1
            POST /a v=2 => - /a
            HEAD /a => GET /a
            HEAD /b => HEAD,POST /b
            GET /b => GET /b
            DELETE /b => 405 [GET, HEAD, POST]
            PUT /c/1 => PUT /c/**
            POST /c/1 => 405 [GET, HEAD, PUT]
            HEAD /c/1 => GET /c/{x}
            PURGE /c/1 => 405 [GET, HEAD, PUT]
        "#]],
    );
}

#[test]
fn a_bad_route_is_named() {
    let error = Router::compile(&[route("- /a/**/b")]).unwrap_err();
    expect!["madang.toml:1: \"/a/**/b\" is not a path of a route"].assert_eq(&error.to_string());
}

// === The property: the table finds what the first match of a sorted list finds ===

/// Whether a template matches, straight from its definition.
fn matches_path(template: &[&str], path: &[&str]) -> bool {
    match (template.split_first(), path.split_first()) {
        (None, None) | (Some((&"**", _)), _) => true,
        (Some((&t, template)), Some((&p, path))) => {
            (if t == "*" { !p.is_empty() } else { t == p }) && matches_path(template, path)
        }
        _ => false,
    }
}

fn matches_host(pattern: Option<&str>, host: &str) -> bool {
    match pattern {
        None => true,
        Some(pattern) => match pattern.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => pattern == host,
        },
    }
}

fn naive(routes: &[Route], asked: &Asked) -> Found {
    // One candidate per way in: HEAD by GET is a way of its own, between named and any.
    let mut ways: Vec<(u8, &str, usize, &Route)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let segments: Vec<&str> = route.path[1..].split('/').collect();
        let path: Vec<&str> = asked.path[1..].split('/').collect();
        let headers =
            route.headers.iter().all(|h| asked.headers.get(&h.name).is_some_and(|v| *v == *h.value));
        if !matches_host(route.host.as_deref(), &asked.host) || !matches_path(&segments, &path) || !headers {
            continue;
        }
        if route.methods.is_empty() {
            ways.push((2, "", index, route));
        }
        ways.extend(route.methods.iter().map(|m| (0, m.as_str(), index, route)));
        if route.methods.iter().any(|m| m == "GET") && !route.methods.iter().any(|m| m == "HEAD") {
            ways.push((1, "HEAD", index, route));
        }
    }
    ways.sort_by_key(|(method, _, index, route)| {
        let host = match route.host.as_deref() {
            None => (2, 0),
            Some(h) if h.starts_with('*') => (1, usize::MAX - h.len()),
            Some(_) => (0, 0),
        };
        let path: Vec<u8> = route.path[1..]
            .split('/')
            .map(|s| match s {
                "**" => 2,
                "*" => 1,
                _ => 0,
            })
            .collect();
        (host, path, *method, usize::MAX - route.headers.len(), *index)
    });
    if let Some(way) = ways.iter().find(|(_, m, ..)| m.is_empty() || *m == asked.method.as_str()) {
        return Found::Route(way.2);
    }
    let mut methods: Vec<Method> = ways.iter().map(|(_, m, ..)| m.parse().unwrap()).collect();
    methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    methods.dedup();
    if methods.is_empty() { Found::Nothing } else { Found::OtherMethods(methods) }
}

/// Few letters and short paths, so that routes and requests collide all the time.
fn path(segment: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(segment), 1..4).prop_map(|s| format!("/{}", s.join("/")))
}

fn any_route() -> impl Strategy<Value = Route> {
    let host = prop::sample::select(vec!["", "", "a.x", "b.a.x", "*.x", "*.a.x"]);
    let headers = subsequence(vec!["v=1", "v=2", "w=1"], 0..2);
    let methods = subsequence(vec!["GET", "POST", "HEAD"], 0..3);
    (host, path(&["a", "b", "", "*"]), any::<bool>(), methods, headers).prop_map(
        |(host, path, rest, methods, headers)| {
            let methods = if methods.is_empty() { "-".to_owned() } else { methods.join(",") };
            let rest = if rest { "/**" } else { "" };
            route(&format!("{methods} {host}{path}{rest} {}", headers.join(" ")))
        },
    )
}

fn any_request() -> impl Strategy<Value = Asked> {
    let host = prop::sample::select(vec!["a.x", "b.a.x", "c.b.a.x", "x", "y"]);
    let headers = subsequence(vec!["v=1", "w=1"], 0..=2);
    let method = prop::sample::select(vec!["GET", "POST", "HEAD", "PUT"]);
    (method, host, path(&["a", "b", "c", ""]), headers)
        .prop_map(|(m, h, p, headers)| Asked::new(&format!("{m} {h}{p} {}", headers.join(" "))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]
    #[test]
    fn the_table_agrees_with_a_sorted_list(
        routes in prop::collection::vec(any_route(), 0..12),
        requests in prop::collection::vec(any_request(), 8),
    ) {
        let router = Router::compile(&routes).unwrap();
        for asked in &requests {
            prop_assert_eq!(router.find(asked.target()), naive(&routes, asked), "{:?}", asked);
        }
    }
}
