use axum::Router;
use expect_test::expect;

use crate::fake::{Fake, always, system};

#[tokio::test]
async fn a_refused_manifest_starts_nothing() {
    for command in ["up", "up -d"] {
        let fake = Fake::down();
        fake.write("madang.toml", "[services.users]\nran = \"node users.js\"\n");
        let ran = fake.run(command).await;
        assert_eq!((ran.code, &*ran.stdout), (3, ""), "{command}");
        assert!(ran.stderr.contains("MDG-MF-"), "{ran}");
        assert!(!fake.root().join(".madang").exists(), "{command}");
    }
}

#[tokio::test]
async fn a_system_that_runs_is_not_started_again() {
    let fake = Fake::up(Router::new().route("/v1/system", always(system(4711, true))));
    fake.write("madang.toml", "[services.users]\nrun = \"node users.js\"\n");
    fake.check(
        "up -d",
        expect![[r#"
        exit 1
        --- stderr
        error: shop is already run by process 4711: stop it with `madang down .`
    "#]],
    )
    .await;
}
