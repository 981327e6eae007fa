//! The way of somebody in or out, which the gateway answers itself, after asking an issuer where it must.

use http::{HeaderValue, Method, Response};
use madang_calls::{Body, Client, Context};
use madang_wire::TraceId;
use tokio::time::Instant;

use super::Asked;
use crate::{
    answer::{Asker, Refusal},
    login::{page, visit::Visit},
};

/// A request that is answered so.
pub(super) struct Visiting {
    client: Client,
    context: Context,
    method: Method,
    visit: Visit,
}

impl Asked<'_> {
    pub(super) fn visiting(self, visit: Visit) -> Visiting {
        let Self { client, context, request, .. } = self;
        Visiting { client: client.clone(), context, method: request.method().clone(), visit }
    }
}

impl Visiting {
    /// The answer, of which a record is left: of the gateway, as nobody else was asked that is one of the system.
    pub(super) async fn answer(self, asker: Asker) -> (Response<Body>, HeaderValue) {
        let Self { client, context, method, visit } = self;
        let (started, as_page) = (Instant::now(), visit.as_page());
        let response = match visit.answer().await {
            Ok(response) => {
                client.record_served(&context, &method, response.status(), started);
                response
            }
            Err(denied) => {
                let refusal = Refusal::from(denied.clone());
                client.record_answered(&context, &method, refusal.code(), started);
                let refusal = refusal.answer(asker, &context);
                if as_page { page::of(&denied, TraceId(context.trace.trace_id), refusal) } else { refusal }
            }
        };
        (response, context.request_id.0)
    }
}
