//! What is said of answers that are made of several.

use expect_test::expect;

use crate::manifest::tests::{loaded, refused};

const GOOD: &str = r#"
[services.orders]
run = false
[[compositions]]
name = "page"
path = "/pages/{id}"
answer = "order"
[compositions.calls.order]
to = "orders"
path = "/orders/{id}"
"#;

#[test]
fn a_good_one_is_a_route_and_a_composition() {
    let system = loaded(GOOD).system;
    let [route] = &system.routes[..] else { panic!("{:?}", system.routes) };
    assert_eq!((route.path.as_str(), route.to[0].service.as_str()), ("/pages/{id}", "page"));
    let [composition] = &system.compositions[..] else { panic!() };
    assert_eq!((composition.calls[0].name.as_str(), composition.answers[0].shape.text()), ("order", "order"));
}

#[test]
fn names_are_its_own_and_services_exist() {
    let text = GOOD.replace("\"page\"", "\"orders\"").replace("to = \"orders\"", "to = \"oders\"");
    refused(
        &text.replace("calls.order]", "calls.id]"),
        expect![[r#"
        MDG-MF-016

          × the name "orders" is taken
           ╭─[madang.toml:5:8]
         1 │
         2 │ [services.orders]
           ·           ───┬──
           ·              ╰── the first
         3 │ run = false
         4 │ [[compositions]]
         5 │ name = "orders"
           ·        ────┬───
           ·            ╰── the second
         6 │ path = "/pages/{id}"
           ╰────
          help: rename the composition: in traces and on the map it is a service
        MDG-MF-061

          × a call cannot be named "id"
           ╭─[madang.toml:8:21]
         7 │ answer = "order"
         8 │ [compositions.calls.id]
           ·                     ─┬
           ·                      ╰── a parameter of the path is named so
         9 │ to = "oders"
           ╰────
          help: rename it, and write to = "oders"
        MDG-MF-015

          × `calls` names the service "oders", which does not exist
            ╭─[madang.toml:9:6]
          8 │ [compositions.calls.id]
          9 │ to = "oders"
            ·      ───┬───
            ·         ╰── no such service
         10 │ path = "/orders/{id}"
            ╰────
          help: did you mean "orders"? The services are orders
    "#]],
    );
}

#[test]
fn texts_have_their_forms() {
    let text = GOOD.replace("answer = \"order\"", "answer = \" \"");
    refused(
        &text.replace("/orders/{id}", "/orders?id={id}"),
        expect![[r#"
        MDG-MF-060

          × `answer` cannot be " "
           ╭─[madang.toml:7:10]
         6 │ path = "/pages/{id}"
         7 │ answer = " "
           ·          ─┬─
           ·           ╰── it is empty
         8 │ [compositions.calls.order]
           ╰────
          help: write an expression in CEL, such as `{"order": order, "customer": user.name}`
        MDG-MF-012

          × `path` cannot be "/orders?id={id}"
            ╭─[madang.toml:10:8]
          9 │ to = "orders"
         10 │ path = "/orders?id={id}"
            ·        ────────┬────────
            ·                ╰── it holds a space, `?`, `#`, a backslash or a brace that is not opened
            ╰────
          help: write a path with expressions in braces, as "/users/{order.user}"; parameters are in `query`
    "#]],
    );
}

#[test]
fn everybody_gets_an_answer() {
    let answers = r#"answer = [{ shape = "order" }, { headers = { x-a = "b" }, shape = "order" }]"#;
    refused(
        &GOOD.replace("answer = \"order\"", answers),
        expect![[r#"
        MDG-MF-061

          × an answer is never given
           ╭─[madang.toml:7:11]
         6 │ path = "/pages/{id}"
         7 │ answer = [{ shape = "order" }, { headers = { x-a = "b" }, shape = "order" }]
           ·           ─────────┬─────────  ──────────────────────┬─────────────────────
           ·                    │                                 ╰── is for nobody then
           ·                    ╰── is for everybody
         8 │ [compositions.calls.order]
           ╰────
          help: move the answer without `headers` to the end
        MDG-MF-061

          × some clients get no answer
           ╭─[madang.toml:7:32]
         6 │ path = "/pages/{id}"
         7 │ answer = [{ shape = "order" }, { headers = { x-a = "b" }, shape = "order" }]
           ·                                ──────────────────────┬─────────────────────
           ·                                                      ╰── the last answer is for some only
         8 │ [compositions.calls.order]
           ╰────
          help: remove its `headers`, or add an answer without any at the end
    "#]],
    );
    let empty = GOOD.replace("answer = \"order\"", "answer = []\ncalls = {}");
    refused(
        empty.split("[compositions.calls").next().unwrap(),
        expect![[r#"
        MDG-MF-061

          × the composition page asks nobody
           ╭─[madang.toml:5:8]
         4 │ [[compositions]]
         5 │ name = "page"
           ·        ───┬──
           ·           ╰── has no calls
         6 │ path = "/pages/{id}"
           ╰────
          help: add one: [compositions.calls.order] with path = "/orders/{id}"
        MDG-MF-061

          × the composition page answers nothing
           ╭─[madang.toml:5:8]
         4 │ [[compositions]]
         5 │ name = "page"
           ·        ───┬──
           ·           ╰── has an empty `answer`
         6 │ path = "/pages/{id}"
           ╰────
          help: write an expression in CEL: answer = '{"order": order}'
    "#]],
    );
}
