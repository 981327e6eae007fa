use std::collections::BTreeMap;

use axum::{Json, Router, http::StatusCode, routing::get};
use expect_test::expect;
use madang_wire::{Code, Problem, admin::EnvironmentView};

use crate::fake::{Fake, always};

fn orders(folder: &str, by_hand: bool) -> EnvironmentView {
    let variables =
        [("PORT", "30123"), ("NOTE", "it's $5"), ("services__gift-cards__http__0", "http://127.0.0.1:30001")];
    EnvironmentView {
        unit: "orders".into(),
        folder: folder.into(),
        run: "node orders.js".into(),
        by_hand,
        sealed: BTreeMap::new(),
        secrets: None,
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

fn fake(view: EnvironmentView) -> Fake {
    Fake::up(Router::new().route("/v1/units/orders/environment", always(view)))
}

#[tokio::test]
async fn prints_lines_for_a_shell() {
    fake(orders("/shop/orders", true))
        .check(
            "env orders",
            expect![[r#"
        exit 0
        # orders, in /shop/orders: node orders.js
        export NOTE='it'\''s $5'
        export PORT='30123'
        # no shell sets services__gift-cards__http__0, `madang env orders -- …` does
    "#]],
        )
        .await;
    fake(orders("/shop/orders", false)).check("env orders", expect![[r#"
        exit 0
        # orders, in /shop/orders: node orders.js
        export NOTE='it'\''s $5'
        export PORT='30123'
        # no shell sets services__gift-cards__http__0, `madang env orders -- …` does
        --- stderr
        note: madang runs orders itself: what you start beside it gets no traffic, unless you start madang with `madang up --except orders`
    "#]]).await;
}

#[tokio::test]
async fn a_script_gets_all_of_it() {
    let view = orders("/shop/orders", true);
    let ran = fake(view.clone()).run("env orders --format json").await;
    assert_eq!(serde_json::from_str::<EnvironmentView>(&ran.stdout).unwrap(), view);
}

#[tokio::test]
async fn a_command_runs_in_the_folder_of_the_unit_and_in_its_environment() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let view = orders(folder.to_str().unwrap(), true);
    let ran = fake(view.clone()).run("env orders -- env").await;
    let printed: BTreeMap<_, _> = ran.stdout.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!((printed["PORT"], printed["NOTE"]), ("30123", "it's $5"), "{ran}");
    assert_eq!(fake(view.clone()).run("env orders -- pwd").await.stdout.trim(), folder.to_str().unwrap());
    let ran = fake(view).run("env orders -- ./no-such-program").await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("failed to run `./no-such-program` in "), "{ran}");
}

#[tokio::test]
async fn a_name_that_nobody_has_is_refused() {
    let problem = Problem::new(Code::UNKNOWN_NAME).detail("shop has no service or unit \"oders\"");
    let answer = get(move || async move { (StatusCode::NOT_FOUND, Json(problem)) });
    let ran = Fake::up(Router::new().route("/v1/units/oders/environment", answer)).run("env oders").await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("no service or unit \"oders\""), "{ran}");
}
