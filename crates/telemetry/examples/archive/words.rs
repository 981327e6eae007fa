//! Lines of a shop's logs: structured ones with trace ids and fields, plain ones, and stack traces.

use std::fmt::Write;

use crate::shop::{SERVICES, mixed, trace_id};

/// What services say; each the ones at its place and what follows, so that no two say the same.
const SAID: [&str; 12] = [
    "request completed",
    "order placed",
    "cache refreshed for product listing",
    "payment authorised by provider",
    "user signed in with password",
    "connection to database reused",
    "stock reserved until payment",
    "search answered from index",
    "message handed to mail server",
    "review waits for moderation",
    "retrying call after timeout",
    "job finished in background",
];

/// One in a million lines says it.
pub const RARE: &str = "kumquat";
const RARE_EVERY: u64 = 1_000_003;

/// Who says it: nearly all come from the first eight; `quiet` says one in two thousand, and never that a request is
/// completed.
pub fn service(n: u64) -> usize {
    if n % 2000 == 77 { 8 } else { (mixed(n ^ 0x77) % 8) as usize }
}

/// Adds the nth line, written at this time in microseconds since 1970. It belongs to this trace.
pub fn write(text: &mut String, n: u64, at_us: u64, trace: u64) {
    let chance = mixed(n ^ 0x1234);
    let (service, millis) = (SERVICES[service(n)], at_us / 1000);
    let said = match n % 2000 {
        77 => SAID[11],
        _ => SAID[(chance % 3 + mixed(n ^ 0x77) % 8) as usize],
    };
    let extra = if n % RARE_EVERY == 5 { RARE } else { "none" };
    let (user, took) = (chance >> 20 & 0xffff, chance >> 40 & 0xfff);
    let done = match chance >> 8 & 0xff {
        // A structured logger: seven of ten.
        0..180 => {
            let level = match chance >> 16 & 0xff {
                0..30 => 20,
                245..250 => 40,
                250.. => 50,
                _ => 30,
            };
            writeln!(
                text,
                r#"{{"level":{level},"time":{millis},"pid":4711,"hostname":"node-1","trace_id":"{}","span_id":"{:016x}","msg":"{said}","user":"user-{user}","route":"/{service}/{{id}}","took_ms":{took},"note":"{extra}"}}"#,
                trace_id(trace),
                chance | 1,
            )
        }
        180..253 => {
            let level = if chance >> 16 & 0x3f == 0 { "WARN" } else { "INFO" };
            let at = Stamp(at_us);
            writeln!(text, "{at} {level} {service}::api: {said} user=user-{user} took={took}ms note={extra}")
        }
        _ => {
            let at = Stamp(at_us);
            writeln!(
                text,
                "{at} ERROR {service}.Worker - failed to serve user-{user}\njava.lang.IllegalStateException: {service} is closed\n\tat shop.{service}.Worker.serve(Worker.java:{took})\n\tat shop.{service}.Worker.run(Worker.java:41)\n\tat java.base/java.lang.Thread.run(Thread.java:840)\nCaused by: java.io.IOException: connection reset\n\tat java.base/java.net.Socket.connect(Socket.java:1)\n\t... 2 more"
            )
        }
    };
    done.unwrap_or_else(|never| unreachable!("a string takes all: {never}"));
}

/// A time of today as loggers write it.
struct Stamp(u64);

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = i64::try_from(self.0).ok().and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
        write!(f, "{:.6}", at.unwrap_or_default())
    }
}
