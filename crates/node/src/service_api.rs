//! The service API: what an instance asks of its node over loopback, with its own token.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use http::{HeaderMap, header};
use madang_discovery::Registry;
use madang_model::{ServiceName, System};
use madang_wire::{Code, Problem, service::Endpoints};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    http::{Failure, lines, serve},
    tokens::{Bearer, Tokens},
};

/// A stream says something at least this often, so that its reader can tell quiet from dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Clone)]
pub(crate) struct ServiceApi {
    pub(crate) registry: Registry,
    pub(crate) system: watch::Receiver<Arc<System>>,
    pub(crate) tokens: Tokens,
}

impl ServiceApi {
    /// Serves until told to stop; streams end then.
    pub(crate) async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        let router = self.router(shutdown.clone());
        serve(listener, router, shutdown).await
    }

    fn router(self, shutdown: CancellationToken) -> Router {
        Router::new().route("/v1/endpoints", get(endpoints)).with_state((self, shutdown))
    }

    fn bearer(&self, headers: &HeaderMap) -> Result<Bearer, Failure> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        // The scheme's case does not matter (RFC 9110, section 11.1).
        let token = given.and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
        token.and_then(|token| self.tokens.check(token)).ok_or_else(|| {
            let detail = "send `authorization: Bearer $MADANG_TOKEN`, from the environment of the instance";
            Problem::new(Code::TOKEN).detail(detail).into()
        })
    }

    /// The service that asks: the one it names, which its unit must host, or else the unit's only one.
    fn asker(&self, bearer: &Bearer, named: Option<ServiceName>) -> Result<ServiceName, Failure> {
        let system = self.system.borrow().clone();
        let hosted = system.units.get(&bearer.unit).map(|unit| &unit.services);
        let found = match (named, hosted) {
            (Some(name), Some(hosted)) => hosted.get(&name).cloned(),
            (None, Some(hosted)) if hosted.len() == 1 => hosted.first().cloned(),
            _ => None,
        };
        found.ok_or_else(|| {
            let names: Vec<_> = hosted.into_iter().flatten().map(ServiceName::as_str).collect();
            let detail =
                format!("ask with ?service= for one that {} hosts: {}", bearer.unit, names.join(", "));
            Problem::new(Code::UNKNOWN_NAME).detail(detail).into()
        })
    }

    /// What the asker declares, with its own limits; versions come from the registry.
    fn declared(&self, asker: &ServiceName) -> Endpoints {
        let system = self.system.borrow().clone();
        let known = self.registry.snapshot();
        let mut services = BTreeMap::new();
        for callee in system.services.get(asker).into_iter().flat_map(|service| service.calls.keys()) {
            let mut entry = known.services.get(callee).cloned().unwrap_or_default();
            entry.policy = Some(system.policy_of_call(asker, callee));
            services.insert(callee.clone(), entry);
        }
        Endpoints { version: known.version, services }
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    watch: bool,
    service: Option<ServiceName>,
}

async fn endpoints(
    State((api, shutdown)): State<(ServiceApi, CancellationToken)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let asker = api.asker(&api.bearer(&headers)?, asked.service)?;
    if !asked.watch {
        return Ok(axum::Json(api.declared(&asker)).into_response());
    }
    let mut system = api.system.clone();
    system.mark_changed();
    let watching = Watching { registry: api.registry.watch(), system, api, asker, shutdown };
    Ok(lines(stream::unfold(watching, |mut watching| async {
        let next = watching.next().await?;
        Some((next, watching))
    })))
}

/// One reader of `?watch=true`.
struct Watching {
    registry: madang_discovery::Watch,
    system: watch::Receiver<Arc<System>>,
    api: ServiceApi,
    asker: ServiceName,
    shutdown: CancellationToken,
}

impl Watching {
    /// Waits for a change of what is ready or of what is declared, or for the heartbeat.
    async fn next(&mut self) -> Option<Endpoints> {
        let changed = async {
            tokio::select! {
                next = self.registry.next() => next.map(drop),
                changed = self.system.changed() => changed.ok(),
            }
        };
        tokio::select! {
            () = self.shutdown.cancelled() => return None,
            changed = timeout(HEARTBEAT, changed) => if let Ok(gone) = changed { gone? },
        }
        Some(self.api.declared(&self.asker))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use madang_discovery::Instance;
    use madang_model::{InstanceId, Protocol, UnitName};
    use tower::ServiceExt;

    use super::*;

    const MANIFEST: &str = r#"
        [services.users]
        run = "users"
        timeout = "2s"
        [services.catalog]
        run = "catalog"
        [services.orders]
        run = "orders"
        calls = { users = {}, catalog = { timeout = "500ms" } }
    "#;

    struct Fixture {
        _folder: tempfile::TempDir,
        registry: Registry,
        _system: watch::Sender<Arc<System>>,
        tokens: Tokens,
        router: Router,
    }

    async fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("madang.toml");
        std::fs::write(&manifest, MANIFEST).unwrap();
        let system = Arc::new(madang_model::manifest::load(&manifest, &|_| None).unwrap().system);
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let state = madang_store::Store::open(&url).unwrap();
        let registry = Registry::open(&state).await.unwrap();
        let tokens = Tokens::open(&state, [1; crate::tokens::KEY]).await.unwrap();
        let (sender, seen) = watch::channel(system);
        let api = ServiceApi { registry: registry.clone(), system: seen, tokens: tokens.clone() };
        let router = api.router(CancellationToken::new());
        Fixture { _folder: folder, registry, _system: sender, tokens, router }
    }

    impl Fixture {
        fn token(&self, unit: &str) -> String {
            let unit: UnitName = unit.parse().unwrap();
            self.tokens.issue(&unit, &InstanceId(format!("{unit}-a").as_str().into()))
        }

        async fn get(&self, path: &str, token: &str) -> Response {
            let request = Request::get(path).header("authorization", format!("bearer {token}"));
            self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
        }

        fn ready(&self, service: &str) {
            self.registry.register(&Instance {
                id: InstanceId(format!("{service}-a").as_str().into()),
                services: [service.parse().unwrap()].into(),
                address: "127.0.0.1:20001".parse().unwrap(),
                protocol: Protocol::Http,
            });
        }
    }

    #[tokio::test]
    async fn an_instance_sees_what_it_declares_with_its_own_limits() {
        let fixture = fixture().await;
        fixture.ready("users");
        fixture.ready("orders");
        let answer = fixture.get("/v1/endpoints", &fixture.token("orders")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let seen: Endpoints =
            serde_json::from_slice(&to_bytes(answer.into_body(), 9999).await.unwrap()).unwrap();
        let names: Vec<&str> = seen.services.keys().map(ServiceName::as_str).collect();
        assert_eq!(names, ["catalog", "users"], "orders itself is not declared");
        assert_eq!(seen.services["users"].instances.len(), 1);
        assert_eq!(seen.services["users"].policy.as_ref().unwrap().timeout, Duration::from_secs(2));
        assert_eq!(seen.services["catalog"].policy.as_ref().unwrap().timeout, Duration::from_millis(500));
        assert!(seen.services["catalog"].instances.is_empty());
    }

    #[tokio::test]
    async fn a_stranger_sees_nothing() {
        let fixture = fixture().await;
        for token in ["", "orders/orders-a/00", &fixture.token("orders").replace("orders", "users")] {
            assert_eq!(
                fixture.get("/v1/endpoints", token).await.status(),
                StatusCode::UNAUTHORIZED,
                "{token}"
            );
        }
        let other = fixture.get("/v1/endpoints?service=users", &fixture.token("orders")).await;
        assert_eq!(other.status(), StatusCode::NOT_FOUND, "a service of another unit");
    }

    #[tokio::test]
    async fn a_watch_tells_each_change() {
        let fixture = fixture().await;
        let mut body = fixture.get("/v1/endpoints?watch=true", &fixture.token("orders")).await.into_body();
        for expected in [0, 1] {
            let line = loop {
                let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
                let seen: Endpoints = serde_json::from_slice(&line).unwrap();
                // What is known at first may come twice: for the registry and for the manifest.
                if expected == 0 || !seen.services["users"].instances.is_empty() {
                    break seen;
                }
            };
            assert_eq!(line.services["users"].instances.len(), expected);
            fixture.ready("users");
        }
    }
}
