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
use crate::{
    Identity,
    form::Form,
    pages::{self, Failed, Refused},
    peers::Trouble,
    visitor::Visitor,
};

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
    if looking.identity == Identity::LoggedIn {
        return members(looking, going, None).await;
    }
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

/// The page where people log in.
async fn members(looking: Looking, going: &str, refused: Option<Refused<'_>>) -> Response {
    let (peers, user) = (looking.peers.clone(), looking.visitor.user);
    let balances = async {
        match user {
            Some(user) => Some(peers.balances(user).await),
            None => None,
        }
    };
    let (shell, balances) = looking.with(balances).await;
    let page = pages::members(&shell, balances.as_ref(), back(going), refused.as_ref());
    match refused {
        Some(_) => page.with_status(StatusCode::UNPROCESSABLE_ENTITY).into_response(),
        None => page.into_response(),
    }
}

/// Shops as a user that there is, or as nobody; where people log in, nobody chooses.
pub(super) async fn choose(looking: Looking, form: Form) -> Response {
    if looking.identity == Identity::LoggedIn {
        return Failed::not_found(&looking.context, "page of this address").into_response();
    }
    let user = form.get("user").parse().ok().filter(|id: &i64| *id > 0);
    to(back(form.get("back")), &[Visitor::set_user(user)])
}

/// Adds a user and shops as that one.
pub(super) async fn sign_up(looking: Looking, form: Form) -> Response {
    if looking.identity == Identity::LoggedIn {
        return register(looking, &form).await;
    }
    let (name, going) = (form.get("name"), form.get("back"));
    match looking.peers.add_user(name).await {
        Ok(user) => to(back(going), &[Visitor::set_user(Some(user.id))]),
        Err(trouble) if trouble.is_refusal() => {
            let why = trouble.problem.errors.first().map_or(trouble.detail(), |error| &error.message);
            page(looking, going, Some((name, why))).await
        }
        Err(trouble) => not_kept(looking, &trouble).await,
    }
}

/// Adds a user who can log in then.
async fn register(looking: Looking, form: &Form) -> Response {
    let (name, login, going) = (form.get("name"), form.get("login"), form.get("back"));
    match looking.peers.add_member(name, login, form.get("password")).await {
        Ok(user) => {
            let (shell, ()) = looking.with(std::future::ready(())).await;
            pages::registered(&shell, &user.name, back(going)).into_response()
        }
        Err(trouble) if trouble.is_refusal() => {
            let wrong = trouble.problem.errors.first();
            let (field, why) = wrong.map_or(("", trouble.detail()), |error| (&error.field, &error.message));
            members(looking, going, Some(Refused { name, login, field, why })).await
        }
        Err(trouble) => not_kept(looking, &trouble).await,
    }
}

async fn not_kept(looking: Looking, trouble: &Trouble) -> Response {
    let (shell, ()) = looking.with(std::future::ready(())).await;
    let content = html! {
        h1 { "You are not signed up" }
        (shell.missing("The new customer is not kept", trouble))
        p { a.button href="/shop/account" { "Try again" } }
    };
    shell.page("Account", &content).with_status(StatusCode::SERVICE_UNAVAILABLE).into_response()
}
