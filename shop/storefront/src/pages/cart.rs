//! The cart, and the form that orders what is in it.

use madang::axum::http::StatusCode;
use maud::{Markup, html};
use shop_money::{Currency, Money};

use super::{Page, Shell, money::money};
use crate::peers::{NewLine, Product, Trouble};

/// A line of the cart with what the catalog says of it.
pub struct Shown {
    /// The product's id.
    pub id: i64,
    /// How many.
    pub quantity: u32,
    /// The product, if there is one.
    pub product: Result<Option<(Product, bool)>, Trouble>,
}

/// What the form orders, fixed when the page is made: whoever presses the button orders what they saw.
pub struct Checkout {
    /// Names the attempt: the same form sent twice is one order.
    pub key: String,
    /// What is ordered.
    pub lines: Vec<NewLine>,
    /// What it costs, in each currency that all products have a price in.
    pub totals: Vec<Money>,
}

/// The cart with the form that orders it, if it can be ordered. `alert` is what was wrong with an attempt.
pub fn cart(
    shell: &Shell,
    lines: &[Shown],
    checkout: Option<&Checkout>,
    balances: Option<&Result<Vec<Money>, Trouble>>,
    alert: Option<&str>,
) -> Page {
    let missing = lines.iter().find_map(|line| line.product.as_ref().err());
    let content = html! {
        h1 { "Cart" }
        @if let Some(alert) = alert { p.error role="alert" { (alert) } }
        @if lines.is_empty() {
            p.empty { "There is nothing in it. " a href="/" { "To the catalogue" } }
        } @else {
            @if let Some(trouble) = missing { (shell.missing("Some prices are not shown", trouble)) }
            ul.lines { @for line in lines { li { (row(shell, line)) } } }
        }
        @match (checkout, &shell.user) {
            (Some(checkout), Ok(Some(_)) | Err(_)) => {
                section.checkout {
                    h2 { "Order" }
                    @match balances {
                        Some(Ok(balances)) => @for balance in balances { p.fine { "You have " (money(*balance)) } },
                        Some(Err(trouble)) => (shell.missing("Your balance is not shown", trouble)),
                        None => {}
                    }
                    (order_form(shell, checkout, "Place the order"))
                }
            }
            (Some(_), Ok(None)) => {
                p { a.button href="/shop/account?back=/shop/cart" { "Say who you are to order" } }
            }
            (None, _) => {}
        }
    };
    let page = shell.page("Cart", &content);
    if missing.is_some() { page.with_status(StatusCode::SERVICE_UNAVAILABLE) } else { page }
}

impl Shell {
    /// The page after an attempt that came to no order, or of which nobody knows: the same attempt again is safe.
    pub fn ask_again(&self, checkout: &Checkout, trouble: &Trouble, is_known: bool) -> Page {
        let title = if is_known { "Nothing was ordered" } else { "Nobody knows yet" };
        let content = html! {
            h1 { (title) }
            @if !is_known { p { "Your order was sent, and no answer came. It may have been placed or not." } }
            (self.missing("The order is not confirmed", trouble))
            p { "Ask again: this is the same attempt under the same key, so that you order and pay once." }
            (order_form(self, checkout, "Ask again"))
            p { a href="/shop/orders" { "See your orders" } }
        };
        self.page(title, &content).with_status(StatusCode::SERVICE_UNAVAILABLE)
    }
}

fn order_form(shell: &Shell, checkout: &Checkout, label: &str) -> Markup {
    html! {
        form.order action="/shop/orders" method="post" data-once {
            (shell.token())
            input type="hidden" name="key" value=(checkout.key);
            @for line in &checkout.lines {
                input type="hidden" name="line" value={ (line.quantity) " " (line.product) };
            }
            fieldset {
                legend { "Pay" }
                @for (index, total) in checkout.totals.iter().enumerate() {
                    label.choice {
                        input type="radio" name="total" value={ (total.currency.code()) " " (total.amount) }
                            checked[index == 0] required;
                        " " (money(*total))
                    }
                }
            }
            button { (label) }
            p.fine { "You order at these prices: if one has changed, you are asked again." }
        }
    }
}

fn row(shell: &Shell, line: &Shown) -> Markup {
    let field = format!("quantity-{}", line.id);
    html! {
        @match &line.product {
            Ok(Some((product, _))) => {
                h2 { a href={ "/shop/products/" (line.id) } { (product.name.en) } }
                p.prices {
                    @for (index, price) in product.prices.iter().enumerate() {
                        @if index > 0 { " · " }
                        span { (price.times(line.quantity).map(money).unwrap_or_default()) }
                    }
                }
                @if product.available < i64::from(line.quantity) {
                    p.stock.none { "Only " (product.available) " left" }
                }
            }
            Ok(None) => h2 { "Product " (line.id) " is not sold any more" },
            Err(_) => h2 { "Product " (line.id) },
        }
        form.quantity action="/shop/cart/quantity" method="post" {
            (shell.token())
            input type="hidden" name="product" value=(line.id);
            label for=(field) { "How many" }
            input id=(field) type="number" name="quantity" value=(line.quantity) min="0" max="1000"
                inputmode="numeric";
            button.quiet { "Change" }
            button.quiet name="remove" value="1" { "Remove" }
        }
    }
}

impl Checkout {
    /// The form for these lines, unless one of them has no product or no price is known of.
    pub fn of(lines: &[Shown], key: String) -> Option<Self> {
        let mut checkout = Self { key, lines: Vec::new(), totals: Vec::new() };
        let mut totals = Currency::ALL.map(|currency| Some(Money::new(currency, 0)));
        for line in lines {
            let Ok(Some((product, _))) = &line.product else { return None };
            checkout.lines.push(NewLine { product: product.name.en.clone(), quantity: line.quantity });
            for (total, currency) in totals.iter_mut().zip(Currency::ALL) {
                let price = product.prices.iter().find(|price| price.currency == currency);
                let cost = price.and_then(|price| price.times(line.quantity));
                *total = total.zip(cost).and_then(|(total, cost)| total.plus(cost));
            }
        }
        checkout.totals = totals.into_iter().flatten().collect();
        (!checkout.lines.is_empty() && !checkout.totals.is_empty()).then_some(checkout)
    }
}
