use axum::{Json, Router, http::StatusCode, routing::get};
use expect_test::expect;
use madang_wire::{
    Code, Problem,
    admin::{AnswersView, BreakerState, BreakerView, HealthView, LimitView, ServiceView, State},
};

use crate::fake::{Fake, always, instance, instances, route, service};

fn payments() -> ServiceView {
    ServiceView {
        owner: Some("결제팀".into()),
        domain: Some("billing".into()),
        listen: Some("http://127.0.0.1:3003".into()),
        calls: vec!["orders".into(), "users".into()],
        database: Some("sqlite:/shop/.madang/payments.db".into()),
        routes: vec![route("/payments/**", &[("payments", 1)])],
        instances: instances().into_iter().filter(|instance| instance.unit == "payments").collect(),
        ..service("payments")
    }
}

#[tokio::test]
async fn shows_all_that_is_known() {
    Fake::up(Router::new().route("/v1/services/payments", always(payments())))
        .check(
            "describe payments",
            expect![[r#"
                exit 0
                service   payments
                owner     결제팀
                domain    billing
                unit      payments
                run       node payments.js
                folder    /shop
                listen    http://127.0.0.1:3003
                calls     orders, users
                database  sqlite:/shop/.madang/payments.db

                PATH          METHODS  HOST  HEADERS  ASKS FOR  TO        EDGE  PLACE
                /payments/**  any      any   -        -         payments  -     madang.toml:7

                NAME         UNIT      RELEASE  STATE   HEALTH         RESTARTS  PID  MEM  URL
                payments-x1  payments  -        failed  exit status 1  5         -    -    -

                payments-x1:
                  exited 5 times in 3 s: exit status 1
                  the port is taken

                payments-x1 writes to /shop/.madang/logs/payments/payments-x1.log
            "#]],
        )
        .await;
}

#[tokio::test]
async fn leaves_out_what_there_is_not() {
    let users =
        ServiceView { instances: vec![instance("users", "users", State::Waiting)], ..service("users") };
    Fake::up(Router::new().route("/v1/services/users", always(users)))
        .check(
            "describe users",
            expect![[r#"
            exit 0
            service   users
            unit      users
            run       node users.js
            folder    /shop

            NAME   UNIT   RELEASE  STATE    HEALTH  RESTARTS  PID  MEM  URL
            users  users  -        waiting  ready   0         -    -    -
        "#]],
        )
        .await;
}

#[tokio::test]
async fn shows_how_it_answers() {
    let answers = |instance: &str, failed| AnswersView {
        instance: instance.into(),
        ejected_until: (failed > 0).then_some(1_000),
        ejections: failed,
        failures_in_a_row: failed,
        answers: 40,
        failed,
        slow: 1,
        in_flight: 0,
    };
    let breaker = BreakerView {
        origin: None,
        state: BreakerState::HalfOpen,
        since: u64::MAX,
        until: None,
        failures_in_a_row: 0,
        answers: 80,
        failed: 5,
        slow: 2,
    };
    let open = BreakerView {
        origin: Some("/cart/**".into()),
        state: BreakerState::Open,
        until: Some(1_000),
        ..breaker.clone()
    };
    let limit = LimitView {
        origin: Some("orders".into()),
        limit: 20,
        in_use: 20,
        queued: 3,
        shed_best_effort: 12,
        shed_normal: 1,
        shed_critical: 0,
    };
    let users = ServiceView {
        health: HealthView {
            service: "users".into(),
            breakers: vec![breaker, open],
            limits: vec![limit],
            parked: 0,
            instances: vec![answers("users-a", 0), answers("users-b", 5)],
        },
        ..service("users")
    };
    Fake::up(Router::new().route("/v1/services/users", always(users)))
        .check(
            "describe users",
            expect![[r#"
                exit 0
                service   users
                unit      users
                run       node users.js
                folder    /shop

                BREAKER      STATE      SINCE  NEXT TRY  ANSWERS  FAILED  SLOW  IN A ROW
                all callers  half open  0.0 s  -         80       5       2     0
                /cart/**     open       0.0 s  0.0 s     80       5       2     0

                CALLS AT ONCE  LIMIT  IN USE  QUEUED  REFUSED
                orders         20     20      3       12 best effort, 1 normal

                INSTANCE  ANSWERS  FAILED  SLOW  IN A ROW  OUT OF USE
                users-a   40       0       1     0         no
                users-b   40       5       1     5         for 0.0 s
            "#]],
        )
        .await;
}

#[tokio::test]
async fn an_unknown_name_is_the_nodes_to_refuse() {
    let detail = "shop has no service or unit \"user\": did you mean \"users\"?";
    let unknown = get(move || async move {
        (StatusCode::NOT_FOUND, Json(Problem::new(Code::UNKNOWN_NAME).detail(detail)))
    });
    Fake::up(Router::new().route("/v1/services/user", unknown))
        .check(
            "describe user",
            expect![[r#"
        exit 1
        --- stderr
        error: shop has no service or unit "user": did you mean "users"? (MDG-ADM-001)
    "#]],
        )
        .await;
}
