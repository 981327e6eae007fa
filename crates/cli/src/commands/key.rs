//! `madang key`: the keys by which programs outside speak to the gateway.

use jiff::tz::TimeZone;
use madang_model::format_duration;
use madang_wire::keys::{KeySpec, KeyView, NewKey, SigningKey};

use crate::{
    args::{CreateKey, Key},
    client::{Client, segment},
    failure::Failure,
    output::Output,
    style::Paint,
    table::{Cell, Table},
    units,
};

/// Makes, lists or revokes keys, or changes the one that tokens are signed with.
pub async fn run(client: &Client, output: &Output, key: Key) -> Result<(), Failure> {
    match key {
        Key::Create(create) => {
            let made: NewKey = client.put_in("/v1/keys", &spec(create)).await?;
            if output.is_json() {
                return output.json(&made);
            }
            // Alone on stdout, for `$(madang key create ci)`.
            output.line(&made.key)?;
            eprintln!("it is shown this once; `madang key revoke {}` revokes it", made.view.name);
            if !made.taken {
                eprintln!("the gateway takes no keys yet: write keys = true in [gateway.auth]");
            }
            Ok(())
        }
        Key::List => {
            let keys: Vec<KeyView> = client.get("/v1/keys").await?;
            if output.is_json() {
                return output.json(&keys);
            }
            if keys.is_empty() {
                return output.line("there is no API key");
            }
            output.table(&table(&keys, units::now(), &TimeZone::system()))
        }
        Key::Rotate => {
            let key: SigningKey = client.make("/v1/issuer/keys").await?;
            if output.is_json() {
                return output.json(&key);
            }
            output.line(&format!("{} signs with the key {} from now on", key.issuer, key.kid))
        }
        Key::Revoke { name } => {
            let gone: KeyView = client.delete(&format!("/v1/keys/{}", segment(&name))).await?;
            if output.is_json() {
                output.json(&gone)
            } else {
                output.line(&format!("{} is revoked", gone.name))
            }
        }
    }
}

fn spec(create: CreateKey) -> KeySpec {
    let CreateKey { name, scopes, expires } = create;
    KeySpec { name: name.to_string(), scopes, lasts: expires.map(format_duration) }
}

fn table(keys: &[KeyView], now: u64, zone: &TimeZone) -> Table {
    let mut table = Table::new(&["NAME", "ID", "SCOPES", "ENDS", "MADE", "BY"]);
    for view in keys {
        let ends = match view.expires_at {
            None => Cell::new("never"),
            Some(end) if end <= now => Cell::new("has expired").paint(Paint::Bad),
            Some(end) => Cell::new(format!("in {}", units::elapsed(end - now))),
        };
        table.row([
            Cell::new(&view.name),
            Cell::new(&view.id),
            Cell::new(view.scopes.join(" ")),
            ends,
            Cell::new(units::moment(view.created_at, zone)).paint(Paint::Faint),
            Cell::new(&view.by).paint(Paint::Faint),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::*;
    use crate::style::Style;

    #[test]
    fn a_key_has_a_line() {
        let view = |name: &str, scopes: &[&str], expires_at| KeyView {
            name: name.to_owned(),
            id: "00112233".to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            created_at: 1_767_225_603_004,
            by: "user 0".to_owned(),
            expires_at,
        };
        let keys =
            [view("ci", &["a", "b"], None), view("app", &[], Some(5_000)), view("old", &[], Some(1_000))];
        expect![[r#"
            NAME  ID        SCOPES  ENDS         MADE                     BY
            ci    00112233  a b     never        2026-01-01 00:00:03.004  user 0
            app   00112233          in 4.0 s     2026-01-01 00:00:03.004  user 0
            old   00112233          has expired  2026-01-01 00:00:03.004  user 0
        "#]]
        .assert_eq(&table(&keys, 1_000, &TimeZone::UTC).render(Style::PLAIN));
        assert_eq!(
            spec(CreateKey {
                name: "ci".parse().unwrap(),
                scopes: vec![],
                expires: Some(Duration::from_secs(7200))
            })
            .lasts
            .as_deref(),
            Some("2h")
        );
    }
}
