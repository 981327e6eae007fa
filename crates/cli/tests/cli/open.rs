use std::{fs, os::unix::fs::PermissionsExt};

use axum::Router;
use expect_test::expect;
use madang_wire::{admin::SystemView, dashboard::LoginView};

use crate::fake::{Fake, always, system};

#[tokio::test]
async fn opens_the_gateway_with_what_the_desktop_has() {
    let fake = Fake::up(Router::new().route("/v1/system", always(system(1, true))));
    let opener = fake.root().join("xdg-open");
    fs::write(&opener, "#!/bin/sh\nprintf %s \"$1\" > opened\n").unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = fake.command(["open"]);
    command.env("PATH", format!("{}:/bin:/usr/bin", fake.root().display()));
    expect![[r#"
        exit 0
        http://127.0.0.1:3000
    "#]]
    .assert_eq(&fake.ran(command).await.to_string());
    assert_eq!(fs::read_to_string(fake.root().join("opened")).unwrap(), "http://127.0.0.1:3000");
}

#[tokio::test]
async fn without_a_desktop_the_url_is_printed() {
    let fake = Fake::up(Router::new().route("/v1/system", always(system(1, true))));
    let mut command = fake.command(["open"]);
    command.env("PATH", fake.root());
    expect![[r#"
        exit 0
        http://127.0.0.1:3000
    "#]]
    .assert_eq(&fake.ran(command).await.to_string());
}

#[tokio::test]
async fn the_dashboard_is_opened_where_there_is_one_unless_it_is_the_gateway_that_is_asked_for() {
    let url = "http://127.0.0.1:3900".to_owned();
    let login = LoginView { login: format!("{url}/login?token=t"), token_file: "/run/x.token".into(), url };
    let system = SystemView { dashboard: Some(login.url.clone()), ..system(1, true) };
    let fake = Fake::up(Router::new().route("/v1/system", always(system)).route("/v1/login", always(login)));
    for (args, url) in
        [("open", "http://127.0.0.1:3900/login?token=t"), ("open --gateway", "http://127.0.0.1:3000")]
    {
        let mut command = fake.command(args.split(' '));
        command.env("PATH", fake.root());
        assert_eq!(fake.ran(command).await.to_string(), format!("exit 0\n{url}\n"));
    }
}
