//! Prints what each policy is worth when instances have a bad time:
//! `cargo run --release -p madang-calls --example storm [SEED]`.

use madang_calls::simulation::{Setting, Trouble, policies};

fn main() {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!(
        "seed {seed}: 100 callers make 600 calls/s; 20 instances can serve 1000 requests/s; trouble from 5 s to 10 s"
    );
    println!("good answers, those of critical calls, requests for each call, p99 of good answers in ms");
    for (title, trouble, instances) in [
        ("all at a fifth", Trouble::BrownOut, 20),
        ("five at a fifth", Trouble::BrownOut, 5),
        ("five hang", Trouble::Hang, 5),
        ("five answer 500", Trouble::Fail, 5),
    ] {
        println!(
            "\n{title:27} │ {:20} │ {:20} │ {:20} │ 15 s to 20 s",
            "0 s to 5 s", "5 s to 10 s", "10 s to 15 s"
        );
        for (name, policy) in policies() {
            println!("{name:27}{}", Setting { seed, trouble, instances, policy }.run());
        }
    }
}
