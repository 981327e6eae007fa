//! The shop with services that can be spoiled while they run.

use std::{fs, path::PathBuf};

use madang_testkit::{Answer, Placement, Prepared, TestSystem, binary};
use serde_json::json;

/// The shop, with a saboteur in front of each service, and the file that tells it what to spoil.
pub struct Sabotaged {
    pub shop: TestSystem,
}

/// Those that can be spoiled.
pub const SERVICES: [&str; 5] = ["users", "catalog", "orders", "payments", "storefront"];

impl Sabotaged {
    /// Starts it, well.
    pub async fn start() -> Self {
        let prepared = Prepared::shop();
        prepared.edit("madang.toml", "[system]", "[telemetry]\nslow = \"250ms\"\n\n[system]");
        for service in SERVICES {
            let run = binary(&format!("shop-{service}")).display().to_string();
            let (manifest, file) = (format!("{service}/service.toml"), Self::file_in(&prepared, service));
            let saboteur = format!("{} {run}", env!("CARGO_BIN_EXE_saboteur"));
            prepared.edit(&manifest, &format!("\"{run}\""), &format!("\"{saboteur}\""));
            let told = format!("SABOTAGE = \"{}\"", file.display());
            let before = fs::read_to_string(prepared.path().join(&manifest)).unwrap();
            let run = before.lines().find(|line| line.starts_with("run = ")).unwrap();
            match before.lines().find(|line| line.starts_with("env = ")) {
                Some(own) => {
                    prepared.edit(&manifest, own, &own.replace("env = { ", &format!("env = {{ {told}, ")))
                }
                None => prepared.edit(&manifest, run, &format!("{run}\nenv = {{ {told} }}")),
            }
        }
        Self { shop: prepared.start(Placement::Processes).await }
    }

    fn file_in(prepared: &Prepared, service: &str) -> PathBuf {
        prepared.path().join(format!("{service}.sabotage"))
    }

    /// Has a service be `slow 400`, `error`, `hang` or `crash`; well again by nothing.
    pub fn spoil(&self, service: &str, how: &str) {
        fs::write(Self::file_in(&self.shop, service), how).unwrap();
    }

    /// Asks for something that this service has a part in: opens the first page, or orders a book. Gives the status
    /// and the request's id, which the answer has in every case.
    pub async fn ask(&self, service: &str) -> (u16, String) {
        let answer = if service == "storefront" {
            self.shop.get("/").await
        } else {
            self.shop.post("/orders", json!({"user": 1, "product": "Book"})).await
        };
        (answer.status.as_u16(), id(&answer))
    }
}

/// The id of a request, which every answer has.
pub fn id(answer: &Answer) -> String {
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}
