//! `madang open`: the dashboard in a browser, or the gateway.

use std::{
    io,
    process::{Command, Stdio},
};

use madang_wire::{admin::SystemView, dashboard::LoginView};

use crate::{client::Client, failure::Failure, output::Output};

/// Opens the URL that logs in to the dashboard, or that of the gateway if it is asked for or there is no dashboard; or
/// prints it where nothing can open it.
pub async fn run(client: &Client, output: &Output, gateway: bool) -> Result<(), Failure> {
    let system: SystemView = client.get("/v1/system").await?;
    let login: Option<LoginView> = match system.dashboard {
        Some(_) => Some(client.get("/v1/login").await?),
        None => None,
    };
    if output.is_json() {
        return output.json(&serde_json::json!({ "gateway": system.gateway, "dashboard": login }));
    }
    let url = login.filter(|_| !gateway).map_or(system.gateway, |login| login.login);
    output.line(&url)?;
    let mut opener = Command::new("xdg-open");
    opener.arg(&url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match opener.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::message(format!("xdg-open could not open it: {status}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}
