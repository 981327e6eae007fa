//! The cart: shown, filled and changed.

use futures_util::future::join_all;
use madang::{
    Context,
    axum::{
        http::StatusCode,
        response::{IntoResponse, Response},
    },
};

use super::{Looking, to};
use crate::{
    cart::{Cart, Line},
    form::Form,
    pages::{self, Checkout, Failed, Shown},
    peers::Peers,
    visitor::{Visitor, random},
};

pub(super) async fn show(looking: Looking) -> Response {
    page(looking, None).await
}

/// The cart as it is now, with a new attempt to order it. `alert` is what was wrong with the last one.
pub(super) async fn page(looking: Looking, alert: Option<&str>) -> Response {
    let (peers, cart, user) = (looking.peers.clone(), looking.visitor.cart.clone(), looking.visitor.user);
    let balances = async {
        match user {
            Some(user) if !cart.lines().is_empty() => Some(peers.balances(user).await),
            _ => None,
        }
    };
    let own = async { tokio::join!(shown(&peers, &cart), balances) };
    let (shell, (lines, balances)) = looking.with(own).await;
    let checkout = Checkout::of(&lines, random());
    let page = pages::cart(&shell, &lines, checkout.as_ref(), balances.as_ref(), alert);
    match alert {
        Some(_) => page.with_status(StatusCode::UNPROCESSABLE_ENTITY).into_response(),
        None => page.into_response(),
    }
}

/// What the catalog says of each line, all asked for at once: a cart is short.
async fn shown(peers: &Peers, cart: &Cart) -> Vec<Shown> {
    let line = |line: &Line| {
        let Line { product: id, quantity } = *line;
        async move { Shown { id, quantity, product: peers.product(id).await } }
    };
    join_all(cart.lines().iter().map(line)).await
}

pub(super) async fn add(mut visitor: Visitor, context: Context, form: Form) -> Result<Response, Failed> {
    let (product, quantity) = fields(&form, &context)?;
    let cart = &mut visitor.cart;
    if !cart.set(product, cart.quantity(product).saturating_add(quantity)) {
        return Err(full(&context));
    }
    Ok(to("/shop/cart", &[Visitor::set_cart(cart)]))
}

pub(super) async fn set(mut visitor: Visitor, context: Context, form: Form) -> Result<Response, Failed> {
    let (product, quantity) = fields(&form, &context)?;
    let quantity = if form.get("remove").is_empty() { quantity } else { 0 };
    if !visitor.cart.set(product, quantity) {
        return Err(full(&context));
    }
    Ok(to("/shop/cart", &[Visitor::set_cart(&visitor.cart)]))
}

fn fields(form: &Form, context: &Context) -> Result<(i64, u32), Failed> {
    match (form.get("product").parse(), form.get("quantity").parse()) {
        (Ok(product), Ok(quantity)) => Ok((product, quantity)),
        _ => Err(Failed::new(
            Some(context),
            StatusCode::UNPROCESSABLE_ENTITY,
            "How many must be a whole number from 0 to 1000.",
        )),
    }
}

fn full(context: &Context) -> Failed {
    let detail = format!(
        "A cart takes up to {} different products, and up to {} of each.",
        Cart::LINES,
        Cart::QUANTITY
    );
    Failed::new(Some(context), StatusCode::UNPROCESSABLE_ENTITY, detail)
}
