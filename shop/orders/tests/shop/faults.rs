//! Catalog and payments as they are, except for what is told to go wrong.

use std::sync::{Arc, Mutex};

use madang::{
    Service,
    axum::{
        Router,
        body::{Body, to_bytes},
        extract::{Request, State},
        http::{Method, StatusCode},
        middleware::{self, Next},
        response::{IntoResponse, Response},
    },
};
use shop_catalog::{Config, clock::Clock};

/// What goes wrong, by what a request says. Cloning it gives the same.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<(Trigger, Fault)>>>);

/// Which requests go wrong: those to this path that have these words in the body.
#[derive(Debug, Clone)]
struct Trigger {
    method: Method,
    path: &'static str,
    words: &'static str,
}

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is never heard, nor answered.
    HangBefore,
    /// It is done, but never answered.
    HangAfter,
    /// It is done, and the service breaks before it answers.
    BreakAfter,
    /// It is refused because the service is not well.
    Refuse,
}

impl Faults {
    /// From now on, requests like this go wrong.
    pub fn inject(&self, method: Method, path: &'static str, words: &'static str, fault: Fault) {
        self.0.lock().unwrap().push((Trigger { method, path, words }, fault));
    }

    /// From now on, nothing goes wrong.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    fn of(&self, method: &Method, path: &str, body: &str) -> Option<Fault> {
        let faults = self.0.lock().unwrap();
        let hit = faults.iter().find(|(trigger, _)| {
            trigger.method == *method && path.starts_with(trigger.path) && body.contains(trigger.words)
        });
        hit.map(|(_, fault)| *fault)
    }
}

pub fn catalog(faults: &Faults, clock: &Clock) -> Service {
    let config = Config { clock: clock.clone(), ..Config::default() };
    Service::new("catalog")
        .sqlite(madang::migrate!("../catalog/migrations"))
        .routes(with_faults(shop_catalog::routes(config), faults))
        .prepare(shop_catalog::fill)
}

pub fn payments(faults: &Faults) -> Service {
    Service::new("payments")
        .sqlite(madang::migrate!("../payments/migrations"))
        .routes(with_faults(shop_payments::routes(), faults))
}

fn with_faults(routes: Router, faults: &Faults) -> Router {
    routes.layer(middleware::from_fn_with_state(faults.clone(), go_wrong))
}

async fn go_wrong(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let fault = faults.of(&head.method, head.uri.path(), &String::from_utf8_lossy(&body));
    let request = Request::from_parts(head, Body::from(body));
    match fault {
        None => next.run(request).await,
        Some(Fault::Refuse) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Fault::HangBefore) => std::future::pending().await,
        Some(Fault::HangAfter) => {
            next.run(request).await;
            std::future::pending().await
        }
        Some(Fault::BreakAfter) => {
            next.run(request).await;
            panic!("the test breaks the service after it has done its work")
        }
    }
}
