//! A secret reaches the program that is to know it, and nobody else.

use std::fs;

use madang_testkit::{Placement, Prepared};
use serde_json::json;

const SYSTEM: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [services.pay]
    run = "python3 service.py"
    env = { KEY = "Bearer ${secret.pay}" }
    routes = ["/pay/**"]

    [services.users]
    run = "python3 service.py"
    routes = ["/**"]
"#;

const SECRET: &str = "hunter2-한글-$HOME";

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_told_its_secret_and_nobody_else_is() {
    let prepared = Prepared::with(SYSTEM);
    // The program of the example answers `/env` only at its root.
    prepared.write(
        "service.py",
        &include_str!("programs/service.py").replace("what == \"env\"", "\"env\" in self.path"),
    );
    let from = prepared.path().join("value");
    fs::write(&from, SECRET).unwrap();
    let madang = async |args: &[&str]| {
        let output = prepared.madang(args).env("HOME", prepared.path()).output().await.unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    madang(&["secret", "set", "pay", "--from", "value"]).await;
    fs::remove_file(&from).unwrap();
    let key = madang(&["secret", "key", "--show"]).await.trim().to_owned();
    let system = prepared.with_variable("MADANG_SECRETS_KEY", &key).start(Placement::Processes).await;

    let told = system.get("/pay/env").await.json();
    assert_eq!(told["KEY"], json!(format!("Bearer {SECRET}")));
    let users = system.get("/env").await;
    for secret in [SECRET, &*key] {
        assert!(!users.text().contains(secret), "{}", users.text());
    }
    assert_eq!(told["MADANG_SECRETS_KEY"], json!(null), "services do not inherit the key");

    // Whoever runs it by hand opens it himself: the node tells only where it stands.
    let view = system.admin("/v1/units/pay/environment").await;
    assert_eq!(view["sealed"], json!({"KEY": "Bearer ${secret.pay}"}), "{view:#}");
    let mut printed = system.madang(&["env", "pay", "--", "printenv", "KEY"]);
    let printed = printed.env("MADANG_SECRETS_KEY", &key).output().await.unwrap().stdout;
    assert_eq!(String::from_utf8(printed).unwrap().trim(), format!("Bearer {SECRET}"));

    let pages =
        ["/v1/system", "/v1/units/pay/environment", "/v1/services/pay", "/v1/instances", "/v1/requests"];
    for page in pages {
        assert!(!system.admin(page).await.to_string().contains("hunter2"), "{page}");
    }
    for args in [
        &["ps", "--format", "json"][..],
        &["describe", "pay"],
        &["logs"],
        &["check", "--explain"],
        &["events"],
    ] {
        let output = system.madang(args).output().await.unwrap();
        assert!(output.status.success(), "{args:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"), "{args:?}");
    }
    for (pid, line) in system.processes() {
        assert!(!line.contains("hunter2"), "{pid}: {line}");
    }
    for file in files(system.path()) {
        let holds = fs::read(&file).is_ok_and(|bytes| bytes.windows(7).any(|part| part == b"hunter2"));
        assert!(!holds, "{}", file.display());
    }
}

/// Every file of a folder and of those below it.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_the_program_does_not_start_and_it_is_said_how_to_go_on() {
    let prepared = Prepared::with(SYSTEM);
    prepared.write("service.py", include_str!("programs/service.py"));
    let mut set = prepared.madang(&["secret", "set", "pay", "--from", "service.py"]);
    assert!(set.env("HOME", prepared.path()).status().await.unwrap().success());
    fs::remove_dir_all(prepared.path().join(".config")).unwrap();
    let up = prepared.madang(&["up"]).env("HOME", prepared.path()).output().await.unwrap();
    let said = String::from_utf8_lossy(&[up.stdout, up.stderr].concat()).into_owned();
    assert_eq!(up.status.code(), Some(1), "{said}");
    assert!(said.contains("no value for ${secret.pay}") && said.contains("which is not here"), "{said}");
    assert!(said.contains("madang secret key --show") && said.contains("MADANG_SECRETS_KEY"), "{said}");
}
