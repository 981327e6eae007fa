//! What is said of `${services.NAME.url}`.

use expect_test::expect;

use crate::manifest::tests::{loaded, refused, refused_files};

#[test]
fn undeclared_call() {
    refused(
        "[services.users]\nrun = \"users\"\n[services.mail]\nurl = \"https://mail.example\"\n[services.orders]\nrun = \"orders --users ${services.users.url}\"\ncalls = [\"mail\"]\nenv = { MAIL = \"${services.mail.url}\", US = \"${services.orders.url}\" }\n[services.cart]\nrun = \"cart\"\nenv = { MAIL = \"at ${services.mail.url}\" }\n",
        expect![[r#"
            MDG-MF-036

              × "orders" asks for the URL of "users" but does not declare that it calls it
               ╭─[madang.toml:6:23]
             5 │ [services.orders]
             6 │ run = "orders --users ${services.users.url}"
               ·                       ──────────┬──────────
               ·                                 ╰── users is not in its `calls`
             7 │ calls = ["mail"]
               · ──┬──
               ·   ╰── add users here
             8 │ env = { MAIL = "${services.mail.url}", US = "${services.orders.url}" }
               ╰────
              help: declare it, as in calls = { users = {} }: a program has a URL of each service that it calls
            MDG-MF-036

              × "orders" asks for the URL of itself
               ╭─[madang.toml:8:46]
             7 │ calls = ["mail"]
             8 │ env = { MAIL = "${services.mail.url}", US = "${services.orders.url}" }
               ·                                              ───────────┬──────────
               ·                                                         ╰── where others call it
             9 │ [services.cart]
               ╰────
              help: what a service needs of itself it has in its own process; it listens on ${self.port}
            MDG-MF-036

              × "cart" asks for the URL of "mail" but does not declare that it calls it
                ╭─[madang.toml:11:20]
              8 │ env = { MAIL = "${services.mail.url}", US = "${services.orders.url}" }
              9 │ [services.cart]
                ·           ──┬─
                ·             ╰── declares no calls
             10 │ run = "cart"
             11 │ env = { MAIL = "at ${services.mail.url}" }
                ·                    ──────────┬─────────
                ·                              ╰── mail is not in its `calls`
                ╰────
              help: declare it, as in calls = { mail = {} }: a program has a URL of each service that it calls
        "#]],
    );
}

#[test]
fn undeclared_call_of_a_unit() {
    refused_files(
        &[
            (
                "madang.toml",
                "[system]\ninclude = [\"*/service.toml\"]\n[services.users]\nrun = \"users\"\n[services.cart]\ncalls = { users = {} }\n[units.core]\nservices = [\"cart\", \"pay\"]\nrun = \"core ${services.users.url}\"\n",
            ),
            (
                "pay/service.toml",
                "name = \"pay\"\nenv = { A = \"${services.users.url}\", B = \"${services.cart.url}\" }\n",
            ),
        ],
        expect![[r#"
            MDG-MF-036

              × "core" asks for the URL of "cart" but no service in it declares that it calls it
               ╭─[pay/service.toml:2:43]
             1 │ name = "pay"
             2 │ env = { A = "${services.users.url}", B = "${services.cart.url}" }
               ·                                           ──────────┬─────────
               ·                                                     ╰── cart is in no `calls`
               ╰────
              help: declare it in the service that does, pay, as in calls = { cart = {} }: a program has a URL of each
                    service that it calls
        "#]],
    );
}

#[test]
fn unknown_service() {
    refused(
        "[services.users]\nrun = \"users\"\n[services.orders]\nrun = \"orders\"\ncalls = [\"users\"]\nenv = { USERS = \"${services.user.url}\" }\n",
        expect![[r#"
            MDG-MF-015

              × `env` names the service "user", which does not exist
               ╭─[madang.toml:6:18]
             5 │ calls = ["users"]
             6 │ env = { USERS = "${services.user.url}" }
               ·                  ──────────┬─────────
               ·                            ╰── no such service
               ╰────
              help: did you mean "users"? The services are orders, users
        "#]],
    );
}

#[test]
fn placeholder() {
    refused(
        "[services.a]\nrun = \"a ${services.users}\"\nbuild = \"b ${services.users.url}\"\nenv = { A = \"${services.Users.url}\" }\n",
        expect![[r#"
            MDG-MF-011

              × "${services.users}" is not known
               ╭─[madang.toml:2:10]
             1 │ [services.a]
             2 │ run = "a ${services.users}"
               ·          ────────┬────────
               ·                  ╰── no such placeholder
             3 │ build = "b ${services.users.url}"
               ╰────
              help: of a service there is ${services.NAME.url}, the URL at which this program calls it
            MDG-MF-011

              × "${services.users.url}" has no value yet when `build` is read
               ╭─[madang.toml:3:12]
             2 │ run = "a ${services.users}"
             3 │ build = "b ${services.users.url}"
               ·            ──────────┬──────────
               ·                      ╰── known only when an instance starts
             4 │ env = { A = "${services.Users.url}" }
               ╰────
              help: only `run` and `env` can hold it; elsewhere use ${NAME}, a variable of the environment
            MDG-MF-011

              × "${services.Users.url}" is not known
               ╭─[madang.toml:4:14]
             3 │ build = "b ${services.users.url}"
             4 │ env = { A = "${services.Users.url}" }
               ·              ──────────┬──────────
               ·                        ╰── no such placeholder
               ╰────
              help: of a service there is ${services.NAME.url}, the URL at which this program calls it
        "#]],
    );
}

#[test]
fn a_declared_call_has_a_url() {
    let system = loaded(
        "[services.users]\nrun = false\n[services.mail]\nurl = \"https://mail.example\"\n[services.orders]\nrun = \"orders ${services.users.url}\"\nenv = { MAIL = \"$${services.no.url} ${services.mail.url}\" }\ncalls = { users = {}, mail = {} }\n",
    )
    .system;
    let unit = &system.units["orders"];
    assert_eq!(unit.run, "orders ${services.users.url}", "resolved when an instance starts");
    assert_eq!(unit.env["MAIL"], "$${services.no.url} ${services.mail.url}");
}
