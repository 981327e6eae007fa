//! `madang token`: what a program needs that joins a service.

use madang_model::ServiceName;
use madang_wire::admin::TokenView;

use crate::{client::Client, failure::Failure, output::Output};

/// Prints a token for a service, alone on its line for `$(madang token orders)`.
pub async fn run(client: &Client, output: &Output, service: &ServiceName) -> Result<(), Failure> {
    let view: TokenView = client.make(&format!("/v1/tokens?service={service}")).await?;
    if output.is_json() { output.json(&view) } else { output.line(&view.token) }
}
