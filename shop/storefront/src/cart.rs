//! What somebody wants to buy, as the browser keeps it: `1x2.17x1` is two of product 1 and one of product 17.

use std::fmt;

/// What somebody wants to buy: products with how many of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cart(Vec<Line>);

/// Some of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The product's id.
    pub product: i64,
    /// How many, from 1.
    pub quantity: u32,
}

impl Cart {
    /// The most products of a cart: they fit a cookie.
    pub const LINES: usize = 30;
    /// The most of one product, as orders takes it.
    pub const QUANTITY: u32 = 1_000;

    /// Reads a cart. It was in the browser's hands: what is malformed or too much is left out.
    pub fn parse(text: &str) -> Self {
        let mut cart = Self::default();
        for line in text.split('.') {
            let Some((product, quantity)) = line.split_once('x') else { continue };
            if let (Ok(product), Ok(quantity)) = (product.parse(), quantity.parse::<u32>()) {
                cart.set(product, cart.quantity(product).saturating_add(quantity));
            }
        }
        cart
    }

    /// The lines, in the order in which they were put in.
    pub fn lines(&self) -> &[Line] {
        &self.0
    }

    /// How many there are of a product.
    pub fn quantity(&self, product: i64) -> u32 {
        self.0.iter().find(|line| line.product == product).map_or(0, |line| line.quantity)
    }

    /// How many things there are, all products together.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|line| line.quantity).sum()
    }

    /// Makes it so many of a product, none of which is the end of its line; says whether they fit.
    pub fn set(&mut self, product: i64, quantity: u32) -> bool {
        if quantity == 0 {
            self.0.retain(|line| line.product != product);
            return true;
        }
        if product < 1 || quantity > Self::QUANTITY {
            return false;
        }
        let is_full = self.0.len() >= Self::LINES;
        match self.0.iter_mut().find(|line| line.product == product) {
            Some(line) => line.quantity = quantity,
            None if is_full => return false,
            None => self.0.push(Line { product, quantity }),
        }
        true
    }
}

impl fmt::Display for Cart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Line { product, quantity }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "." };
            write!(f, "{separator}{product}x{quantity}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_leaves_out_the_rest() {
        let check =
            |text: &str, expected: &str| assert_eq!(Cart::parse(text).to_string(), expected, "{text}");
        check("", "");
        check("1x2.17x1", "1x2.17x1");
        check("1x2.1x3", "1x5");
        check("x.1x.0x1.-1x1.1x0.1x1001.twoxtwo.2x1", "2x1");
        check(&"9223372036854775807x1000.".repeat(2), "9223372036854775807x1000");
    }

    #[test]
    fn a_full_cart_fits_a_cookie_and_takes_no_more() {
        let mut cart = Cart::default();
        let products = i64::MAX - Cart::LINES as i64..;
        assert!(products.take(Cart::LINES).all(|product| cart.set(product, Cart::QUANTITY)));
        assert!(!cart.set(1, 1));
        assert!(cart.set(i64::MAX - 1, 3), "what is in it can be changed");
        assert!(cart.to_string().len() < 1_000, "{}", cart.to_string().len());
        assert!(cart.set(i64::MAX - 1, 0));
        assert!(cart.set(1, 1), "there is room again");
        assert!(!cart.set(1, Cart::QUANTITY + 1));
        assert_eq!((cart.quantity(1), cart.quantity(2)), (1, 0));
        assert_eq!(cart.count(), (Cart::LINES as u32 - 1) * Cart::QUANTITY + 1);
    }
}
