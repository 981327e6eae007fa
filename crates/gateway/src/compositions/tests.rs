//! What is said of expressions that cannot be.

use std::fs;

use madang_model::{System, manifest};

use super::check;

fn system(composition: &str) -> System {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[services]\nusers = {{ run = false }}\norders = {{ run = false }}\n[[compositions]]\nname = \"page\"\npath = \"/pages/{{id}}\"\n{composition}\n"
    );
    fs::write(folder.path().join("madang.toml"), text).unwrap();
    manifest::load(folder.path(), &|_| None).unwrap().system
}

/// Each problem of a composition, with its line; the first of the composition's own lines is 7.
#[track_caller]
fn refused(composition: &str) -> Vec<String> {
    let errors = check(&system(composition)).unwrap_err();
    errors
        .iter()
        .map(|error| format!("{} {}: {error}", error.place().unwrap().line, error.kind().id))
        .collect()
}

const GOOD: &str = r#"
answer = '{"order": order, "by": user.name, "page": id, "for": request.headers}'
[compositions.calls.order]
to = "orders"
path = "/orders/{id}"
[compositions.calls.user]
to = "users"
path = "/users/{order.user}"
query = { full = "true", fields = '["name", id]' }
"#;

#[test]
fn what_can_be_asked_and_answered_is_taken() {
    check(&system(GOOD)).unwrap();
}

#[test]
fn what_is_no_expression_is_shown() {
    let told = refused(&GOOD.replace("{order.user}", "{order.}").replace("\"page\": id", "\"page\": [id"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("14 MDG-MF-060: an expression cannot be read: "), "{told:?}");
    assert!(told[1].starts_with("8 MDG-MF-060: an expression cannot be read: "), "{told:?}");
    let told = refused(&GOOD.replace("\"true\"", "'tru e'"));
    assert!(told[0].starts_with("15 MDG-MF-060: "), "{told:?}");
}

#[test]
fn names_that_are_nothing_are_shown() {
    let told = refused(&GOOD.replace("user.name", "usr.name").replace("{id}", "{order_id}"));
    assert_eq!(
        told,
        [
            "11 MDG-MF-060: an expression names `order_id`, which is nothing",
            "8 MDG-MF-060: an expression names `usr`, which is nothing",
        ]
    );
    assert_eq!(
        refused(&GOOD.replace("{order.user}", "{problems.x}")),
        ["14 MDG-MF-060: an expression names `problems`, which is nothing"],
        "what failed is known at the end only"
    );
}

#[test]
fn calls_that_need_themselves_or_nobody_needs_are_shown() {
    assert_eq!(
        refused(&GOOD.replace("/orders/{id}", "/orders/{user.last}")),
        [
            "11 MDG-MF-060: the call order needs its own answer",
            "14 MDG-MF-060: the call user needs its own answer",
        ]
    );
    assert_eq!(
        refused(&GOOD.replace(", \"by\": user.name", "")),
        ["14 MDG-MF-060: the call user is never made"]
    );
}
