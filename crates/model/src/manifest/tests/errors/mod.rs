//! Every message, as a person sees it: one test per code, in a file per room of rules.

mod auth;
mod compositions;
mod databases;
mod edge;
mod elsewhere;
mod files;
mod keys;
mod policies;
mod ports;
mod routes;
mod secrets;
mod services;
mod telemetry;
mod tls;
mod urls;
mod values;

use std::{fs, path::Path};

use crate::manifest::Code;

/// Every code is the answer to a test of these, has a page that starts with it, and every page has a code.
#[test]
fn every_code_has_a_message_and_a_page() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src/manifest/tests/errors", "src/manifest/tests"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(crate_folder.join(folder)).unwrap());
    let tests: String = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok()).collect();
    let pages = crate_folder.join("../../docs/errors");
    for code in Code::ALL {
        assert!(
            tests.contains(&format!("{}\n", code.id)) || *code == Code::NO_MANIFEST,
            "{} has no snapshot",
            code.id
        );
        let page = fs::read_to_string(pages.join(format!("{}.md", code.id))).unwrap_or_default();
        let heading = format!("# {}: {}\n", code.id, code.title);
        assert!(page.starts_with(&heading), "docs/errors/{}.md should start with {heading:?}", code.id);
    }
    for page in fs::read_dir(&pages).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        if let Some(id) = name.strip_suffix(".md").filter(|id| id.starts_with("MDG-MF-")) {
            assert!(Code::ALL.iter().any(|code| code.id == id), "{name} is the page of no code");
        }
    }
}
