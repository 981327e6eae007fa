//! The storefront as a process of its own.

fn main() -> std::process::ExitCode {
    madang::run(shop_storefront::service())
}
