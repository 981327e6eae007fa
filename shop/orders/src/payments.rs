//! Payments as orders call it: over HTTP or over gRPC, with the same keys and the same meaning.

use std::time::Duration;

use madang::{Calls, axum::http::StatusCode};
use serde::{Deserialize, Serialize};
use shop_money::Currency;
use shop_payments_api::{ChargeRequest, Outcome, RefundRequest, payments_client::PaymentsClient};
use tonic::{Code, Request, Status};

use crate::{
    PaymentsBy,
    machine::{Event, Reason},
    order::Order,
    peers::{Asking, detail, no_answer, quoted, refused},
};

type Client = PaymentsClient<madang::grpc::Channel>;

/// Payments as orders call it.
#[derive(Clone)]
pub(crate) struct Payments {
    calls: Calls,
    /// For calls over gRPC.
    client: Option<Client>,
    timeout: Option<Duration>,
}

#[derive(Serialize)]
struct NewCharge<'a> {
    user: i64,
    order: &'a str,
    amount: i64,
    currency: Currency,
}

#[derive(Serialize)]
struct NewRefund {}

#[derive(Deserialize)]
struct Charge {
    id: i64,
}

// === impl Payments ===

impl Payments {
    pub(crate) fn new(calls: &Calls, by: PaymentsBy) -> Self {
        let client = by.grpc.then(|| PaymentsClient::new(calls.to("payments").grpc()));
        Self { calls: calls.clone(), client, timeout: by.timeout }
    }

    pub(crate) async fn charge(&self, order: &Order, asking: Asking) -> Result<Event, Reason> {
        match &self.client {
            Some(client) => self.charge_over_grpc(client.clone(), order, asking).await,
            None => self.charge_over_http(order, asking).await,
        }
    }

    pub(crate) async fn refund(&self, order: &Order, charge: i64) -> Result<Event, Reason> {
        let key = quoted(&format!("{}-refund", order.key));
        match &self.client {
            Some(client) => refund_over_grpc(client.clone(), charge, &key).await,
            None => self.refund_over_http(charge, &key).await,
        }
    }

    async fn charge_over_http(&self, order: &Order, asking: Asking) -> Result<Event, Reason> {
        let body = NewCharge {
            user: order.user,
            order: &order.key,
            amount: order.total.amount,
            currency: order.total.currency,
        };
        let mut call =
            self.calls.to("payments").post("/payments/charges").idempotency_key(quoted(&order.key));
        if let Some(timeout) = self.timeout {
            call = call.timeout(timeout);
        }
        let reply = match call.json(&body).send().await {
            Ok(reply) => reply,
            Err(error) if asking == Asking::First && !error.outcome_unknown() => {
                return Ok(Event::ChargeFailed(no_answer(error)));
            }
            Err(error) => return Err(no_answer(error)),
        };
        match reply.status() {
            StatusCode::CREATED => match reply.json::<Charge>().await {
                Ok(charge) => Ok(Event::Charged { charge: charge.id }),
                Err(error) => Err(Reason { detail: error.to_string(), field: None }),
            },
            StatusCode::PAYMENT_REQUIRED => {
                let detail = detail(&reply.problem().await);
                Ok(Event::ChargeDeclined(Reason { detail, field: None }))
            }
            // Refused before anything happened, except that 409 says that another try is being answered.
            status
                if status.is_client_error() && status != StatusCode::CONFLICT && asking == Asking::First =>
            {
                Ok(Event::ChargeFailed(refused("payments", reply).await))
            }
            _ => Err(refused("payments", reply).await),
        }
    }

    async fn charge_over_grpc(
        &self,
        mut client: Client,
        order: &Order,
        asking: Asking,
    ) -> Result<Event, Reason> {
        let message = ChargeRequest {
            user: order.user,
            order: order.key.clone(),
            amount: order.total.amount,
            currency: order.total.currency.to_string(),
        };
        let mut request = keyed(message, &quoted(&order.key))?;
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        match client.charge(request).await.map(tonic::Response::into_inner) {
            Ok(reply) => match reply.outcome() {
                Outcome::Captured => Ok(Event::Charged { charge: reply.charge }),
                Outcome::Declined => Ok(Event::ChargeDeclined(Reason { detail: reply.reason, field: None })),
                Outcome::Unspecified => Err(reason("payments answered an outcome that orders do not know")),
            },
            // Refused before anything happened; anything else may have been heard, or is being answered.
            Err(status) if asking == Asking::First && unheard(&status) => {
                Ok(Event::ChargeFailed(said(&status)))
            }
            Err(status) => Err(said(&status)),
        }
    }

    async fn refund_over_http(&self, charge: i64, key: &str) -> Result<Event, Reason> {
        let path = format!("/payments/charges/{charge}/refunds");
        let call = self.calls.to("payments").post(path).idempotency_key(key).json(&NewRefund {});
        let reply = call.send().await.map_err(no_answer)?;
        match reply.status() {
            StatusCode::CREATED => Ok(Event::PaidBack),
            _ => Err(refused("payments", reply).await),
        }
    }
}

async fn refund_over_grpc(mut client: Client, charge: i64, key: &str) -> Result<Event, Reason> {
    let request = keyed(RefundRequest { charge, amount: None }, key)?;
    client.refund(request).await.map(|_| Event::PaidBack).map_err(|status| said(&status))
}

fn keyed<T>(message: T, key: &str) -> Result<Request<T>, Reason> {
    let mut request = Request::new(message);
    let key = key.parse().map_err(|_| reason("the order's key cannot be sent"))?;
    request.metadata_mut().insert("idempotency-key", key);
    Ok(request)
}

/// Whether a status says that nothing was charged.
fn unheard(status: &Status) -> bool {
    let refused = matches!(
        status.code(),
        Code::InvalidArgument | Code::NotFound | Code::PermissionDenied | Code::Unimplemented
    );
    refused || madang::grpc::unsent(&status.metadata().clone().into_headers())
}

fn said(status: &Status) -> Reason {
    Reason { detail: format!("payments answered {:?}: {}", status.code(), status.message()), field: None }
}

fn reason(detail: &str) -> Reason {
    Reason { detail: detail.to_owned(), field: None }
}
