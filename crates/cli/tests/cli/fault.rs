use std::sync::{Arc, Mutex};

use axum::{Json, Router, routing::get};
use expect_test::expect;
use madang_model::policy::FaultEffect;
use madang_wire::admin::{FaultSpec, FaultView};

use crate::fake::{Fake, always};

fn view(id: &str, spec: FaultSpec) -> FaultView {
    let FaultSpec { caller, callee, method, path, effect, percent, .. } = spec;
    let id = id.to_owned();
    FaultView {
        id,
        caller,
        callee,
        method,
        path,
        effect,
        percent,
        since: 0,
        until: 300_000,
        by: "user 0".into(),
    }
}

fn hang() -> FaultSpec {
    serde_json::from_str(r#"{ "caller": "gateway", "callee": "users", "effect": "hang" }"#).unwrap()
}

#[tokio::test]
async fn adds_what_was_asked_for() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let add = async move |Json(spec): Json<FaultSpec>| {
        hears.lock().unwrap().push(spec.clone());
        Json(view("f7", spec))
    };
    let fake = Fake::up(Router::new().route("/v1/faults", axum::routing::post(add)));
    let words = |line: &str| fake.command(line.split(','));
    let line = "fault,add,orders,--on,payments POST /charges,--delay,2s,--percent,10,--for,5m";
    let ran = fake.ran(words(line)).await;
    assert_eq!(ran.stdout, "f7 is in force for 5m; `madang fault rm f7` ends it sooner\n", "{ran}");
    for (flag, effect) in [
        ("--delay,2s", FaultEffect::Delay(std::time::Duration::from_secs(2))),
        ("--status,503", FaultEffect::Status(503)),
        ("--hang", FaultEffect::Hang),
        ("--lose-reply", FaultEffect::LoseReply),
        ("--kill", FaultEffect::Kill),
    ] {
        let ran = fake.ran(words(&format!("fault,add,gateway,--on,users,{flag}"))).await;
        assert_eq!(ran.code, 0, "{ran}");
        assert_eq!(heard.lock().unwrap().last().unwrap().effect, effect);
    }
    let expected = FaultSpec {
        caller: "orders".into(),
        callee: "payments".into(),
        method: Some("POST".into()),
        path: Some("/charges".into()),
        effect: FaultEffect::Delay(std::time::Duration::from_secs(2)),
        percent: 10,
        lasts: Some("5m".into()),
    };
    assert_eq!(heard.lock().unwrap()[0], expected);
}

#[tokio::test]
async fn asks_for_exactly_one_effect() {
    let fake = Fake::down();
    for bad in ["", "--hang --kill", "--status 99", "--status 600", "--delay 2", "--hang --percent 0"] {
        let ran = fake.run(&format!("fault add orders --on users {bad}")).await;
        assert_eq!(ran.code, 2, "{bad}: {ran}");
    }
    assert_eq!(fake.run("fault rm").await.code, 2);
    assert_eq!(fake.run("fault rm f1 --all").await.code, 2);
}

#[tokio::test]
async fn lists_those_in_force() {
    let all = vec![view("f1", hang())];
    let fake = Fake::up(Router::new().route("/v1/faults", always(all.clone())));
    fake.check(
        "fault list",
        expect![[r#"
        exit 0
        ID  CALLER   ON     EFFECT  PERCENT  ENDS IN  BY
        f1  gateway  users  hang    100      0.0 s    user 0
    "#]],
    )
    .await;
    let ran = fake.run("fault list --format json").await;
    assert_eq!(serde_json::from_str::<Vec<FaultView>>(&ran.stdout).unwrap(), all);
    let none = Fake::up(Router::new().route("/v1/faults", always(Vec::<FaultView>::new())));
    assert_eq!(none.run("fault list").await.stdout, "no fault is in force\n");
}

#[tokio::test]
async fn removes_one_or_all() {
    let all = async || Json(vec![view("f1", hang()), view("f2", hang())]);
    let one = async || Json(view("f1", hang()));
    let api = Router::new().route("/v1/faults", get(all).delete(all));
    let fake = Fake::up(api.route("/v1/faults/{id}", axum::routing::delete(one)));
    assert_eq!(fake.run("fault rm f1").await.stdout, "f1 is removed\n");
    assert_eq!(fake.run("fault rm --all").await.stdout, "f1 is removed\nf2 is removed\n");
    assert_eq!(fake.asked(), ["DELETE /v1/faults/f1", "DELETE /v1/faults"]);
}
