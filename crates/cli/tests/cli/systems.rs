use axum::Router;
use expect_test::expect;
use madang_wire::admin::SystemView;

use crate::fake::{Fake, always, system};

#[tokio::test]
async fn lists_what_runs_and_passes_over_what_is_gone() {
    let view = SystemView { started_at: u64::MAX, ..system(4711, true) };
    let fake = Fake::up(Router::new().route("/v1/system", always(view.clone())));
    std::fs::write(fake.folder_of_sockets().join("gone.sock"), "").unwrap();
    fake.check(
        "systems",
        expect![[r#"
        exit 0
        SYSTEM  ISOLATED  STATE  PID   UP     GATEWAY                FOLDER
        shop    -         ready  4711  0.0 s  http://127.0.0.1:3000  /shop
    "#]],
    )
    .await;
    let ran = fake.run("systems --format json").await;
    assert_eq!(serde_json::from_str::<Vec<SystemView>>(&ran.stdout).unwrap(), [view]);
    Fake::down()
        .check(
            "systems",
            expect![[r#"
        exit 0
        SYSTEM  ISOLATED  STATE  PID  UP  GATEWAY  FOLDER
    "#]],
        )
        .await;
}

#[tokio::test]
async fn an_isolated_one_is_asked_for_by_name_or_as_the_only_one() {
    let fake = Fake::down();
    let ran = fake.run("ps --isolated").await;
    assert_eq!(ran.code, 4, "{ran}");
    let ran = fake.run("ps --isolated=ci").await;
    assert_eq!(ran.code, 4, "{ran}");
    assert!(ran.stderr.contains("no system runs from this folder isolated as ci"), "{ran}");
    for name in ["ci", "k3x9qd"] {
        std::fs::create_dir_all(fake.root().join(".madang/isolated").join(name)).unwrap();
    }
    let ran = fake.run("ps --isolated").await;
    assert!(ran.stderr.contains("say which, as --isolated=ci, of ci, k3x9qd"), "{ran}");
    let ran = fake.run("ps --isolated=../x").await;
    assert_eq!(ran.code, 2, "{ran}");
}
