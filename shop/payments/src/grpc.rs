//! The endpoints of payments over gRPC.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use madang::{Error, Problem, Resources, Result, axum::Router, axum::http::StatusCode};
use shop_idempotency::{InFlight, Key};
use shop_money::Currency;
use shop_payments_api::{
    self as api,
    payments_server::{Payments, PaymentsServer},
};
use tonic::{Request, Response, Status};

use crate::{
    audit,
    charge::{self, Charge, NewCharge, NewRefund, Refund},
    ledger::Kind,
    once,
};

/// How many transactions of the ledger are read at once.
const PAGE: u32 = 200;

/// The routes of payments over gRPC.
pub(crate) fn routes(in_flight: InFlight) -> Router {
    let server = PaymentsServer::new(Grpc { in_flight });
    Router::new().route_service("/shop.payments.v1.Payments/{method}", server)
}

struct Grpc {
    in_flight: InFlight,
}

#[tonic::async_trait]
impl Payments for Grpc {
    type LedgerStream = Pin<Box<dyn Stream<Item = Result<api::Transaction, Status>> + Send>>;

    async fn charge(
        &self,
        request: Request<api::ChargeRequest>,
    ) -> Result<Response<api::ChargeReply>, Status> {
        self.charge_once(request).await.map(Response::new).map_err(status)
    }

    async fn refund(
        &self,
        request: Request<api::RefundRequest>,
    ) -> Result<Response<api::RefundReply>, Status> {
        self.refund_once(request).await.map(Response::new).map_err(status)
    }

    async fn ledger(
        &self,
        request: Request<api::LedgerRequest>,
    ) -> Result<Response<Self::LedgerStream>, Status> {
        let pool = resources(&request).and_then(Resources::sqlite).map_err(status)?;
        let pages = stream::try_unfold(request.into_inner().after, move |after| {
            let pool = pool.clone();
            async move {
                let page = audit::page(&pool, after, PAGE).await?;
                Ok::<_, Error>(page.last().map(|last| last.id).map(|last| (stream::iter(page).map(Ok), last)))
            }
        });
        Ok(Response::new(pages.try_flatten().map_ok(transaction).map_err(status).boxed()))
    }
}

impl Grpc {
    async fn charge_once(&self, request: Request<api::ChargeRequest>) -> Result<api::ChargeReply> {
        let pool = resources(&request)?.sqlite()?;
        let key = key(&request)?;
        let api::ChargeRequest { user, order, amount, currency } = request.into_inner();
        let currency = Currency::ALL.into_iter().find(|known| known.code() == currency);
        let currency = currency.ok_or_else(|| Error::invalid("currency", "must be KRW or USD"))?;
        let new = NewCharge { user, order, amount, currency };
        let answer = once::charge(&pool, &self.in_flight, &key, &new).await?;
        if answer.status == StatusCode::CREATED {
            let charge: Charge = serde_json::from_str(&answer.body)?;
            let outcome = api::Outcome::Captured.into();
            return Ok(api::ChargeReply { charge: charge.id, outcome, reason: String::new() });
        }
        let declined: Problem = serde_json::from_str(&answer.body)?;
        let charge = charge::find_by_key(&pool, &key).await?;
        let charge = charge.ok_or_else(|| Error::internal("a declined charge is kept under its key"))?;
        let outcome = api::Outcome::Declined.into();
        Ok(api::ChargeReply { charge: charge.id, outcome, reason: declined.detail.unwrap_or_default() })
    }

    async fn refund_once(&self, request: Request<api::RefundRequest>) -> Result<api::RefundReply> {
        let pool = resources(&request)?.sqlite()?;
        let key = key(&request)?;
        let api::RefundRequest { charge, amount } = request.into_inner();
        let answer = once::refund(&pool, &self.in_flight, &key, charge, &NewRefund { amount }).await?;
        let refund: Refund = serde_json::from_str(&answer.body)?;
        Ok(api::RefundReply { refund: refund.id, amount: refund.amount })
    }
}

fn resources<T>(request: &Request<T>) -> Result<&Resources> {
    madang::grpc::resources(request.extensions())
}

/// The key is in the metadata, which are the request's headers.
fn key<T>(request: &Request<T>) -> Result<Key> {
    Key::required(&request.metadata().clone().into_headers())
}

fn transaction(of: audit::Transaction) -> api::Transaction {
    let entry = |entry: audit::Entry| api::Entry {
        account: entry.account,
        currency: entry.currency.to_string(),
        amount: entry.amount,
    };
    let kind = match of.kind {
        Kind::Opening => "opening",
        Kind::Charge => "charge",
        Kind::Refund => "refund",
    };
    api::Transaction {
        id: of.id,
        kind: kind.to_owned(),
        reference: of.reference,
        at: of.at,
        entries: of.entries.into_iter().map(entry).collect(),
    }
}

fn status(error: Error) -> Status {
    let (code, message) = madang::grpc::status(&error);
    Status::new(code.into(), message)
}
