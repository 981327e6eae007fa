use std::sync::{Arc, Mutex};

use axum::{Json, Router, routing::post};
use expect_test::expect;
use madang_wire::keys::{KeySpec, KeyView, NewKey};

use crate::fake::{Fake, always};

fn view(name: &str) -> KeyView {
    let (id, scopes, by) = ("00112233".to_owned(), vec!["orders".to_owned()], "user 0".to_owned());
    KeyView { name: name.to_owned(), id, scopes, created_at: 1_767_225_603_004, by, expires_at: None }
}

#[tokio::test]
async fn a_new_key_is_alone_on_stdout() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let create = async move |Json(spec): Json<KeySpec>| {
        hears.lock().unwrap().push(spec);
        Json(NewKey { key: "mk_00112233_secret".to_owned(), view: view("ci"), taken: false })
    };
    let fake = Fake::up(Router::new().route("/v1/keys", post(create)));
    fake.check(
        "key create ci --scope orders --scope users:read --expires 90d",
        expect![[r#"
        exit 0
        mk_00112233_secret
        --- stderr
        it is shown this once; `madang key revoke ci` revokes it
        the gateway takes no keys yet: write keys = true in [gateway.auth]
    "#]],
    )
    .await;
    let expected = KeySpec {
        name: "ci".to_owned(),
        scopes: vec!["orders".to_owned(), "users:read".to_owned()],
        lasts: Some("90d".to_owned()),
    };
    assert_eq!(*heard.lock().unwrap(), [expected]);
    assert_eq!(fake.run("key create ci").await.stdout, "mk_00112233_secret\n");
    assert_eq!(fake.run("key create C!").await.code, 2);
    assert_eq!(fake.run("key create ci --expires soon").await.code, 2);
}

#[tokio::test]
async fn keys_are_listed_and_revoked() {
    let one = axum::routing::delete(|| async { Json(view("ci")) });
    let fake =
        Fake::up(Router::new().route("/v1/keys", always(vec![view("ci")])).route("/v1/keys/{name}", one));
    fake.check(
        "key list",
        expect![[r#"
        exit 0
        NAME  ID        SCOPES  ENDS   MADE                     BY
        ci    00112233  orders  never  2026-01-01 00:00:03.004  user 0
    "#]],
    )
    .await;
    fake.check(
        "key revoke a/b",
        expect![[r#"
        exit 0
        ci is revoked
    "#]],
    )
    .await;
    assert_eq!(fake.asked(), ["GET /v1/keys", "DELETE /v1/keys/a%2Fb"]);
    let none = Fake::up(Router::new().route("/v1/keys", always(Vec::<KeyView>::new())));
    assert_eq!(none.run("key list").await.stdout, "there is no API key\n");
}
