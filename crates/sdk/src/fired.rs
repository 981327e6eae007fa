//! Faults that kill: the node is asked to do it, because only the node knows its instances.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use madang_calls::{BoxError, Killer};
use madang_model::{InstanceId, ServiceName};
use madang_wire::service::Fired;

use crate::{environment::ServiceApi, error::chain, post::Post};

/// Has the node kill the instances that faults meet in the calls of one service.
pub(crate) struct Firing {
    pub(crate) caller: ServiceName,
    pub(crate) api: ServiceApi,
}

// === impl Firing ===

impl Killer for Firing {
    fn kill(&self, fault: &str, service: &ServiceName, instance: Option<&InstanceId>) {
        let (caller, service) = (self.caller.clone(), service.clone());
        let fired = Fired { caller, service, instance: instance.cloned() };
        let (api, fault) = (self.api.clone(), fault.to_owned());
        tokio::spawn(async move {
            if let Err(error) = tell(&api, &fault, &fired).await {
                let error = chain(error.as_ref());
                tracing::warn!(fault, service = %fired.service, error, "failed to have an instance killed");
            }
        });
    }
}

async fn tell(api: &ServiceApi, fault: &str, fired: &Fired) -> Result<(), BoxError> {
    let request = Request::post(format!("/v1/faults/{fault}/fired"))
        .header(header::AUTHORIZATION, format!("Bearer {}", api.token))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(fired)?)))?;
    let response = Post::to(api.address.to_string()).send(request).await?;
    if !response.status().is_success() {
        return Err(format!("the service API answered {}", response.status()).into());
    }
    Ok(())
}
