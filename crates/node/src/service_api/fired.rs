//! Faults that kill: an instance says that one met a call of its own, and the node, which alone may kill, does it.

use axum::{
    body::Bytes,
    extract::{Path, State},
};
use http::{HeaderMap, StatusCode};
use madang_model::policy::{Fault, FaultEffect};
use madang_wire::{Code, Problem, service::Fired};

use super::ServiceApi;
use crate::{http::Failure, tokens::Bearer};

/// A fault of kind `kill` met a call of the asker's: the instance that it went to is killed, or else the asker.
#[utoipa::path(post, path = "/v1/faults/{id}/fired", tag = "faults", params(("id" = String, Path)), request_body = Fired,
    responses((status = 202), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn fired(
    State(api): State<ServiceApi>,
    Path(fault): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    // First, so that nothing is read of those who are nobody.
    let bearer = api.bearer(&headers)?;
    let Fired { caller, service, instance } = serde_json::from_slice(&body).map_err(|error| {
        let expected = format!("is not a call that met a fault: {error}");
        Failure::from(Problem::new(Code::BAD_PARAMETER).field("body", expected))
    })?;
    let asker = api.asker(&bearer, Some(caller))?;
    let unknown = |detail: String| Failure::from(Problem::new(Code::UNKNOWN_NAME).detail(detail));
    let system = api.system.borrow().clone();
    let kills = |it: &Fault| it.name() == fault && it.effect == FaultEffect::Kill;
    if !api.faults.of_call(&system, &asker, &service).iter().any(kills) {
        return Err(unknown(format!("no fault {fault} kills instances of {service} for {asker}")));
    }
    let known = api.switchboard.registry().snapshot();
    let instances = known.services.get(&service).into_iter().flat_map(|service| &service.instances);
    let own = match bearer {
        Bearer::Instance { instance, .. } => Some(instance),
        Bearer::Service(_) | Bearer::Unit(_) => None,
    };
    let met = instance.or(own).ok_or_else(|| unknown("say which instance the call went to".to_owned()))?;
    if !instances.into_iter().any(|endpoint| endpoint.instance == met) {
        return Err(unknown(format!("{met} is no ready instance of {service}")));
    }
    api.killer.kill(&fault, &service, Some(&met));
    Ok(StatusCode::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service_api::fixture::fixture;

    #[tokio::test]
    async fn an_instance_has_those_killed_that_a_fault_of_its_own_met_and_nobody_else() {
        let fixture = fixture().await;
        fixture.ready("users");
        fixture.ready("catalog");
        let kill = fixture.fault(FaultEffect::Kill).await.id;
        let hang = fixture.fault(FaultEffect::Hang).await.id;
        let orders = fixture.token("orders");
        let met = r#"{ "caller": "orders", "service": "users", "instance": "users-a" }"#;
        for (fault, token, fired) in [
            (&*kill, &*fixture.token("catalog"), met),
            (&kill, &orders, r#"{ "caller": "orders", "service": "users", "instance": "catalog-a" }"#),
            (&kill, &orders, r#"{ "caller": "orders", "service": "catalog", "instance": "catalog-a" }"#),
            (&kill, &orders, r#"{ "caller": "orders", "service": "users" }"#),
            (&hang, &orders, met),
            ("f99", &orders, met),
        ] {
            assert_eq!(fixture.fire(fault, token, fired).await, StatusCode::NOT_FOUND, "{fault} {fired}");
        }
        assert_eq!(fixture.fire(&kill, "nobody", met).await, StatusCode::UNAUTHORIZED);
        assert_eq!(fixture.fire(&kill, &orders, "{}").await, StatusCode::BAD_REQUEST);
        assert_eq!(*fixture.killed.0.lock().unwrap(), [""; 0]);
        assert_eq!(fixture.fire(&kill, &orders, met).await, StatusCode::ACCEPTED);
        assert_eq!(*fixture.killed.0.lock().unwrap(), [format!("{kill} users users-a")]);
    }
}
