//! Who shops, where people log in at the gateway: a way in, a way out, and a form for whoever is new.

use maud::{Markup, html};
use shop_money::Money;

use super::{Page, Shell, account::holdings};
use crate::peers::Trouble;

/// What somebody gave who wants to become a customer, and what was wrong with it.
pub struct Refused<'a> {
    pub name: &'a str,
    pub login: &'a str,
    /// The field, or nothing if it is none of them.
    pub field: &'a str,
    pub why: &'a str,
}

/// The page on which somebody logs in or out, or becomes a customer.
pub fn members(
    shell: &Shell,
    balances: Option<&Result<Vec<Money>, Trouble>>,
    back: &str,
    refused: Option<&Refused<'_>>,
) -> Page {
    let content = html! {
        @match &shell.user {
            Ok(Some(user)) => {
                h1 { "You shop as " (user.name) }
                @match balances {
                    Some(Ok(balances)) => (holdings(balances)),
                    Some(Err(trouble)) => (shell.missing("Your balance is not shown", trouble)),
                    None => {}
                }
                form action="/.madang/logout" method="post" { button.quiet { "Log out" } }
            }
            _ => {
                h1 { "Who are you?" }
                p { (log_in(back)) }
                (form(shell, back, refused))
            }
        }
    };
    shell.page("Account", &content)
}

/// What a new customer is shown, who can log in now.
pub fn registered(shell: &Shell, name: &str, back: &str) -> Page {
    let content = html! {
        h1 { "Welcome, " (name) }
        p { "You are a customer now. Log in with your password to order." }
        p { (log_in(back)) }
    };
    shell.page("Account", &content)
}

fn log_in(back: &str) -> Markup {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("return", back).finish();
    html! { a.button #log-in href={ "/.madang/login?" (query) } { "Log in" } }
}

fn form(shell: &Shell, back: &str, refused: Option<&Refused<'_>>) -> Markup {
    let wrong = |field: &str| refused.filter(|refused| refused.field == field).map(|refused| refused.why);
    let said = |what: fn(&Refused<'_>) -> String| refused.map(what).unwrap_or_default();
    html! {
        section {
            h2 { "A new customer" }
            form action="/shop/account/new" method="post" {
                (shell.token())
                input type="hidden" name="back" value=(back);
                (input("name", "Your name", "text", "name", &said(|it| it.name.to_owned()), wrong("name")))
                (input("login", "The name to log in with", "text", "username", &said(|it| it.login.to_owned()), wrong("login")))
                (input("password", "A password of 8 characters or more", "password", "new-password", "", wrong("password")))
                @if let Some(refused) = refused.filter(|refused| refused.field.is_empty()) {
                    p.error role="alert" { (refused.why) }
                }
                button { "Sign up" }
                p.fine { "Your account opens with ₩1,000,000,000 and $1,000,000.00 at your first order." }
            }
        }
    }
}

fn input(name: &str, label: &str, kind: &str, complete: &str, value: &str, wrong: Option<&str>) -> Markup {
    html! {
        label for=(name) { (label) }
        input id=(name) name=(name) type=(kind) value=(value) required autocomplete=(complete) maxlength="256"
            aria-invalid[wrong.is_some()] aria-describedby=[wrong.map(|_| format!("{name}-error"))];
        @if let Some(wrong) = wrong { p.error id={ (name) "-error" } role="alert" { "The " (name) " " (wrong) "." } }
    }
}
