//! The products: a page of them with the search, and one of them.

use maud::{Markup, html};

use super::{
    Page, Shell,
    money::{grouped, money},
};
use crate::peers::{Product, Shelf, Trouble};
use madang::axum::http::StatusCode;

/// A page of the products that a search finds.
pub fn catalogue(shell: &Shell, query: &str, shelf: &Result<Shelf, Trouble>) -> Page {
    let content = html! {
        form.search action="/" method="get" role="search" {
            label for="query" { "Search the catalogue" }
            input id="query" type="search" name="query" value=(query) maxlength="100"
                placeholder="linen, 가방, first edition …";
            button { "Search" }
        }
        @match shelf {
            Ok(shelf) => {
                h1 { @if query.trim().is_empty() { "Catalogue" } @else { "Found for “" (query.trim()) "”" } }
                @if shelf.is_old { (old()) }
                @if shelf.items.is_empty() {
                    p.empty { "Nothing has all of these words. " a href="/" { "Show everything" } }
                }
                ul.shelf { @for product in &shelf.items { li.card { (card(shell, product)) } } }
                @if let Some(next) = &shelf.next {
                    form.more action="/" method="get" {
                        input type="hidden" name="query" value=(query);
                        input type="hidden" name="cursor" value=(next);
                        button { "More products" }
                    }
                }
            }
            Err(trouble) if trouble.is_refusal() => {
                h1 { "Catalogue" }
                p.error role="alert" { "That cannot be searched for: " (trouble.detail()) }
            }
            Err(trouble) => {
                h1 { "Catalogue" }
                (shell.missing("The products are not shown", trouble))
                p { "Your cart and your orders are where they were." }
            }
        }
    };
    let page = shell.page("Catalogue", &content);
    match shelf {
        Err(trouble) if !trouble.is_refusal() => page.with_status(StatusCode::SERVICE_UNAVAILABLE),
        _ => page,
    }
}

/// One product.
pub fn product(shell: &Shell, product: &Product, is_old: bool) -> Page {
    let content = html! {
        p { a href="/" { "← Catalogue" } }
        article.product {
            (picture(product))
            div {
                h1 { (product.name.en) }
                p.other lang="ko" { (product.name.ko) }
                (prices(product))
                (stock(product.available))
                @if is_old { (old()) }
                (add(shell, product, true))
            }
        }
    };
    shell.page(&product.name.en, &content)
}

fn card(shell: &Shell, product: &Product) -> Markup {
    html! {
        a.picture href={ "/shop/products/" (product.id) } tabindex="-1" aria-hidden="true" { (picture(product)) }
        h2 { a href={ "/shop/products/" (product.id) } { (product.name.en) } }
        p.other lang="ko" { (product.name.ko) }
        (prices(product))
        (stock(product.available))
        (add(shell, product, false))
    }
}

/// The form that puts a product into the cart.
fn add(shell: &Shell, product: &Product, choose: bool) -> Markup {
    let field = format!("quantity-{}", product.id);
    html! {
        form.add action="/shop/cart" method="post" {
            (shell.token())
            input type="hidden" name="product" value=(product.id);
            @if choose {
                label for=(field) { "How many" }
                input id=(field) type="number" name="quantity" value="1" min="1" max="1000" inputmode="numeric";
            } @else {
                input type="hidden" name="quantity" value="1";
            }
            button disabled[product.available == 0] aria-label={ "Add " (product.name.en) " to the cart" } { "Add to cart" }
        }
    }
}

fn prices(product: &Product) -> Markup {
    html! {
        p.prices {
            @for (index, price) in product.prices.iter().enumerate() {
                @if index > 0 { " · " }
                span { (money(*price)) }
            }
        }
    }
}

fn stock(available: i64) -> Markup {
    html! {
        @match available {
            0 => p.stock.none { "Sold out" },
            1..=10 => p.stock.few { "Only " (available) " left" },
            _ => p.stock { (grouped(available.unsigned_abs())) " in stock" },
        }
    }
}

fn old() -> Markup {
    html! {
        p.notice role="status" data-service="catalog" {
            "The catalog service does not answer right now. Prices and stock are as they were a moment ago."
        }
    }
}

/// A tile in a colour of its own with the first letter, in place of a photograph.
fn picture(product: &Product) -> Markup {
    let hue = (product.id * 137).rem_euclid(360);
    let letter = product.name.en.chars().next().unwrap_or(' ');
    html! {
        svg viewBox="0 0 160 120" aria-hidden="true" focusable="false" {
            rect width="160" height="120" fill={ "hsl(" (hue) " 45% 82%)" } {}
            circle cx="118" cy="34" r="46" fill={ "hsl(" ((hue + 40) % 360) " 55% 72%)" } {}
            text x="22" y="94" font-size="64" font-family="Georgia, serif" fill={ "hsl(" (hue) " 45% 28%)" } { (letter) }
        }
    }
}
