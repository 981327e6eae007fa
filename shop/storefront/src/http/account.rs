//! Who shops.

use madang::{
    Query,
    axum::{
        http::StatusCode,
        response::{IntoResponse, Response},
    },
};
use maud::html;
use serde::Deserialize;

use super::{Looking, back, to};
use crate::{form::Form, pages, visitor::Visitor};

/// Where to go when somebody has said who they are.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    back: String,
}

pub(super) async fn show(looking: Looking, Query(wanted): Query<Wanted>) -> Response {
    page(looking, &wanted.back, None).await
}

async fn page(looking: Looking, going: &str, refused: Option<(&str, &str)>) -> Response {
    let (peers, user) = (looking.peers.clone(), looking.visitor.user);
    let balances = async {
        match user {
            Some(user) => Some(peers.balances(user).await),
            None => None,
        }
    };
    let own = async { tokio::join!(peers.users(), balances) };
    let (shell, (users, balances)) = looking.with(own).await;
    let page = pages::account(&shell, &users, balances.as_ref(), back(going), refused);
    match refused {
        Some(_) => page.with_status(StatusCode::UNPROCESSABLE_ENTITY).into_response(),
        None => page.into_response(),
    }
}

/// Shops as a user that there is, or as nobody.
pub(super) async fn choose(form: Form) -> Response {
    let user = form.get("user").parse().ok().filter(|id: &i64| *id > 0);
    to(back(form.get("back")), &[Visitor::set_user(user)])
}

/// Adds a user and shops as that one.
pub(super) async fn sign_up(looking: Looking, form: Form) -> Response {
    let (name, going) = (form.get("name"), form.get("back"));
    match looking.peers.add_user(name).await {
        Ok(user) => to(back(going), &[Visitor::set_user(Some(user.id))]),
        Err(trouble) if trouble.is_refusal() => {
            let why = trouble.problem.errors.first().map_or(trouble.detail(), |error| &error.message);
            page(looking, going, Some((name, why))).await
        }
        Err(trouble) => {
            let (shell, ()) = looking.with(std::future::ready(())).await;
            let content = html! {
                h1 { "You are not signed up" }
                (shell.missing("The new customer is not kept", &trouble))
                p { a.button href="/shop/account" { "Try again" } }
            };
            shell.page("Account", &content).with_status(StatusCode::SERVICE_UNAVAILABLE).into_response()
        }
    }
}
