//! The catalog service as a process of its own.

fn main() -> std::process::ExitCode {
    madang::run(shop_catalog::service())
}
