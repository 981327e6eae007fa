//! Who shops, where nobody logs in: picked from the users or added to them.

use maud::{Markup, html};
use shop_money::Money;

use super::{Page, Shell, money::money};
use crate::peers::{Trouble, User};

/// The page on which somebody says who they are. `refused` is what was wrong with the name they gave.
pub fn account(
    shell: &Shell,
    users: &Result<Vec<User>, Trouble>,
    balances: Option<&Result<Vec<Money>, Trouble>>,
    back: &str,
    refused: Option<(&str, &str)>,
) -> Page {
    let (typed, wrong) = refused.unwrap_or_default();
    let content = html! {
        @if let Ok(Some(user)) = &shell.user {
            h1 { "You shop as " (user.name) }
            @match balances {
                Some(Ok(balances)) => (holdings(balances)),
                Some(Err(trouble)) => (shell.missing("Your balance is not shown", trouble)),
                None => {}
            }
            form action="/shop/account" method="post" { (shell.token()) button.quiet { "Sign out" } }
        } @else {
            h1 { "Who are you?" }
            p { "Nobody is asked for a password yet: pick a customer, or become a new one." }
        }
        section {
            h2 { "A new customer" }
            form action="/shop/account/new" method="post" {
                (shell.token())
                input type="hidden" name="back" value=(back);
                label for="name" { "Your name" }
                input id="name" name="name" value=(typed) required autocomplete="name" maxlength="100"
                    aria-invalid[refused.is_some()] aria-describedby=[refused.map(|_| "name-error")];
                @if refused.is_some() { p.error id="name-error" role="alert" { "The name " (wrong) "." } }
                button { "Sign up" }
                p.fine { "Your account opens with ₩1,000,000,000 and $1,000,000.00 at your first order." }
            }
        }
        section {
            h2 { "Shop as" }
            @match users {
                Ok(users) => {
                    form.users action="/shop/account" method="post" {
                        (shell.token())
                        input type="hidden" name="back" value=(back);
                        @for user in users { button.quiet name="user" value=(user.id) { (user.name) } }
                    }
                }
                Err(trouble) => (shell.missing("The customers are not shown", trouble)),
            }
        }
    };
    shell.page("Account", &content)
}

pub(super) fn holdings(balances: &[Money]) -> Markup {
    html! {
        @if balances.is_empty() {
            p { "Your account opens with your first order." }
        } @else {
            p.balance { "You have " @for (index, balance) in balances.iter().enumerate() {
                @if index > 0 { " and " }
                strong { (money(*balance)) }
            } "." }
        }
    }
}
