//! The payments service as a process of its own.

fn main() -> std::process::ExitCode {
    madang::run(shop_payments::service())
}
