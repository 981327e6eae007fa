//! `madang open`: the gateway in a browser.

use std::{
    io,
    process::{Command, Stdio},
};

use madang_wire::admin::SystemView;

use crate::{client::Client, failure::Failure, output::Output};

/// Opens the gateway's URL, or prints it where nothing can open it.
pub async fn run(client: &Client, output: &Output) -> Result<(), Failure> {
    let system: SystemView = client.get("/v1/system").await?;
    if output.is_json() {
        return output.json(&serde_json::json!({ "gateway": system.gateway }));
    }
    output.line(&system.gateway)?;
    let mut opener = Command::new("xdg-open");
    opener.arg(&system.gateway).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match opener.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::message(format!("xdg-open could not open it: {status}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}
