use axum::Router;
use expect_test::expect;
use madang_wire::admin::SystemView;

use crate::fake::{Fake, always, instances, system};

fn api(system: SystemView) -> Router {
    Router::new().route("/v1/instances", always(instances())).route("/v1/system", always(system))
}

#[tokio::test]
async fn lists_the_instances() {
    Fake::up(api(system(1, true))).check("ps", expect![[r#"
        exit 0
        NAME          UNIT      RELEASE       STATE    HEALTH                 RESTARTS  PID   MEM       URL
        users-k3x9qd  users     a1b2c3d4e5f6  ready    ready                  0         4711  12.4 MiB  http://127.0.0.1:41000
        orders        orders    -             waiting  waits for users (3 s)  0         -     -         -
        payments-x1   payments  -             failed   exit status 1          5         -     -         -
    "#]]).await;
}

#[tokio::test]
async fn says_when_an_edit_of_the_manifest_is_not_in_force() {
    let refused =
        SystemView { manifest_error: Some("the manifest has 2 problems".into()), ..system(1, true) };
    let ran = Fake::up(api(refused)).run("ps").await;
    expect![[r#"
        the manifest as edited is not in force: the manifest has 2 problems
    "#]]
    .assert_eq(&ran.stderr);
    assert_eq!(ran.code, 0);
}

#[tokio::test]
async fn answers_a_script_with_what_the_admin_api_says() {
    let ran = Fake::up(api(system(1, true))).run("ps --format json").await;
    let read: Vec<madang_wire::admin::InstanceView> = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(read, instances());
}

#[tokio::test]
async fn a_system_is_named_by_its_folder_or_its_manifest_in_every_way() {
    let fake = Fake::up(api(system(1, true)));
    fake.write("madang.toml", "");
    let root = fake.root().display().to_string();
    for args in [
        "ps .".to_owned(),
        "ps madang.toml".to_owned(),
        format!("ps {root}"),
        format!("ps {root}/madang.toml"),
        format!("-C {root} ps"),
        format!("ps --in {root}/madang.toml"),
        format!("-C /nowhere ps {root}"),
    ] {
        let ran = fake.run(&args).await;
        assert_eq!(ran.code, 0, "{args}: {ran}");
    }
}
