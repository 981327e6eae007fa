//! The orders service as a process of its own.

fn main() -> std::process::ExitCode {
    madang::run(shop_orders::service())
}
