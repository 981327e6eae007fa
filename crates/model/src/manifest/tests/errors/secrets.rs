//! What is said of `${secret.NAME}`.

use expect_test::expect;

use crate::manifest::tests::{Memory, refused_files, rendered};

const MANIFEST: &str = "[services.payments]\nrun = \"payments\"\nenv = { KEY = \"Bearer ${secret.pay}\" }\n";

const KEPT: &str = "version = 1\nkey = \"0011\"\n[sealed]\npay = \"00\"\n";

#[test]
fn a_secret_that_is_not_kept() {
    refused_files(
        &[("madang.toml", MANIFEST)],
        expect![[r#"
        MDG-MF-038

          × there is no secret "pay"
           ╭─[madang.toml:3:23]
         2 │ run = "payments"
         3 │ env = { KEY = "Bearer ${secret.pay}" }
           ·                       ──────┬──────
           ·                             ╰── is not kept
           ╰────
          help: `madang secret set pay` asks for it and keeps it sealed
    "#]],
    );
    let near = KEPT.replace("pay", "pays");
    refused_files(
        &[("madang.toml", MANIFEST), ("madang-secrets.toml", &near)],
        expect![[r#"
        MDG-MF-038

          × there is no secret "pay"
           ╭─[madang.toml:3:23]
         2 │ run = "payments"
         3 │ env = { KEY = "Bearer ${secret.pay}" }
           ·                       ──────┬──────
           ·                             ╰── is not kept
           ╰────
          help: did you mean ${secret.pays}? Otherwise `madang secret set pay` asks for it and keeps it sealed
    "#]],
    );
}

#[test]
fn an_environment_has_its_own() {
    let files = [("madang.toml", MANIFEST), ("madang.production.toml", ""), ("madang-secrets.toml", KEPT)];
    let errors = Memory::new(files).load_in(Some("production")).unwrap_err();
    expect![[r#"
        MDG-MF-038

          × there is no secret "pay" of production
           ╭─[madang.toml:3:23]
         2 │ run = "payments"
         3 │ env = { KEY = "Bearer ${secret.pay}" }
           ·                       ──────┬──────
           ·                             ╰── is not kept
           ╰────
          help: `madang secret set pay --env production` asks for it and keeps it sealed
    "#]]
    .assert_eq(&rendered(&errors));
    let own = files.into_iter().chain([("madang-secrets.production.toml", KEPT)]);
    let loaded = Memory::new(own).load_in(Some("production")).unwrap();
    assert_eq!(loaded.system.secrets, std::path::Path::new("/shop/madang-secrets.production.toml"));
}

#[test]
fn a_secret_on_a_command_line() {
    let manifest = "[services.payments]\nrun = \"payments --key ${secret.pay}\"\n";
    refused_files(
        &[("madang.toml", manifest), ("madang-secrets.toml", KEPT)],
        expect![[r#"
        MDG-MF-039

          × the secret "pay" would be on a command line
           ╭─[madang.toml:2:23]
         1 │ [services.payments]
         2 │ run = "payments --key ${secret.pay}"
           ·                       ──────┬──────
           ·                             ╰── everybody on the machine can read it there
           ╰────
          help: hand it over in a variable, as in env = { KEY = "${secret.pay}" }, and have the program read that
    "#]],
    );
}

#[test]
fn a_file_of_secrets_that_is_no_toml() {
    refused_files(
        &[("madang.toml", MANIFEST), ("madang-secrets.toml", "pay = ")],
        expect![[r#"
        MDG-MF-003

          × madang-secrets.toml is not TOML: string values must be quoted
           ╭─[madang-secrets.toml:1:6]
         1 │ pay =
           ·      ┬
           ·      ╰── a text without quotes
           ╰────
          help: write it in quotes: " "
    "#]],
    );
}

#[test]
fn nobody_reads_the_file_where_no_secret_is_asked_for() {
    let files = [("madang.toml", "[services.users]\nrun = \"users\"\n"), ("madang-secrets.toml", "pay = ")];
    assert!(Memory::new(files).load().is_ok());
}

#[test]
fn the_password_of_a_store_is_a_secret() {
    let text = "[gateway.limit_store]\nurl = \"redis://limits\"\npassword = \"${secret.redis}\"\n";
    refused_files(
        &[("madang.toml", text)],
        expect![[r#"
        MDG-MF-038

          × there is no secret "redis"
           ╭─[madang.toml:3:12]
         2 │ url = "redis://limits"
         3 │ password = "${secret.redis}"
           ·            ────────┬────────
           ·                    ╰── is not kept
           ╰────
          help: `madang secret set redis` asks for it and keeps it sealed
    "#]],
    );
    let open = text.replace("${secret.redis}", "hunter2");
    refused_files(
        &[("madang.toml", &open)],
        expect![[r#"
        MDG-MF-009

          × `password` cannot be "hunter2"
           ╭─[madang.toml:3:12]
         2 │ url = "redis://limits"
         3 │ password = "hunter2"
           ·            ────┬────
           ·                ╰── it is not the name of a kept secret
           ╰────
          help: write "${secret.NAME}", and keep it with `madang secret set NAME`
    "#]],
    );
}

#[test]
fn the_key_of_an_account_elsewhere_is_a_secret() {
    let text = "[gateway.tls.acme]\ndomains = [\"a.example\"]\nterms = \"agreed\"\nexternal_account = { id = \"a\", key = \"${secret.eab}\" }\n";
    refused_files(
        &[("madang.toml", text)],
        expect![[r#"
        MDG-MF-038

          × there is no secret "eab"
           ╭─[madang.toml:4:38]
         3 │ terms = "agreed"
         4 │ external_account = { id = "a", key = "${secret.eab}" }
           ·                                      ───────┬───────
           ·                                             ╰── is not kept
           ╰────
          help: `madang secret set eab` asks for it and keeps it sealed
    "#]],
    );
    let open = text.replace("${secret.eab}", "aHVudGVyMg");
    refused_files(
        &[("madang.toml", &open)],
        expect![[r#"
        MDG-MF-009

          × `key` cannot be "aHVudGVyMg"
           ╭─[madang.toml:4:38]
         3 │ terms = "agreed"
         4 │ external_account = { id = "a", key = "aHVudGVyMg" }
           ·                                      ──────┬─────
           ·                                            ╰── it is not the name of a kept secret
           ╰────
          help: write "${secret.NAME}", and keep it with `madang secret set NAME`
    "#]],
    );
    let nameless = text.replace("id = \"a\", ", "");
    refused_files(
        &[("madang.toml", &nameless)],
        expect![[r#"
        MDG-MF-007

          × `external_account` needs the key `id`
           ╭─[madang.toml:4:20]
         3 │ terms = "agreed"
         4 │ external_account = { key = "${secret.eab}" }
           ·                    ────────────┬────────────
           ·                                ╰── `id` is missing
           ╰────
          help: add `id`: The id of the key
    "#]],
    );
}
