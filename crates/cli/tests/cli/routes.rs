use axum::Router;
use expect_test::expect;
use madang_wire::admin::RouteView;

use crate::fake::{Fake, always, route};

#[tokio::test]
async fn lists_the_routes_in_their_order() {
    let routes = vec![
        RouteView {
            host: Some("shop.example".into()),
            methods: vec!["GET".into(), "POST".into()],
            headers: vec!["x-beta: yes".into()],
            edge: vec!["rate_limit".into(), "cors".into()],
            require: Some("scope orders".into()),
            ..route("/orders/{id}", &[("orders", 1)])
        },
        RouteView { redirect: Some("308 /orders/{rest}".into()), ..route("/old/**", &[]) },
        route("/cart/**", &[("legacy", 95), ("cart", 5)]),
    ];
    let fake = Fake::up(Router::new().route("/v1/routes", always(routes.clone())));
    fake.check(
        "routes",
        expect![[r#"
            exit 0
            PATH          METHODS   HOST          HEADERS      ASKS FOR      TO                   EDGE              PLACE
            /orders/{id}  GET,POST  shop.example  x-beta: yes  scope orders  orders               rate_limit, cors  madang.toml:7
            /old/**       any       any           -            -             308 /orders/{rest}   -                 madang.toml:7
            /cart/**      any       any           -            -             legacy 95%, cart 5%  -                 madang.toml:7
        "#]],
    )
    .await;
    let ran = fake.run("routes --format json").await;
    assert_eq!(serde_json::from_str::<Vec<RouteView>>(&ran.stdout).unwrap(), routes);
}
